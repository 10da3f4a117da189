//! What a person has to mend: projects, permissions, credentials that only the KMS can't use.

use futures::future::join_all;
use serde_json::json;
use sim::{Caller, Fault, Match};

use super::{secret, token_of, world};
use crate::harness::{EMAIL, Kstatus, PROJECT, TOKEN, World, assert_condition, kstatus};

/// Presses the button, and expects Ready and these events.
async fn recovers(world: &World, name: &str, told: &[&str]) {
    world.request_reconcile(name).await;
    assert_eq!(kstatus(&world.ready(name).await), Kstatus::Current, "{name}");
    assert_eq!(world.told(name).await, told, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_project_is_told_and_found_later() {
    let world = world().await;
    world.secret("bitbucket-token", EMAIL, TOKEN).await;
    let project = uuid::Uuid::new_v4().to_string();
    world.connection("payments").project(&project).apply().await;
    let bbc = world.not_ready("payments", "KmsRejected").await;
    let words = &["knows no project", &project, "KmsInstance/kms", "spec.projectId"];
    assert_condition(&bbc, "Synced", "False", "KmsRejected", words);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    assert_eq!(world.told("payments").await, [""; 0], "its condition tells it");
    world.kms.add_project(&project);
    recovers(&world, "payments", &["ConnectionCreated", "Recovered"]).await;
    assert_eq!(world.kms.connection("payments").and_then(|row| row.project_id), Some(project.clone()));

    // A project that is deleted takes its connections along.
    world.kms.remove_project(&project);
    let bbc = world.request_reconcile("payments").await;
    assert_condition(&bbc, "Ready", "False", "KmsRejected", words);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permissions_are_named() {
    let world = world().await;
    world.secret("bitbucket-token", EMAIL, TOKEN).await;
    let denied = async |name: &str, action: &str| {
        let bbc = world.not_ready(name, "KmsPermissionDenied").await;
        let words = ["KmsInstance/kms", &format!("may not {action} app connections"), PROJECT, "role"];
        assert_condition(&bbc, "Synced", "False", "KmsPermissionDenied", &words);
        assert_condition(&bbc, "Ready", "False", "KmsPermissionDenied", &words);
        assert_eq!(kstatus(&bbc), Kstatus::Failed, "{action}");
    };

    // In this order: a list that was read answers for half a minute.
    for action in ["read", "create"] {
        world.kms.deny(action);
        world.connection(action).apply().await;
        denied(action, action).await;
        assert_eq!(world.told(action).await, [""; 0], "its condition tells it");
        assert_eq!(world.kms.connection(action), None);
        world.kms.allow(action);
        recovers(&world, action, &["ConnectionCreated", "Recovered"]).await;
    }

    world.connection("edit").apply().await;
    world.ready("edit").await;
    let before = world.kms.connection("edit");
    world.kms.deny("edit");
    world.connection("edit").change(json!({"description": "new"})).apply().await;
    denied("edit", "edit").await;
    assert_eq!(world.kms.connection("edit"), before);
    world.kms.allow("edit");
    recovers(&world, "edit", &["ConnectionCreated", "ConnectionUpdated", "Recovered"]).await;

    // What was Ready can't be judged without the right to read it.
    world.kms.deny("read");
    world.request_reconcile("edit").await;
    denied("edit", "read").await;
    world.kms.allow("read");
    world.request_reconcile("edit").await;
    world.ready("edit").await;
    assert_eq!(world.kms.connections().len(), 3, "never a second one");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_that_may_not_be_read_is_not_made_twice() {
    let world = world().await;
    secret(&world, "payments").await;
    world.connection("payments").secret("payments").apply().await;
    world.ready("payments").await;
    let made = world.kms.connection("payments").expect("a connection");
    world.kms.hide(&made.id);
    let bbc = world.request_reconcile("payments").await;
    assert_condition(&bbc, "Ready", "False", "KmsPermissionDenied", &["may not read app connections"]);
    assert_eq!(world.kms.connections().len(), 1);
    world.kms.unhide(&made.id);
    recovers(&world, "payments", &["ConnectionCreated", "Recovered"]).await;
    assert_eq!(world.kms.connections(), [made]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_only_the_kms_cannot_use() {
    let world = world().await;
    let rows = [("refused-401", 401), ("refused-403", 403)];
    join_all(rows.map(async |(name, status)| {
        secret(&world, name).await;
        let from_kms = Match::any().caller(Caller::Kms).token(&token_of(name));
        world.bitbucket.fail_when(from_kms, Fault::status(status));
        world.connection(name).secret(name).apply().await;
        let bbc = world.not_ready(name, "KmsRejected").await;
        assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
        let words = &["when the KMS tried it", "accepts it from here", "IP allow list", &status.to_string()];
        assert_condition(&bbc, "Synced", "False", "KmsRejected", words);
        assert_eq!(kstatus(&bbc), Kstatus::Failed, "{name}");
        assert_eq!(world.told(name).await, [""; 0], "its condition tells it");
        assert_eq!(world.kms.connection(name), None);
    }))
    .await;
    world.bitbucket.heal();
    for (name, _) in rows {
        recovers(&world, name, &["ConnectionCreated", "Recovered"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_else_the_kms_refuses_is_told_in_its_words() {
    let world = world().await;
    let issues = json!({"statusCode": 422, "error": "ValidationFailure", "message": [
        {"code": "custom", "path": ["name"], "message": "Must be a valid slug"},
    ]});
    let rows = [
        ("issues", Fault::json(422, &issues), ["(422)", "name: Must be a valid slug"]),
        (
            "words",
            Fault::json(400, &json!({"statusCode": 400, "message": "Plan limit reached"})),
            ["(400)", "Plan limit reached"],
        ),
    ];
    for (name, fault, words) in &rows {
        secret(&world, name).await;
        world.kms.fail_when(Match::writes().token(&token_of(name)), fault.clone());
        world.connection(name).secret(name).apply().await;
        let bbc = world.not_ready(name, "KmsRejected").await;
        assert_condition(&bbc, "Synced", "False", "KmsRejected", words);
        assert_eq!(kstatus(&bbc), Kstatus::Failed, "{name}");
    }
    world.kms.heal();
    for (name, ..) in &rows {
        recovers(&world, name, &["ConnectionCreated", "Recovered"]).await;
    }

    // A server that repeats what it was sent betrays nothing.
    secret(&world, "echo").await;
    world.kms.fail_when(Match::writes().token(&token_of("echo")).times(1), Fault::Echo(400));
    world.connection("echo").secret("echo").apply().await;
    world.until("echo", "was answered", |bbc| crate::harness::condition(bbc, "Synced").0 != "").await;
    world.assert_silent(&[&token_of("echo")]).await;
}
