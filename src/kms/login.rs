//! How an identity logs in: one variant, one path and one body for each method.

use ::http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    error::{self, LoginError},
    session::Granted,
};
use crate::http::{Answer, BadShape};

/// The machine identity of an instance, and how it proves itself. It can't be printed.
pub enum Identity {
    /// Universal Auth: an id and a secret.
    Universal {
        /// Client id.
        client_id: SecretString,
        /// Client secret.
        client_secret: SecretString,
    },
}

impl Identity {
    /// What follows `/api/v1/auth/`.
    pub(super) fn path(&self) -> [&'static str; 2] {
        match self {
            Self::Universal { .. } => ["universal-auth", "login"],
        }
    }

    /// The body of the login. It holds the secret: build it at the edge alone.
    pub(super) fn body(&self, organization_slug: Option<&str>) -> Value {
        let mut body = match self {
            Self::Universal { client_id, client_secret } => {
                json!({ "clientId": client_id.expose_secret(), "clientSecret": client_secret.expose_secret() })
            }
        };
        if let Some(slug) = organization_slug {
            body["organizationSlug"] = slug.into();
        }
        body
    }

    /// What must not come back in a message.
    pub(super) fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Universal { client_id, client_secret } => {
                vec![client_id.expose_secret(), client_secret.expose_secret()]
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    access_token: String,
    /// Seconds; 0 means for ever.
    #[serde(default)]
    expires_in: u64,
}

/// Reads the answer to a login.
pub(super) fn read(answer: &Answer, secrets: &[&str]) -> Result<Granted, LoginError> {
    if answer.status != 200 {
        return Err(error::classify_login(answer, secrets));
    }
    let session: Session = answer.body.parse().map_err(|shape| match shape {
        BadShape::Truncated => LoginError::Unavailable { what: error::UNREADABLE.to_owned() },
        BadShape::Foreign => LoginError::NotOffered,
    })?;
    let header = HeaderValue::from_str(&format!("Bearer {}", session.access_token));
    let mut header = header.map_err(|_| LoginError::NotOffered)?;
    header.set_sensitive(true);
    Ok(Granted { header, expires_in: session.expires_in })
}
