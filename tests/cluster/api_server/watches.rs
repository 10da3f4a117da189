//! Watches that can't go on from where they were (410), or may not: what changed meanwhile is found.

use bitbucket_connection_operator::api::{BitbucketConnection, ClusterKmsInstance, INSTANCE_FINALIZER, KmsInstance};
use kube::ResourceExt;
use serde_json::{Value, json};
use sim::Authority;

use super::{LAST, NEXT, lives};
use crate::harness::{
    EMAIL, SECRET, TOKEN, World, condition,
    rights::{apply, of_chart},
};

/// What is watched.
const WATCHED: [&str; 6] =
    ["bitbucketconnections", "kmsinstances", "clusterkmsinstances", "secrets", "configmaps", "namespaces"];

/// A world with one of everything that is watched.
async fn world() -> World {
    let world = World::cluster_wide().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.config_map("kms-ca", json!({"ca.crt": Authority::new("a CA").pem()})).await;
    let ca = json!({"tls": {"caRef": {"kind": "ConfigMap", "name": "kms-ca"}}});
    world.cluster_instance_with(ca).await;
    let labelled = grants(&world, json!({"matchLabels": {"may": "yes"}}));
    instance(&world, "ClusterKmsInstance", "labelled", &labelled).await;
    world.connection("payments").apply().await;
    world.ready("payments").await;
    world.connection("waiting").secret("later").apply().await;
    world.not_ready("waiting", "SecretNotFound").await;
    let labelled = json!({"kmsRef": {"kind": "ClusterKmsInstance", "name": "labelled"}});
    world.connection("labelled").change(labelled).apply().await;
    world.not_ready("labelled", "KmsRefNotAllowed").await;
    let later = json!({"kmsRef": {"kind": "ClusterKmsInstance", "name": "later"}});
    world.connection("unserved").change(later).apply().await;
    world.not_ready("unserved", "KmsRefNotFound").await;
    world
}

/// What an instance grants to namespaces.
fn grants(world: &World, selector: Value) -> Value {
    json!({"namespace": world.namespace(), "grants": [{"namespaceSelector": selector, "projectIds": ["*"]}]})
}

async fn instance(world: &World, kind: &str, name: &str, change: &Value) {
    let mut spec = json!({
        "host": world.kms.url(), "auth": {"universal": {"secretRef": {"name": "kms-credentials"}}},
    });
    crate::harness::merge(&mut spec, change.clone());
    let api_version = "connections.kms.hanzo.ai/v1alpha1";
    world.apply(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec})).await;
}

/// Changes something of every kind that is watched.
async fn change_all(world: &World) {
    world.issue(EMAIL, NEXT);
    world.secret(SECRET, EMAIL, NEXT).await;
    world.secret("later", EMAIL, TOKEN).await;
    world.config_map("kms-ca", json!({"ca.crt": Authority::new("another CA").pem()})).await;
    instance(world, "KmsInstance", "kms", &json!({})).await;
    world.connection("billing").change(json!({"kmsRef": {"name": "kms"}})).apply().await;
    let label = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace(), "labels": {"may": "yes"}}});
    world.apply(label).await;
    instance(world, "ClusterKmsInstance", "later", &grants(world, json!({}))).await;
}

