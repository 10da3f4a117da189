//! Connections that the operator's identity may not read: lists omit them.

use bitbucket_connection_operator::api::BitbucketConnection;
use serde_json::json;
use sim::{Match, Operation};

use super::{secret, token_of, world};
use crate::harness::{CLIENT_ID, EMAIL, Kstatus, assert_condition, in_time, kstatus};

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_connection_is_neither_made_twice_nor_taken_for_unmarked() {
    let world = world().await;
    for name in ["payments", "billing"] {
        secret(&world, name).await;
        world.connection(name).secret(name).apply().await;
        world.ready(name).await;
    }
    let rows = world.kms.connections();
    let hidden = world.row("payments");
    world.kms.hide_from(CLIENT_ID, &hidden.id);
    let writes = world.kms.writes();

    let denied = |bbc: BitbucketConnection| {
        let words = &["KmsInstance/kms", "may not read app connections", "role"];
        assert_condition(&bbc, "Synced", "False", "KmsPermissionDenied", words);
        assert_eq!(kstatus(&bbc), Kstatus::Failed);
        let recorded = bbc.status.and_then(|status| status.connection).map(|connection| connection.id);
        assert_eq!(recorded.as_ref(), Some(&hidden.id), "what is ours is not forgotten");
    };
    world.request_reconcile("payments").await;
    denied(world.not_ready("payments", "KmsPermissionDenied").await);
    // Nor with a new token, nor without a memory.
    let next = token_of("next");
    world.issue(EMAIL, &next);
    world.restart().await;
    world.secret("payments", EMAIL, &next).await;
    let asked = Match::op(Operation::User).token(&next);
    in_time("the new token is verified", world.bitbucket.answered(&asked, 1)).await;
    denied(world.request_reconcile("payments").await);
    world.request_reconcile("billing").await;
    world.ready("billing").await;
    assert_eq!((world.kms.writes(), world.kms.connections()), (writes, rows), "the other one is seen and quiet");

    world.kms.unhide(&hidden.id);
    world.request_reconcile("payments").await;
    world.ready("payments").await;
    assert_eq!(world.row("payments").api_token, next);
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "CredentialsRotated", "Recovered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_connection_of_a_lost_status_is_a_name_that_is_taken() {
    let world = world().await;
    secret(&world, "payments").await;
    world.connection("payments").secret("payments").apply().await;
    world.ready("payments").await;
    let made = world.row("payments");
    world.kms.hide_from(CLIENT_ID, &made.id);
    // A backup without its status brings the object back.
    world.operator.kill().await;
    let backup = world.connection("payments").secret("payments");
    world.patch("payments", json!({"metadata": {"finalizers": null}})).await;
    world.delete("payments").await;
    world.until_gone("payments").await;
    backup.apply().await;
    world.operator.start().await;
    assert_eq!(kstatus(&world.not_ready("payments", "NameConflict").await), Kstatus::Failed);
    assert_eq!(world.kms.connections(), std::slice::from_ref(&made), "never a second one");

    // Once it can be read, it is found by its mark.
    world.kms.unhide(&made.id);
    world.request_reconcile("payments").await;
    let bbc = world.ready("payments").await;
    assert_eq!(bbc.status.and_then(|status| status.connection).map(|connection| connection.id), Some(made.id));
    assert_eq!(world.kms.connections().len(), 1);
}
