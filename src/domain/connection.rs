//! An app connection as the KMS holds it, and the scope that it lives in.

use std::fmt;

/// Where a connection lives: a project, or the whole organization.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KmsScope {
    /// A KMS project, by its id.
    Project(String),
    /// The organization of the identity.
    Organization,
}

impl KmsScope {
    /// The project's id; `None` at organization scope.
    pub fn project_id(&self) -> Option<&str> {
        match self {
            Self::Project(id) => Some(id),
            Self::Organization => None,
        }
    }
}

impl fmt::Display for KmsScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(id) => write!(f, "project {id}"),
            Self::Organization => f.write_str("the organization"),
        }
    }
}

/// A connection as the KMS shows it. The token never comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsConnection {
    /// Id, a UUID.
    pub id: String,
    /// Name, unique in its scope across all apps.
    pub name: String,
    /// Description; the KMS trims it. Empty and absent are the same to us.
    pub description: String,
    /// `bitbucket`, unless somebody uses the name for another app.
    pub app: String,
    /// Organization, where the server tells.
    pub org_id: Option<String>,
    /// Project; `None` at organization scope and on servers that know only that.
    pub project_id: Option<String>,
    /// E-mail of the stored credentials.
    pub email: Option<String>,
    /// SHA-256 of the stored ciphertext: another value than that of our last write means that somebody else wrote
    /// credentials. Older servers have none.
    pub credentials_hash: Option<String>,
    /// When it was last changed, as the KMS words it.
    pub updated_at: Option<String>,
}

/// What a new connection is made of, besides its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConnection {
    /// Name, unique in its scope.
    pub name: String,
    /// Description with the ownership mark.
    pub description: String,
    /// Where it shall live.
    pub scope: KmsScope,
}

/// What to change of a connection, besides its credentials; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New name.
    pub name: Option<String>,
    /// New description; an empty text clears it.
    pub description: Option<String>,
}
