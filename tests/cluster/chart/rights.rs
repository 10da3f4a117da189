//! No right too many: each one is taken from the operator in turn, and it misses it. (None too few: all other tests.)

use std::time::{Duration, Instant};

use bitbucket_connection_operator::api::{
    BitbucketConnection, ClusterKmsInstance, KmsInstance, RECONCILE_REQUESTED_AT,
};
use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sim::Authority;

use crate::harness::{
    EMAIL, SECRET, TOKEN, World, in_time, is_settled,
    rights::{NAME, Right, apply, each},
};

/// How often each is changed, at least.
const ROUNDS: usize = 20;
/// How long an operator may take to look at one. One that lacks a right never does.
const LOOKED_AT: Duration = Duration::from_secs(5);
/// How many live at once.
const LIVES: usize = 3;

/// After how long an operator that missed nothing is followed by another.
const ONE_LIFE: Duration = Duration::from_secs(20);

/// Lives of instances and connections in which everything is needed, over and over: an instance with a CA, a connection
/// that is made and deleted, and somebody who changes both all the time, so that writes meet conflicts. Each life has names
/// of its own, since what lacks a right may never be gone.
async fn live(world: &World, kind: &str, authority: &Authority) {
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance_secret().await;
    world.config_map("kms-ca", json!({"ca.crt": authority.pem()})).await;
    loop {
        let name = format!("n{}", uuid::Uuid::new_v4().simple());
        let mut spec = json!({
            "host": world.kms.url(), "auth": {"universal": {"secretRef": {"name": "kms-credentials"}}},
            "tls": {"caRef": {"kind": "ConfigMap", "name": "kms-ca"}},
        });
        if kind == "ClusterKmsInstance" {
            spec["namespace"] = json!(world.namespace());
            spec["grants"] = json!([{"namespaceSelector": {}, "projectIds": ["*"]}]);
        }
        let api_version = "connections.kms.hanzo.ai/v1alpha1";
        world.apply(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec})).await;
        world.connection(&name).change(json!({"kmsRef": {"kind": kind, "name": name}})).apply().await;
        // While it is looked at: only then writes meet others.
        let (begin, mut rounds) = (Instant::now(), 0);
        while rounds < ROUNDS || !is_settled(&world.get(&name).await) && begin.elapsed() < LOOKED_AT {
            rounds += 1;
            tokio::join!(
                touch(world.api::<BitbucketConnection>(), &name),
                touch(world.api::<KmsInstance>(), &name),
                touch(world.cluster_api::<ClusterKmsInstance>(), &name),
            );
        }
        world.delete(&name).await;
    }
}

/// Asks for a reconcile, if it is there.
async fn touch<K>(api: Api<K>, name: &str)
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let now = uuid::Uuid::new_v4().to_string();
    let change = json!({"metadata": {"annotations": {RECONCILE_REQUESTED_AT: now}}});
    let _ = api.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await;
}

/// Leaves the Lease as a leader does that was asked to end, so that the next one needn't wait; or none.
async fn leave_lease(world: &World, there: bool) {
    let leases: Api<Lease> = Api::namespaced(world.client().clone(), world.home());
    let deleted = leases.delete(NAME, &DeleteParams::default()).await;
    assert!(
        deleted.map_or_else(|error| error.to_string().contains("not found"), |_| true),
        "a Lease that can be deleted"
    );
    if there {
        let free = json!({"metadata": {"name": NAME}, "spec": {"leaseDurationSeconds": 1}});
        let free = serde_json::from_value(free).expect("a Lease");
        leases.create(&PostParams::default(), &free).await.expect("a new Lease");
    }
}

async fn set(client: &Client, role: &Value) {
    apply(client, role.clone()).await;
}

/// Takes each right away, starts the operator anew, and waits until it misses it.
async fn each_is_missed(world: &World, kind: &str, rights: Vec<Right>) {
    let authority = Authority::new("a CA");
    for Right { verb, resource, role, without } in rights {
        set(world.client(), &without).await;
        if world.operator.is_running() {
            world.operator.kill().await;
        }
        leave_lease(world, (verb.as_str(), resource.as_str()) != ("create", "leases")).await;
        let place = role["metadata"]["namespace"].as_str();
        let missed = async {
            loop {
                world.operator.spawn();
                let refused = world.until_refused(&verb, &resource, place);
                // What is read once may have been read before the API server took note; and a leader may have ended.
                if tokio::time::timeout(ONE_LIFE, refused).await.is_ok() {
                    return;
                }
                world.operator.kill().await;
                leave_lease(world, (verb.as_str(), resource.as_str()) != ("create", "leases")).await;
            }
        };
        let what = format!("somebody misses the right to {verb} {resource}");
        tokio::select! {
            () = in_time(&what, missed) => {}
            _ = join_all((0..LIVES).map(|_| live(world, kind, &authority))) => {}
        }
        set(world.client(), &role).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_in_a_namespace_is_needed() {
    let world = World::builder().args(["--leader-elect"]).without_operator().start().await;
    let rights = each(world.home(), Some(world.namespace()));
    assert_eq!(rights.len(), 21, "each role was read");
    each_is_missed(&world, "KmsInstance", rights).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_on_the_cluster_is_needed() {
    let world = World::cluster_wide_builder().without_operator().start().await;
    // Those that the namespaced mode has, too, are tried there.
    let mut rights = each(world.home(), None);
    rights.retain(|right| right.resource.starts_with("clusterkmsinstances") || right.resource == "namespaces");
    assert_eq!(rights.len(), 8, "each role was read");
    each_is_missed(&world, "ClusterKmsInstance", rights).await;
}
