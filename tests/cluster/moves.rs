//! Objects that move: to another namespace, or into another cluster. What is in the KMS stays one connection, and nobody
//! takes it who isn't meant to.

use bitbucket_connection_operator::api::BitbucketConnection;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::harness::{EMAIL, Operator, SECRET, TOKEN, Tenant, World, condition};

fn origin(bbc: &BitbucketConnection) -> Option<&str> {
    bbc.status.as_ref()?.connection.as_ref().map(|it| it.origin.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_namespace() {
    let world = World::cluster_wide().await;
    let grants = json!([{"namespaceSelector": {}, "projectIds": ["*"], "adoption": true}]);
    world.cluster_instance_with(json!({"grants": grants})).await;
    let (a, b) = (world.tenant("team-a").await, world.tenant("team-b").await);
    for team in [&a, &b] {
        team.secret(SECRET, EMAIL, TOKEN).await;
    }
    let names = ["given", "first-there", "left-marked", "deleted"];
    for name in names {
        a.connection(name).apply().await;
        a.ready(name).await;
    }
    let ids = names.map(|name| world.row(name).id);
    let give = async |name: &str| {
        a.patch(name, json!({"spec": {"deletionPolicy": "Retain"}})).await;
        a.delete(name).await;
        a.until_gone(name).await;
    };
    let adopting = |name: &str| b.connection(name).change(json!({"adoptionPolicy": "Adopt"}));

    // It is given back there, and taken over here.
    give("given").await;
    adopting("given").apply().await;
    let bbc = b.ready("given").await;
    assert_eq!((origin(&bbc), world.row("given").id.as_str()), (Some("Adopted"), ids[0].as_str()));

    // It is wanted here before it is given back there.
    adopting("first-there").apply().await;
    b.not_ready("first-there", "NameConflict").await;
    a.request_reconcile("first-there").await;
    a.ready("first-there").await;
    give("first-there").await;
    b.request_reconcile("first-there").await;
    let bbc = b.ready("first-there").await;
    assert_eq!((origin(&bbc), world.row("first-there").id.as_str()), (Some("Adopted"), ids[1].as_str()));

    // Nobody took the mark off: it waits for an object at the old place.
    a.patch("left-marked", json!({"spec": {"managementPolicy": "Suspended"}})).await;
    a.delete("left-marked").await;
    a.until_gone("left-marked").await;
    let row = world.row("left-marked");
    adopting("left-marked").apply().await;
    b.not_ready("left-marked", "NameConflict").await;
    assert_eq!(world.row("left-marked"), row);
    a.connection("left-marked").apply().await;
    let bbc = a.ready("left-marked").await;
    assert_eq!((origin(&bbc), world.row("left-marked").id.as_str()), (Some("Created"), ids[2].as_str()));
    b.request_reconcile("left-marked").await;
    b.not_ready("left-marked", "NameConflict").await;

    // It is deleted there: here is another one.
    b.connection("deleted").apply().await;
    b.not_ready("deleted", "NameConflict").await;
    a.delete("deleted").await;
    a.until_gone("deleted").await;
    b.request_reconcile("deleted").await;
    let bbc = b.ready("deleted").await;
    assert_eq!(origin(&bbc), Some("Created"));
    assert_ne!(world.row("deleted").id, ids[3]);
    assert_eq!(world.kms.connections().len(), names.len());
}

async fn operator(world: &World, args: &[&str]) -> Operator {
    let operator = world.replica(args.iter().copied());
    operator.start().await;
    operator
}

/// The cluster is lost, and with it the object; nobody asks the operator.
async fn lose(world: &World, name: &str) -> Value {
    let status = serde_json::to_value(world.get(name).await.status).expect("JSON");
    world.patch(name, json!({"metadata": {"finalizers": null}})).await;
    world.delete(name).await;
    world.until_gone(name).await;
    status
}

async fn restore_status(tenant: &Tenant, name: &str, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    let restored = tenant.api::<BitbucketConnection>().patch_status(name, &PatchParams::default(), &patch).await;
    restored.expect("a status of the backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn into_another_cluster() {
    let world = World::builder().without_operator().without_arg("--owner-id").start().await;
    let first = operator(&world, &["--owner-id", "old"]).await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    let names = ["same-id", "without-status", "with-status"];
    for name in names {
        world.connection(name).change(json!({"description": "Ours"})).apply().await;
        world.ready(name).await;
    }
    let uid = world.get("same-id").await.uid();
    let rows = world.kms.connections();
    first.kill().await;
    let mut backup = Vec::new();
    for name in names {
        backup.push(lose(&world, name).await);
    }
    let restore = |name| world.connection(name).change(json!({"description": "Ours"}));

    // With the same owner id it is found by its mark, though its uid is new and its status is gone.
    let second = operator(&world, &["--owner-id", "old"]).await;
    restore("same-id").apply().await;
    let bbc = world.ready("same-id").await;
    assert_ne!(bbc.uid(), uid);
    assert_eq!(origin(&bbc), Some("Created"));
    let (before, after) = (&rows[0], world.row("same-id"));
    assert_eq!((&after.id, &after.description), (&before.id, &before.description));
    second.terminate().await;

    // With another id it is another's, whether the status came with it or not.
    for name in names.into_iter().skip(1) {
        restore(name).apply().await;
    }
    restore_status(&world, "with-status", backup.remove(2)).await;
    world.kms.clear_journal();
    let third = operator(&world, &["--owner-id", "new"]).await;
    world.not_ready("without-status", "NameConflict").await;
    for name in ["same-id", "with-status"] {
        world.request_reconcile(name).await;
        world.not_ready(name, "OwnedByAnother").await;
    }
    assert_eq!(world.kms.count(&sim::Match::op(sim::Operation::Update)), 0);
    let ids = |rows: Vec<sim::Connection>| rows.into_iter().map(|row| (row.id, row.description)).collect::<Vec<_>>();
    assert_eq!(ids(world.kms.connections()), ids(rows.clone()));
    third.terminate().await;

    // Until it is told of the earlier id: then all are its own, and get its mark.
    let fourth = operator(&world, &["--owner-id", "new", "--previous-owner-ids", "old"]).await;
    for (name, row) in names.iter().zip(rows.iter().map(|row| world.row(&row.name))) {
        world.request_reconcile(name).await;
        let bbc = world.ready(name).await;
        assert_eq!(condition(&bbc, "Synced").1, "InSync");
        assert_eq!(row.name, *world.row(&row.name).name);
    }
    let now = world.kms.connections();
    for (before, now) in rows.iter().zip(&now) {
        assert_eq!(before.id, now.id);
        assert_ne!(before.description, now.description, "{}: marked anew", now.name);
        assert!(now.description.as_deref().is_some_and(|text| text.starts_with("Ours [k8s:")));
    }
    assert_eq!(now.len(), rows.len());
    fourth.terminate().await;
}
