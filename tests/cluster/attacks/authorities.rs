//! `caRef` at something that holds no CAs, such as a Secret that its author may name but not read: nothing of it comes out.

use bitbucket_connection_operator::api::KmsInstance;
use serde_json::{Value, json};

use crate::harness::{EMAIL, SECRET, TOKEN, World, condition};

const PASSWORD: &str = "canary-of-a-password";
const KEY: &str = "Y2FuYXJ5LW9mLWEtcHJpdmF0ZS1rZXk";

#[tokio::test(flavor = "multi_thread")]
async fn what_ca_ref_names_is_never_repeated() {
    let world = World::builder().env("RUST_LOG", "debug").start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance_secret().await;
    let pem = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let data = json!({
        "password": PASSWORD,
        "key": pem("PRIVATE KEY", KEY),
        "certificate": pem("CERTIFICATE", KEY),
        "both": pem("CERTIFICATE", PASSWORD),
        "cut": format!("-----BEGIN CERTIFICATE-----\n{PASSWORD}"),
    });
    world.secret_with("private", data.clone()).await;
    world.apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "private"}, "data": data})).await;
    let keys = ["password", "key", "certificate", "both", "cut"];
    let rows: Vec<_> = ["Secret", "ConfigMap"].iter().flat_map(|kind| keys.map(|key| (*kind, key))).collect();
    let instance = |name: &str, ca_ref: Value| {
        let auth = json!({"universal": {"secretRef": {"name": "kms-credentials"}}});
        json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "KmsInstance", "metadata": {"name": name},
            "spec": {"host": world.kms.url(), "auth": auth, "tls": {"caRef": ca_ref}},
        })
    };
    for (kind, key) in &rows {
        let name = format!("{}-{key}", kind.to_lowercase());
        world.apply(instance(&name, json!({"kind": kind, "name": "private", "key": key}))).await;
        world.connection(&name).change(json!({"kmsRef": {"name": name}})).apply().await;
    }
    for (kind, key) in &rows {
        let name = format!("{}-{key}", kind.to_lowercase());
        let says = |instance: &KmsInstance| condition(instance, "Ready").1 == "CaInvalid";
        let instance = world.until_instance(&name, "says CaInvalid", says).await;
        let message = condition(&instance, "Ready").2;
        assert!(message.contains(&format!("key {key} of {kind} private")), "{name}: {message}");
        world.not_ready(&name, "KmsInstanceNotReady").await;
    }
    assert!(world.kms.journal().is_empty(), "without its CAs nobody is talked to");
    world.assert_silent(&[PASSWORD, KEY]).await;
}
