//! References have no namespace: what they name is looked for in that of the object, or of the instance.

use bitbucket_connection_operator::api::KmsInstance;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::harness::{EMAIL, SECRET, TOKEN, Tenant, World, condition, dynamic};

/// Creates an object as `kubectl create --validate=false` does: fields that nobody knows are dropped.
async fn create(tenant: &Tenant, manifest: Value) {
    let (api, object) = dynamic(tenant.client(), Some(tenant.namespace()), manifest);
    api.create(&PostParams::default(), &object).await.expect("an object without what nobody knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_namespace_is_read_or_minted() {
    let world = World::cluster_wide().await;
    let team = world.tenant("team-a").await;
    // All of it is there, in another namespace, and the operator may use it there.
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance_secret().await;
    world.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "login"}})).await;
    world.let_mint("login").await;
    let elsewhere = world.namespace();

    let mut connection = team.connection("payments").manifest().clone();
    connection["spec"]["secretRef"] = json!({"name": SECRET, "namespace": elsewhere});
    create(&team, connection).await;
    let instance = |name: &str, auth: Value| {
        json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "KmsInstance", "metadata": {"name": name},
            "spec": {"host": world.kms.url(), "namespace": elsewhere, "auth": auth},
        })
    };
    let account = json!({"name": "login", "namespace": elsewhere});
    let minted = json!({"identityId": "x", "audience": "kms", "serviceAccountRef": account});
    let held = json!({"secretRef": {"name": "kms-credentials", "namespace": elsewhere}});
    let table = [
        ("universal", held, "SecretNotFound", "kms-credentials"),
        ("kubernetes", minted.clone(), "AuthenticationFailed", "login"),
        ("oidc", minted, "AuthenticationFailed", "login"),
    ];
    for (method, spec, ..) in &table {
        create(&team, instance(method, json!({*method: spec}))).await;
    }
    team.not_ready("payments", "SecretNotFound").await;
    for (method, _, reason, name) in &table {
        let says = |instance: &KmsInstance| condition(instance, "Ready").1 == *reason;
        let instance = team.until_instance(method, &format!("says {reason}"), says).await;
        // Who the operator is may be told; here its name is made of that of the namespace.
        let message = condition(&instance, "Ready").2.replace(world.user(), "");
        assert!(message.contains(name) && message.contains("in namespace team-a"), "{method}: {message}");
        assert!(!message.contains(elsewhere), "{method}: {message}");
    }
    let reads = world.api_reads();
    assert!(!reads.is_empty() && reads.iter().all(|read| read.starts_with("secrets team-a/")), "{reads:#?}");
    let tokens = |write: &crate::harness::Write| write.resource == "serviceaccounts/token";
    let asked = world.api_writes_until(|writes| writes.iter().any(tokens)).await;
    let refused = |write: &crate::harness::Write| write.namespace == "team-a" && write.code == 403;
    assert!(asked.iter().filter(|write| tokens(write)).all(refused), "{asked:#?}");
    assert_eq!((world.kms.journal().len(), world.bitbucket.journal().len()), (0, 0));
}
