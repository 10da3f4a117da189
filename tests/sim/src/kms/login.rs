//! Machine identities: logins, their lockout, and the access tokens they give.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::errors::{self, Findings};
use super::{Kms, Server, connections};
use crate::front::{Answer, lock};
use crate::journal::{Auth, Entry};

const INVALID: &str = "Invalid credentials";

/// How an identity proves itself by a method other than universal-auth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Proof {
    /// A JWT (`kubernetes-auth`, `oidc-auth`, `jwt-auth`, `azure-auth`, `gcp-auth`). Its claims are read, its
    /// signature is not checked.
    Jwt {
        /// What `aud` must be or hold.
        audience: Option<String>,
        /// What `sub` must be.
        subject: Option<String>,
    },
    /// User name and password (`ldap-auth`).
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// A signed `GetCallerIdentity` (`aws-auth`); the signature is not checked.
    Aws,
}

pub(super) struct Logins {
    /// Universal-auth, by client id.
    clients: HashMap<String, Client>,
    /// Everything else, by method and identity id.
    identities: HashMap<(String, String), Proof>,
    sessions: HashMap<String, Session>,
    ttl: u64,
    expired_status: u16,
    failures: u32,
    lockout: SignedDuration,
}

struct Client {
    secret: String,
    failures: u32,
    locked_until: Option<Timestamp>,
    expired: bool,
    uses_left: Option<u32>,
}

struct Session {
    /// Whose it is.
    identity: String,
    /// None never expires.
    expires: Option<Timestamp>,
    expired: bool,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            clients: HashMap::new(),
            identities: HashMap::new(),
            sessions: HashMap::new(),
            ttl: 2_592_000,
            expired_status: 403,
            failures: 3,
            lockout: SignedDuration::from_secs(300),
        }
    }
}

impl Logins {
    fn open(&mut self, identity: &str, now: Timestamp) -> Answer {
        let token = format!("st.{}", Uuid::new_v4().simple());
        let lifetime = i64::try_from(self.ttl).unwrap_or(i64::MAX);
        let expires =
            (self.ttl > 0).then(|| now.saturating_add(SignedDuration::from_secs(lifetime)).unwrap_or(Timestamp::MAX));
        let session = Session { identity: identity.to_owned(), expires, expired: false };
        self.sessions.insert(token.clone(), session);
        Answer::json(
            200,
            &json!({
                "accessToken": token,
                "expiresIn": self.ttl,
                "accessTokenMaxTTL": self.ttl,
                "tokenType": "Bearer",
                "futureField": {"a": 1},
            }),
        )
    }

    fn universal(&mut self, id: &str, secret: &str, now: Timestamp) -> Result<Answer, Answer> {
        let (failures, lockout) = (self.failures, self.lockout);
        let client = self.clients.get_mut(id).ok_or_else(|| errors::unauthorized(INVALID))?;
        if client.locked_until.is_some_and(|until| now < until) {
            return Err(errors::unauthorized(
                "This identity auth method is temporarily locked, please try again later",
            ));
        }
        if client.secret != secret {
            client.failures += 1;
            if client.failures >= failures {
                client.failures = 0;
                client.locked_until = now.checked_add(lockout).ok();
            }
            return Err(errors::unauthorized(INVALID));
        }
        if client.expired {
            return Err(errors::unauthorized("Access denied due to expired client secret"));
        }
        if client.uses_left == Some(0) {
            return Err(errors::unauthorized("Access denied due to client secret usage limit reached"));
        }
        client.uses_left = client.uses_left.map(|left| left - 1);
        client.failures = 0;
        client.locked_until = None;
        Ok(self.open(id, now))
    }
}

impl Kms {
    /// A machine identity with universal-auth; a known one gets this secret and a clean record.
    pub fn add_identity(&self, client_id: &str, client_secret: &str) {
        let client = Client {
            secret: client_secret.to_owned(),
            failures: 0,
            locked_until: None,
            expired: false,
            uses_left: None,
        };
        lock(&self.0.state).logins.clients.insert(client_id.to_owned(), client);
    }

