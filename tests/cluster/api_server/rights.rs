//! A right is taken from the running operator, and given back: each one that a request needs which isn't a watch.

use bitbucket_connection_operator::api::{ClusterKmsInstance, INSTANCE_FINALIZER, KmsInstance};
use futures::future::{BoxFuture, join_all};
use kube::ResourceExt;
use serde_json::{Value, json};
use sim::Authority;

use super::{LAST, NEXT, errors, lives};
use crate::harness::{
    EMAIL, SECRET, TOKEN, World, condition,
    rights::{self, Right, apply, each},
};

type Act = fn(&World) -> BoxFuture<'_, ()>;

/// A right, what people do that needs it, and what is so once it is there again.
struct Row {
    verb: &'static str,
    resource: &'static str,
    needs: Act,
    done: Act,
}

/// Puts the next token into the Secret.
fn rotate(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        world.issue(EMAIL, NEXT);
        world.secret(SECRET, EMAIL, NEXT).await;
    })
}

fn rotated(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        world.until_event("payments", "CredentialsRotated").await;
        world.ready("payments").await;
        assert_eq!(world.row("payments").api_token, NEXT);
        assert_eq!(world.told("payments").await, ["ConnectionCreated", "CredentialsRotated"]);
    })
}

fn another_ca(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async { world.config_map("kms-ca", json!({"ca.crt": "none"})).await })
}

fn ca_seen(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async { drop(world.until_instance_says("kms", "CaInvalid").await) })
}

/// A second instance, and a connection that uses it.
fn another_instance(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        instance(world, "KmsInstance").await;
        world.connection("billing").change(json!({"kmsRef": {"name": "second"}})).apply().await;
    })
}

fn instance_is_used(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        world.ready("billing").await;
        let is_so = |instance: &KmsInstance| is_held(instance, condition(instance, "Ready").1.as_str());
        world.until_instance("second", "is Authenticated and held", is_so).await;
    })
}

fn another_cluster_instance(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        instance(world, "ClusterKmsInstance").await;
        world
            .connection("billing")
            .change(json!({"kmsRef": {"kind": "ClusterKmsInstance", "name": "second"}}))
            .apply()
            .await;
    })
}

fn cluster_instance_is_used(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        world.ready("billing").await;
        let is_so = |instance: &ClusterKmsInstance| is_held(instance, condition(instance, "Ready").1.as_str());
        world.until_cluster_instance("second", "is Authenticated and held", is_so).await;
        // For the next right.
        world.delete("billing").await;
        world.until_gone("billing").await;
        let instances = world.cluster_api::<ClusterKmsInstance>();
        instances.delete("second", &kube::api::DeleteParams::default()).await.expect("a deletion");
        world.until_object_gone(instances, "second").await;
    })
}

async fn instance(world: &World, kind: &str) {
    let mut spec = json!({
        "host": world.kms.url(), "auth": {"universal": {"secretRef": {"name": "kms-credentials"}}},
    });
    if kind == "ClusterKmsInstance" {
        spec["namespace"] = json!(world.namespace());
        spec["grants"] = json!([{"namespaceSelector": {}, "projectIds": ["*"]}]);
    }
    let api_version = "connections.kms.hanzo.ai/v1alpha1";
    world.apply(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "second"}, "spec": spec})).await;
}

fn is_held(instance: &impl ResourceExt, reason: &str) -> bool {
    reason == "Authenticated" && instance.finalizers().iter().any(|finalizer| finalizer == INSTANCE_FINALIZER)
}

