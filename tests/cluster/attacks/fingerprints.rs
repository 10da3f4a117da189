//! The fingerprint of a token is published, and keyed with an id that is no secret: of a password it would let people
//! guess. So only what Bitbucket accepted has one.

use bitbucket_connection_operator::{
    api::BitbucketConnection,
    domain::{credential::Credentials, ownership::OwnerId},
};
use serde_json::json;

use crate::harness::{EMAIL, SECRET, TOKEN, World};

const PASSWORD: &str = "canary-of-a-password";

fn fingerprint_of(text: &str) -> String {
    let credentials = Credentials::parse(EMAIL, text).expect("something like a token");
    credentials.fingerprint(&OwnerId::new("cluster").expect("an owner id")).to_string()
}

fn published(bbc: &BitbucketConnection) -> Option<String> {
    bbc.status.as_ref().and_then(|status| status.token.as_ref()).and_then(|token| token.fingerprint.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bitbucket_refused_has_no_fingerprint() {
    let world = World::builder().args(["--owner-id", "cluster"]).start().await;
    world.instance().await;
    let data = json!({"email": EMAIL, "token": TOKEN, "password": PASSWORD, "line": "two words of it"});
    world.secret_with(SECRET, data).await;
    let key = |key: &str| json!({"secretRef": {"name": SECRET, "tokenKey": key}});
    // One that points there from the beginning, and one that comes to.
    world.connection("new").change(key("password")).apply().await;
    world.connection("payments").apply().await;
    let bbc = world.ready("payments").await;
    assert_eq!(published(&bbc), Some(fingerprint_of(TOKEN)), "or this test shows nothing");
    world.patch("payments", json!({"spec": key("password")})).await;
    for name in ["new", "payments"] {
        assert_eq!(published(&world.not_ready(name, "CredentialsRejected").await), None, "{name}");
    }
    assert_eq!(world.row("payments").api_token, TOKEN, "and it doesn't get into the KMS");
    // While nothing is known of it, in an outage, it has none either.
    world.bitbucket.down();
    world.request_reconcile("payments").await;
    let bbc = world.until_reason("payments", "CredentialsValid", "BitbucketUnavailable").await;
    assert_eq!(published(&bbc), None);
    world.bitbucket.up();
    world.patch("new", json!({"spec": key("line")})).await;
    assert_eq!(published(&world.not_ready("new", "SecretInvalid").await), None);

    let found = world.secrets_leaked(&[PASSWORD, &fingerprint_of(PASSWORD), "two words of it"]).await;
    assert!(found.is_empty(), "{found:#?}");
    world.patch("payments", json!({"spec": key("token")})).await;
    assert_eq!(published(&world.ready("payments").await), Some(fingerprint_of(TOKEN)));
}
