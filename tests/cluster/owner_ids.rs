//! A cluster that gets another owner id recognizes its connections by the earlier ones.

use bitbucket_connection_operator::api::BitbucketConnection;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::harness::{EMAIL, Operator, SECRET, TOKEN, World, assert_condition};

/// An operator with these ids in the world of the test.
async fn operator(world: &World, id: &str, previous: &str) -> Operator {
    let operator = world.replica(["--owner-id", id]);
    let operator = if previous.is_empty() {
        operator
    } else {
        world.replica(["--owner-id", id, "--previous-owner-ids", previous])
    };
    operator.start().await;
    operator
}

fn fingerprints(bbc: &BitbucketConnection) -> [Option<String>; 2] {
    let status = bbc.status.as_ref().expect("a status");
    let (token, connection) = (status.token.as_ref(), status.connection.as_ref());
    [token.and_then(|it| it.fingerprint.clone()), connection.and_then(|it| it.token_fingerprint.clone())]
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_an_earlier_owner_id_are_kept_and_marked_anew() {
    let world = World::builder().without_operator().without_arg("--owner-id").start().await;
    let first = operator(&world, "first", "").await;
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(200 * 24);
    let data = json!({"email": EMAIL, "token": TOKEN, "expiresAt": format!("{end:.0}")});
    world.secret_with(SECRET, data).await;
    world.instance().await;
    for name in ["payments", "rebuilt", "leaving"] {
        world.connection(name).change(json!({"description": "Ours"})).apply().await;
    }
    let [before, ..] = [world.ready("payments").await, world.ready("rebuilt").await, world.ready("leaving").await];
    let (row, rebuilt) = (world.row("payments"), world.row("rebuilt"));
    let told = world.told("payments").await;
    first.terminate().await;

    // Without the earlier id they are another's.
    let second = operator(&world, "second", "unrelated").await;
    world.kms.clear_journal();
    world.request_reconcile("leaving").await;
    let bbc = world.not_ready("leaving", "OwnedByAnother").await;
    assert_condition(&bbc, "Synced", "False", "OwnedByAnother", &[]);
    assert_eq!(world.kms.writes(), 0);
    second.terminate().await;

    // A rebuilt cluster has no status: the mark alone leads to the connection.
    let wiped = Patch::Merge(json!({"status": null}));
    let api = world.api::<BitbucketConnection>();
    api.patch_status("rebuilt", &PatchParams::default(), &wiped).await.expect("a status that can be taken away");
    let third = operator(&world, "second", "first,unrelated").await;
    world.until_event("rebuilt", "ConnectionUpdated").await;
    world.ready("rebuilt").await;
    world.delete("leaving").await;
    world.until_gone("leaving").await;
    assert!(!world.kms.connections().iter().any(|row| row.name == "leaving"), "the old mark is enough to delete");
    world.request_reconcile("payments").await;
    let after = world.ready("payments").await;
    let now = world.row("payments");
    assert_eq!((&now.id, &now.credentials_hash), (&row.id, &row.credentials_hash), "the mark alone is written");
    assert_ne!(now.description, row.description);
    assert!(now.description.as_deref().is_some_and(|text| text.starts_with("Ours [k8s:")));
    assert_eq!(world.row("rebuilt").id, rebuilt.id);
    assert_eq!(world.told("rebuilt").await, ["ConnectionCreated", "ConnectionUpdated"].map(str::to_owned));
    // The token is the same, though its fingerprint is keyed with the owner id.
    assert_ne!(fingerprints(&before), fingerprints(&after));
    let mut expected = [told, vec!["ConnectionUpdated".to_owned()]].concat();
    expected.sort();
    assert_eq!(world.told("payments").await, expected, "no drift, no rotation, no other token");
    third.terminate().await;

    // From then on the earlier id isn't needed.
    let fourth = operator(&world, "second", "").await;
    world.kms.clear_journal();
    world.request_reconcile("payments").await;
    let bbc = world.ready("payments").await;
    assert_eq!((world.kms.writes(), fingerprints(&bbc)), (0, fingerprints(&after)));
    assert_eq!(world.told("payments").await, expected);
    fourth.terminate().await;
}
