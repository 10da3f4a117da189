//! An instance that changes under its connections: they follow, or say that the KMS is another, and there is never a
//! second connection.

use bitbucket_connection_operator::api::{BitbucketConnection, KmsInstance, RECONCILE_REQUESTED_AT};
use serde_json::json;
use sim::{Connection, Kms, Match, Operation};

use crate::harness::{
    CLIENT_ID, CLIENT_SECRET, EMAIL, Kstatus, PROJECT, SECRET, TOKEN, World, assert_condition, condition, kstatus,
};

const NAMES: [&str; 3] = ["a", "b", "c"];
const NEXT: &str = "canary-of-the-next-client-secret";

async fn three_connections(world: &World) {
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    for name in NAMES {
        world.connection(name).apply().await;
    }
    for name in NAMES {
        world.ready(name).await;
    }
}

/// All connections are in step, each is the one that it was, and they can go.
async fn all_is_as_before(world: &World, rows: &[Connection]) {
    for name in NAMES {
        let seen = world.request_reconcile(name).await;
        assert_condition(&seen, "Synced", "True", "InSync", &[]);
    }
    assert_eq!(world.kms.connections(), rows);
    assert_eq!(world.kms.writes(), rows.len(), "each was written once");
    world.delete("a").await;
    world.until_gone("a").await;
    assert_eq!(world.kms.connections(), rows[1..]);
}

