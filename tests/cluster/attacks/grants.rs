//! What an instance of the cluster doesn't grant isn't done, whoever asks and however; and once it was granted, until it
//! is taken back.

use bitbucket_connection_operator::api::CONNECTION_FINALIZER;
use serde_json::json;
use sim::{Connection, Operation};

use super::{ANOTHER_PROJECT, grant, secret};
use crate::harness::{EMAIL, PROJECT, World, condition};

/// What the KMS was asked but for logins.
fn asked(world: &World) -> Vec<String> {
    let mut journal = world.kms.journal();
    journal.retain(|entry| entry.operation != Operation::Login);
    journal.iter().map(|entry| format!("{} {} {:?}", entry.method, entry.path, entry.query)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_not_stretched() {
    let world = World::cluster_wide().await;
    world.kms.add_project(ANOTHER_PROJECT);
    let (a, b) = (world.tenant("team-a").await, world.tenant("team-b").await);
    let here = json!({"projectIds": [PROJECT]});
    let there = json!({"projectIds": [ANOTHER_PROJECT], "organizationScope": true, "adoption": true});
    world.cluster_instance_with(json!({"grants": [grant(&a, here), grant(&b, there.clone())]})).await;
    // Another instance of the cluster, which is for team b alone.
    let secret_ref = json!({"universal": {"secretRef": {"name": "kms-credentials"}}});
    world
        .apply(json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "ClusterKmsInstance",
            "metadata": {"name": "private"},
            "spec": {
                "host": world.kms.url(), "namespace": world.namespace(), "auth": secret_ref,
                "grants": [grant(&b, there)],
            },
        }))
        .await;
    let by_hand = |name: &str| Connection::new(name).description("Syncs secrets elsewhere");
    world.kms.insert(by_hand("theirs").project(PROJECT));
    world.kms.insert(by_hand("theirs").project(ANOTHER_PROJECT));
    world.kms.insert(by_hand("theirs"));
    secret(&world, &a, "of-team-a").await;
    a.connection("granted").secret("of-team-a").apply().await;
    a.ready("granted").await;
    let rows = world.kms.connections();
    world.kms.clear_journal();

    let adopt = json!({"adoptionPolicy": "Adopt", "connectionName": "theirs"});
    // What is tried, and what Synced says of it
    let table = [
        ("project", json!({"projectId": ANOTHER_PROJECT}), "ProjectNotAllowed"),
        ("capitals", json!({"projectId": ANOTHER_PROJECT.to_uppercase()}), "ProjectNotAllowed"),
        ("organization", json!({"projectId": null, "organizationScope": true}), "ProjectNotAllowed"),
        ("looking", json!({"projectId": ANOTHER_PROJECT, "managementPolicy": "Observe"}), "ProjectNotAllowed"),
        (
            "instance",
            json!({"projectId": ANOTHER_PROJECT, "kmsRef": {"kind": "ClusterKmsInstance", "name": "private"}}),
            "KmsRefNotAllowed",
        ),
        ("adopting", adopt.clone(), "AdoptionNotAllowed"),
        (
            "adopting-there",
            json!({"projectId": ANOTHER_PROJECT, "adoptionPolicy": "Adopt", "connectionName": "theirs"}),
            "ProjectNotAllowed",
        ),
        (
            "adopting-all",
            json!({
                "projectId": null, "organizationScope": true, "adoptionPolicy": "Adopt", "connectionName": "theirs",
            }),
            "ProjectNotAllowed",
        ),
    ];
    for (name, change, _) in &table {
        a.connection(name).secret("of-team-a").change(change.clone()).apply().await;
    }
    for (name, _, reason) in &table {
        a.not_ready(name, reason).await;
        assert_eq!(a.get(name).await.metadata.finalizers, None, "{name}");
        assert_eq!(a.told(name).await, Vec::<String>::new(), "{name}");
    }
    let asked_of = asked(&world);
    assert!(!asked_of.iter().any(|request| request.contains(ANOTHER_PROJECT)), "{asked_of:#?}");
    // A list of the granted project shows what could be adopted there; without a project it would be of everything.
    let lists = |request: &String| request.starts_with("GET") && request.contains(PROJECT);
    assert!(asked_of.iter().all(lists), "{asked_of:#?}");

    // A finalizer of one's own has the mark looked for, and nothing else: there is none.
    let finalizer = json!({"finalizers": [CONNECTION_FINALIZER]});
    let forged = a.connection("forged").secret("of-team-a").metadata(finalizer);
    forged.change(json!({"projectId": ANOTHER_PROJECT, "connectionName": "theirs"})).apply().await;
    a.not_ready("forged", "ProjectNotAllowed").await;
    for (name, ..) in &table {
        a.delete(name).await;
        a.until_gone(name).await;
    }
    a.delete("forged").await;
    a.until_gone("forged").await;
    assert_eq!(a.told("forged").await, Vec::<String>::new());
    assert_eq!((world.kms.writes(), world.kms.connections()), (0, rows));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_taken_back_ends_writes_and_reads() {
    let world = World::cluster_wide().await;
    let a = world.tenant("team-a").await;
    world.cluster_instance_with(json!({"grants": [grant(&a, json!({"projectIds": ["*"]}))]})).await;
    for name in ["payments", "lost", "retained"] {
        secret(&world, &a, name).await;
        a.connection(name).secret(name).apply().await;
        a.ready(name).await;
    }
    let ids = ["payments", "lost", "retained"].map(|name| world.row(name).id);
    world.cluster_instance_with(json!({"grants": []})).await;
    let mut told = Vec::new();
    for name in ["payments", "lost", "retained"] {
        told.push(condition(&a.not_ready(name, "KmsRefNotAllowed").await, "Synced"));
    }
    // Whatever happens on either side.
    world.kms.edit(&ids[0], |row| row.name = "renamed-by-somebody".to_owned());
    world.kms.edit(&ids[1], |row| row.description = Some("Taken over by hand".to_owned()));
    let rows = world.kms.connections();
    world.kms.clear_journal();
    world.bitbucket.add(
        sim::Token::new(EMAIL, "ATATT3x-next").scopes(crate::harness::needed_by(&[
            bitbucket_connection_operator::domain::scopes::UseCase::SecretScanning,
        ])),
    );
    a.secret("payments", EMAIL, "ATATT3x-next").await;
    a.patch("payments", json!({"spec": {"connectionName": "other", "description": "Other"}})).await;
    a.patch("retained", json!({"spec": {"adoptionPolicy": "Adopt", "managementPolicy": "Observe"}})).await;
    for (name, told) in ["payments", "lost", "retained"].iter().zip(&told) {
        a.request_reconcile(name).await;
        let now = a.not_ready(name, "KmsRefNotAllowed").await;
        assert_eq!(condition(&now, "Synced"), *told, "{name}: the same words, whatever the KMS holds");
        assert_eq!(now.status.map(|status| status.plan), Some(Vec::new()), "{name}");
    }
    world.operator.kill().await;
    world.operator.start().await;
    a.request_reconcile("payments").await;
    assert_eq!((asked(&world), world.kms.connections()), (vec![], rows));

    // What is its own can still be cleaned up, and nothing else.
    a.patch("retained", json!({"spec": {"managementPolicy": "Full", "deletionPolicy": "Retain"}})).await;
    for name in ["payments", "lost", "retained"] {
        a.delete(name).await;
        a.until_gone(name).await;
    }
    let mut left = world.kms.connections();
    left.sort_by_key(|row| row.name.clone());
    let left: Vec<_> = left.iter().map(|row| (row.id.as_str(), row.description.as_deref())).collect();
    assert_eq!(left, [(ids[1].as_str(), Some("Taken over by hand")), (ids[2].as_str(), None)]);
    let events = |bbc: &str, reason: &'static str| {
        let (a, bbc) = (a.clone(), bbc.to_owned());
        async move { a.count_events(&bbc, reason).await }
    };
    assert_eq!(events("payments", "ConnectionDeleted").await, 1);
    assert_eq!(events("lost", "OwnershipMarkMissing").await, 1);
    assert_eq!(events("retained", "ConnectionRetained").await, 1);
}
