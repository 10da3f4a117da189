//! Connections that were there before are taken over where somebody asks for it, and given back.

use bitbucket_connection_operator::api::BitbucketConnection;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sim::{Connection, Match, Operation};

use crate::harness::{EMAIL, Kstatus, PROJECT, SECRET, TOKEN, World, assert_condition, condition, kstatus};

const BY_HAND: &str = "Made by hand";

/// A world with Secret and instance, and connections that somebody made by hand.
async fn world_with(names: &[&str]) -> World {
    let world = World::start().await;
    by_hand(&world, names);
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world
}

fn by_hand(world: &World, names: &[&str]) {
    for name in names {
        world.kms.insert(Connection::new(name).project(PROJECT).description(BY_HAND));
    }
}

fn adopt() -> Value {
    json!({"adoptionPolicy": "Adopt"})
}

fn origin(bbc: &BitbucketConnection) -> Option<&str> {
    bbc.status.as_ref()?.connection.as_ref().map(|it| it.origin.as_str())
}

fn text(row: &Connection) -> &str {
    row.description.as_deref().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_taken_over_on_request_and_given_back() {
    let world = world_with(&["payments"]).await;
    let theirs = world.row("payments");
    // Nobody asked for it.
    for change in [json!({}), json!({"adoptionPolicy": "Never"})] {
        world.connection("payments").change(change).apply().await;
        let bbc = world.not_ready("payments", "NameConflict").await;
        assert_condition(&bbc, "Synced", "False", "NameConflict", &["set spec.adoptionPolicy: Adopt"]);
        assert_eq!(world.kms.connections(), std::slice::from_ref(&theirs));
    }
    world.connection("payments").change(adopt()).apply().await;
    let bbc = world.ready("payments").await;
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);
    assert_eq!(origin(&bbc), Some("Adopted"));
    let row = world.row("payments");
    assert_eq!((&row.id, row.email.as_str(), row.api_token.as_str()), (&theirs.id, EMAIL, TOKEN));
    let mark = text(&row).strip_prefix("Made by hand ").expect("its text").to_owned();
    assert!(mark.starts_with("[k8s:") && mark.ends_with(":a]"), "{mark}");
    assert_eq!(world.told("payments").await, ["ConnectionAdopted", "NameConflict", "Recovered"]);

    // Its text is its own business until the spec has one; then it isn't.
    world.kms.edit(&row.id, |row| row.description = Some(format!("Changed by hand {mark}")));
    world.kms.clear_journal();
    world.request_reconcile("payments").await;
    assert_eq!((world.kms.writes(), world.told("payments").await.len()), (0, 3));
    world.patch("payments", json!({"spec": {"description": "Ours"}})).await;
    world.ready("payments").await;
    assert_eq!(text(&world.row("payments")), format!("Ours {mark}"));
    world.patch("payments", json!({"spec": {"description": null}})).await;
    world.ready("payments").await;
    assert_eq!(text(&world.row("payments")), format!("Ours {mark}"));

    // It was there before, so it stays.
    world.delete("payments").await;
    world.until_gone("payments").await;
    let left = world.row("payments");
    assert_eq!((&left.id, text(&left), left.api_token.as_str()), (&theirs.id, "Ours", TOKEN));
    assert_eq!(world.count_events("payments", "ConnectionRetained").await, 1);

    // And can be taken over again; this time for good.
    world.connection("payments").change(adopt()).change(json!({"deletionPolicy": "Delete"})).apply().await;
    let bbc = world.ready("payments").await;
    assert_eq!((origin(&bbc), world.row("payments").id), (Some("Adopted"), theirs.id));
    world.delete("payments").await;
    world.until_gone("payments").await;
    assert_eq!(world.kms.connections(), []);
    assert_eq!(world.count_events("payments", "ConnectionDeleted").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_good_token_takes_a_connection_over() {
    let world = world_with(&["payments"]).await;
    let theirs = world.row("payments");
    world.secret(SECRET, EMAIL, "ATATT3x-that-nobody-issued").await;
    world.connection("payments").change(adopt()).apply().await;
    let bbc = world.not_ready("payments", "CredentialsRejected").await;
    assert_eq!(bbc.metadata.finalizers, None);
    assert_eq!(world.kms.connections(), std::slice::from_ref(&theirs));
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.ready("payments").await;
    assert_eq!(world.row("payments").id, theirs.id);
    assert_eq!(world.kms.count(&Match::op(Operation::Create)), 0, "it was on the list");
    // A status that is lost leads back to it, and to what it was.
    let wiped = Patch::Merge(json!({"status": null}));
    let api = world.api::<BitbucketConnection>();
    api.patch_status("payments", &PatchParams::default(), &wiped).await.expect("a status that can be taken away");
    let bbc = world.ready("payments").await;
    assert_eq!((origin(&bbc), world.kms.connections().len()), (Some("Adopted"), 1));
    assert_eq!(world.count_events("payments", "ConnectionAdopted").await, 1);
    assert_eq!(world.count_events("payments", "ConnectionCreated").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_marked_hidden_or_of_another_app_is_not_taken_over() {
    let world = world_with(&[]).await;
    let rows = [
        Connection::new("marked").project(PROJECT).description("Theirs [k8s:0123456789abcdef:c]"),
        Connection::new("adopted").project(PROJECT).description("Theirs [k8s:0123456789abcdef:a]"),
        Connection::new("github").project(PROJECT).app("github"),
        Connection::new("hidden").project(PROJECT),
    ];
    let ids = rows.map(|row| (row.name.clone(), world.kms.insert(row)));
    world.kms.hide(&ids[3].1);
    // Of another scope: no connection of that name is in the project.
    world.kms.insert(Connection::new("elsewhere").description(BY_HAND));
    let theirs = world.kms.connections();
    for (name, _) in &ids {
        world.connection(name).change(adopt()).apply().await;
        let bbc = world.not_ready(name, "NameConflict").await;
        assert!(!condition(&bbc, "Synced").2.contains("adoptionPolicy"), "{name}: it is no way out");
    }
    assert_eq!(world.kms.connections(), theirs);
    world.connection("elsewhere").change(adopt()).apply().await;
    let bbc = world.ready("elsewhere").await;
    assert_eq!((origin(&bbc), world.kms.connections().len()), (Some("Created"), theirs.len() + 1));
    assert!(theirs.iter().all(|row| world.kms.connections().contains(row)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_taken_over_by_one_object_alone() {
    let world = world_with(&["shared"]).await;
    let theirs = world.row("shared");
    let shared = json!({"adoptionPolicy": "Adopt", "connectionName": "shared"});
    let names = ["one", "two", "three", "four"];
    futures::future::join_all(names.map(|name| world.connection(name).change(shared.clone()).apply())).await;
    let mut taken = Vec::new();
    for name in names {
        let judged =
            |bbc: &BitbucketConnection| ["Succeeded", "NameConflict"].contains(&condition(bbc, "Ready").1.as_str());
        let bbc = world.until(name, "is judged", judged).await;
        if condition(&bbc, "Ready").0 == "True" {
            taken.push(name);
        }
    }
    let [first] = taken[..] else { panic!("taken over by {taken:?}") };
    assert_eq!(world.kms.count(&Match::op(Operation::Update)), 1);
    let bbc = world.request_reconcile(first).await;
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);

    // It is free again once the first lets it go.
    world.delete(first).await;
    world.until_gone(first).await;
    let next = names.into_iter().find(|name| *name != first).expect("another");
    world.request_reconcile(next).await;
    let bbc = world.ready(next).await;
    assert_eq!((origin(&bbc), world.row("shared").id), (Some("Adopted"), theirs.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_leaves_no_room_for_the_mark_is_told() {
    let world = world_with(&["payments", "billing"]).await;
    for name in ["payments", "billing"] {
        world.kms.edit(&world.row(name).id, |row| row.description = Some("x".repeat(232)));
        world.connection(name).change(adopt()).apply().await;
        let bbc = world.not_ready(name, "DescriptionTooLong").await;
        let words = [name, "Set spec.description", "to 231 units"];
        assert_condition(&bbc, "Synced", "False", "DescriptionTooLong", &words);
        assert_eq!(kstatus(&bbc), Kstatus::Failed);
    }
    assert_eq!(world.kms.writes(), 0, "what the shared list doesn't know yet is seen all the same");
    world.kms.edit(&world.row("payments").id, |row| row.description = Some("x".repeat(231)));
    world.request_reconcile("payments").await;
    world.ready("payments").await;
    assert_eq!(text(&world.row("payments")).len(), 256);
    world.patch("billing", json!({"spec": {"description": "Short"}})).await;
    world.ready("billing").await;
    assert!(text(&world.row("billing")).starts_with("Short [k8s:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_the_cluster_must_grant_it() {
    let world = World::cluster_wide().await;
    by_hand(&world, &["payments"]);
    let grants = |adoption: bool| {
        let usual = json!({"namespaceSelector": {}, "projectIds": ["*"]});
        let special =
            json!({"namespaceSelector": {"matchLabels": {"team": "a"}}, "projectIds": [PROJECT], "adoption": adoption});
        json!({"grants": [usual, special]})
    };
    world.cluster_instance_with(grants(false)).await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let labels = Patch::Merge(json!({"metadata": {"labels": {"team": "a"}}}));
    let namespaces = world.cluster_api::<Namespace>();
    namespaces.patch(world.namespace(), &PatchParams::default(), &labels).await.expect("labels of a namespace");
    let theirs = world.row("payments");
    for name in ["payments", "new"] {
        world.connection(name).change(adopt()).apply().await;
    }
    // It matters only where there is something to take over.
    let bbc = world.ready("new").await;
    assert_eq!(origin(&bbc), Some("Created"));
    let bbc = world.not_ready("payments", "AdoptionNotAllowed").await;
    let words = ["ClusterKmsInstance/default", "adoption: true", "spec.connectionName"];
    assert_condition(&bbc, "Synced", "False", "AdoptionNotAllowed", &words);
    assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
    assert_eq!((kstatus(&bbc), world.row("payments")), (Kstatus::Failed, theirs.clone()));
    assert_eq!(bbc.metadata.finalizers, None, "nothing was written");

    // A grant is enough; nobody presses a button. Once taken over, it stays so.
    world.cluster_instance_with(grants(true)).await;
    let bbc = world.ready("payments").await;
    assert_eq!((origin(&bbc), world.row("payments").id), (Some("Adopted"), theirs.id));
    world.cluster_instance_with(grants(false)).await;
    let bbc = world.request_reconcile("payments").await;
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);
    assert_eq!(world.told("payments").await, ["ConnectionAdopted", "Recovered"]);
}
