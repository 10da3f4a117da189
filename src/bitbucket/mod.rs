//! The client of Bitbucket Cloud. It asks one question: who is this token, and what may it do? Only where Bitbucket
//! refuses without a reason it asks a second time, without the e-mail, to tell a wrong e-mail from a dead token.

mod accounts;
mod judge;
#[cfg(any(test, fuzzing))]
pub mod properties;
#[cfg(test)]
mod tests;
mod workspaces;

use std::{net::IpAddr, sync::Arc};

use reqwest::{Method, RequestBuilder};
use url::{Host, Url};

use crate::{
    domain::{
        credential::Credentials,
        limit::Priority,
        verdict::{NoVerdict, Refusal, Verdict},
    },
    http::{BODY_MAX, Client, Failure, Gate, NotYet, Observe},
};

pub use accounts::Accounts;

/// Bitbucket Cloud, or what stands in for it.
#[derive(Clone)]
pub struct Bitbucket {
    user: Url,
    workspaces: Url,
    http: Client,
    accounts: Arc<Accounts>,
    observe: Observe,
}

/// Why tokens can't be sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBaseUrl {
    /// Not an absolute http or https URL.
    #[error("the Bitbucket URL must be an absolute https URL such as https://api.bitbucket.org/2.0")]
    NotAUrl,
    /// It has a user, a password, a query or a fragment.
    #[error("the Bitbucket URL must have no user, password, query or fragment")]
    Extras,
    /// Plain http to another machine would show the tokens to everybody on the way.
    #[error("the Bitbucket URL may use http only with a loopback address such as 127.0.0.1; use https")]
    Insecure,
}

impl Bitbucket {
    /// A client of the API at `base_url`, path included: `https://api.bitbucket.org/2.0`. `http` should come from
    /// [`crate::http::client`].
    pub fn new(base_url: &str, http: Client, accounts: Accounts, observe: Observe) -> Result<Self, BadBaseUrl> {
        let mut user = Url::parse(base_url).map_err(|_| BadBaseUrl::NotAUrl)?;
        match user.scheme() {
            "https" => {}
            "http" if is_loopback(&user) => {}
            "http" => return Err(BadBaseUrl::Insecure),
            _ => return Err(BadBaseUrl::NotAUrl),
        }
        let extras = !user.username().is_empty() || user.password().is_some();
        if extras || user.query().is_some() || user.fragment().is_some() {
            return Err(BadBaseUrl::Extras);
        }
        user.path_segments_mut().map_err(|()| BadBaseUrl::NotAUrl)?.pop_if_empty().push("user");
        let mut workspaces = user.clone();
        workspaces.path_segments_mut().map_err(|()| BadBaseUrl::NotAUrl)?.push("workspaces");
        Ok(Self { user, workspaces, http, accounts: Arc::new(accounts), observe })
    }

    /// Asks who the token is and what it may do, with one `GET /user`; after a 401 that gives no reason, with a second
    /// one that leaves the e-mail out. Where the account's limit doesn't allow it yet, nothing is sent.
    pub async fn verify(&self, credentials: &Credentials, priority: Priority) -> Verdict {
        if let Err(not_yet) = self.turn(credentials, "verify", priority).await {
            return Verdict::Unknown(not_yet.into());
        }
        let gate = self.accounts.of(credentials);
        let token = credentials.token.expose();
        let question = || self.http.request(Method::GET, self.user.clone());
        // reqwest marks both headers as sensitive.
        let with_email = question().basic_auth(credentials.email.as_str(), Some(token));
        match self.ask(with_email, "get_user", token, &gate).await {
            Verdict::Refused(Refusal::InvalidOrExpired) => {
                // Whoever was refused is told why at once; the account pays for it later.
                let _ = self.turn(credentials, "verify", Priority::First).await;
                let without = self.ask(question().bearer_auth(token), "get_user_bearer", token, &gate).await;
                Verdict::Refused(judge::diagnose(without))
            }
            verdict => verdict,
        }
    }

    /// Waits until the account may be asked something, or says when to come back; the place is kept for `purpose`.
    pub async fn turn(&self, credentials: &Credentials, purpose: &str, priority: Priority) -> Result<(), NotYet> {
        self.accounts.of(credentials).pass(&self.accounts.place(credentials, purpose), priority).await
    }

    async fn ask(&self, request: RequestBuilder, operation: &'static str, token: &str, gate: &Gate) -> Verdict {
        let answer = self.http.send(request, BODY_MAX, operation, &self.observe).await;
        if let Ok(answer) = &answer {
            gate.heard(answer.status, &answer.headers);
        }
        match answer {
            Ok(answer) => judge::judge(answer.status, &answer.headers, &answer.body, &[token]),
            Err(failure) => Verdict::Unknown(NoVerdict::Unavailable(match failure {
                Failure::Certificate => "the certificate of Bitbucket is not trusted".to_owned(),
                other => other.to_string(),
            })),
        }
    }
}

/// Addresses of this machine; `localhost` is one by RFC 6761.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}
