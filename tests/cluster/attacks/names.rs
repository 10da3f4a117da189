//! Names with `../` in fields that become parts of an address. The API server refuses them (see `schema`); here its rules
//! are gone, as after a CRD that somebody changed, and the operator is on its own.

use bitbucket_connection_operator::api::{BitbucketConnection, KmsInstance};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::harness::{EMAIL, PATIENCE, PAUSE, SECRET, TOKEN, World, condition};

/// Takes rules, patterns and lengths out of a schema.
fn strip(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.remove("maxLength");
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes the rules of all kinds away, and waits until they don't hold any more; nothing else tells when.
async fn take_rules_away(world: &World) {
    let definitions = Api::<CustomResourceDefinition>::all(world.client().clone());
    for definition in definitions.list(&ListParams::default()).await.expect("our kinds").items {
        let mut changed = serde_json::to_value(&definition).expect("JSON");
        strip(&mut changed["spec"]);
        let changed = serde_json::from_value(changed).expect("a kind without rules");
        let name = definition.name_any();
        definitions.replace(&name, &PostParams::default(), &changed).await.expect("a kind without rules");
    }
    let gone = async {
        let broken =
            || world.connection("probe").change(json!({"secretRef": {"name": "a/b"}, "managementPolicy": "No"}));
        while broken().try_apply().await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
        let broken = || instance(world, "probe", json!({"universal": {"secretRef": {"name": "a/b"}}}));
        while world.try_apply(broken()).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("rules that are gone");
    world.delete("probe").await;
    world.delete_object::<KmsInstance>("probe").await;
}

fn instance(world: &World, name: &str, auth: Value) -> Value {
    json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "KmsInstance", "metadata": {"name": name},
        "spec": {"host": world.kms.url(), "auth": auth},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_slipped_past_the_rules_leads_nowhere() {
    let world = World::cluster_wide().await;
    take_rules_away(&world).await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.cluster_instance().await;
    let vault = world.tenant("vault").await;
    vault.secret(SECRET, EMAIL, TOKEN).await;
    vault.instance_secret().await;
    let names = [
        "../../vault/secrets/bitbucket-token".to_owned(),
        format!("{SECRET}/../{SECRET}"),
        format!("{SECRET}?watch=true"),
        format!("{SECRET}#"),
        format!("%2e%2e/{SECRET}"),
        "..".to_owned(),
        String::new(),
        "with a blank".to_owned(),
    ];
    let reference = |name: &str| json!({"secretRef": {"name": name}});
    for (at, name) in names.iter().enumerate() {
        let row = format!("row-{at}");
        world.connection(&row).change(reference(name)).apply().await;
        world.connection(&format!("ref-{row}")).change(json!({"kmsRef": {"name": name}})).apply().await;
        let elsewhere = name.replace(SECRET, "kms-credentials");
        world.apply(instance(&world, &format!("held-{at}"), json!({"universal": reference(&elsewhere)}))).await;
        for kind in ["ConfigMap", "Secret"] {
            let mut trusting = instance(
                &world,
                &format!("trusting-a-{}-{at}", kind.to_lowercase()),
                json!({"universal": reference("kms-credentials")}),
            );
            trusting["spec"]["tls"] = json!({"caRef": {"kind": kind, "name": name}});
            world.apply(trusting).await;
        }
        let account = json!({"identityId": "x", "audience": "kms", "serviceAccountRef": {"name": name}});
        world.apply(instance(&world, &format!("minted-{at}"), json!({"kubernetes": account}))).await;
    }
    let ids = ["../x", "7ffbb072", "*", ""];
    for (at, id) in ids.iter().enumerate() {
        world.connection(&format!("project-{at}")).project(id).apply().await;
    }
    for (at, name) in names.iter().enumerate() {
        for (row, field) in
            [(format!("row-{at}"), "spec.secretRef.name"), (format!("ref-row-{at}"), "spec.kmsRef.name")]
        {
            let bbc = world.not_ready(&row, "SpecInvalid").await;
            let message = condition(&bbc, "Ready").2;
            assert!(message.contains(field), "{name:?}: {message}");
        }
        for row in [format!("held-{at}"), format!("minted-{at}")] {
            let says = |instance: &KmsInstance| condition(instance, "Ready").1 == "SecretNotFound";
            world.until_instance(&row, "says SecretNotFound", says).await;
        }
        for kind in ["configmap", "secret"] {
            world.until_instance_says(&format!("trusting-a-{kind}-{at}"), "CaInvalid").await;
        }
    }
    for at in 0..ids.len() {
        world.not_ready(&format!("project-{at}"), "SpecInvalid").await;
    }
    // Nobody was asked but for what has a good name.
    let own = [SECRET, "kms-credentials"].map(|name| format!("secrets {}/{name}", world.namespace()));
    let reads = world.api_reads();
    assert!(reads.iter().all(|read| own.contains(read)), "{reads:#?}");
    let writes = world.api_writes();
    assert!(!writes.iter().any(|write| write.resource.starts_with("serviceaccounts")), "{writes:#?}");
    assert!(world.api::<BitbucketConnection>().list(&ListParams::default()).await.is_ok());
    // And they go as they came.
    for at in 0..names.len() {
        world.delete(&format!("row-{at}")).await;
        world.until_gone(&format!("row-{at}")).await;
    }
}
