//! `KmsInstance` and `ClusterKmsInstance`: a KMS server, and the machine identity by which it is reached.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Auth, Tls, schema};

/// A KMS server and the identity by which connections of this namespace reach it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "connections.kms.hanzo.ai",
    version = "v1alpha1",
    kind = "KmsInstance",
    namespaced,
    status = "InstanceStatus",
    category = "kms",
    derive = "PartialEq",
    doc = "A Hanzo KMS server and the machine identity by which the BitbucketConnections of this namespace reach it. It serves its own namespace alone.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the operator can log in"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why, in a word; the message of the condition Ready says what to do"
    ),
    printcolumn(
        name = "Host",
        type_ = "string",
        json_path = ".spec.host",
        description = "Address of the KMS; empty stands for https://app.kms.hanzo.ai"
    ),
    printcolumn(
        name = "Connections",
        type_ = "integer",
        json_path = ".status.connections",
        description = "How many BitbucketConnections use it"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.auth)")
    .message("say how to log in, such as auth: {universal: {secretRef: {name: kms-credentials}}} with a Secret that holds clientId and clientSecret")
    .field_path(".auth")
    .reason(Reason::FieldValueRequired))]
pub struct KmsInstanceSpec {
    /// Address of the KMS, a URL without path, query or user. Defaults to https://app.kms.hanzo.ai. The operator talks
    /// only to hosts that its flag --allowed-kms-hosts names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::host")]
    pub host: Option<String>,
    /// How the server proves itself, where its certificate comes from a CA that not every system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How the operator logs in. Required.
    #[serde(default)]
    pub auth: Auth,
    /// Slug of the organization to log in to, for identities that belong to several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::organization_slug")]
    pub organization_slug: Option<String>,
}

/// A KMS server, the identity by which connections reach it, and which namespaces may use it for what.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "connections.kms.hanzo.ai",
    version = "v1alpha1",
    kind = "ClusterKmsInstance",
    status = "InstanceStatus",
    category = "kms",
    derive = "PartialEq",
    doc = "A Hanzo KMS server and the machine identity by which BitbucketConnections of the granted namespaces reach it. The one named default serves every connection that names no other.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the operator can log in"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why, in a word; the message of the condition Ready says what to do"
    ),
    printcolumn(
        name = "Host",
        type_ = "string",
        json_path = ".spec.host",
        description = "Address of the KMS; empty stands for https://app.kms.hanzo.ai"
    ),
    printcolumn(
        name = "Connections",
        type_ = "integer",
        json_path = ".status.connections",
        description = "How many BitbucketConnections use it"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.auth)")
    .message("say how to log in, such as auth: {universal: {secretRef: {name: kms-credentials}}} with a Secret that holds clientId and clientSecret")
    .field_path(".auth")
    .reason(Reason::FieldValueRequired))]
pub struct ClusterKmsInstanceSpec {
    /// Address of the KMS, a URL without path, query or user. Defaults to https://app.kms.hanzo.ai. The operator talks
    /// only to hosts that its flag --allowed-kms-hosts names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::host")]
    pub host: Option<String>,
    /// How the server proves itself, where its certificate comes from a CA that not every system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How the operator logs in. Required.
    #[serde(default)]
    pub auth: Auth,
    /// Slug of the organization to log in to, for identities that belong to several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::organization_slug")]
    pub organization_slug: Option<String>,
    /// The namespace that holds what auth and tls refer to.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self) <= 63")
        .message("namespace must be the name of the namespace that holds what auth and tls refer to: lower case letters, digits and '-', at most 63"))]
    pub namespace: String,
    /// Which namespaces may use this instance, and for what. Without a grant nobody may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "atomic"))]
    pub grants: Vec<Grant>,
}

/// A right to use the instance.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.projectIds) && size(self.projectIds) > 0) || (has(self.organizationScope) && self.organizationScope)")
    .message("a grant needs projectIds (\"*\" for any project) or organizationScope: true, else it grants nothing"))]
pub struct Grant {
    /// Which namespaces, by their labels. {} selects every namespace; kubernetes.io/metadata.name selects one by name.
    #[schemars(schema_with = "schema::namespace_selector")]
    pub namespace_selector: LabelSelector,
    /// For which projects, by their ids; "*" stands for any project.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 256, "x-kubernetes-list-type" = "set"), inner(length(max = 64)))]
    #[x_kube(validation = Rule::new("self.all(p, p == '*' || p.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'))")
        .message("projectIds holds ids of KMS projects (UUIDs), or \"*\" for any project"))]
    pub project_ids: Vec<String>,
    /// Whether for connections of the whole organization as well. Defaults to false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_scope: Option<bool>,
    /// Whether connections that are already there, and that nobody has marked, may be taken over
    /// (spec.adoptionPolicy: Adopt of a BitbucketConnection). Defaults to false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<bool>,
}

/// What the operator saw. Written by the operator alone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The metadata.generation that this status is about; -1 before the operator has looked at the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready; Reconciling or Stalled while they are so; DeletionWaiting while the deletion waits for connections that
    /// still use the instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How many BitbucketConnections use this instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// The Secret (uid and resourceVersion) whose credentials the condition is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_version: Option<String>,
    /// The ConfigMap or Secret (uid and resourceVersion) whose CAs the condition is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_version: Option<String>,
}
