//! How the server of an instance proves itself.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// How the server of an instance proves itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// More trusted CAs, for this instance alone, besides those of the operator's system.
    pub ca_ref: CaRef,
}

/// Where CA certificates are: of a KmsInstance in its own namespace, of a ClusterKmsInstance in the namespace that it
/// names.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// ConfigMap or Secret.
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self in ['ConfigMap', 'Secret']").message("caRef.kind must be ConfigMap or Secret"))]
    pub kind: String,
    /// Name of the ConfigMap or Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(schema::OBJECT_NAME).message("caRef.name must be the name of a ConfigMap or Secret: lower case letters, digits, '-' and '.', such as kms-ca"))]
    pub name: String,
    /// Key of the certificates: one or several CAs as PEM, one after the other. Defaults to ca.crt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ca_key")]
    pub key: Option<String>,
}
