//! The main job, from the first Secret to the end, and what it costs.

use bitbucket_connection_operator::domain::scopes::UseCase;
use sim::{Caller, Token};

use crate::harness::{EMAIL, Kstatus, Metrics, PROJECT, SECRET, TOKEN, World, Write, condition, kstatus, needed_by};

#[tokio::test(flavor = "multi_thread")]
async fn from_a_secret_to_a_connection_and_back() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("payments").apply().await;
    let ready = world.ready("payments").await;

    assert_eq!(condition(&ready, "Ready").1, "Succeeded");
    assert_eq!(kstatus(&ready), Kstatus::Current);
    let made = world.kms.connection("payments").expect("a connection in the KMS");
    assert_eq!((made.project_id.as_deref(), made.api_token.as_str()), (Some(PROJECT), TOKEN));
    assert_eq!((world.kms.writes(), world.bitbucket.calls_by(Caller::Operator)), (1, 1));
    world.until_event("payments", "ConnectionCreated").await;
    let is_ready = |metrics: &Metrics| metrics.value("bitbucket_connection_ready", &[("status", "True")]) == Some(1.0);
    world.until_metrics("tell that it is Ready", is_ready).await;

    let rotated = "ATATT3xFfGF0-canary-of-the-second-token";
    world.bitbucket.add(Token::new(EMAIL, rotated).scopes(needed_by(&[UseCase::SecretScanning])));
    world.secret(SECRET, EMAIL, rotated).await;
    world.until_event("payments", "CredentialsRotated").await;
    let stored = world.kms.connection("payments").expect("a connection in the KMS");
    assert_eq!((&stored.id, stored.api_token.as_str()), (&made.id, rotated));

    world.request_reconcile("payments").await;
    world.restart().await;
    world.request_reconcile("payments").await;
    assert_eq!(world.kms.connections().len(), 1);

    world.delete("payments").await;
    world.until_gone("payments").await;
    assert!(world.kms.connections().is_empty());
    world.assert_silent(&[rotated]).await;
    assert_eq!(world.operator.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_pass_costs_three_writes() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance_in_use().await;
    world.connection("payments").apply().await;
    world.ready("payments").await;
    // The status comes last; with it all is noted.
    let is_status = |write: &Write| write.resource == "bitbucketconnections/status";
    let writes = world.api_writes_until(|writes| writes.iter().any(is_status)).await;
    let writes: Vec<String> = writes
        .into_iter()
        .filter(|write| !write.resource.starts_with("kmsinstances"))
        .map(|write| format!("{} {} {}", write.verb, write.resource, write.code))
        .collect();
    assert_eq!(
        writes,
        ["patch bitbucketconnections 200", "create events 201", "patch bitbucketconnections/status 200"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_namespace_is_served_and_may_be_deleted() {
    let world = World::cluster_wide().await;
    world.cluster_instance().await;
    let team = world.tenant("team-b").await;
    team.secret(SECRET, EMAIL, TOKEN).await;
    team.connection("payments").apply().await;
    team.ready("payments").await;
    assert_eq!(world.kms.connections().len(), 1);
    team.delete_namespace().await;
    team.until_namespace_gone().await;
    assert!(world.kms.connections().is_empty());
    world.assert_silent(&[]).await;
}
