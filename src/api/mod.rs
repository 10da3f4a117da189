//! What users write and read: the three kinds of `connections.kms.hanzo.ai/v1alpha1`.
//!
//! Schema, CEL rules and documentation only; no logic and no I/O. Fields are plain strings here, on purpose: the API
//! server explains a refusal better by a CEL message than by an enum or a pattern, and an object that slipped past the
//! rules must still be readable, so that it can be reported and deleted. `domain::spec` turns a raw spec into a
//! validated one, once.

mod auth;
mod connection;
mod instance;
mod schema;
mod tls;

pub use auth::{
    Auth, JwtAuth, JwtSecretRef, LdapAuth, LdapSecretRef, ServiceAccountAuth, ServiceAccountRef, TokenAuth,
    TokenSecretRef, UniversalAuth, UniversalSecretRef,
};
pub use connection::{
    AccountStatus, BitbucketConnection, BitbucketConnectionSpec, BitbucketConnectionStatus, ConnectionStatus,
    CredentialsSecretRef, ExpirySpec, KmsRef, ScopesSpec, ScopesStatus, TokenStatus, WorkspacesStatus,
};
pub use instance::{ClusterKmsInstance, ClusterKmsInstanceSpec, Grant, InstanceStatus, KmsInstance, KmsInstanceSpec};
pub use schema::crds;
pub use tls::{CaRef, Tls};

/// The API group of all kinds.
pub const GROUP: &str = "connections.kms.hanzo.ai";
/// The version of all kinds.
pub const VERSION: &str = "v1alpha1";
/// The finalizer of a [`BitbucketConnection`]; it is there exactly while something may be left in the KMS.
pub const CONNECTION_FINALIZER: &str = "connections.kms.hanzo.ai/connection";
/// The finalizer of an instance; it is there while connections use it.
pub const INSTANCE_FINALIZER: &str = "connections.kms.hanzo.ai/instance";
/// Annotation by which a person or a tool asks for a reconcile now; any new value counts.
pub const RECONCILE_REQUESTED_AT: &str = "connections.kms.hanzo.ai/reconcile-requested-at";
/// Annotation of a Secret that carries the expiry of its token, where the Secret has no key for it.
pub const EXPIRES_AT: &str = "connections.kms.hanzo.ai/expires-at";
/// `observedGeneration` of an object that the operator has not looked at yet. kstatus then never takes it for current.
pub const UNPROCESSED: i64 = -1;
