//! Somebody writes to all objects all the time: each kind of write meets conflicts, and the end is that of a run without.

use std::collections::BTreeSet;

use bitbucket_connection_operator::api::{BitbucketConnection, KmsInstance};
use serde_json::json;

use super::{NEXT, touch};
use crate::harness::{EMAIL, SECRET, TOKEN, World};

/// More than are ever needed.
const LIVES_MAX: usize = 12;

/// Every kind of write that carries the version which it was decided by.
const KINDS: [(&str, &str); 4] = [
    ("patch", "bitbucketconnections"),
    ("patch", "bitbucketconnections/status"),
    ("patch", "kmsinstances"),
    ("patch", "kmsinstances/status"),
];

/// Which of them have met a conflict.
fn met(world: &World) -> BTreeSet<(String, String)> {
    let writes = world.api_writes().into_iter().filter(|write| write.code == 409);
    writes.map(|write| (write.verb, write.resource)).collect()
}

/// Writes to a connection and to its instance as fast as can be, for a while.
async fn meddle(world: &World, name: &str) {
    for _ in 0..60 {
        touch(world.api::<BitbucketConnection>(), name).await;
        touch(world.api::<KmsInstance>(), name).await;
    }
}

/// An instance, and a connection that uses it.
async fn apply(world: &World, name: &str) {
    let auth = json!({"universal": {"secretRef": {"name": "kms-credentials"}}});
    world
        .apply(json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "KmsInstance", "metadata": {"name": name},
            "spec": {"host": world.kms.url(), "auth": auth},
        }))
        .await;
    world.connection(name).change(json!({"kmsRef": {"name": name}})).apply().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_else_writes_changes_nothing() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance_secret().await;
    let mut lives = 0;
    let all = KINDS.map(|(verb, resource)| (verb.to_owned(), resource.to_owned()));
    while !all.iter().all(|kind| met(&world).contains(kind)) {
        lives += 1;
        assert!(lives <= LIVES_MAX, "of {KINDS:?} only {:?} met a conflict", met(&world));
        let (name, token) = (format!("n{lives}"), format!("{NEXT}-{lives}"));
        apply(&world, &name).await;
        meddle(&world, &name).await;
        world.ready(&name).await;
        world.issue(EMAIL, &token);
        world.secret(&name, EMAIL, &token).await;
        world.connection(&name).change(json!({"kmsRef": {"name": name}})).secret(&name).apply().await;
        meddle(&world, &name).await;
        world.ready(&name).await;
        assert_eq!(world.row(&name).api_token, token);
        assert_eq!(world.told(&name).await, ["ConnectionCreated", "CredentialsRotated"], "{name}");
        world.delete(&name).await;
        world.delete_object::<KmsInstance>(&name).await;
        meddle(&world, &name).await;
        world.until_gone(&name).await;
        world.until_object_gone(world.api::<KmsInstance>(), &name).await;
        assert_eq!(world.kms.connections(), []);
    }
    println!("proof: conflicts: kinds of writes that met one | {}", KINDS.len());
}
