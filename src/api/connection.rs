//! `BitbucketConnection`: one app connection in the KMS, kept in step with a Secret.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::schema;

/// What the connection should be: which KMS and scope it lives in, where the credentials are, what the token must be
/// allowed to do. Nothing here is secret.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "connections.kms.hanzo.ai",
    version = "v1alpha1",
    kind = "BitbucketConnection",
    namespaced,
    status = "BitbucketConnectionStatus",
    shortname = "bbc",
    category = "kms",
    derive = "PartialEq",
    derive = "Default",
    doc = "A Bitbucket Cloud app connection in Hanzo KMS. The operator verifies the API token in the Secret with Bitbucket, creates or updates the connection, keeps it in step with this object, and warns before the token expires.",
    validation = Rule::new("has(self.spec.connectionName) || (self.metadata.name.matches('^[a-z0-9]+(-[a-z0-9]+)*$') && size(self.metadata.name) <= 64)")
        .message("metadata.name is no valid connection name (lower case letters, digits and single hyphens, at most 64); set spec.connectionName"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#, description = "Whether the token is good and the connection in the KMS is in step"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#, description = "Why, in a word; the message of the condition Ready says what to do"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.token.expiresAt", description = "When the token in the Secret expires"),
    printcolumn(name = "Account", type_ = "string", json_path = ".status.account.username", description = "The Bitbucket account that the token belongs to"),
    printcolumn(name = "Connection", type_ = "string", json_path = ".status.connection.name", description = "The name of the connection in the KMS", priority = 1),
    printcolumn(name = "KMS", type_ = "string", json_path = ".status.connection.kmsRef", description = "The instance through which the KMS is reached", priority = 1),
    printcolumn(name = "Missing", type_ = "string", json_path = ".status.scopes.missing", description = "Scopes that the token lacks", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef)")
        .message("name the Secret in this namespace that holds e-mail and API token, such as secretRef: {name: bitbucket-token}")
        .field_path(".secretRef")
        .reason(Reason::FieldValueRequired),
    validation = Rule::new("has(self.scopes)")
        .message("say what the token is for, such as scopes: {useCases: [SecretScanning]} (also SecretSync, CodeReview)")
        .field_path(".scopes")
        .reason(Reason::FieldValueRequired),
    validation = Rule::new("has(self.projectId) != (has(self.organizationScope) && self.organizationScope)")
        .message("set exactly one of projectId and organizationScope: true"),
    validation = Rule::new("has(self.projectId) == has(oldSelf.projectId) && (!has(self.projectId) || self.projectId == oldSelf.projectId)")
        .message("projectId is immutable: delete this object and create one for the other project")
        .field_path(".projectId"),
    validation = Rule::new("(has(self.organizationScope) && self.organizationScope) == (has(oldSelf.organizationScope) && oldSelf.organizationScope)")
        .message("organizationScope is immutable: delete this object and create one for the other scope")
        .field_path(".organizationScope"),
    validation = Rule::new("(has(self.kmsRef) ? (has(self.kmsRef.kind) ? self.kmsRef.kind : 'KmsInstance') + '/' + self.kmsRef.name : 'ClusterKmsInstance/default') == (has(oldSelf.kmsRef) ? (has(oldSelf.kmsRef.kind) ? oldSelf.kmsRef.kind : 'KmsInstance') + '/' + oldSelf.kmsRef.name : 'ClusterKmsInstance/default')")
        .message("kmsRef is immutable: delete this object and create one for the other KMS")
        .field_path(".kmsRef"),
)]
pub struct BitbucketConnectionSpec {
    /// The instance through which the KMS is reached. Defaults to the ClusterKmsInstance `default`; with a name alone,
    /// the KmsInstance of that name in this namespace. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_ref: Option<KmsRef>,
    /// Id of the KMS project that the connection belongs to (project settings, "Copy project ID"). Set either this or
    /// organizationScope. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')")
        .message("projectId must be the id of a KMS project, a UUID such as 7ffbb072-2575-495a-b5b0-127f88caef78 (project settings, Copy project ID); its name or slug doesn't do"))]
    pub project_id: Option<String>,
    /// true puts the connection at the organization, where every project can use it. Set either this or projectId.
    /// Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_scope: Option<bool>,
    /// Name of the connection in the KMS: lower case letters and digits in groups joined by single hyphens, 1 to 64
    /// characters. Defaults to metadata.name. A change renames the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]+(-[a-z0-9]+)*$') && size(self) <= 64")
        .message("connectionName must be lower case letters and digits in groups joined by single hyphens, 1 to 64 characters, such as team-a-bitbucket"))]
    pub connection_name: Option<String>,
    /// Text for people who see the connection in the KMS, at most 200 UTF-16 units. The operator appends the mark by
    /// which it recognizes the connection as its own, such as ` [k8s:0123456789abcdef:c]`. Where this is absent, a
    /// connection that is adopted keeps its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub description: Option<String>,
    /// The Secret in this namespace that holds e-mail and API token. Change both in it to rotate: the new token is
    /// verified before it replaces the old one in the KMS. Required.
    #[serde(default)]
    pub secret_ref: CredentialsSecretRef,
    /// What the token must be allowed to do. Required, with at least one use case or additional scope.
    #[serde(default)]
    pub scopes: ScopesSpec,
    /// Slugs of workspaces that the token must reach, as in bitbucket.org/<slug>: a token with every scope may still see
    /// nothing of a workspace to which its account was not invited. scopes.onMissing decides about a token that doesn't
    /// reach them. read:workspace:bitbucket is required where any is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "set"), inner(length(max = 253)))]
    #[x_kube(validation = Rule::new("self.all(w, w.matches('^[a-z0-9_-]+$') && size(w) <= 64)")
        .message("workspaces holds slugs of workspaces as in bitbucket.org/<slug>, in lower case, such as hanzo-payments"))]
    pub workspaces: Vec<String>,
    /// When the token ends, and how long before that to warn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<ExpirySpec>,
    /// Who must act when the token ends, such as a mail address or a chat channel; at most 200 characters. Repeated in
    /// the events about the expiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub contact: Option<String>,
    /// What to do if the KMS already has a connection of this name that nobody has marked: Never (the default) leaves it
    /// alone, and this object waits with the reason NameConflict; Adopt takes it over with the credentials of the
    /// Secret, if the instance grants adoption.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self in ['Never', 'Adopt']").message("adoptionPolicy must be Never or Adopt"))]
    pub adoption_policy: Option<String>,
    /// What happens to the connection in the KMS when this object is deleted: Delete removes it, Retain leaves it there
    /// without the operator's mark. Defaults to Delete for what the operator created and Retain for what it adopted. May
    /// be changed while the object is being deleted: that is the way out of a deletion that is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self in ['Delete', 'Retain']").message("deletionPolicy must be Delete or Retain"))]
    pub deletion_policy: Option<String>,
    /// How far the operator goes: Full (the default) keeps the connection in step. Observe verifies and reports as ever,
    /// but writes nothing to the KMS; what it would do is in status.plan. Suspended asks and writes nothing at all. An
    /// object that is deleted under Observe or Suspended is let go without a call: its connection stays in the KMS, mark
    /// included. A change takes effect at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self in ['Full', 'Observe', 'Suspended']").message("managementPolicy must be Full, Observe or Suspended"))]
    pub management_policy: Option<String>,
    /// How often token and connection are verified again: 1m to 24h, in hours, minutes and seconds such as 90m or
    /// 1h30m. Defaults to 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$') && size(self) > 1 && duration(self) >= duration('1m') && duration(self) <= duration('24h')")
        .message("interval must be between 1m and 24h, in hours, minutes and seconds, largest first, such as 30m or 1h30m"))]
    pub interval: Option<String>,
}

