//! A Bitbucket Cloud that knows API tokens, and nothing of repositories.

mod token;
mod user;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::response::Response;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::fault::Match;
use crate::front::{self, Answer, Closed, Front, Service, Voice, lock};
use crate::journal::{Caller, Entry, Operation};
use crate::quota::{Quota, Rolling};

pub use token::{Account, State, Token};

/// The stand-in Bitbucket. A handle: clones share everything. See [`Front`] for journal and faults.
///
/// It answers `GET /2.0/user` and `GET /2.0/user/workspaces` as Bitbucket Cloud does, with 410 where Bitbucket
/// removed an endpoint, and with 404 elsewhere.
#[derive(Clone)]
pub struct Bitbucket(Arc<Cloud>);

pub(crate) struct Cloud {
    front: Front,
    state: Mutex<CloudState>,
}

struct CloudState {
    /// By their secrets.
    tokens: HashMap<String, Arc<Token>>,
    quota: Quota<Rolling>,
    tells_when: bool,
}

impl Deref for Bitbucket {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.0.front
    }
}

impl Default for Bitbucket {
    fn default() -> Self {
        Self::new()
    }
}

impl Bitbucket {
    /// One that doesn't listen: reached through [`Bitbucket::call`] and by a [`crate::Kms`].
    pub fn new() -> Self {
        let quota = Quota::unlimited(SignedDuration::from_hours(1));
        let state = CloudState { tokens: HashMap::new(), quota, tells_when: false };
        Self(Arc::new(Cloud { front: Front::new(Voice { error: error_body, rate_limited }), state: Mutex::new(state) }))
    }

    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_at(address).await.expect("a free port on 127.0.0.1")
    }

    /// Listens on this address, until the runtime ends.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub async fn start_at(address: SocketAddr) -> io::Result<Self> {
        let bitbucket = Self::new();
        front::listen(&bitbucket.0, address).await?;
        Ok(bitbucket)
    }

    /// `http://127.0.0.1:PORT/2.0`.
    pub fn url(&self) -> String {
        format!("{}/2.0", self.origin())
    }

    /// Takes a request without a network, as from `caller`; journal and faults apply.
    ///
    /// # Errors
    /// When a connection would have been closed without an answer.
    pub async fn call(&self, caller: Caller, request: Request) -> Result<Response, Closed> {
        front::handle(&self.0, caller, request).await
    }

    /// Issues a token. One with the same secret is replaced.
    pub fn add(&self, token: Token) {
        lock(&self.0.state).tokens.insert(token.token.clone(), Arc::new(token));
    }

    /// Changes how a token is answered.
    ///
    /// # Panics
    /// If there is no such token: a test that means another one should not pass.
    pub fn set(&self, token: &str, state: State) {
        self.edit(token, |token| token.state = state);
    }

    /// Replaces the scopes of a token. With the real Bitbucket only a new token can have others.
    ///
    /// # Panics
    /// If there is no such token.
    pub fn set_scopes<S: Into<String>>(&self, token: &str, scopes: impl IntoIterator<Item = S>) {
        let scopes = scopes.into_iter().map(Into::into).collect();
        self.edit(token, |token| token.scopes = scopes);
    }

    /// Replaces the workspaces that a token reaches.
    ///
    /// # Panics
    /// If there is no such token.
    pub fn set_workspaces<S: Into<String>>(&self, token: &str, slugs: impl IntoIterator<Item = S>) {
        let slugs = slugs.into_iter().map(Into::into).collect();
        self.edit(token, |token| token.workspaces = slugs);
    }

    /// Changes anything about a token but its secret.
    ///
    /// # Panics
    /// If there is no such token.
    pub fn edit(&self, token: &str, change: impl FnOnce(&mut Token)) {
        let mut state = lock(&self.0.state);
        change(Arc::make_mut(state.tokens.get_mut(token).expect("a token that was added")));
    }

    /// Forgets a token: from now on it is like any made-up one.
    pub fn remove(&self, token: &str) {
        lock(&self.0.state).tokens.remove(token);
    }

    /// Allows each account so many calls in a rolling hour, as Bitbucket does (1,000), and answers 429 beyond; all
    /// tokens of the account share them, also those that the KMS shows. Refused tokens belong to nobody, and cost
    /// nothing. Unlimited at first.
    pub fn limit_per_hour(&self, calls: Option<usize>) {
        lock(&self.0.state).quota.set(calls);
    }

    /// Whether the 429 of [`Bitbucket::limit_per_hour`] says when to come back. Bitbucket doesn't promise to: at first
    /// it doesn't.
    pub fn tell_retry_after(&self, tell: bool) {
        lock(&self.0.state).tells_when = tell;
    }

    /// How many `GET /user` arrived, from anyone.
    pub fn calls(&self) -> usize {
        self.count(&Match::op(Operation::User))
    }

    /// How many `GET /user` arrived from `caller`.
    pub fn calls_by(&self, caller: Caller) -> usize {
        self.count(&Match::op(Operation::User).caller(caller))
    }
}

fn error_body(_status: u16, message: &str) -> Value {
    json!({"type": "error", "error": {"message": message}})
}

/// No other header: Bitbucket documents none for API tokens.
fn rate_limited(retry_after: Option<u64>) -> Answer {
    let answer = Answer::json(429, &error_body(429, "Rate limit for this resource has been exceeded"));
    match retry_after {
        Some(seconds) => answer.header("retry-after", &seconds.to_string()),
        None => answer,
    }
}

/// Removed on 2026-04-14.
const REMOVED: [&str; 4] = ["/2.0/workspaces", "/2.0/repositories", "/2.0/teams", "/2.0/user/permissions/workspaces"];

impl Service for Cloud {
    fn front(&self) -> &Front {
        &self.front
    }

    async fn answer(self: Arc<Self>, request: Arc<Entry>) -> Answer {
        let path = request.path.trim_end_matches('/');
        if REMOVED.contains(&path) {
            return Answer::json(410, &gone());
        }
        let answer = match request.operation {
            Operation::User | Operation::Workspaces => self.identified(&request),
            _ => Answer::json(404, &error_body(404, &format!("No API hosted at this URL: {path}"))),
        };
        answer.header("x-request-id", &uuid::Uuid::new_v4().simple().to_string())
    }
}

impl Cloud {
    fn identified(&self, request: &Entry) -> Answer {
        let now = self.front.now();
        let mut state = lock(&self.state);
        let token = match user::authenticate(&state.tokens, &request.auth) {
            Ok(token) => Arc::clone(token),
            Err(refusal) => return refusal,
        };
        if let Some(standing) = state.quota.spend(&token.account.uuid, now)
            && standing.exceeded
        {
            return rate_limited(state.tells_when.then_some(standing.reset));
        }
        drop(state);
        match request.operation {
            Operation::Workspaces => user::workspaces(&token, request, &self.front.origin()),
            _ => user::user(&token),
        }
    }
}

/// What an endpoint that Bitbucket removed answers: `detail` is a string here, an object on 403.
fn gone() -> Value {
    json!({"type": "error", "error": {
        "message": "This API endpoint has been removed.",
        "detail": "CHANGE-2770 - Functionality has been deprecated: \
                   https://developer.atlassian.com/cloud/bitbucket/changelog/#CHANGE-2770",
    }})
}
