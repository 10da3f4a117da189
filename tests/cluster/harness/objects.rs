//! The objects that most tests begin with, and ways to make them differ.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bitbucket_connection_operator::api::BitbucketConnection;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    core::TypeMeta,
};
use serde_json::{Map, Value, json};

use super::{CLIENT_ID, CLIENT_SECRET, PROJECT, SECRET, tenant::Tenant};

const API_VERSION: &str = "connections.kms.hanzo.ai/v1alpha1";

/// Kinds without a namespace that tests apply.
const CLUSTER_SCOPED: [&str; 5] =
    ["ClusterKmsInstance", "Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"];

/// The API of a manifest's kind, and the manifest as an object.
pub fn dynamic(client: &Client, namespace: Option<&str>, manifest: Value) -> (Api<DynamicObject>, DynamicObject) {
    let object: DynamicObject = serde_json::from_value(manifest).expect("a manifest");
    let types: &TypeMeta = object.types.as_ref().expect("apiVersion and kind");
    let kind = GroupVersionKind::try_from(types).expect("an apiVersion");
    let resource = ApiResource::from_gvk(&kind);
    let namespace = object.metadata.namespace.as_deref().or(namespace);
    let api = match namespace {
        Some(namespace) if !CLUSTER_SCOPED.contains(&types.kind.as_str()) => {
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
        _ => Api::all_with(client.clone(), &resource),
    };
    (api, object)
}

/// A JSON merge patch: null takes a field away.
pub fn merge(target: &mut Value, change: Value) {
    let Value::Object(change) = change else {
        *target = change;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return };
    for (name, value) in change {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

impl Tenant {
    /// Applies a Secret with e-mail and token.
    pub async fn secret(&self, name: &str, email: &str, token: &str) {
        self.secret_with(name, json!({"email": email, "token": token})).await;
    }

    /// Applies a Secret with these keys and texts, and no others.
    pub async fn secret_with(&self, name: &str, data: Value) {
        self.secret_as(name, data, json!({})).await;
    }

    /// The same, with metadata such as annotations.
    pub async fn secret_as(&self, name: &str, data: Value, metadata: Value) {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let data: Map<String, Value> = data
            .as_object()
            .expect("keys and texts")
            .iter()
            .map(|(key, value)| (key.clone(), json!(STANDARD.encode(text(value)))))
            .collect();
        let mut manifest = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": data});
        merge(&mut manifest["metadata"], metadata);
        manifest["metadata"]["name"] = json!(name);
        self.apply(manifest).await;
    }

    /// Applies a ConfigMap with these keys and texts, and no others.
    pub async fn config_map(&self, name: &str, data: Value) {
        self.apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})).await;
    }

    /// Applies the KmsInstance `kms`, which reaches the stand-in, and its Secret `kms-credentials`.
    pub async fn instance(&self) {
        self.instance_with(json!({})).await;
    }

    /// The same, and waits until the operator is logged in to it: a connection that is seen before its instance is looked at
    /// twice.
    pub async fn instance_in_use(&self) {
        self.instance().await;
        self.until_instance_says("kms", "Authenticated").await;
    }

    /// The same with a change of its spec, as a merge patch.
    pub async fn instance_with(&self, change: Value) {
        self.instance_secret().await;
        self.apply(self.instance_manifest("KmsInstance", "kms", change)).await;
    }

    /// Applies the Secret of the instances.
    pub async fn instance_secret(&self) {
        let data = json!({"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET});
        self.secret_with("kms-credentials", data).await;
    }

    /// Applies the ClusterKmsInstance `default`, which grants everything to all namespaces, and its Secret, which is in
    /// this one.
    pub async fn cluster_instance(&self) {
        self.cluster_instance_with(json!({})).await;
    }

    /// The same with a change of its spec, as a merge patch.
    pub async fn cluster_instance_with(&self, change: Value) {
        self.instance_secret().await;
        let mut spec = json!({
            "namespace": self.namespace(),
            "grants": [{"namespaceSelector": {}, "projectIds": ["*"], "organizationScope": true}],
        });
        merge(&mut spec, change);
        self.apply(self.instance_manifest("ClusterKmsInstance", "default", spec)).await;
    }

    fn instance_manifest(&self, kind: &str, name: &str, change: Value) -> Value {
        let (_, kms) = self.stand_ins();
        let mut spec = json!({"host": kms.url(), "auth": {"universal": {"secretRef": {"name": "kms-credentials"}}}});
        merge(&mut spec, change);
        json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec})
    }

    /// A BitbucketConnection to be applied: in [`PROJECT`], for SecretScanning, with the Secret [`SECRET`]. Where the
    /// operator sees one namespace it refers to the KmsInstance `kms`, else to nothing: the ClusterKmsInstance `default`.
    pub fn connection(&self, name: &str) -> Connection<'_> {
        let mut spec = json!({
            "projectId": PROJECT,
            "secretRef": {"name": SECRET},
            "scopes": {"useCases": ["SecretScanning"]},
        });
        if !self.is_cluster_wide() {
            spec["kmsRef"] = json!({"name": "kms"});
        }
        let manifest = json!({
            "apiVersion": API_VERSION, "kind": "BitbucketConnection", "metadata": {"name": name}, "spec": spec,
        });
        Connection { tenant: self, manifest }
    }
}

/// A BitbucketConnection to be applied.
#[must_use = "apply it"]
pub struct Connection<'a> {
    tenant: &'a Tenant,
    manifest: Value,
}

impl Connection<'_> {
    /// In this project.
    pub fn project(self, id: &str) -> Self {
        self.change(json!({"projectId": id}))
    }

    /// At the organization.
    pub fn organization(self) -> Self {
        self.change(json!({"projectId": null, "organizationScope": true}))
    }

    /// With the credentials of this Secret.
    pub fn secret(self, name: &str) -> Self {
        self.change(json!({"secretRef": {"name": name}}))
    }

    /// With this change of its spec, as a merge patch.
    pub fn change(mut self, change: Value) -> Self {
        merge(&mut self.manifest["spec"], change);
        self
    }

    /// With this change of its metadata, as a merge patch.
    pub fn metadata(mut self, change: Value) -> Self {
        merge(&mut self.manifest["metadata"], change);
        self
    }

    /// The manifest as it stands.
    pub fn manifest(&self) -> &Value {
        &self.manifest
    }

    /// Applies it.
    pub async fn apply(self) -> BitbucketConnection {
        let applied = self.tenant.apply(self.manifest).await;
        applied.try_parse().expect("a BitbucketConnection")
    }

    /// The same, where a refusal is of interest.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn try_apply(self) -> kube::Result<BitbucketConnection> {
        let applied = self.tenant.try_apply(self.manifest).await?;
        Ok(applied.try_parse().expect("a BitbucketConnection"))
    }
}