/// The instance through which the KMS is reached.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KmsRef {
    /// KmsInstance (the default: an instance in this namespace) or ClusterKmsInstance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self in ['KmsInstance', 'ClusterKmsInstance']").message("kmsRef.kind must be KmsInstance or ClusterKmsInstance"))]
    pub kind: Option<String>,
    /// Name of the instance.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(schema::OBJECT_NAME).message("kmsRef.name must be the name of an instance (lower case letters, digits, '-' and '.'); leave kmsRef out for the ClusterKmsInstance default"))]
    pub name: String,
}

/// Where e-mail and API token are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSecretRef {
    /// Name of the Secret, always in the namespace of this object.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(schema::OBJECT_NAME).message("secretRef.name must be the name of a Secret in this namespace: lower case letters, digits, '-' and '.', such as bitbucket-token"))]
    pub name: String,
    /// Key of the e-mail address of the Atlassian account that made the token. Defaults to email.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_key")]
    pub email_key: Option<String>,
    /// Key of the API token. Defaults to token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_key")]
    pub token_key: Option<String>,
    /// Key of the time at which the token ends (RFC 3339 time or date), if the Secret has one. Defaults to expiresAt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_key")]
    pub expires_at_key: Option<String>,
}

/// What the token must be allowed to do.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.useCases) && size(self.useCases) > 0) || (has(self.additional) && size(self.additional) > 0)")
    .message("scopes needs at least one of useCases (SecretScanning, SecretSync, CodeReview) or additional"))]
