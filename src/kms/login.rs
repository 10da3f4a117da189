//! How an identity logs in: one variant, one path and one body for each method.

use ::http::HeaderValue;
use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::{
    error::{self, LoginError, NoProof},
    session::Granted,
};
use crate::{
    domain::login::AuthMethod,
    http::{Answer, BadShape},
};

/// The machine identity of an instance, and how it proves itself. It can't be printed.
pub struct Identity {
    /// By which method it logs in.
    pub method: AuthMethod,
    /// Its id, where the method wants it.
    pub id: Option<String>,
    /// What proves it.
    pub evidence: Evidence,
}

/// Where the proof of an identity comes from.
pub enum Evidence {
    /// It is known, and the same each time.
    Held(Proof),
    /// It is made afresh for each login, and kept nowhere.
    Made(Box<dyn Prover>),
}

/// Makes proofs of an identity, from outside of the KMS.
pub trait Prover: Send + Sync {
    /// Makes one.
    fn prove(&self) -> BoxFuture<'_, Result<Proof, NoProof>>;
}

/// What proves an identity: fields of the login's body, all of them secret. It can't be printed.
pub struct Proof(Vec<(&'static str, SecretString)>);

impl Proof {
    /// Of these fields.
    pub fn new(fields: impl IntoIterator<Item = (&'static str, SecretString)>) -> Self {
        Self(fields.into_iter().collect())
    }

    /// What must not come back in a message.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, value)| value.expose_secret())
    }

    /// The access token, where that is the proof.
    pub(super) fn access_token(&self) -> Option<&str> {
        self.secrets().next()
    }
}

impl Identity {
    /// What follows `/api/v1/auth/`; nothing where there is no login.
    pub(super) fn path(&self) -> Option<[&'static str; 2]> {
        let method = match self.method {
            AuthMethod::Universal => "universal-auth",
            AuthMethod::Ldap => "ldap-auth",
            AuthMethod::Jwt => "jwt-auth",
            AuthMethod::Kubernetes => "kubernetes-auth",
            AuthMethod::Oidc => "oidc-auth",
            AuthMethod::Token => return None,
        };
        Some([method, "login"])
    }

    /// What must not come back in a message, as far as it is kept.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        match &self.evidence {
            Evidence::Held(proof) => Some(proof),
            Evidence::Made(_) => None,
        }
        .into_iter()
        .flat_map(Proof::secrets)
    }

    /// The body of the login. It holds the proof: build it at the edge alone.
    pub(super) fn body(&self, proof: &Proof, organization_slug: Option<&str>) -> Value {
        let fixed = [("identityId", self.id.as_deref()), ("organizationSlug", organization_slug)];
        let fixed = fixed.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let proof = proof.0.iter().map(|(name, value)| (*name, value.expose_secret()));
        fixed.chain(proof).map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
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
pub(super) fn read(answer: &Answer, method: AuthMethod, secrets: &[&str]) -> Result<Granted, LoginError> {
    if answer.status != 200 {
        return Err(error::classify_login(answer, method, secrets));
    }
    let session: Session = answer.body.parse().map_err(|shape| match shape {
        BadShape::Truncated => LoginError::Unavailable { what: error::UNREADABLE.to_owned() },
        BadShape::Foreign => LoginError::NotOffered,
    })?;
    let header = bearer(&session.access_token).ok_or(LoginError::NotOffered)?;
    Ok(Granted { header, expires_in: session.expires_in })
}

/// The Authorization header of an access token; nothing if no header can hold it.
pub(super) fn bearer(access_token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {access_token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}
