//! A stored connection.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The id of the only organization.
pub const ORG_ID: &str = "5a1e0c52-7d3b-4f0e-9d64-3f6f1b0c9a11";

/// The time of a row that isn't stored yet.
pub(super) const UNKNOWN: Timestamp = Timestamp::UNIX_EPOCH;

/// A row of the KMS, with what it never tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// `id`, a uuid.
    pub id: String,
    /// `name`, unique in its scope across all apps.
    pub name: String,
    /// `app`: `bitbucket`, or another one whose rows share the names.
    pub app: String,
    /// `method`.
    pub method: String,
    /// `description`.
    pub description: Option<String>,
    /// `projectId`; none is the organization.
    pub project_id: Option<String>,
    /// `orgId`.
    pub org_id: String,
    /// The stored e-mail.
    pub email: String,
    /// The stored token, which no answer holds.
    pub api_token: String,
    /// `credentialsHash`: the SHA-256 of the ciphertext, other for each write of credentials, even of equal ones.
    pub credentials_hash: String,
    /// `isPlatformManagedCredentials`.
    pub platform_managed: Option<bool>,
    /// `createdAt`.
    pub created_at: Timestamp,
    /// `updatedAt`.
    pub updated_at: Timestamp,
}

impl Connection {
    /// A Bitbucket connection of the organization, with credentials of someone else.
    pub fn new(name: &str) -> Self {
        let mut row = Self {
            id: Uuid::new_v4().to_string(),
            name: name.to_owned(),
            app: "bitbucket".to_owned(),
            method: "api-token".to_owned(),
            description: None,
            project_id: None,
            org_id: ORG_ID.to_owned(),
            email: String::new(),
            api_token: String::new(),
            credentials_hash: String::new(),
            platform_managed: Some(false),
            created_at: UNKNOWN,
            updated_at: UNKNOWN,
        };
        row.write_credentials("someone@example.com", "ATATT3x-someone-else");
        row
    }

    /// In this project.
    #[must_use]
    pub fn project(mut self, id: &str) -> Self {
        self.project_id = Some(id.to_owned());
        self
    }

    /// Of another app.
    #[must_use]
    pub fn app(mut self, app: &str) -> Self {
        app.clone_into(&mut self.app);
        self
    }

    /// With this description.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.description = Some(text.to_owned());
        self
    }

    /// With these credentials.
    #[must_use]
    pub fn credentials(mut self, email: &str, token: &str) -> Self {
        self.write_credentials(email, token);
        self
    }

    /// Stores credentials as the KMS does: encrypted afresh, so that the hash changes even if they don't.
    pub fn write_credentials(&mut self, email: &str, token: &str) {
        email.clone_into(&mut self.email);
        token.clone_into(&mut self.api_token);
        let nonce = Uuid::new_v4();
        let digest = Sha256::new().chain_update(nonce.as_bytes()).chain_update(email).chain_update(token).finalize();
        self.credentials_hash = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    }

    /// What the KMS tells. Older servers have no projects, no hash, and none of the newer fields.
    pub(super) fn json(&self, older: bool) -> Value {
        let mut body = json!({
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "version": 1,
            "orgId": self.org_id,
            "createdAt": format!("{:.3}", self.created_at),
            "updatedAt": format!("{:.3}", self.updated_at),
            "app": self.app,
            "method": self.method,
            "credentials": {"email": self.email},
        });
        if !older {
            body["projectId"] = json!(self.project_id);
            body["credentialsHash"] = json!(self.credentials_hash);
            body["isPlatformManagedCredentials"] = json!(self.platform_managed);
            body["gatewayId"] = Value::Null;
            body["gatewayPoolId"] = Value::Null;
            body["futureField"] = json!({"a": 1});
        }
        body
    }
}