pub struct ScopesSpec {
    /// What the connection is for: SecretScanning (the KMS looks for leaked secrets in repositories), SecretSync (the
    /// KMS writes secrets into pipelines), CodeReview (tools such as Kody). Each stands for the scopes it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 3, "x-kubernetes-list-type" = "set"), inner(length(max = 64)))]
    #[x_kube(validation = Rule::new("self.all(u, u in ['SecretScanning', 'SecretSync', 'CodeReview'])")
        .message("useCases may hold SecretScanning, SecretSync and CodeReview; name any other scope under additional"))]
    pub use_cases: Vec<String>,
    /// More scopes that the token must have, by their full names such as read:issue:bitbucket. read:user:bitbucket is
    /// always required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "set"), inner(length(max = 100)))]
    #[x_kube(validation = Rule::new("self.all(s, s.matches('^[a-z]+:[a-z-]+:bitbucket$'))")
        .message("additional holds scopes by their full names, such as read:issue:bitbucket"))]
    pub additional: Vec<String>,
    /// What to do with a token that lacks a scope or a workspace: Block (the default: it never reaches the KMS) or Warn. A token
    /// without read:user:bitbucket is always blocked, because the KMS itself could not use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self in ['Block', 'Warn']").message("onMissing must be Block or Warn"))]
    pub on_missing: Option<String>,
    /// What to do with a token that has more scopes than required: Block (it never reaches the KMS) or Warn (the
    /// default).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self in ['Block', 'Warn']").message("onExcess must be Block or Warn"))]
    pub on_excess: Option<String>,
}

/// When the token ends, and how long before that to warn.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExpirySpec {
    /// When the token ends, for Secrets that can't carry it: an RFC 3339 time such as 2027-03-01T12:00:00Z, or a date
    /// such as 2027-03-01, which is 00:00 UTC of that day. The Secret's key expiresAt and its annotation
    /// connections.kms.hanzo.ai/expires-at come before this, because they change with the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2}))?$')")
        .message("notAfter must be a date such as 2027-03-01 or an RFC 3339 time such as 2027-03-01T12:00:00Z"))]
    pub not_after: Option<String>,
    /// How long before the end to warn, such as 14d, 36h or 1d12h. Defaults to 30d, 14d, 7d, 3d, 1d.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "atomic"), inner(length(max = 64)))]
    #[x_kube(validation = Rule::new("size(self) > 0 && self.all(d, size(d) > 1 && d.matches('^([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$'))")
        .message("warnBefore holds durations in days, hours, minutes and seconds, largest first, such as 14d, 36h or 1d12h; leave it out for 30d, 14d, 7d, 3d, 1d"))]
    pub warn_before: Option<Vec<String>>,
}