/// Where its connection is, by its status.
fn host(bbc: &BitbucketConnection) -> Option<&str> {
    bbc.status.as_ref().and_then(|status| status.connection.as_ref()).map(|connection| connection.host.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_credentials_are_followed_while_the_old_ones_are_good() {
    let world = World::start().await;
    three_connections(&world).await;
    let rows = world.kms.connections();
    let version = |instance: &KmsInstance| instance.status.as_ref().and_then(|status| status.secret_version.clone());
    let before = version(&world.until_instance_says("kms", "Authenticated").await);
    world.kms.add_identity("next", NEXT);
    world.secret_with("kms-credentials", json!({"clientId": "next", "clientSecret": NEXT})).await;
    let logins = world.kms.answered(&Match::op(Operation::Login), 2).await;
    assert_eq!(logins[1].json.as_ref().map(|sent| &sent["clientId"]), Some(&json!("next")));
    let follows =
        |instance: &KmsInstance| version(instance) != before && condition(instance, "Ready").1 == "Authenticated";
    world.until_instance("kms", "follows the new credentials", follows).await;
    // From here on nothing may need the old ones.
    world.kms.remove_identity(CLIENT_ID);
    world.kms.expire_sessions();
    all_is_as_before(&world, &rows).await;
    assert_eq!(world.kms.count(&Match::op(Operation::Login).containing(CLIENT_ID)), 1);
    world.assert_silent(&[NEXT]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_were_revoked_first_are_told_and_replaced() {
    let world = World::start().await;
    three_connections(&world).await;
    let rows = world.kms.connections();
    world.kms.add_identity(CLIENT_ID, NEXT);
    world.kms.expire_sessions();
    world.request_reconcile("a").await;
    for name in NAMES {
        let bbc = world.not_ready(name, "KmsInstanceNotReady").await;
        assert_condition(&bbc, "Synced", "False", "KmsInstanceNotReady", &["AuthenticationFailed"]);
        assert_eq!(kstatus(&bbc), Kstatus::InProgress, "{name}");
    }
    assert!(!world.kms.is_locked(CLIENT_ID), "it was not tried as often as that");
    world.secret_with("kms-credentials", json!({"clientId": CLIENT_ID, "clientSecret": NEXT})).await;
    for name in NAMES {
        world.ready(name).await;
    }
    world.until_instance_says("kms", "Authenticated").await;
    all_is_as_before(&world, &rows).await;
    world.assert_silent(&[NEXT]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_of_the_same_server_is_followed() {
    let world = World::builder().args(["--allowed-kms-hosts", "127.0.0.1,localhost"]).start().await;
    three_connections(&world).await;
    let rows = world.kms.connections();
    let first = world.kms.url();
    let second = first.replace("127.0.0.1", "localhost");
    let move_to = async |url: &str| {
        world.patch_object::<KmsInstance>("kms", json!({"spec": {"host": url}})).await;
    };
    let until_at = async |url: &str| {
        for name in NAMES {
            world.until(name, &format!("is at {url}"), |bbc| host(bbc) == Some(url)).await;
            world.ready(name).await;
        }
    };
    until_at(&first).await;
    move_to(&second).await;
    until_at(&second).await;
    // The same while nobody looks.
    world.operator.kill().await;
    move_to(&format!("{first}/")).await;
    world.operator.start().await;
    until_at(&first).await;
    all_is_as_before(&world, &rows).await;
    for name in NAMES {
        assert!(!world.told(name).await.contains(&"DriftCorrected".to_owned()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organization_gets_no_second_connection() {
    let world = World::start().await;
    world.instance().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.connection("payments").organization().apply().await;
    world.ready("payments").await;
    let ours = world.row("payments");
    // The same host, seen with the eyes of another organization's identity.
    world.kms.remove(&ours.id);
    let mut others = Connection::new("somebodys");
    others.org_id = uuid::Uuid::new_v4().to_string();
    let others = world.kms.insert(others);
    let written = world.kms.writes();
    let bbc = world.request_reconcile("payments").await;
    assert_condition(&bbc, "Synced", "False", "KmsChanged", &["another organization", "Nothing was written"]);
    world.delete("payments").await;
    world.not_ready("payments", "DeletionBlocked").await;
    assert_eq!(world.kms.writes(), written);
    // Back in the organization of then.
    world.kms.remove(&others);
    world.kms.insert(ours);
    let now = json!({"metadata": {"annotations": {RECONCILE_REQUESTED_AT: "now"}}});
    world.patch("payments", now).await;
    world.until_gone("payments").await;
    assert_eq!(world.kms.connections(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_kms_gets_no_second_connection_and_the_way_back_is_open() {
    let world = World::start().await;
    three_connections(&world).await;
    let rows = world.kms.connections();
    let other = Kms::start(&world.bitbucket).await;
    other.add_identity(CLIENT_ID, CLIENT_SECRET);
    other.add_project(PROJECT);
    // Somebody else's, of the same name.
    other.insert(Connection::new("a").project(PROJECT));
    let others = other.connections();
    let move_to = async |kms: &Kms| {
        world.patch_object::<KmsInstance>("kms", json!({"spec": {"host": kms.url()}})).await;
    };

    world.operator.kill().await;
    move_to(&other).await;
    world.operator.start().await;
    let way_back = format!("back to {}", world.kms.url());
    for name in NAMES {
        let bbc = world.not_ready(name, "KmsChanged").await;
        assert_condition(&bbc, "Synced", "False", "KmsChanged", &["Nothing was written", &way_back]);
        assert_eq!((kstatus(&bbc), host(&bbc)), (Kstatus::Failed, Some(world.kms.url().as_str())), "{name}");
    }
    // Neither a change of the spec, nor a request, nor a restart makes one.
    world.patch("a", json!({"spec": {"description": "Another one."}})).await;
    world.not_ready("a", "KmsChanged").await;
    world.restart().await;
    for name in NAMES {
        world.request_reconcile(name).await;
        world.not_ready(name, "KmsChanged").await;
    }
    assert_eq!((other.writes(), other.connections()), (0, others));

    // A deletion can't reach what there is, and deletes nothing else.
    world.delete("b").await;
    let bbc = world.not_ready("b", "DeletionBlocked").await;
    let words = ["another KMS", &way_back, "spec.deletionPolicy: Retain"];
    assert_condition(&bbc, "Synced", "False", "DeletionBlocked", &words);
    world.delete("c").await;
    world.not_ready("c", "DeletionBlocked").await;
    world.patch("c", json!({"spec": {"deletionPolicy": "Retain"}})).await;
    world.until_gone("c").await;
    assert_eq!((other.writes(), world.kms.connections().len()), (0, 3));

    // What is new is made where the instance points now.
    world.connection("new").apply().await;
    assert_eq!(host(&world.ready("new").await), Some(other.url().as_str()));
    assert_eq!((other.writes(), world.kms.connection("new")), (1, None));

    move_to(&world.kms).await;
    world.until_gone("b").await;
    let bbc = world.ready("a").await;
    assert_eq!(condition(&bbc, "Synced").1, "InSync");
    let left = world.kms.connections();
    let ids = |rows: &[Connection]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&left), [rows[0].id.clone(), rows[2].id.clone()], "b went; c was left there");
    assert!(left[0].description.as_ref().is_some_and(|text| text.starts_with("Another one.")), "what was held back");
    world.not_ready("new", "KmsChanged").await;
    assert!(world.kms.connection("new").is_none());
}
