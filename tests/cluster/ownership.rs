//! Only a connection with the mark of its object is touched; whose is told.

use bitbucket_connection_operator::api::BitbucketConnection;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sim::{Connection, Kms, Match};

use crate::harness::{
    CLIENT_ID, CLIENT_SECRET, EMAIL, Kstatus, PROJECT, SECRET, TOKEN, World, assert_condition, condition, kstatus,
};

const NEXT: &str = "ATATT3xFfGF0-canary-of-the-next-token";
const ANOTHER: &str = "[k8s:0123456789abcdef:c]";

fn mark(row: &Connection) -> String {
    let description = row.description.as_deref().unwrap_or_default();
    description[description.rfind("[k8s:").expect("a mark")..].to_owned()
}

/// Takes the status away, as `kubectl patch --subresource status` can.
async fn wipe_status(world: &World, name: &str) {
    let api = world.api::<BitbucketConnection>();
    let wiped = api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": null}))).await;
    wiped.expect("a status that can be taken away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_our_mark_is_left_alone_until_it_bears_it_again() {
    let world = World::start().await;
    world.issue(EMAIL, NEXT);
    world.ready_connection("payments").await;
    let ours = world.row("payments");
    // Description → reason, words
    let table: [(Option<String>, &str, String); 4] = [
        (Some("Taken over by hand".to_owned()), "OwnershipMarkMissing", mark(&ours)),
        (None, "OwnershipMarkMissing", mark(&ours)),
        (Some(format!("{} moved", mark(&ours))), "OwnershipMarkMissing", mark(&ours)),
        (Some(format!("Theirs {ANOTHER}")), "OwnedByAnother", "delete this object".to_owned()),
    ];
    for (at, (description, reason, words)) in table.into_iter().enumerate() {
        world.kms.edit(&ours.id, |row| row.description.clone_from(&description));
        let theirs = world.kms.connections().remove(0);
        world.kms.clear_journal();
        world.request_reconcile("payments").await;
        let bbc = world.not_ready("payments", reason).await;
        assert_condition(&bbc, "Synced", "False", reason, &[&words]);
        assert_eq!(kstatus(&bbc), Kstatus::Failed);
        assert_eq!(bbc.status.and_then(|status| status.connection).map(|it| it.id), Some(ours.id.clone()));

        // Whatever else changes: hands off.
        let (renamed, token) = if at % 2 == 0 { (json!("other"), NEXT) } else { (json!(null), TOKEN) };
        world.patch("payments", json!({"spec": {"connectionName": renamed, "description": "Ours"}})).await;
        world.not_ready("payments", reason).await;
        world.secret(SECRET, EMAIL, token).await;
        world.request_reconcile("payments").await;
        assert_eq!(world.kms.writes(), 0, "{description:?}");
        assert_eq!(world.kms.connections(), [theirs], "{description:?}");

        let told = if reason == "OwnershipMarkMissing" { at + 1 } else { 0 };
        assert!(world.count_events("payments", reason).await <= told, "{description:?}");
        world.kms.edit(&ours.id, |row| row.description = Some(format!("Back {}", mark(&ours))));
        world.request_reconcile("payments").await;
        let bbc = world.ready("payments").await;
        assert_condition(&bbc, "Synced", "True", "InSync", &[]);
        let row = world.kms.connections().remove(0);
        assert_eq!((row.id.as_str(), row.api_token.as_str()), (ours.id.as_str(), token), "what was held back is done");
        assert_eq!(row.description.as_deref(), Some(format!("Ours {}", mark(&ours)).as_str()));
    }
    assert!(world.count_events("payments", "OwnershipMarkMissing").await >= 1);
    assert!(world.count_events("payments", "Recovered").await >= 2, "one for each reason at least");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_somebody_elses_is_not_taken() {
    let world = World::start().await;
    let rows = [
        Connection::new("payments").project(PROJECT).description("Made by hand"),
        Connection::new("marked").project(PROJECT).description(&format!("Theirs {ANOTHER}")),
        Connection::new("github").project(PROJECT).app("github"),
        Connection::new("hidden").project(PROJECT),
    ];
    let ids = rows.map(|row| (row.name.clone(), world.kms.insert(row)));
    world.kms.hide(&ids[3].1);
    // A name is taken in its own scope alone.
    world.kms.insert(Connection::new("elsewhere"));
    let theirs = world.kms.connections();
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("elsewhere").apply().await;
    for (name, _) in &ids {
        world.connection(name).apply().await;
    }
    world.ready("elsewhere").await;
    for (name, _) in &ids {
        let bbc = world.not_ready(name, "NameConflict").await;
        let words = [name.as_str(), PROJECT, "spec.connectionName", "delete or rename"];
        assert_condition(&bbc, "Synced", "False", "NameConflict", &words);
        assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
        assert_eq!(kstatus(&bbc), Kstatus::Failed, "{name}");
        assert!(bbc.status.is_some_and(|status| status.connection.is_none()), "{name}");
        assert_eq!(world.told(name).await, ["NameConflict"], "{name}");
    }
    let untouched = |world: &World| theirs.iter().all(|row| world.kms.connections().contains(row));
    assert!(untouched(&world));
    assert_eq!(world.kms.count(&Match::op(sim::Operation::Update)), 0);

    // Out of it by another name, by the other's end, or not at all.
    world.patch("payments", json!({"spec": {"connectionName": "payments-2"}})).await;
    world.ready("payments").await;
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "NameConflict", "Recovered"]);
    world.delete("github").await;
    world.until_gone("github").await;
    assert_eq!(world.told("github").await, ["NameConflict"], "nothing was deleted in the KMS");
    assert!(untouched(&world));
    world.kms.remove(&ids[1].1);
    world.request_reconcile("marked").await;
    world.ready("marked").await;
    assert_eq!(world.told("marked").await, ["ConnectionCreated", "NameConflict", "Recovered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_objects_that_want_one_name_the_second_waits() {
    let world = World::start().await;
    world.ready_connection("first").await;
    let wanted = json!({"connectionName": "first"});
    for (name, change) in
        [("second", wanted.clone()), ("third", json!({"adoptionPolicy": "Adopt", "connectionName": "first"}))]
    {
        world.connection(name).change(change).apply().await;
        let bbc = world.not_ready(name, "NameConflict").await;
        assert_condition(&bbc, "Synced", "False", "NameConflict", &["first", "spec.connectionName"]);
        assert!(!condition(&bbc, "Synced").2.contains("adoptionPolicy"), "what bears a mark can't be taken over");
    }
    let row = world.row("first");
    assert_eq!(world.kms.connections(), [row]);

    // The name is free once the first gives it up, or is gone.
    world.patch("first", json!({"spec": {"connectionName": "renamed"}})).await;
    world.ready("first").await;
    world.request_reconcile("second").await;
    world.ready("second").await;
    world.request_reconcile("third").await;
    world.not_ready("third", "NameConflict").await;
    world.delete("second").await;
    world.until_gone("second").await;
    world.request_reconcile("third").await;
    world.ready("third").await;
    assert_eq!(world.told("third").await, ["ConnectionCreated", "NameConflict", "Recovered"]);
    assert_eq!(world.kms.connections().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_swapped_by_way_of_a_third() {
    let world = World::start().await;
    let names = ["one", "two"];
    for name in names {
        world.ready_connection(name).await;
    }
    let ids = names.map(|name| world.row(name).id);
    let rename = async |object: &str, to: &str| {
        world.patch(object, json!({"spec": {"connectionName": to}})).await;
    };
    rename("one", "two").await;
    rename("two", "one").await;
    for name in names {
        world.not_ready(name, "NameConflict").await;
    }
    assert_eq!(names.map(|name| world.row(name).id), ids, "each keeps what it has");
    rename("one", "three").await;
    world.ready("one").await;
    world.request_reconcile("two").await;
    world.ready("two").await;
    rename("one", "two").await;
    world.ready("one").await;
    assert_eq!(["two", "one"].map(|name| world.row(name).id), ids);
    assert_eq!(world.kms.connections().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_with_our_mark_none_is_touched() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    let ours = world.row("payments");
    let copy = Connection::new("copy").project(PROJECT).description(ours.description.as_deref().unwrap_or_default());
    let copy = world.kms.insert(copy);
    // As long as the status names one of them, that one is ours.
    let bbc = world.request_reconcile("payments").await;
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);
    let rows = world.kms.connections();
    world.kms.clear_journal();
    wipe_status(&world, "payments").await;
    let bbc = world.not_ready("payments", "OwnershipAmbiguous").await;
    assert_condition(&bbc, "Synced", "False", "OwnershipAmbiguous", &[&mark(&ours), "remove the mark"]);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    assert_eq!((world.kms.writes(), world.kms.connections()), (0, rows));

    // Nor when the object is deleted: that is told, with the way out.
    world.delete("payments").await;
    let bbc = world.until_reason("payments", "Synced", "DeletionBlocked").await;
    assert_condition(&bbc, "Synced", "False", "DeletionBlocked", &["mark", "deletionPolicy: Retain"]);
    assert_eq!(world.kms.connections().len(), 2);
    world.kms.edit(&copy, |row| row.description = None);
    world
        .patch(
            "payments",
            json!({"metadata": {"annotations": {
                bitbucket_connection_operator::api::RECONCILE_REQUESTED_AT: "now",
            }}}),
        )
        .await;
    world.until_gone("payments").await;
    assert_eq!(world.kms.connections().into_iter().map(|row| row.id).collect::<Vec<_>>(), [copy]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_status_is_found_again_by_the_mark() {
    let world = World::start().await;
    let before = world.ready_connection("payments").await;
    let ours = world.row("payments");
    wipe_status(&world, "payments").await;
    let after = world.ready("payments").await;
    let of = |bbc: BitbucketConnection| bbc.status.and_then(|status| status.connection).expect("a connection");
    let (before, after) = (of(before), of(after));
    assert_eq!((before.id, before.name, before.origin), (after.id, after.name, after.origin));
    assert_eq!(world.row("payments").id, ours.id);
    assert_eq!(world.kms.connections().len(), 1);
    assert_eq!(world.told("payments").await, ["ConnectionCreated"], "it was told already");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_kms_behind_the_instance_is_not_written_to() {
    let world = World::start().await;
    world.issue(EMAIL, NEXT);
    world.ready_connection("payments").await;
    let other = Kms::start(&world.bitbucket).await;
    other.add_identity(CLIENT_ID, CLIENT_SECRET);
    other.add_project(PROJECT);
    let old = world.kms.url();
    world.instance_with(json!({"host": other.url()})).await;
    let bbc = world.not_ready("payments", "KmsChanged").await;
    let way_back = format!("Set spec.host of the instance back to {old}");
    assert_condition(&bbc, "Synced", "False", "KmsChanged", &["Nothing was written", &way_back]);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    let host =
        |bbc: &BitbucketConnection| bbc.status.as_ref().and_then(|it| it.connection.as_ref()).map(|it| it.host.clone());
    assert_eq!(host(&bbc), Some(old.clone()), "where it still is");
    world.secret(SECRET, EMAIL, NEXT).await;
    world.request_reconcile("payments").await;
    world.not_ready("payments", "KmsChanged").await;
    assert_eq!((other.writes(), other.connections().len()), (0, 0));

    world.instance().await;
    let bbc = world.ready("payments").await;
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);
    assert_eq!(world.row("payments").api_token, NEXT, "what was held back is done");
    assert_eq!(host(&bbc), Some(old));
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "CredentialsRotated", "Recovered"]);

    // The same KMS under another name: the connection is there, and its place is noted.
    let row = world.row("payments");
    other.insert(row.clone());
    world.kms.remove(&row.id);
    world.instance_with(json!({"host": other.url()})).await;
    world.until("payments", "is at the new host", |bbc| host(bbc) == Some(other.url())).await;
    world.ready("payments").await;
    assert_eq!((other.writes(), other.connections()), (0, vec![row]));
}