/// What the operator saw and did. Written by the operator alone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BitbucketConnectionStatus {
    /// The metadata.generation that this status is about; -1 before the operator has looked at the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// CredentialsValid, ScopesSufficient, Synced, Ready and ExpiringSoon; Reconciling or Stalled while they are so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// What is in the KMS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionStatus>,
    /// The Bitbucket account that the token belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountStatus>,
    /// The scopes of the token in the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<ScopesStatus>,
    /// The workspaces that this token reaches; absent while the spec names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspaces: Option<WorkspacesStatus>,
    /// The token in the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenStatus>,
    /// What would be done in the KMS, under managementPolicy Observe: steps and the names of fields, such as `update
    /// description, credentials`, never their values. Empty where nothing would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "atomic"), inner(length(max = 256)))]
    pub plan: Vec<String>,
    /// When token and connection were last both verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_verified_time: Option<Time>,
    /// When they will be verified again, if nothing changes before. Outages are retried sooner. Absent while the object
    /// is suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_verification_time: Option<Time>,
    /// The value of the annotation connections.kms.hanzo.ai/reconcile-requested-at that was acted on last. A request is
    /// not acted on while the object is suspended, but once it no longer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
}

/// What is in the KMS: enough to delete it when the spec can't be read.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// Id of the connection in the KMS.
    pub id: String,
    /// Name of the connection in the KMS.
    pub name: String,
    /// Description of the connection in the KMS, with the mark of this object at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Id of its project; absent at organization scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// Id of its organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org_id: Option<String>,
    /// Created: the operator made it.
    pub origin: String,
    /// The instance through which it was written, such as ClusterKmsInstance/default.
    pub kms_ref: String,
    /// Address of the KMS that holds it.
    pub host: String,
    /// What the KMS answered to the operator's last write of credentials. Another value there means that somebody else
    /// has written credentials since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_hash: Option<String>,
    /// Fingerprint of the token in the KMS; see token.fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_fingerprint: Option<String>,
}

/// The Bitbucket account that the token belongs to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// Bitbucket's id of the account, in braces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// User name of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Name of the account as people see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

/// The scopes of the token in the Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ScopesStatus {
    /// Scopes that the use cases and additional scopes of the spec need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub required: Vec<String>,
    /// Scopes that Bitbucket says the token has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub granted: Vec<String>,
    /// Required, but not granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub missing: Vec<String>,
    /// Granted, but not required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub excess: Vec<String>,
}

/// The workspaces that the token in the Secret reaches.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkspacesStatus {
    /// Slugs of workspaces that Bitbucket says the token reaches; at most 100 are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub reachable: Vec<String>,
    /// Named in the spec, but not reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub missing: Vec<String>,
}

/// The token in the Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// Keyed hash by which two tokens can be told apart; nothing can be computed back from it. Only for a token that
    /// Bitbucket accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The Secret (uid and resourceVersion) in which these values were first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_version: Option<String>,
    /// When the token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Where that is known from: Secret, Annotation, Spec, or Inferred (the latest that Atlassian allows: a year after
    /// the token was first seen).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_source: Option<String>,
    /// When the operator first saw this token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen_time: Option<Time>,
    /// The threshold of warnBefore that the last expiry event was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_notified_threshold: Option<String>,
}

impl BitbucketConnection {
    /// The value of the annotation that asks for a reconcile, if there is one.
    pub fn reconcile_requested_at(&self) -> Option<&str> {
        annotation(self.metadata.annotations.as_ref(), super::RECONCILE_REQUESTED_AT)
    }
}

/// The value of an annotation.
pub(crate) fn annotation<'a>(annotations: Option<&'a BTreeMap<String, String>>, name: &str) -> Option<&'a str> {
    annotations.and_then(|all| all.get(name)).map(String::as_str)
}
