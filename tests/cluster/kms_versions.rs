//! Older servers than today's: they know neither projects nor long names.

use bitbucket_connection_operator::api::BitbucketConnection;
use serde_json::json;
use sim::{Connection, Fault, Flavor, Match, Operation};

use crate::harness::{EMAIL, Kstatus, PROJECT, SECRET, TOKEN, World, assert_condition, in_time, kstatus};

const NEXT: &str = "ATATT3xFfGF0-canary-of-the-next-token";

/// A world whose KMS is an older one, with an instance and a Secret.
async fn world() -> World {
    let world = World::start().await;
    world.kms.set_flavor(Flavor::Older);
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world
}

/// How often the KMS was asked to make and to delete a connection.
fn made_and_deleted(world: &World) -> (usize, usize) {
    (world.kms.count(&Match::op(Operation::Create)), world.kms.count(&Match::op(Operation::Delete)))
}

/// The object says what is wrong, and has nothing in the KMS.
fn assert_without_a_connection(bbc: &BitbucketConnection) {
    let words = &["KmsInstance/kms is too old", "whole organization", "Update the KMS", "organizationScope: true"];
    assert_condition(bbc, "Synced", "False", "KmsRejected", words);
    assert_condition(bbc, "CredentialsValid", "True", "Authenticated", &[]);
    assert_eq!(kstatus(bbc), Kstatus::Failed);
    assert!(bbc.status.as_ref().is_some_and(|status| status.connection.is_none()), "{:?}", bbc.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_for_a_project_is_not_left_to_the_organization() {
    let world = world().await;
    world.connection("payments").apply().await;
    assert_without_a_connection(&world.not_ready("payments", "KmsRejected").await);
    assert_eq!(world.kms.connections(), []);
    assert_eq!(made_and_deleted(&world), (1, 1));
    assert_eq!(world.told("payments").await, [""; 0], "its condition tells it");

    // Nobody tries again by himself: not for another object, nor after a restart.
    world.connection("billing").apply().await;
    assert_without_a_connection(&world.not_ready("billing", "KmsRejected").await);
    world.restart().await;
    world.issue(EMAIL, NEXT);
    let asked = Match::op(Operation::List);
    let verified = |bbc: &BitbucketConnection| {
        let token = bbc.status.as_ref().and_then(|status| status.token.as_ref());
        token.and_then(|token| token.fingerprint.clone())
    };
    let before = verified(&world.get("payments").await);
    world.secret(SECRET, EMAIL, NEXT).await;
    let bbc = world.until("payments", "tells of the next token", |bbc| verified(bbc) != before).await;
    assert_without_a_connection(&bbc);
    assert!(world.kms.count(&asked) >= 2);
    assert_eq!((made_and_deleted(&world), world.kms.connections()), ((1, 1), vec![]));

    // A person who updated the KMS asks for another look.
    world.kms.set_flavor(Flavor::Current);
    world.request_reconcile("payments").await;
    assert_eq!(kstatus(&world.ready("payments").await), Kstatus::Current);
    assert_eq!(world.row("payments").project_id.as_deref(), Some(PROJECT));
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "Recovered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shows_no_projects_is_not_asked_for_one() {
    let world = world().await;
    let theirs = world.kms.insert(Connection::new("made-by-hand"));
    let before = world.kms.connections();
    world.connection("payments").apply().await;
    // Of the same name: it isn't taken over for a project either.
    world.connection("made-by-hand").change(json!({"adoptionPolicy": "Adopt"})).apply().await;
    for name in ["payments", "made-by-hand"] {
        assert_without_a_connection(&world.not_ready(name, "KmsRejected").await);
        assert_without_a_connection(&world.request_reconcile(name).await);
    }
    assert_eq!((world.kms.writes(), world.kms.connections()), (0, before));

    // Who wants the whole organization gets it.
    world.connection("everybody").organization().apply().await;
    world.ready("everybody").await;
    assert_eq!(world.told("everybody").await, ["ConnectionCreated"]);
    world.kms.remove(&theirs);
    world.delete("payments").await;
    world.until_gone("payments").await;
    assert_eq!(made_and_deleted(&world), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_to_the_organization_is_found_by_its_mark() {
    // Nothing tells of one that was deleted right before the crash: it is made and deleted once more.
    let rows = [
        (Operation::Create, false, (1, 1)),
        (Operation::Create, true, (1, 1)),
        (Operation::Delete, false, (2, 2)),
        (Operation::Delete, true, (1, 1)),
    ];
    for (killed_after, deleted, requests) in rows {
        let world = world().await;
        world.kms.fail_when(Match::op(killed_after), Fault::HangAnswer);
        world.connection("payments").change(json!({"deletionPolicy": "Retain"})).apply().await;
        in_time("the crash can come", world.kms.answered(&Match::op(killed_after), 1)).await;
        world.operator.kill().await;
        world.kms.heal();
        let left = world.kms.connections().into_iter().map(|row| row.project_id).collect::<Vec<_>>();
        assert_eq!(left, if killed_after == Operation::Create { vec![None] } else { vec![] });
        if deleted {
            world.delete("payments").await;
        }
        world.operator.start().await;
        if deleted {
            world.until_gone("payments").await;
        } else {
            assert_without_a_connection(&world.not_ready("payments", "KmsRejected").await);
        }
        let row = (killed_after, deleted);
        assert_eq!((made_and_deleted(&world), world.kms.connections()), (requests, vec![]), "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_makes_no_second_one() {
    for lost in [Operation::Create, Operation::Delete] {
        let world = world().await;
        world.kms.fail_when(Match::op(lost).times(1), Fault::LoseAnswer);
        world.connection("payments").apply().await;
        world.not_ready("payments", "KmsUnavailable").await;
        // What the client of the KMS remembers is lost too.
        world.restart().await;
        assert_without_a_connection(&world.not_ready("payments", "KmsRejected").await);
        assert_eq!((made_and_deleted(&world), world.kms.connections()), ((1, 1), vec![]), "{lost:?}");
        assert_eq!(world.told("payments").await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_deleted_again_is_told_of_until_it_can() {
    let world = world().await;
    world.kms.deny("delete");
    world.connection("payments").apply().await;
    let bbc = world.not_ready("payments", "KmsPermissionDenied").await;
    let words = &["whole organization", "must not stay", "may not delete app connections", "role"];
    assert_condition(&bbc, "Synced", "False", "KmsPermissionDenied", words);
    let made = world.row("payments");
    let recorded = bbc.status.and_then(|status| status.connection).expect("what is in the KMS");
    assert_eq!((recorded.id, recorded.project_id), (made.id, None));

    world.kms.allow("delete");
    world.request_reconcile("payments").await;
    let bbc = world.not_ready("payments", "KmsRejected").await;
    assert_without_a_connection(&bbc);
    assert_eq!((made_and_deleted(&world), world.kms.connections()), ((1, 2), vec![]));
    assert_eq!(world.told("payments").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ceases_to_tell_projects_loses_nothing() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    let made = world.row("payments");
    world.kms.set_flavor(Flavor::Older);
    for _ in 0..2 {
        world.request_reconcile("payments").await;
        let bbc = world.ready("payments").await;
        assert_eq!(bbc.status.and_then(|status| status.connection?.project_id).as_deref(), Some(PROJECT));
    }
    world.kms.set_flavor(Flavor::Current);
    world.request_reconcile("payments").await;
    world.ready("payments").await;
    assert_eq!((world.kms.connections(), made_and_deleted(&world)), (vec![made], (1, 0)));
    assert_eq!(world.told("payments").await, ["ConnectionCreated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_too_long_for_the_server_is_told_with_its_cure() {
    let world = world().await;
    let (long, short) = ("n".repeat(33), "n".repeat(32));
    world.connection("payments").organization().change(json!({"connectionName": long})).apply().await;
    let bbc = world.not_ready("payments", "KmsRejected").await;
    let words = &["(422)", "at most 32 characters", "Set spec.connectionName"];
    assert_condition(&bbc, "Synced", "False", "KmsRejected", words);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);

    world.patch("payments", json!({"spec": {"connectionName": short}})).await;
    world.ready("payments").await;
    assert_eq!(world.row(&short).project_id, None);
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "Recovered"]);

    // So is another name of one that is there, which stays as it is.
    world.patch("payments", json!({"spec": {"connectionName": long}})).await;
    assert_condition(&world.not_ready("payments", "KmsRejected").await, "Synced", "False", "KmsRejected", words);
    assert_eq!(world.row(&short).api_token, TOKEN);
}
