//! A namespace that is deleted with everything in it, by the real namespace controller, in whatever order.

use bitbucket_connection_operator::api::{BitbucketConnection, KmsInstance};
use futures::future::join_all;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Secret},
    rbac::v1::RoleBinding,
};
use serde_json::json;
use sim::{Authority, Kms};

use crate::harness::{
    CLIENT_ID, CLIENT_SECRET, EMAIL, Kstatus, PROJECT, SECRET, TOKEN, Tenant, World, assert_condition, chart,
    condition, kstatus, rights,
};

const NAMES: [&str; 3] = ["a", "b", "c"];
const WAY_OUT: &str = "spec.deletionPolicy: Retain";

type Order = fn(&Tenant) -> futures::future::BoxFuture<'_, ()>;

/// A namespace with an instance, all that this needs, and connections that are Ready.
async fn populated(world: &World, name: &str, kms: &Kms, authority: &Authority) -> Tenant {
    let tenant = world.tenant(name).await;
    tenant.secret(SECRET, EMAIL, TOKEN).await;
    tenant.config_map("kms-ca", json!({"ca.crt": authority.pem()})).await;
    let ca_ref = json!({"kind": "ConfigMap", "name": "kms-ca"});
    tenant.instance_with(json!({"host": kms.url(), "tls": {"caRef": ca_ref}})).await;
    for connection in NAMES {
        let change = json!({"kmsRef": {"name": "kms"}, "connectionName": format!("{name}-{connection}")});
        tenant.connection(connection).change(change).apply().await;
    }
    for connection in NAMES {
        tenant.ready(connection).await;
    }
    let held = |instance: &KmsInstance| instance.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty());
    tenant.until_instance("kms", "is held by a finalizer", held).await;
    tenant
}

async fn kms_of(world: &World, authority: &Authority) -> Kms {
    let kms = Kms::start_tls(&world.bitbucket, authority.issue()).await;
    kms.add_identity(CLIENT_ID, CLIENT_SECRET);
    kms.add_project(PROJECT);
    kms
}

