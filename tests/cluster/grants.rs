//! Who may use an instance of the cluster, and for what; and what it tells those who may.

use bitbucket_connection_operator::api::ClusterKmsInstance;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sim::Caller;

use crate::harness::{CLIENT_SECRET, EMAIL, Kstatus, PROJECT, SECRET, TOKEN, Tenant, World, condition, kstatus};

const ANOTHER_PROJECT: &str = "0b1c4b52-93a0-4b9e-8d4f-5f0a4f6f7a11";

async fn label(world: &World, namespace: &str, labels: Value) {
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    let patched = world.cluster_api::<Namespace>().patch(namespace, &PatchParams::default(), &patch).await;
    patched.expect("labels of a namespace");
}

/// A namespace of a team, with its Secret.
async fn team(world: &World, name: &str) -> Tenant {
    let team = world.tenant(name).await;
    label(world, name, json!({"team": name})).await;
    team.secret(SECRET, EMAIL, TOKEN).await;
    team
}

async fn until_says(world: &World, reason: &str) -> ClusterKmsInstance {
    let holds = |instance: &ClusterKmsInstance| {
        let observed = instance.status.as_ref().and_then(|status| status.observed_generation);
        observed == instance.metadata.generation && condition(instance, "Ready").1 == reason
    };
    world.until_cluster_instance("default", &format!("says {reason}"), holds).await
}

/// How many requests of the KMS name a project.
fn requests_about(world: &World, project: &str) -> usize {
    world.kms.journal().iter().filter(|entry| entry.contains(project)).count()
}