/// All of it was seen.
async fn all_is_seen(world: &World) {
    let version =
        world.api::<k8s_openapi::api::core::v1::ConfigMap>().get("kms-ca").await.expect("a ConfigMap").metadata;
    let version = format!("{}/{}", version.uid.unwrap_or_default(), version.resource_version.unwrap_or_default());
    for name in ["payments", "waiting", "billing", "labelled", "unserved"] {
        world.ready(name).await;
    }
    let rotated =
        |bbc: &BitbucketConnection| condition(bbc, "Ready").0 == "True" && world.row("payments").api_token == NEXT;
    world.until("payments", "has the next token", rotated).await;
    let knows = |instance: &ClusterKmsInstance| {
        instance.status.as_ref().and_then(|status| status.ca_version.as_ref()) == Some(&version)
    };
    world.until_cluster_instance("default", "knows the CA", knows).await;
    assert_eq!(world.kms.connections().len(), 5);
    world.until_event("payments", "CredentialsRotated").await;
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "CredentialsRotated"]);
    lives(&world.operator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_nobody_watched_is_found() {
    let world = world().await;
    world.connection("gone").change(json!({"connectionName": "gone"})).apply().await;
    let gone = world.ready("gone").await;
    instance(&world, "KmsInstance", "left", &json!({})).await;
    world.connection("forgotten").change(json!({"kmsRef": {"name": "left"}})).apply().await;
    world.ready("forgotten").await;
    let held = |instance: &KmsInstance| instance.finalizers().iter().any(|it| it == INSTANCE_FINALIZER);
    world.until_instance("left", "is held", held).await;
    // It stands still while the API server forgets what was, and all changes.
    world.operator.signal("STOP");
    world.plane().control_plane.restart_apiserver().await.expect("an API server that comes back");
    change_all(&world).await;
    // Deleted, and another of the same name, whose Secret is another's too.
    world.patch("gone", json!({"metadata": {"finalizers": null}})).await;
    world.delete("gone").await;
    world.until_gone("gone").await;
    world.issue(EMAIL, LAST);
    world.secret("another", EMAIL, LAST).await;
    let successor = world.connection("gone").secret("another").apply().await;
    assert_ne!(successor.metadata.uid, gone.metadata.uid);
    // Deleted by force, so that nothing tells of it: nobody waits for it any more.
    world.patch("forgotten", json!({"metadata": {"finalizers": null}})).await;
    world.delete("forgotten").await;
    world.until_gone("forgotten").await;
    world.kms.remove(&world.row("forgotten").id);
    world.delete_object::<KmsInstance>("left").await;
    world.operator.signal("CONT");

    world.operator.says(&["a watch broke off; it is taken up again", "too old resource version"]).await;
    let found = world.ready("gone").await;
    assert_eq!(found.metadata.uid, successor.metadata.uid);
    assert_eq!(world.row("gone").api_token, LAST);
    world.until_object_gone(world.api::<KmsInstance>(), "left").await;
    world.delete("gone").await;
    world.until_gone("gone").await;
    all_is_seen(&world).await;
    println!("proof: watches that are too old: kinds whose changes are found | {}", WATCHED.len());
}

/// The operator's role without this verb on anything that is watched.
fn role(world: &World, without: Option<&str>) -> Value {
    let mut roles = of_chart(world.home(), None);
    roles.retain(|role| role["kind"] == "ClusterRole");
    let mut role = roles.remove(0);
    for rule in role["rules"].as_array_mut().expect("rules") {
        if let Some(verbs) = rule["verbs"].as_array_mut() {
            verbs.retain(|verb| verb.as_str() != without);
        }
    }
    role
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_watch_it_waits_for_it() {
    without("watch", "failed to start watching object").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_list_it_waits_for_it() {
    without("list", "failed to perform initial object list").await;
}

async fn without(verb: &str, words: &str) {
    let world = world().await;
    apply(world.client(), role(&world, Some(verb))).await;
    // Who watches goes on until the watch ends. After this nobody can go on from where it was.
    world.plane().control_plane.restart_apiserver().await.expect("an API server that comes back");
    change_all(&world).await;
    for resource in WATCHED {
        world.until_refused(verb, resource, None).await;
        let refusal = format!(r#"cannot {verb} resource \"{resource}\""#);
        let next = "let the operator's ServiceAccount do that";
        world.operator.says(&["a watch broke off; it is taken up again", words, &refusal, next]).await;
    }
    lives(&world.operator).await;
    apply(world.client(), role(&world, None)).await;
    all_is_seen(&world).await;
    println!("proof: watches without the right to {verb}: kinds | {}", WATCHED.len());
}