fn rows() -> Vec<Row> {
    let row = |verb, resource, needs: Act, done: Act| Row { verb, resource, needs, done };
    let second: Act = |world| Box::pin(async { drop(world.connection("billing").apply().await) });
    let second_is_there: Act = |world| {
        Box::pin(async {
            world.ready("billing").await;
            assert_eq!(world.kms.connections().len(), 2);
            assert_eq!(world.told("billing").await, ["ConnectionCreated"]);
        })
    };
    let describe: Act =
        |world| Box::pin(async { drop(world.patch("payments", json!({"spec": {"description": "Payments"}})).await) });
    let described: Act = |world| {
        Box::pin(async {
            world.ready("payments").await;
            assert_eq!(world.told("payments").await, ["ConnectionCreated", "ConnectionUpdated"], "told once");
            assert_eq!(world.kms.writes(), 2, "and written once");
        })
    };
    let event_is_told: Act = |world| {
        Box::pin(async {
            // An event is no obstacle: what it would have told is done, and in the conditions.
            world.issue(EMAIL, LAST);
            world.secret(SECRET, EMAIL, LAST).await;
            world.until_event("payments", "CredentialsRotated").await;
            world.ready("payments").await;
            assert_eq!(world.row("payments").api_token, LAST);
        })
    };
    vec![
        row("get", "secrets", rotate, rotated),
        row("get", "configmaps", another_ca, ca_seen),
        row("get", "bitbucketconnections", describe, described),
        row("patch", "bitbucketconnections", second, second_is_there),
        row("patch", "bitbucketconnections/status", describe, described),
        row("get", "kmsinstances", another_instance, instance_is_used),
        row("patch", "kmsinstances", another_instance, instance_is_used),
        row("patch", "kmsinstances/status", another_instance, instance_is_used),
        row("create", "events", rotate, event_is_told),
    ]
}

fn cluster_rows() -> Vec<Row> {
    let row = |verb, resource| Row { verb, resource, needs: another_cluster_instance, done: cluster_instance_is_used };
    vec![
        row("get", "clusterkmsinstances"),
        row("patch", "clusterkmsinstances"),
        row("patch", "clusterkmsinstances/status"),
    ]
}

impl Row {
    /// Takes the right, and gives it back once it was missed and the log said so.
    async fn play(&self, world: &World, namespace: Option<&str>) {
        let name = format!("{} {}", self.verb, self.resource);
        let rights = each(world.home(), namespace);
        let is_meant = |right: &&Right| {
            (right.verb.as_str(), right.resource.as_str()) == (self.verb, self.resource)
                && right.role["metadata"]["namespace"] == json!(namespace)
        };
        let right = rights.iter().find(is_meant).unwrap_or_else(|| panic!("nobody has the right to {name}"));
        let in_force = async |allowed| {
            let namespace = namespace.filter(|_| !self.resource.starts_with("cluster"));
            rights::in_force(world.client(), world.user(), namespace, (self.verb, self.resource), allowed).await;
        };
        apply(world.client(), right.without.clone()).await;
        in_force(false).await;
        (self.needs)(world).await;
        world.until_refused(self.verb, self.resource, namespace).await;
        // The plural of the kind and the verb are in the API server's own words.
        let refusal = format!(r#"cannot {} resource \"{}\""#, self.verb, self.resource);
        let said = world.operator.says(&[&refusal, "let the operator's ServiceAccount do that", "WARN"]).await;
        let said: Value = serde_json::from_str(&said).expect("a line of JSON");
        assert!(said.to_string().contains("nothing has to be restarted"), "{name}: {said}");
        lives(&world.operator).await;
        if self.resource.starts_with("bitbucketconnections") {
            assert!(errors(&world.metrics().await) > 0.0, "{name}");
        }
        apply(world.client(), right.role.clone()).await;
        // An event that is refused is not told again.
        in_force(true).await;
        (self.done)(world).await;
        lives(&world.operator).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_and_given_back_needs_no_restart() {
    let authority = Authority::new("a CA");
    let rows = rows();
    let played = rows.iter().map(async |row| {
        let world = World::start().await;
        world.config_map("kms-ca", json!({"ca.crt": authority.pem()})).await;
        world.instance_with(json!({"tls": {"caRef": {"kind": "ConfigMap", "name": "kms-ca"}}})).await;
        world.secret(SECRET, EMAIL, TOKEN).await;
        world.connection("payments").apply().await;
        world.ready("payments").await;
        world.until_instance("kms", "is held", |instance| is_held(instance, &condition(instance, "Ready").1)).await;
        row.play(&world, Some(world.namespace())).await;
        world.assert_silent(&[NEXT, LAST]).await;
    });
    join_all(played).await;
    println!("proof: RBAC in a namespace: right taken and given back | {}", rows.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_on_cluster_instances_that_is_taken_and_given_back_needs_no_restart() {
    let world = World::cluster_wide().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance_secret().await;
    let rows = cluster_rows();
    for row in &rows {
        row.play(&world, None).await;
    }
    println!("proof: RBAC on the cluster: right taken and given back | {}", rows.len());
}