/// One world for all of it: each needs a control plane of its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_the_cluster_serves_whom_it_grants() {
    let world = World::cluster_wide().await;
    world.kms.add_project(ANOTHER_PROJECT);
    world.cluster_instance_with(json!({"grants": []})).await;
    until_says(&world, "Authenticated").await;
    let a = team(&world, "team-a").await;
    let b = team(&world, "team-b").await;
    let c = team(&world, "team-c").await;

    // The smallest manifest names no instance: it means this one.
    let applied = a.connection("payments").apply().await;
    assert!(applied.spec.kms_ref.is_none());
    b.connection("payments").project(ANOTHER_PROJECT).apply().await;
    c.connection("everything").organization().apply().await;
    for (team, name) in [(&a, "payments"), (&b, "payments"), (&c, "everything")] {
        let denied = team.not_ready(name, "KmsRefNotAllowed").await;
        let (status, _, message) = condition(&denied, "Ready");
        assert_eq!((status.as_str(), kstatus(&denied)), ("False", Kstatus::Failed));
        let words = ["ClusterKmsInstance/default", "grant", team.namespace()];
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        assert_eq!(condition(&denied, "CredentialsValid").1, "Authenticated", "judged on its own");
        assert_eq!(team.events(name).await, [], "told by its condition alone");
    }
    assert_eq!((world.kms.lists(), world.kms.gets(), world.kms.writes()), (0, 0, 0));

    // By label and project; another's project; the organization.
    let grant = |team: &str, rest: Value| {
        let mut grant = json!({"namespaceSelector": {"matchLabels": {"team": team}}});
        crate::harness::merge(&mut grant, rest);
        grant
    };
    let grants = |b: Value, c: Value| json!({"grants": [grant("team-a", json!({"projectIds": [PROJECT]})), b, c]});
    let one_project = || grant("team-b", json!({"projectIds": [PROJECT]}));
    let any_project = || grant("team-c", json!({"projectIds": ["*"]}));
    world.cluster_instance_with(grants(one_project(), any_project())).await;
    a.ready("payments").await;
    for (team, name, what) in [(&b, "payments", ANOTHER_PROJECT), (&c, "everything", "the organization")] {
        let denied = team.not_ready(name, "ProjectNotAllowed").await;
        assert_eq!(kstatus(&denied), Kstatus::Failed);
        let message = condition(&denied, "Ready").2;
        assert!(message.contains(what) && message.contains("grant"), "{message}");
    }
    assert_eq!((world.kms.writes(), requests_about(&world, ANOTHER_PROJECT)), (1, 0));
    c.connection("any").project(ANOTHER_PROJECT).apply().await;
    c.ready("any").await;

    let organization = grant("team-c", json!({"projectIds": ["*"], "organizationScope": true}));
    world.cluster_instance_with(grants(grant("team-b", json!({"projectIds": ["*"]})), organization)).await;
    b.ready("payments").await;
    c.ready("everything").await;
    let stored = world.kms.connection("everything").expect("a connection in the KMS");
    assert_eq!(stored.project_id, None, "of the whole organization");
    b.until_event("payments", "Recovered").await;

    // Labels of namespaces decide, and nobody has to press a button.
    let written = world.kms.writes();
    label(&world, "team-a", json!({"team": "somebody-else"})).await;
    let denied = a.not_ready("payments", "KmsRefNotAllowed").await;
    let kept = denied.status.as_ref().and_then(|status| status.connection.as_ref());
    assert!(kept.is_some() && world.kms.connections().len() == 4, "what is in the KMS stays");
    a.secret("other", EMAIL, "ATATT3x-of-no-use-here").await;
    a.connection("late").secret("other").apply().await;
    a.not_ready("late", "CredentialsRejected").await;
    a.until_reason("late", "Synced", "KmsRefNotAllowed").await;
    label(&world, "team-a", json!({"team": "team-a"})).await;
    a.ready("payments").await;
    assert_eq!((world.kms.writes(), world.kms.logins()), (written, 1));

    // A grant that is gone doesn't keep anybody from cleaning up.
    world.cluster_instance_with(json!({"grants": []})).await;
    b.not_ready("payments", "KmsRefNotAllowed").await;
    b.delete("payments").await;
    b.until_gone("payments").await;
    let left = world.kms.connections();
    assert!(!left.iter().any(|row| row.project_id.as_deref() == Some(ANOTHER_PROJECT) && row.name == "payments"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_told_nothing_of_another_namespace() {
    let world = World::cluster_wide().await;
    world.cluster_instance().await;
    world.delete_secret("kms-credentials").await;
    let team = team(&world, "team-a").await;
    team.connection("payments").apply().await;
    let instance = until_says(&world, "SecretNotFound").await;
    let told = condition(&instance, "Ready").2;
    assert!(told.contains("kms-credentials") && told.contains(world.namespace()), "its own people are told: {told}");
    let silent = |object: &bitbucket_connection_operator::api::BitbucketConnection| {
        let text = serde_json::to_string(&object.status).expect("JSON");
        for word in ["kms-credentials", world.namespace(), CLIENT_SECRET, "clientSecret"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    };
    for (data, reason) in [
        (json!({"clientId": "x"}), "SecretKeyMissing"),
        (json!({"clientId": "x", "clientSecret": "y"}), "AuthenticationFailed"),
    ] {
        let waiting = team.not_ready("payments", "KmsInstanceNotReady").await;
        assert_eq!(kstatus(&waiting), Kstatus::InProgress);
        silent(&waiting);
        world.secret_with("kms-credentials", data).await;
        until_says(&world, reason).await;
        let named = |object: &_| condition(object, "Ready").2.contains(reason);
        silent(&team.until("payments", &format!("names {reason}"), named).await);
    }
    world.instance_secret().await;
    silent(&team.ready("payments").await);
    assert_eq!(world.bitbucket.calls_by(Caller::Operator), 1);

    // Another instance of the cluster, by its name; and one that isn't there.
    let reference = json!({"kmsRef": {"kind": "ClusterKmsInstance", "name": "second"}});
    team.connection("second").change(reference).apply().await;
    let missing = team.not_ready("second", "KmsRefNotFound").await;
    assert_eq!(kstatus(&missing), Kstatus::InProgress);
    let mut second = serde_json::to_value(until_says(&world, "Authenticated").await).expect("JSON");
    let manifest = json!({
        "apiVersion": second["apiVersion"].take(), "kind": "ClusterKmsInstance", "metadata": {"name": "second"},
        "spec": second["spec"].take(),
    });
    world.apply(manifest).await;
    team.ready("second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_some_namespaces_are_served_no_instance_of_the_cluster_serves() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let rows = [
        ("implied", json!({"kmsRef": null})),
        ("spelt", json!({"kmsRef": {"kind": "ClusterKmsInstance", "name": "default"}})),
    ];
    for (name, change) in rows {
        world.connection(name).change(change).apply().await;
        let denied = world.not_ready(name, "KmsRefNotAllowed").await;
        assert_eq!(kstatus(&denied), Kstatus::Failed);
        assert!(condition(&denied, "Ready").2.contains("KmsInstance of this namespace"));
    }
    assert!(world.kms.journal().is_empty());
}
