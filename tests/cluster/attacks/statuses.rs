//! Another object's status, or one that somebody wrote: it is a hint where to look, and the mark decides.

use serde_json::{Value, json};
use sim::Connection;

use super::{ANOTHER_PROJECT, mark_of, overwrite_status, recorded, secret};
use crate::harness::{PROJECT, World};

#[tokio::test(flavor = "multi_thread")]
async fn another_status_leads_to_nobody_elses_connection() {
    let world = World::builder().args(["--owner-id", "cluster"]).start().await;
    world.instance().await;
    world.kms.add_project(ANOTHER_PROJECT);
    secret(&world, &world, "victim").await;
    world.connection("victim").secret("victim").apply().await;
    let victim = recorded(&world.ready("victim").await);
    let in_another = |name: &str, description: &str| {
        world.kms.insert(Connection::new(name).project(ANOTHER_PROJECT).description(description))
    };
    let theirs = in_another("theirs", "Made by hand");
    // Left behind by an earlier object of the same name, which had another project.
    let earlier = in_another("earlier", &mark_of("cluster", &world, "earlier"));
    let nobody = "11111111-1111-4111-8111-111111111111";
    // What the status tells of, and what Synced says then
    let table: [(&str, Value, &str); 8] = [
        ("victim-of-it", victim, "OwnedByAnother"),
        ("elsewhere", json!({"id": theirs}), "InSync"),
        ("elsewhere-too", json!({"id": theirs, "projectId": ANOTHER_PROJECT}), "InSync"),
        ("earlier", json!({"id": earlier, "projectId": ANOTHER_PROJECT}), "InSync"),
        ("nobody", json!({"id": nobody}), "InSync"),
        ("dots", json!({"id": ".."}), "InSync"),
        ("path", json!({"id": "../../../auth/universal-auth/login"}), "InSync"),
        ("empty", json!({"id": ""}), "InSync"),
    ];
    for (name, ..) in &table {
        secret(&world, &world, name).await;
        world.connection(name).secret(name).apply().await;
    }
    for (name, ..) in &table {
        world.ready(name).await;
    }
    let others = |world: &World| {
        let mut rows = world.kms.connections();
        rows.retain(|row| row.project_id.as_deref() == Some(ANOTHER_PROJECT) || row.name == "victim");
        rows
    };
    let before = others(&world);
    assert_eq!(before.len(), 3);
    let own = |name: &str| {
        let rows = world.kms.connections();
        let mut own = rows.into_iter().filter(|row| row.project_id.as_deref() == Some(PROJECT) && row.name == name);
        own.next().expect("a connection of its own")
    };
    let ids: Vec<String> = table.iter().map(|(name, ..)| own(name).id).collect();
    for (name, connection, reason) in &table {
        overwrite_status(&world, name, json!({"connection": connection})).await;
        world.patch(name, json!({"spec": {"description": "New"}})).await;
        world.until_reason(name, "Synced", reason).await;
        world.request_reconcile(name).await;
        world.until_reason(name, "Synced", reason).await;
    }
    assert_eq!(others(&world), before);
    for ((name, _, reason), id) in table.iter().zip(&ids) {
        let row = own(name);
        let text = row.description.unwrap_or_default();
        assert_eq!((&row.id, text.starts_with("New ")), (id, *reason == "InSync"), "{name}: {text}");
    }

    // Nor is anything of theirs deleted; what can't be told to be its own is left alone.
    for (name, connection, _) in &table {
        overwrite_status(&world, name, json!({"connection": connection})).await;
        world.delete(name).await;
        world.until_gone(name).await;
    }
    assert_eq!(others(&world), before);
    let rows = world.kms.connections();
    let left = |name: &str| rows.iter().any(|row| row.name == name && row.project_id.as_deref() == Some(PROJECT));
    for (name, _, reason) in &table {
        assert_eq!(left(name), *reason != "InSync", "{name}");
    }
    let base = "/api/v1/app-connections/bitbucket";
    let is_usual = |path: &str| {
        let id = path.strip_prefix(base).map(|rest| rest.trim_matches('/'));
        path == "/api/v1/auth/universal-auth/login"
            || id.is_some_and(|id| id.is_empty() || uuid::Uuid::parse_str(id).is_ok())
    };
    let strange: Vec<_> = world.kms.journal().into_iter().filter(|entry| !is_usual(&entry.path)).collect();
    assert!(strange.is_empty(), "{strange:#?}");
}
