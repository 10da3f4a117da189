//! The end of an object: its connection goes with it or stays, and whatever is in the way is told with the way out.

use bitbucket_connection_operator::api::{BitbucketConnection, KmsInstance, RECONCILE_REQUESTED_AT};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sim::{Fault, Match, Operation, State};

use crate::harness::{Kstatus, SECRET, TOKEN, World, assert_condition, condition, in_time, kstatus};

type Harm = fn(&World);
type Block = fn(&World, &str);
type Loss = fn(&World) -> futures::future::BoxFuture<'_, ()>;

const WAY_OUT: &str = "spec.deletionPolicy: Retain";

/// Presses the button on an object that goes away, and can't be waited for.
async fn trigger(world: &World, name: &str) {
    let value = uuid::Uuid::new_v4().to_string();
    world.patch(name, json!({"metadata": {"annotations": {RECONCILE_REQUESTED_AT: value}}})).await;
}

async fn retain(world: &World, name: &str) {
    world.patch(name, json!({"spec": {"deletionPolicy": "Retain"}})).await;
}

/// The object goes, and what stays in the KMS bears no mark.
async fn lets_go_of(world: &World, name: &str) {
    world.until_gone(name).await;
    let row = world.row(name);
    assert!(row.description.as_deref().is_none_or(|text| !text.contains("[k8s:")), "{:?}", row.description);
    assert_eq!(row.api_token, TOKEN);
    let note = world.until_event(name, "ConnectionRetained").await;
    assert!(note.contains(name) && note.contains("without the mark"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_goes_with_its_object() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    world.connection("billing").apply().await;
    world.ready("billing").await;
    let id = world.row("payments").id;
    world.kms.clear_journal();
    world.delete("payments").await;
    world.until_gone("payments").await;
    let deletes = world.kms.matching(&Match::writes());
    assert_eq!(deletes.len(), 1);
    assert!(deletes[0].operation == Operation::Delete && deletes[0].path.ends_with(&id) && deletes[0].body.is_empty());
    assert_eq!(world.kms.connections().len(), 1, "the other's stays");
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "ConnectionDeleted"]);
    let events = world.events("payments").await;
    assert!(
        events
            .iter()
            .any(|(kind, reason, note)| kind == "Normal" && reason == "ConnectionDeleted" && note.contains("payments"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_in_use_blocks_its_deletion_until_it_is_free_or_may_stay() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    world.connection("billing").apply().await;
    world.ready("billing").await;
    for name in ["payments", "billing"] {
        let row = world.row(name);
        world.kms.attach(&row.id);
        world.delete(name).await;
        let bbc = world.not_ready(name, "DeletionBlocked").await;
        assert_condition(&bbc, "Synced", "False", "DeletionBlocked", &["Syncs, scanners", WAY_OUT]);
        assert_eq!(kstatus(&bbc), Kstatus::Terminating);
        assert_eq!(bbc.status.and_then(|status| status.connection).map(|it| it.id), Some(row.id.clone()));
        assert_eq!(world.told(name).await, ["ConnectionCreated", "DeletionBlocked"], "{name}");
        let (kind, _, note) = world.events(name).await.remove(1);
        assert!(kind == "Warning" && note.contains(WAY_OUT), "{kind}: {note}");
    }
    // A second try tells nothing new.
    world.request_reconcile("payments").await;
    assert_eq!(world.count_events("payments", "DeletionBlocked").await, 1);
    world.kms.detach(&world.row("payments").id);
    trigger(&world, "payments").await;
    world.until_gone("payments").await;
    assert!(world.kms.connection("payments").is_none());
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "ConnectionDeleted", "DeletionBlocked"]);

    retain(&world, "billing").await;
    lets_go_of(&world, "billing").await;
    assert_eq!(world.told("billing").await, ["ConnectionCreated", "ConnectionRetained", "DeletionBlocked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_connection_stays_without_the_mark() {
    let world = World::start().await;
    world.secret(SECRET, crate::harness::EMAIL, TOKEN).await;
    world.instance().await;
    let table = [("plain", json!({})), ("described", json!({"description": "Payments"}))];
    for (name, change) in &table {
        world.connection(name).change(json!({"deletionPolicy": "Retain"})).change(change.clone()).apply().await;
        world.ready(name).await;
        world.kms.clear_journal();
        world.delete(name).await;
        lets_go_of(&world, name).await;
        let sent: Vec<_> = world.kms.matching(&Match::writes()).into_iter().filter_map(|entry| entry.json).collect();
        assert_eq!(sent, [json!({"description": change.get("description")})]);
        assert_eq!(world.told(name).await, ["ConnectionCreated", "ConnectionRetained"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retain_lets_go_even_if_the_mark_must_stay() {
    let world = World::start().await;
    world.ready_connection("down").await;
    // What keeps the mark from being removed
    let table: [(&str, Harm); 3] = [
        ("refused", |world| world.kms.deny("edit")),
        ("broken", |world| world.kms.fail_when(Match::op(Operation::Update), Fault::status(500))),
        ("down", |world| world.kms.down()),
    ];
    for (name, _) in &table {
        world.connection(name).change(json!({"deletionPolicy": "Retain"})).apply().await;
        world.ready(name).await;
    }
    for (name, harm) in table {
        harm(&world);
        world.delete(name).await;
        world.until_gone(name).await;
        let note = world.until_event(name, "ConnectionRetained").await;
        assert!(note.contains("still bears the mark"), "{name}: {note}");
        world.kms.heal();
        world.kms.allow("edit");
        assert!(world.row(name).description.is_some_and(|text| text.contains("[k8s:")), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_waits_for_the_kms_and_ends_by_itself() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    // One that a person would have to look after, too: the deletion doesn't care.
    world.issue("other@example.com", "ATATT3x-revoked");
    world.secret("revoked", "other@example.com", "ATATT3x-revoked").await;
    world.connection("revoked").secret("revoked").apply().await;
    world.ready("revoked").await;
    world.bitbucket.set("ATATT3x-revoked", State::Revoked);
    world.request_reconcile("revoked").await;
    world.not_ready("revoked", "CredentialsRejected").await;

    world.kms.down();
    for name in ["payments", "revoked"] {
        world.delete(name).await;
    }
    for name in ["payments", "revoked"] {
        let bbc = world.until_reason(name, "Synced", "KmsUnavailable").await;
        assert_condition(&bbc, "Synced", "Unknown", "KmsUnavailable", &["503", WAY_OUT]);
        assert_eq!(kstatus(&bbc), Kstatus::Terminating);
        assert_eq!(world.count_events(name, "DeletionBlocked").await, 0, "an outage passes by itself");
    }
    world.kms.up();
    for name in ["payments", "revoked"] {
        world.until_gone(name).await;
        assert_eq!(world.count_events(name, "ConnectionDeleted").await, 1, "{name}");
    }
    assert!(world.kms.connections().is_empty());
}

/// Deletes an instance in use against its finalizer, as people in a hurry do.
async fn tear_away_instance(world: &World) {
    let held = |instance: &KmsInstance| instance.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty());
    world.until_instance("kms", "is held by a finalizer", held).await;
    world.delete_object::<KmsInstance>("kms").await;
    world.patch_object::<KmsInstance>("kms", json!({"metadata": {"finalizers": null}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_needs_neither_secret_nor_token_nor_instance() {
    // What is gone before the object is
    let table: [(&str, Loss); 4] = [
        ("the Secret", |world| Box::pin(world.delete_secret(SECRET))),
        ("the token", |world| {
            Box::pin(async {
                world.bitbucket.set(TOKEN, State::Revoked);
                world.request_reconcile("payments").await;
            })
        }),
        ("the instance", |world| Box::pin(tear_away_instance(world))),
        ("the instance's Secret", |world| Box::pin(world.delete_secret("kms-credentials"))),
    ];
    let reasons = ["SecretNotFound", "CredentialsRejected", "KmsRefNotFound", "KmsInstanceNotReady"];
    let rows = table.into_iter().zip(reasons).map(|((what, lose), reason)| async move {
        let world = World::start().await;
        world.ready_connection("payments").await;
        lose(&world).await;
        let bbc = world.not_ready("payments", reason).await;
        let expected = if reason == "CredentialsRejected" { Kstatus::Failed } else { Kstatus::InProgress };
        assert_eq!(kstatus(&bbc), expected, "{what}");
        assert_eq!(world.kms.connections().len(), 1, "{what}: what is in the KMS stays");
        world.delete("payments").await;
        world.until_gone("payments").await;
        assert!(world.kms.connections().is_empty(), "{what}");
        assert_eq!(world.count_events("payments", "ConnectionDeleted").await, 1, "{what}");
    });
    futures::future::join_all(rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_way_to_the_kms_the_way_out_is_told() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    tear_away_instance(&world).await;
    world.not_ready("payments", "KmsRefNotFound").await;
    // With the process goes the session.
    world.restart().await;
    world.delete("payments").await;
    let bbc = world.not_ready("payments", "DeletionBlocked").await;
    assert_condition(&bbc, "Synced", "False", "DeletionBlocked", &["KmsInstance/kms", "Create it again", WAY_OUT]);
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "DeletionBlocked"]);
    assert_eq!(world.kms.connections().len(), 1);
    world.instance().await;
    world.until_gone("payments").await;
    assert!(world.kms.connections().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_out_of_a_blocked_deletion_opens_at_once() {
    let world = World::start().await;
    world.secret(SECRET, crate::harness::EMAIL, TOKEN).await;
    world.instance().await;
    // What blocks it, what Synced says then, and whether the KMS can take the mark off all the same.
    let causes: [(&str, Block, &str, bool); 4] = [
        ("in-use", |world, name| world.kms.attach(&world.row(name).id), "DeletionBlocked", true),
        ("refused", |world, _| world.kms.deny("delete"), "DeletionBlocked", true),
        (
            "denied",
            |world, _| ["delete", "edit"].iter().for_each(|action| world.kms.deny(action)),
            "DeletionBlocked",
            false,
        ),
        ("down", |world, _| world.kms.down(), "KmsUnavailable", false),
    ];
    let ways = [
        ("retain", json!({"deletionPolicy": "Retain"})),
        ("observe", json!({"managementPolicy": "Observe"})),
        ("suspended", json!({"managementPolicy": "Suspended"})),
    ];
    for (cause, block, reason, writable) in causes {
        for (way, change) in &ways {
            let name = format!("{cause}-{way}");
            world.connection(&name).apply().await;
            world.ready(&name).await;
            block(&world, &name);
            world.delete(&name).await;
            let bbc = world.until_reason(&name, "Synced", reason).await;
            assert!(condition(&bbc, "Synced").2.contains(WAY_OUT), "{name}");
            let row = world.row(&name);
            world.kms.clear_journal();
            world.patch(&name, json!({"spec": change})).await;
            world.until_gone(&name).await;
            let unmarked = *way == "retain" && writable;
            let note = world.until_event(&name, "ConnectionRetained").await;
            assert_eq!(note.contains("without the mark"), unmarked, "{name}: {note}");
            assert_eq!(world.row(&name).description.is_none(), unmarked, "{name}");
            if *way != "retain" {
                assert_eq!((world.kms.writes(), world.row(&name)), (0, row), "{name}: it is left as it is");
            }
            world.kms.heal();
            ["delete", "edit"].iter().for_each(|action| world.kms.allow(action));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_instance_retain_lets_go_without_a_call() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    tear_away_instance(&world).await;
    world.restart().await;
    world.delete("payments").await;
    world.not_ready("payments", "DeletionBlocked").await;
    world.kms.clear_journal();
    retain(&world, "payments").await;
    world.until_gone("payments").await;
    assert!(world.until_event("payments", "ConnectionRetained").await.contains("still bears the mark"));
    assert!(world.kms.journal().is_empty());
    assert!(world.row("payments").description.is_some_and(|text| text.contains("[k8s:")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_or_not_ours_is_not_deleted() {
    let world = World::start().await;
    world.ready_connection("gone").await;
    for name in ["unmarked", "anothers", "statusless"] {
        world.connection(name).apply().await;
        world.ready(name).await;
    }
    // Deleted by hand before: fine.
    world.kms.remove(&world.row("gone").id);
    // The mark is gone, or another's.
    world.kms.edit(&world.row("unmarked").id, |row| row.description = Some("Mine now".to_owned()));
    world.kms.edit(&world.row("anothers").id, |row| row.description = Some("[k8s:0123456789abcdef:c]".to_owned()));
    let theirs = [world.row("anothers"), world.row("unmarked")];
    // Without a status it is found by its mark. The status is taken while the deletion can't go on.
    world.kms.down();
    world.delete("statusless").await;
    world.until_reason("statusless", "Synced", "KmsUnavailable").await;
    let api = world.api::<BitbucketConnection>();
    let wiped = api.patch_status("statusless", &PatchParams::default(), &Patch::Merge(json!({"status": null}))).await;
    wiped.expect("a status that can be taken away");
    let bbc = world.until_reason("statusless", "Synced", "KmsUnavailable").await;
    assert!(bbc.status.is_some_and(|status| status.connection.is_none()));
    world.kms.up();
    world.until_gone("statusless").await;
    assert!(world.kms.connection("statusless").is_none());
    assert_eq!(world.count_events("statusless", "ConnectionDeleted").await, 1);

    for name in ["gone", "unmarked", "anothers"] {
        world.delete(name).await;
        world.until_gone(name).await;
    }
    assert_eq!(world.kms.connections(), theirs);
    for name in ["unmarked", "anothers"] {
        let expected = ["ConnectionCreated", "OwnershipMarkMissing"];
        assert_eq!(world.told(name).await, expected, "{name}");
        assert!(world.until_event(name, "OwnershipMarkMissing").await.contains("left alone"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_during_the_creation_leaves_nothing_behind() {
    let world = World::start().await;
    world.secret(SECRET, crate::harness::EMAIL, TOKEN).await;
    world.instance().await;
    // The request took effect, or didn't, when the object is deleted; its answer never comes.
    for (name, fault) in [("made", Fault::HangAnswer), ("lost", Fault::Hang)] {
        let create = Match::op(Operation::Create).containing(&format!("\"name\":\"{name}\""));
        world.kms.fail_when(create.clone().times(1), fault);
        world.connection(name).apply().await;
        in_time("the KMS is written to", world.kms.answered(&create, 1)).await;
        world.delete(name).await;
        assert!(world.get(name).await.metadata.deletion_timestamp.is_some(), "the finalizer holds it");
        world.kms.heal();
        world.until_gone(name).await;
        assert!(world.kms.connection(name).is_none(), "{name}");
    }
}
