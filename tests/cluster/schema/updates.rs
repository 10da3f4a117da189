//! What may change in an object that exists, and what its status takes.

use serde_json::json;

use super::{
    connection::smallest,
    table::{ABSENT, Place, bad, good, with},
};
use crate::harness::{PROJECT, World};

const OTHER: &str = "0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9";
const PROJECT_ID: &str = "projectId is immutable: delete this object and create one for the other project";
const ORGANIZATION: &str = "organizationScope is immutable: delete this object and create one for the other scope";
const KMS_REF: &str = "kmsRef is immutable: delete this object and create one for the other KMS";

#[tokio::test(flavor = "multi_thread")]
async fn where_a_connection_lives_stays() {
    let world = World::builder().without_operator().start().await;
    let place = Place::new(world.client(), Some(world.namespace()), "bitbucketconnections");
    let create = async |name: &str, changes| {
        place.create(&with(&with(&smallest(), &changes), &json!({"metadata.name": name}))).await
    };

    let default = create("default", json!({})).await;
    let rows = vec![
        good(json!({})),
        bad(json!({"spec.projectId": OTHER}), "spec.projectId", PROJECT_ID),
        good(json!({"spec.organizationScope": false})),
        // Spelling out the default is no change.
        good(json!({"spec.kmsRef": {"kind": "ClusterKmsInstance", "name": "default"}})),
        bad(json!({"spec.kmsRef": {"name": "default"}}), "spec.kmsRef", KMS_REF),
        bad(json!({"spec.kmsRef": {"kind": "ClusterKmsInstance", "name": "other"}}), "spec.kmsRef", KMS_REF),
        // Everything else may change.
        good(json!({
            "spec.connectionName": "other", "spec.description": "text", "spec.secretRef": {"name": "other"},
            "spec.scopes": {"additional": ["read:issue:bitbucket"]}, "spec.expiry": {"notAfter": "2027-03-01"},
            "spec.contact": "me", "spec.deletionPolicy": "Retain", "spec.interval": "10m",
            "spec.managementPolicy": "Observe",
        })),
    ];
    place.updated(&default, rows).await;

    let spelled = create("spelled", json!({"spec.kmsRef": {"kind": "ClusterKmsInstance", "name": "default"}})).await;
    let rows = vec![
        good(json!({"spec.kmsRef": ABSENT})),
        good(json!({"spec.kmsRef": null})),
        bad(json!({"spec.kmsRef.kind": ABSENT}), "spec.kmsRef", KMS_REF),
    ];
    place.updated(&spelled, rows).await;

    let named = create("named", json!({"spec.kmsRef": {"name": "kms"}})).await;
    let rows = vec![
        good(json!({"spec.kmsRef.kind": "KmsInstance"})),
        bad(json!({"spec.kmsRef.kind": "ClusterKmsInstance"}), "spec.kmsRef", KMS_REF),
        bad(json!({"spec.kmsRef.name": "other"}), "spec.kmsRef", KMS_REF),
        bad(json!({"spec.kmsRef": ABSENT}), "spec.kmsRef", KMS_REF),
    ];
    place.updated(&named, rows).await;

    let organization = create("organization", json!({"spec.projectId": ABSENT, "spec.organizationScope": true})).await;
    place.updated(&organization, vec![good(json!({"spec.description": "text"}))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_never_becomes_the_organization() {
    let world = World::builder().without_operator().start().await;
    let place = Place::new(world.client(), Some(world.namespace()), "bitbucketconnections");
    let manifest = with(&smallest(), &json!({"metadata.name": "project"}));
    let project = place.create(&manifest).await;
    let moved = json!({"spec.projectId": ABSENT, "spec.organizationScope": true});
    place
        .updated_saying(&project, &moved, &[("spec.projectId", PROJECT_ID), ("spec.organizationScope", ORGANIZATION)])
        .await;
    let organization = place.create(&with(&with(&manifest, &json!({"metadata.name": "organization"})), &moved)).await;
    let moved = json!({"spec.projectId": PROJECT, "spec.organizationScope": ABSENT});
    let said = [("spec.projectId", PROJECT_ID), ("spec.organizationScope", ORGANIZATION)];
    place.updated_saying(&organization, &moved, &said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_as_strict_as_a_spec() {
    let world = World::builder().without_operator().start().await;
    let place = Place::new(world.client(), Some(world.namespace()), "bitbucketconnections");
    let existing = place.create(&smallest()).await;
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": "Succeeded", "message": "Fine.", "observedGeneration": 1,
            "lastTransitionTime": "2026-11-22T12:00:00Z",
        })
    };
    let full = json!({
        "observedGeneration": 1,
        "conditions": [condition("Ready"), condition("Synced")],
        "connection": {
            "id": OTHER, "name": "payments", "description": "[k8s:0]", "projectId": PROJECT, "orgId": OTHER,
            "origin": "Created",
            "kmsRef": "ClusterKmsInstance/default", "host": "https://app.kms.hanzo.ai", "credentialsHash": "00",
            "tokenFingerprint": "00",
        },
        "account": {"uuid": "{0}", "username": "bot", "displayName": "Bot"},
        "scopes": {"required": ["a"], "granted": ["a"], "missing": [], "excess": []},
        "token": {
            "fingerprint": "00", "secretVersion": "uid/7", "expiresAt": "2027-03-01T00:00:00Z", "expirySource": "Secret",
            "firstSeenTime": "2026-11-22T12:00:00Z", "lastNotifiedThreshold": "30d",
        },
        "plan": ["create connection"],
        "lastVerifiedTime": "2026-11-22T12:00:00Z",
        "nextVerificationTime": "2026-11-22T13:00:00Z",
        "lastHandledReconcileAt": "now",
    });
    let seventeen: Vec<_> = ('a'..='q').map(|kind| condition(&kind.to_string())).collect();
    let rows = vec![
        good(json!({"status": full})),
        good(json!({"status.observedGeneration": 1})),
        bad(
            json!({"status.conditions": [condition("Ready"), condition("Ready")]}),
            "status.conditions[1]",
            "Duplicate value",
        ),
        bad(
            json!({"status.conditions": [with(&condition("Ready"), &json!({"reason": ABSENT}))]}),
            "status.conditions[0].reason",
            "Required value",
        ),
        bad(json!({"status.conditions": seventeen}), "status.conditions", "must have at most 16 items"),
        bad(json!({"status.plan": vec!["step"; 17]}), "status.plan", "must have at most 16 items"),
        bad(json!({"status.plan": ["x".repeat(257)]}), "status.plan[0]", "Too long: may not be more than 256"),
        bad(json!({"status.ready": true}), "", "unknown field \"status.ready\""),
    ];
    place.status_updated(&existing, rows).await;
}
