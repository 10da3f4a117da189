//! Names are unique in a project, whatever the app.

use serde_json::json;
use sim::Connection;

use super::{secret, token_of, world};
use crate::harness::{EMAIL, Kstatus, PROJECT, TOKEN, assert_condition, kstatus};

const TAKEN: &[&str] = &["connectionName", "named", "already", "this object didn't make it", "shared by all apps"];

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_is_left_to_its_owner() {
    let world = world().await;
    world.secret("bitbucket-token", EMAIL, TOKEN).await;
    for (name, app) in [("of-bitbucket", "bitbucket"), ("of-github", "github"), ("of-gitlab", "gitlab")] {
        world.kms.insert(Connection::new(name).project(PROJECT).app(app).description("by hand"));
    }
    let before = world.kms.connections();
    for name in ["of-bitbucket", "of-github", "of-gitlab"] {
        world.connection(name).apply().await;
        let bbc = world.not_ready(name, "NameConflict").await;
        assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
        assert_condition(&bbc, "Synced", "False", "NameConflict", TAKEN);
        assert_condition(&bbc, "Ready", "False", "NameConflict", &[name, PROJECT]);
        assert_eq!(kstatus(&bbc), Kstatus::Failed, "{name}");
        assert!(world.until_event(name, "NameConflict").await.contains(name));
        assert_eq!(world.told(name).await, ["NameConflict"]);
        assert_eq!(bbc.status.and_then(|status| status.connection), None, "{name}: nothing is ours");
    }
    assert_eq!(world.kms.connections(), before);

    // It is still so when somebody asks, and told once.
    world.request_reconcile("of-github").await;
    world.not_ready("of-github", "NameConflict").await;
    assert_eq!(world.told("of-github").await, ["NameConflict"]);

    // Another name, or the other connection's end or renaming.
    world.connection("of-bitbucket").change(json!({"connectionName": "another-name"})).apply().await;
    world.kms.remove(&world.kms.connection("of-github").expect("a connection").id);
    world.request_reconcile("of-github").await;
    world.kms.edit(&world.kms.connection("of-gitlab").expect("a connection").id, |row| row.name = "renamed".to_owned());
    world.request_reconcile("of-gitlab").await;
    for (name, made) in [("of-bitbucket", "another-name"), ("of-github", "of-github"), ("of-gitlab", "of-gitlab")] {
        let bbc = world.ready(name).await;
        assert_eq!(kstatus(&bbc), Kstatus::Current, "{name}");
        assert_eq!(world.told(name).await, ["ConnectionCreated", "NameConflict", "Recovered"], "{name}");
        assert_eq!(world.kms.connection(made).map(|row| row.api_token).as_deref(), Some(TOKEN));
    }
    let others = |rows: Vec<Connection>| -> Vec<_> {
        rows.into_iter().filter(|row| row.description.as_deref() == Some("by hand")).map(|row| row.api_token).collect()
    };
    assert_eq!(others(world.kms.connections()).len(), 2, "the one that was removed is all that is gone");
    assert!(others(world.kms.connections()).iter().all(|token| token != TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_another_place_is_free() {
    let world = world().await;
    world.secret("bitbucket-token", EMAIL, TOKEN).await;
    world.kms.insert(Connection::new("in-project"));
    world.kms.insert(Connection::new("in-organization").project(PROJECT));
    world.connection("in-project").apply().await;
    world.connection("in-organization").organization().apply().await;
    for name in ["in-project", "in-organization"] {
        world.ready(name).await;
        assert_eq!(world.told(name).await, ["ConnectionCreated"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_cannot_be_renamed_stays_as_it_is() {
    let world = world().await;
    secret(&world, "payments").await;
    world.kms.insert(Connection::new("taken").project(PROJECT));
    world.connection("payments").secret("payments").apply().await;
    let before = world.ready("payments").await;
    let made = world.kms.connection("payments").expect("a connection");

    world.connection("payments").secret("payments").change(json!({"connectionName": "taken"})).apply().await;
    let bbc = world.not_ready("payments", "NameConflict").await;
    assert_condition(&bbc, "Synced", "False", "NameConflict", &["taken", PROJECT, "shared by all apps"]);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    assert_eq!(world.kms.connection("payments").as_ref(), Some(&made));
    let connection = |bbc: bitbucket_connection_operator::api::BitbucketConnection| {
        bbc.status.and_then(|status| status.connection).expect("what is in the KMS")
    };
    assert_eq!(connection(bbc), connection(before), "the status still knows what is ours");

    world.connection("payments").secret("payments").apply().await;
    world.ready("payments").await;
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "NameConflict", "Recovered"]);
    assert_eq!(world.kms.connection("payments").as_ref(), Some(&made), "nothing was written");
    assert_eq!(made.api_token, token_of("payments"));
}
