//! What somebody changes in the KMS is put back and told; where nothing changed, nothing is done.

use bitbucket_connection_operator::api::{BitbucketConnection, KmsInstance};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use sim::{Caller, Connection, Match};

use crate::harness::{EMAIL, PAUSE, SECRET, TOKEN, World, Write, assert_condition, in_time};

/// How often a connection is looked at to see what that doesn't write.
const LOOKS: usize = 6;

type Edit = Box<dyn Fn(&mut Connection)>;

const CORRECTIONS: &str = "bitbucket_connection_operator_drift_corrections_total";
const PASSES: &str = "bitbucket_connection_operator_reconciles_total";

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_is_put_back_and_told_once() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("payments").change(json!({"description": "Payments"})).apply().await;
    world.ready("payments").await;
    let row = world.row("payments");
    let credentials = json!({"email": EMAIL, "apiToken": TOKEN});
    let described = row.description.clone().expect("a description");
    let text = described.replace("Payments", "Mine");
    let edit = |edit: fn(&mut Connection)| -> Edit { Box::new(edit) };
    // What somebody did → the fields that the event names, the body of the PATCH
    let table: [(Edit, &str, Value); 6] = [
        (edit(|row| row.name = "other".to_owned()), "name", json!({"name": "payments"})),
        (Box::new(move |row| row.description = Some(text.clone())), "description", json!({"description": described})),
        (
            edit(|row| row.write_credentials(EMAIL, "ATATT3x-of-somebody")),
            "credentials",
            json!({"credentials": credentials}),
        ),
        (
            edit(|row| row.write_credentials("somebody@example.com", TOKEN)),
            "credentials",
            json!({"credentials": credentials}),
        ),
        (edit(|row| row.write_credentials(EMAIL, TOKEN)), "credentials", json!({"credentials": credentials})),
        (
            edit(|row| {
                row.description = row.description.as_ref().map(|text| format!("Mine {text}"));
                row.write_credentials(EMAIL, "ATATT3x-of-somebody");
            }),
            "description, credentials",
            json!({"description": row.description, "credentials": credentials}),
        ),
    ];
    for (at, (edit, fields, body)) in table.iter().enumerate() {
        world.kms.edit(&row.id, edit);
        world.kms.clear_journal();
        let bbc = world.request_reconcile("payments").await;
        assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
        let sent: Vec<_> = world.kms.matching(&Match::writes()).into_iter().filter_map(|entry| entry.json).collect();
        assert_eq!(sent, std::slice::from_ref(body), "{fields}");
        let now = world.row("payments");
        assert_eq!((&now.id, &now.name, &now.description), (&row.id, &row.name, &row.description), "{fields}");
        assert_eq!((now.email.as_str(), now.api_token.as_str()), (EMAIL, TOKEN), "{fields}");
        let notes: Vec<_> =
            world.events("payments").await.into_iter().filter(|(_, reason, _)| reason == "DriftCorrected").collect();
        assert_eq!(notes.len(), at + 1, "{fields}");
        let said = |note: &str| note.contains("Somebody") && note.ends_with(&format!("put back: {fields}."));
        assert!(notes.iter().any(|(kind, _, note)| kind == "Normal" && said(note)), "{fields}: {notes:?}");
        let corrected = world.metrics().await.value(CORRECTIONS, &[]);
        assert_eq!(corrected, Some(f64::from(u8::try_from(at).expect("a few") + 1)));
    }
    // All is well now: another look says nothing more.
    world.kms.clear_journal();
    world.request_reconcile("payments").await;
    assert_eq!(world.kms.writes(), 0);
    assert_eq!(world.count_events("payments", "DriftCorrected").await, table.len());
    assert_eq!(world.events("payments").await.len(), table.len() + 1, "besides that it was created");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_deleted_is_made_again() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    let old = world.row("payments");
    world.kms.remove(&old.id);
    let bbc = world.request_reconcile("payments").await;
    let new = world.row("payments");
    assert_ne!(new.id, old.id);
    assert_eq!((new.description, new.api_token.as_str()), (old.description, TOKEN));
    assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
    assert_eq!(bbc.status.and_then(|status| status.connection).map(|connection| connection.id), Some(new.id));
    let note = world.until_event("payments", "DriftCorrected").await;
    assert!(note.contains("deleted") && note.contains("pointed to the new one"), "{note}");
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "DriftCorrected"]);
    assert_eq!(world.metrics().await.value(CORRECTIONS, &[]), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_hashes_shows_no_drift_where_there_is_none() {
    let world = World::start().await;
    world.kms.hide_credentials_hash(true);
    let bbc = world.ready_connection("payments").await;
    assert_eq!(
        bbc.status.and_then(|status| status.connection).and_then(|connection| connection.credentials_hash),
        None
    );
    world.request_reconcile("payments").await;
    // The server learns hashes by an upgrade: nobody wrote anything.
    world.kms.hide_credentials_hash(false);
    world.request_reconcile("payments").await;
    assert_eq!(world.kms.writes(), 1);
    assert_eq!(world.told("payments").await, ["ConnectionCreated"]);
}

/// The instance counts its connections a moment after the first has come, and writes that down.
async fn until_counted(world: &World) {
    let counted = |instance: &KmsInstance| instance.status.as_ref().is_some_and(|status| status.connections == Some(1));
    world.until_instance("kms", "counts its connection", counted).await;
    let held = |instance: &KmsInstance| instance.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty());
    world.until_instance("kms", "is held by it", held).await;
    world.api_writes_until(|all| all.iter().any(|write| write.resource == "bitbucketconnections/status")).await;
}