/// The Secrets of both sides, and the CA.
async fn delete_sources(tenant: &Tenant) {
    for name in [SECRET, "kms-credentials"] {
        tenant.delete_secret(name).await;
    }
    tenant.delete_object::<ConfigMap>("kms-ca").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_behind_in_whatever_order() {
    let world = World::cluster_wide().await;
    let authority = Authority::new("a CA");
    let kms = kms_of(&world, &authority).await;
    let orders: [(&str, Order); 5] = [
        ("at-once", |_| Box::pin(async {})),
        ("secrets-first", |tenant| {
            Box::pin(async {
                delete_sources(tenant).await;
                for name in NAMES {
                    tenant.not_ready(name, "SecretNotFound").await;
                }
                tenant.until_instance_says("kms", "SecretNotFound").await;
            })
        }),
        ("instance-first", |tenant| {
            Box::pin(async {
                tenant.delete_object::<KmsInstance>("kms").await;
                let waits = |instance: &KmsInstance| condition(instance, "DeletionWaiting").1 == "InUse";
                tenant.until_instance("kms", "waits for its connections", waits).await;
            })
        }),
        ("connections-first", |tenant| {
            Box::pin(async {
                join_all(NAMES.map(|name| tenant.delete(name))).await;
            })
        }),
        ("one-by-one", |tenant| {
            Box::pin(async {
                delete_sources(tenant).await;
                tenant.delete_object::<KmsInstance>("kms").await;
                tenant.delete("b").await;
            })
        }),
    ];
    let mut tenants = Vec::new();
    for (name, order) in orders {
        tenants.push((populated(&world, name, &kms, &authority).await, order));
    }
    assert_eq!(kms.connections().len(), tenants.len() * NAMES.len());
    join_all(tenants.iter().map(|(tenant, order)| async move {
        order(tenant).await;
        tenant.delete_namespace().await;
        tenant.until_namespace_gone().await;
    }))
    .await;
    assert_eq!(kms.connections(), []);
    world.assert_silent(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_went_with_the_session_leave_a_way_out() {
    let world = World::cluster_wide().await;
    let authority = Authority::new("a CA");
    let kms = kms_of(&world, &authority).await;
    let going = populated(&world, "going", &kms, &authority).await;
    let staying = populated(&world, "staying", &kms, &authority).await;

    // The operator is away until the Secrets are: nothing holds those.
    world.operator.kill().await;
    going.delete_namespace().await;
    delete_sources(&staying).await;
    for name in NAMES {
        staying.delete(name).await;
    }
    for name in [SECRET, "kms-credentials"] {
        going.until_object_gone::<Secret>(going.api(), name).await;
    }
    let deleted = |bbc: &BitbucketConnection| bbc.metadata.deletion_timestamp.is_some();
    for name in NAMES {
        going.until(name, "is being deleted", deleted).await;
    }
    world.operator.start().await;
    for tenant in [&going, &staying] {
        for name in NAMES {
            let bbc = tenant.not_ready(name, "DeletionBlocked").await;
            let words = ["KmsInstance/kms", "SecretNotFound", "Create it", WAY_OUT];
            assert_condition(&bbc, "Synced", "False", "DeletionBlocked", &words);
            assert_eq!(kstatus(&bbc), Kstatus::Terminating, "{name}");
        }
    }
    assert_eq!(kms.connections().len(), 2 * NAMES.len(), "nothing is dropped silently");

    // Where nothing can be created any more, they may stay in the KMS.
    for name in NAMES {
        going.patch(name, json!({"spec": {"deletionPolicy": "Retain"}})).await;
    }
    going.until_namespace_gone().await;
    // Elsewhere the credentials may come back, and the CA with them.
    staying.instance_secret().await;
    staying.config_map("kms-ca", json!({"ca.crt": authority.pem()})).await;
    for name in NAMES {
        staying.until_gone(name).await;
    }
    let left: Vec<_> = kms.connections().into_iter().map(|row| row.name).collect();
    assert_eq!(left, ["going-a", "going-b", "going-c"]);
    staying.delete_namespace().await;
    staying.until_namespace_gone().await;
}

/// What the chart adds with `rbac.finishDeletedNamespaces`: rights that don't go with the namespace, and see no Secret.
async fn let_finish(world: &World) {
    let values = ["watchNamespaces={team-a}", "ownerId=a", "rbac.finishDeletedNamespaces=true"];
    let values: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
    let mut rendered = chart::objects(&values).await;
    rendered.retain(|object| object["kind"].as_str().is_some_and(|kind| kind.starts_with("ClusterRole")));
    let rendered = rights::moved(rendered, world.home(), Some(world.namespace()));
    assert_eq!(rendered.len(), 2, "a role and its binding");
    for mut object in rendered {
        // Other tests may do the same, on the same API server.
        object["metadata"]["name"] = json!(format!("finish-{}", world.namespace()));
        if object["roleRef"].is_object() {
            object["roleRef"]["name"] = object["metadata"]["name"].clone();
        }
        world.apply(object).await;
    }
}

/// The namespace's end, beginning with the operator's rights: what the namespace controller does too, at a moment that is
/// not ours to choose.
async fn delete_rights_first(world: &World) {
    world.delete_object::<RoleBinding>(rights::NAME).await;
    rights::in_force(world.client(), world.user(), Some(world.namespace()), ("list", "secrets"), false).await;
    world.delete_namespace().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_went_with_the_namespace_may_be_given_back() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    delete_rights_first(&world).await;
    world.operator.says(&["is tried again", "is forbidden"]).await;
    let_finish(&world).await;
    world.until_namespace_gone().await;
    assert_eq!(world.kms.connections(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_outlive_the_namespace_need_nobody() {
    let world = World::start().await;
    let_finish(&world).await;
    world.ready_connection("payments").await;
    delete_rights_first(&world).await;
    world.until_namespace_gone().await;
    assert_eq!(world.kms.connections(), []);
}
