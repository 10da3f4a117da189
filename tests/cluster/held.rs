//! An instance in use is not lost under its connections: its deletion waits for them.

use bitbucket_connection_operator::api::{ClusterKmsInstance, INSTANCE_FINALIZER, KmsInstance};
use kube::{Resource, ResourceExt, api::DeleteParams};
use serde::Serialize;
use serde_json::json;

use crate::harness::{EMAIL, SECRET, TOKEN, World, condition};

fn is_held(instance: &(impl Resource + Serialize)) -> bool {
    instance.finalizers().iter().any(|finalizer| finalizer == INSTANCE_FINALIZER)
}

/// Whether the deletion waits, in these words and without those, while nothing else is told to be wrong.
fn waits(instance: &(impl Resource + Serialize), words: &[&str], others: &[&str]) -> bool {
    let (status, reason, message) = condition(instance, "DeletionWaiting");
    (status.as_str(), reason.as_str()) == ("True", "InUse")
        && words.iter().all(|word| message.contains(word))
        && !others.iter().any(|word| message.contains(word))
        && condition(instance, "Ready").1 == "Authenticated"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_of_an_instance_waits_for_its_connections() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    for name in ["payments", "billing"] {
        world.connection(name).apply().await;
        world.ready(name).await;
    }
    let instance = world.until_instance("kms", "is held", is_held).await;
    assert_eq!(condition(&instance, "DeletionWaiting").0, "", "nobody deletes it");

    world.delete_object::<KmsInstance>("kms").await;
    let both = |instance: &KmsInstance| waits(instance, &[": billing, payments. ", "delete them"], &[]);
    world.until_instance("kms", "waits for both", both).await;
    world.ready("billing").await;
    // Nor does it forget that with its memory.
    world.restart().await;
    world.delete("payments").await;
    world.until_gone("payments").await;
    let one = |instance: &KmsInstance| waits(instance, &[": billing. "], &["payments"]);
    world.until_instance("kms", "waits for one", one).await;
    world.delete("billing").await;
    world.until_gone("billing").await;
    world.until_object_gone(world.api::<KmsInstance>(), "kms").await;
    assert!(world.kms.connections().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_nobody_uses_is_deleted_at_once() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    world.until_instance("kms", "is held", is_held).await;
    world.delete("payments").await;
    world.until_gone("payments").await;
    world.until_instance("kms", "is held no more", |instance| !is_held(instance)).await;
    world.operator.kill().await;
    world.delete_object::<KmsInstance>("kms").await;
    let left = world.api::<KmsInstance>().get_opt("kms").await.expect("an answer");
    assert!(left.is_none(), "though no operator runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deletion_of_a_cluster_instance_tells_how_many_use_it() {
    let world = World::cluster_wide().await;
    world.cluster_instance().await;
    let mut tenants = Vec::new();
    for name in ["team-a", "team-b"] {
        let tenant = world.tenant(name).await;
        tenant.secret(SECRET, EMAIL, TOKEN).await;
        tenant.connection("payments").change(json!({"connectionName": name})).apply().await;
        tenant.ready("payments").await;
        tenants.push(tenant);
    }
    world.until_cluster_instance("default", "is held", is_held).await;
    let instances = world.cluster_api::<ClusterKmsInstance>();
    instances.delete("default", &DeleteParams::default()).await.expect("a deletion");
    for (tenant, count) in
        tenants.iter().zip(["2 BitbucketConnections still use ", "1 BitbucketConnection still uses "])
    {
        let many = |instance: &ClusterKmsInstance| waits(instance, &[count], &["team-", "payments"]);
        world.until_cluster_instance("default", count, many).await;
        tenant.delete("payments").await;
        tenant.until_gone("payments").await;
    }
    world.until_object_gone(instances, "default").await;
    assert!(world.kms.connections().is_empty());
}