/// What was written, but to instances: their writes are noted a moment after a watch has shown them.
fn but_to_instances(all: &[Write]) -> Vec<String> {
    let others = all.iter().filter(|write| !write.resource.starts_with("kmsinstances"));
    others.map(|write| write.resource.clone()).collect()
}

/// Parts of a status that a look without findings leaves as they are.
fn lasting(bbc: &BitbucketConnection) -> Value {
    let mut status = serde_json::to_value(&bbc.status).expect("a status");
    for time in ["lastVerifiedTime", "nextVerificationTime", "lastHandledReconcileAt"] {
        status.as_object_mut().expect("an object").remove(time);
    }
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_changed_nothing_is_written() {
    let world = World::start().await;
    let before = world.ready_connection("payments").await;
    until_counted(&world).await;
    let row = world.row("payments");
    world.kms.clear_journal();
    world.bitbucket.clear_journal();
    let earlier = world.api_writes();
    let writes = but_to_instances(&earlier).len();
    let after = world.request_reconcile("payments").await;
    assert_eq!(lasting(&before), lasting(&after));
    assert_eq!((world.kms.writes(), world.kms.lists(), world.kms.gets(), world.kms.logins()), (0, 1, 0, 0));
    assert_eq!(world.bitbucket.calls_by(Caller::Operator), 1);
    assert_eq!(world.row("payments"), row);
    let written = world.api_writes_until(|all| but_to_instances(all).len() > writes).await;
    assert_eq!(
        but_to_instances(&written)[writes..],
        ["bitbucketconnections/status"],
        "the answer to the trigger, in one write"
    );
    // Nor does a look at the connection write to its instance, whose two latest writes may have been noted since.
    let to_instances = |all: &[Write]| all.len() - but_to_instances(all).len();
    let before = to_instances(&earlier);
    for _ in 0..LOOKS {
        world.request_reconcile("payments").await;
    }
    let all = world.api_writes_until(|all| but_to_instances(all).len() > writes + LOOKS).await;
    assert!(to_instances(&all) <= before + 2, "{all:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn touching_without_changing_costs_no_call() {
    let world = World::start().await;
    let before = world.ready_connection("payments").await;
    let passes = async || world.metrics().await.value(PASSES, &[]).unwrap_or_default();
    until_counted(&world).await;
    world.kms.clear_journal();
    world.bitbucket.clear_journal();
    let (writes, already) = (but_to_instances(&world.api_writes()).len(), passes().await);

    // The same YAML, and labels on the object: not even a pass.
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("payments").apply().await;
    world.connection("payments").metadata(json!({"labels": {"team": "a"}})).apply().await;
    // Labels and other keys on the Secret: a look at it, which finds that it says the same.
    world.patch_object::<Secret>(SECRET, json!({"metadata": {"labels": {"team": "a"}}})).await;
    world.patch_object::<Secret>(SECRET, json!({"stringData": {"note": "for people"}})).await;
    let looked = async {
        while passes().await <= already {
            tokio::time::sleep(PAUSE).await;
        }
    };
    in_time("the operator looks at the Secret", looked).await;
    // A pass over the same object comes after those that were asked for before.
    world.request_reconcile("payments").await;
    assert_eq!(world.kms.journal().len(), 1, "the list that was requested");
    assert_eq!(world.bitbucket.journal().len(), 1, "the question that was requested");
    let written = world.api_writes_until(|all| but_to_instances(all).len() > writes).await;
    assert_eq!(but_to_instances(&written)[writes..], ["bitbucketconnections/status"], "the answer to the trigger");
    assert_eq!(lasting(&before), lasting(&world.get("payments").await));
    assert_eq!(world.told("payments").await, ["ConnectionCreated"]);
}