    /// A machine identity with another method: `kubernetes-auth`, `oidc-auth`, `ldap-auth`, `jwt-auth`, `aws-auth`,
    /// `azure-auth` or `gcp-auth`.
    pub fn add_identity_with(&self, method: &str, identity_id: &str, proof: Proof) {
        let key = (method.to_owned(), identity_id.to_owned());
        lock(&self.0.state).logins.identities.insert(key, proof);
    }

    /// Token Auth: a static access token, which needs no login.
    pub fn add_access_token(&self, token: &str) {
        let session = Session { identity: token.to_owned(), expires: None, expired: false };
        lock(&self.0.state).logins.sessions.insert(token.to_owned(), session);
    }

    /// Deletes a machine identity; its access tokens live on.
    pub fn remove_identity(&self, client_id: &str) {
        lock(&self.0.state).logins.clients.remove(client_id);
    }

    /// Locks an identity out, until [`Kms::unlock_identity`] or its lockout ends.
    ///
    /// # Panics
    /// If there is no such identity, here as below.
    pub fn lock_identity(&self, client_id: &str) {
        let now = self.now();
        let lockout = lock(&self.0.state).logins.lockout;
        self.client(client_id, |client| client.locked_until = now.checked_add(lockout).ok());
    }

    /// Ends a lockout.
    pub fn unlock_identity(&self, client_id: &str) {
        self.client(client_id, |client| {
            client.locked_until = None;
            client.failures = 0;
        });
    }

    /// Is it locked out?
    pub fn is_locked(&self, client_id: &str) -> bool {
        let now = self.now();
        self.client(client_id, |client| client.locked_until.is_some_and(|until| now < until))
    }

    /// Lets the client secret expire, or not.
    pub fn expire_client_secret(&self, client_id: &str, expired: bool) {
        self.client(client_id, |client| client.expired = expired);
    }

    /// Allows so many more logins; none is no limit.
    pub fn limit_client_secret(&self, client_id: &str, uses: Option<u32>) {
        self.client(client_id, |client| client.uses_left = uses);
    }

    fn client<T>(&self, id: &str, change: impl FnOnce(&mut Client) -> T) -> T {
        let mut state = lock(&self.0.state);
        change(state.logins.clients.get_mut(id).expect("an identity that was added"))
    }

    /// How long new access tokens live, in seconds; 0 is for ever. 30 days at first.
    pub fn set_access_token_ttl(&self, seconds: u64) {
        lock(&self.0.state).logins.ttl = seconds;
    }

    /// After how many failures in a row an identity is locked, and for how many seconds. At first 3 and 300.
    pub fn set_lockout(&self, failures: u32, seconds: i64) {
        let mut state = lock(&self.0.state);
        state.logins.failures = failures;
        state.logins.lockout = SignedDuration::from_secs(seconds);
    }

    /// Expires all access tokens given so far.
    pub fn expire_sessions(&self) {
        for session in lock(&self.0.state).logins.sessions.values_mut() {
            session.expired = true;
        }
    }

    /// The status for an access token that expired or is unknown: 403 at first, 401 on other servers.
    pub fn set_expired_status(&self, status: u16) {
        lock(&self.0.state).logins.expired_status = status;
    }
}

impl Server {
    /// Whose request is it, by a good access token?
    pub(super) fn authorize(&self, request: &Entry) -> Result<String, Answer> {
        let Auth::Bearer(token) = &request.auth else {
            return Err(errors::unauthorized("Token missing"));
        };
        let now = self.front.now();
        let state = lock(&self.state);
        let status = state.logins.expired_status;
        let Some(session) = state.logins.sessions.get(token) else {
            return Err(errors::token_error(
                status,
                "The provided access token is malformed. Please use a valid token or generate a new one and try again.",
            ));
        };
        if session.expired || session.expires.is_some_and(|end| now >= end) {
            return Err(errors::token_error(status, "Your token has expired. Please re-authenticate."));
        }
        Ok(session.identity.clone())
    }

