//! How an instance logs in: one field for each method.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// How the operator logs in: exactly one method.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.universal), has(self.token), has(self.ldap), has(self.jwt), has(self.kubernetes), has(self.oidc)].filter(there, there).size() == 1")
    .message("auth needs exactly one method: universal, token, ldap, jwt, kubernetes or oidc; such as universal: {secretRef: {name: …}} with a Secret that holds clientId and clientSecret"))]
pub struct Auth {
    /// Universal Auth: a client id and a client secret of a machine identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub universal: Option<UniversalAuth>,
    /// Token Auth: an access token of a machine identity. There is no login; nothing renews the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenAuth>,
    /// LDAP Auth: user name and password of a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ldap: Option<LdapAuth>,
    /// JWT Auth: a JWT that somebody keeps fresh in a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtAuth>,
    /// Kubernetes Auth: a token of a ServiceAccount, minted afresh for each login and kept nowhere, which the KMS has
    /// reviewed by this cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<ServiceAccountAuth>,
    /// OIDC Auth: a token of a ServiceAccount, minted afresh for each login and kept nowhere, which the KMS checks by the
    /// keys that this cluster publishes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<ServiceAccountAuth>,
}

/// Universal Auth: a client id and a client secret of a machine identity.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UniversalAuth {
    /// The Secret that holds them.
    pub secret_ref: UniversalSecretRef,
}

/// Where client id and client secret are: of a KmsInstance in its own namespace, of a ClusterKmsInstance in the
/// namespace that it names.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UniversalSecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(schema::OBJECT_NAME).message("secretRef.name must be the name of a Secret: lower case letters, digits, '-' and '.', such as kms-credentials"))]
    pub name: String,
    /// Key of the client id. Defaults to clientId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_key")]
    pub client_id_key: Option<String>,
    /// Key of the client secret. Defaults to clientSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_key")]
    pub client_secret_key: Option<String>,
}

/// Token Auth: an access token of a machine identity.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TokenAuth {
    /// The Secret that holds it.
    pub secret_ref: TokenSecretRef,
}

/// Where the access token is: of a KmsInstance in its own namespace, of a ClusterKmsInstance in the namespace that it
/// names.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TokenSecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(schema::OBJECT_NAME).message("secretRef.name must be the name of a Secret: lower case letters, digits, '-' and '.', such as kms-credentials"))]
    pub name: String,
    /// Key of the access token. Defaults to token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_key")]
    pub key: Option<String>,
}

/// LDAP Auth: user name and password of a directory.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LdapAuth {
    /// Id of the machine identity in the KMS.
    #[schemars(schema_with = "schema::identity_id")]
    pub identity_id: String,
    /// The Secret that holds user name and password.
    pub secret_ref: LdapSecretRef,
}

/// Where user name and password are: of a KmsInstance in its own namespace, of a ClusterKmsInstance in the namespace
/// that it names.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LdapSecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(schema::OBJECT_NAME).message("secretRef.name must be the name of a Secret: lower case letters, digits, '-' and '.', such as kms-credentials"))]
    pub name: String,
    /// Key of the user name. Defaults to username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_key")]
    pub username_key: Option<String>,
    /// Key of the password. Defaults to password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_key")]
    pub password_key: Option<String>,
}

/// JWT Auth: a JWT that somebody keeps fresh in a Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JwtAuth {
    /// Id of the machine identity in the KMS.
    #[schemars(schema_with = "schema::identity_id")]
    pub identity_id: String,
    /// The Secret that holds the JWT.
    pub secret_ref: JwtSecretRef,
}

/// Where the JWT is: of a KmsInstance in its own namespace, of a ClusterKmsInstance in the namespace that it names.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JwtSecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(schema::OBJECT_NAME).message("secretRef.name must be the name of a Secret: lower case letters, digits, '-' and '.', such as kms-credentials"))]
    pub name: String,
    /// Key of the JWT. Defaults to jwt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_key")]
    pub key: Option<String>,
}

/// A login by a token of a ServiceAccount. The operator needs the right to create tokens for that ServiceAccount; where
/// it is missing, the condition Ready says how to give it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountAuth {
    /// Id of the machine identity in the KMS.
    #[schemars(schema_with = "schema::identity_id")]
    pub identity_id: String,
    /// The ServiceAccount that the token is for.
    pub service_account_ref: ServiceAccountRef,
    /// Audience of the token: what the machine identity in the KMS expects. Required, so that the token is good for
    /// nothing else.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches(r'^[^\\s\\pC]+$') && size(self) <= 512")
        .message("audience must be what the machine identity in the KMS expects, such as https://kms.example.com; one word without white space or control characters, at most 512 characters"))]
    pub audience: String,
}

/// A ServiceAccount: of a KmsInstance in its own namespace, of a ClusterKmsInstance in the namespace that it names.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountRef {
    /// Name of the ServiceAccount.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(schema::OBJECT_NAME).message("serviceAccountRef.name must be the name of a ServiceAccount: lower case letters, digits, '-' and '.', such as kms-login"))]
    pub name: String,
}