    /// POST `/api/v1/auth/<method>/login`.
    pub(super) fn login(&self, request: &Entry) -> Result<Answer, Answer> {
        let body = connections::body(request)?;
        let method = request.path.trim_start_matches("/api/v1/auth/").trim_end_matches("/login");
        let now = self.front.now();
        let mut state = lock(&self.state);
        if method == "universal-auth" {
            let [id, secret] = strings(&body, ["clientId", "clientSecret"])?;
            return state.logins.universal(&id, &secret, now);
        }
        if !METHODS.contains(&method) {
            return Err(errors::no_route(&request.method, &request.path));
        }
        let [id] = strings(&body, ["identityId"])?;
        let key = (method.to_owned(), id);
        let Some(proof) = state.logins.identities.get(&key) else {
            return Err(errors::not_found(
                "The auth method is not configured for this identity, or the identity does not exist",
            ));
        };
        prove(proof, method, &body)?;
        Ok(state.logins.open(&key.1, now))
    }
}

const METHODS: [&str; 7] =
    ["kubernetes-auth", "oidc-auth", "ldap-auth", "jwt-auth", "aws-auth", "azure-auth", "gcp-auth"];

fn strings<const N: usize>(body: &Value, names: [&str; N]) -> Result<[String; N], Answer> {
    let mut findings = Findings::default();
    let values = names.map(|name| match body.get(name).and_then(Value::as_str) {
        Some(text) => text.trim().to_owned(),
        None => {
            findings.add("invalid_type", &[name], "Required");
            String::new()
        }
    });
    findings.check()?;
    Ok(values)
}

fn prove(proof: &Proof, method: &str, body: &Value) -> Result<(), Answer> {
    let holds = match proof {
        Proof::Jwt { audience, subject } => {
            let [jwt] = strings(body, ["jwt"])?;
            let claims = claims(&jwt).ok_or_else(|| errors::unauthorized(INVALID))?;
            let refused = |what| {
                let kind = if method == "kubernetes-auth" { "K8s " } else { "" };
                Err(errors::unauthorized(&format!("Access denied: {kind}{what} not allowed.")))
            };
            if audience.as_ref().is_some_and(|wanted| !has_audience(&claims, wanted)) {
                return refused("audience");
            }
            if let Some(wanted) = subject.as_deref().filter(|wanted| claims["sub"] != *wanted) {
                // A service account is `system:serviceaccount:<namespace>:<name>`.
                let given = claims["sub"].as_str().unwrap_or_default();
                let same_namespace =
                    given.rsplit_once(':').map(|(rest, _)| rest) == wanted.rsplit_once(':').map(|(rest, _)| rest);
                return refused(match (method, same_namespace) {
                    ("kubernetes-auth", true) => "name",
                    ("kubernetes-auth", false) => "namespace",
                    _ => "subject",
                });
            }
            true
        }
        Proof::Password { username, password } => {
            strings(body, ["username", "password"])? == [username.clone(), password.clone()]
        }
        Proof::Aws => {
            let fields = ["iamHttpRequestMethod", "iamRequestBody", "iamRequestHeaders"];
            let [http, sent, headers] = strings(body, fields)?;
            let decoded = |text: &str| STANDARD.decode(text).unwrap_or_default();
            let headers: Value = serde_json::from_slice(&decoded(&headers)).unwrap_or_default();
            let signature = headers
                .as_object()
                .and_then(|headers| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization")));
            http == "POST"
                && decoded(&sent) == b"Action=GetCallerIdentity&Version=2011-06-15"
                && signature
                    .and_then(|(_, value)| value.as_str())
                    .is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 "))
        }
    };
    if holds { Ok(()) } else { Err(errors::unauthorized(INVALID)) }
}

fn claims(jwt: &str) -> Option<Value> {
    let payload = jwt.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn has_audience(claims: &Value, wanted: &str) -> bool {
    match &claims["aud"] {
        Value::String(audience) => audience == wanted,
        Value::Array(audiences) => audiences.iter().any(|audience| audience == wanted),
        _ => false,
    }
}
