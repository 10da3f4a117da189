//! What arrived: one [`Entry`] for each request, whoever sent it and however it ended.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use crate::tally::Tally;

/// Entries of both services are numbered from one counter, so that a test can tell which of two came first.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Who sent a request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Caller {
    /// Whoever came through the network: the operator, its command line, a test.
    Operator,
    /// The stand-in KMS, which validates credentials with Bitbucket on every write that carries them.
    Kms,
}

/// What a request asks for, told from its method and path alone.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Operation {
    /// Bitbucket: who is this token?
    User,
    /// Bitbucket: the workspaces that the account reaches.
    Workspaces,
    /// KMS: a login with any method.
    Login,
    /// KMS: all connections.
    List,
    /// KMS: one connection by id.
    Get,
    /// KMS: one connection by name.
    GetByName,
    /// KMS: POST of a connection.
    Create,
    /// KMS: PATCH of a connection.
    Update,
    /// KMS: DELETE of a connection.
    Delete,
    /// KMS: the health page.
    Status,
    /// Anything else.
    Other,
}

impl Operation {
    /// Does it change what the KMS stores?
    pub fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Delete)
    }

    /// What a request of this method and path asks for.
    pub fn of(method: &str, path: &str) -> Self {
        let path = path.trim_end_matches('/');
        if let Some(rest) = path.strip_prefix("/api/v1/app-connections/bitbucket") {
            let by_name = rest.starts_with("/connection-name/");
            return match (method, rest.is_empty()) {
                ("GET", true) => Self::List,
                ("GET", false) if by_name => Self::GetByName,
                ("GET", false) => Self::Get,
                ("POST", true) => Self::Create,
                ("PATCH", false) => Self::Update,
                ("DELETE", false) => Self::Delete,
                _ => Self::Other,
            };
        }
        match (method, path) {
            ("GET", "/2.0/user") => Self::User,
            ("GET", "/2.0/user/workspaces") => Self::Workspaces,
            ("GET", "/api/status") => Self::Status,
            ("POST", _) if path.starts_with("/api/v1/auth/") && path.ends_with("/login") => Self::Login,
            _ => Self::Other,
        }
    }
}

/// The `Authorization` header, decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Auth {
    /// No such header.
    None,
    /// `Basic`, decoded at its first colon.
    Basic {
        /// What stands before the colon.
        email: String,
        /// What stands after it.
        token: String,
    },
    /// `Bearer`.
    Bearer(String),
    /// Anything else, as it was sent.
    Other(String),
}

impl Auth {
    fn of(parts: &Parts) -> Self {
        let Some(header) = parts.headers.get("authorization") else {
            return Self::None;
        };
        let header = String::from_utf8_lossy(header.as_bytes()).into_owned();
        if let Some(token) = header.strip_prefix("Bearer ") {
            return Self::Bearer(token.to_owned());
        }
        header
            .strip_prefix("Basic ")
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| {
                let (email, token) = text.split_once(':')?;
                Some(Self::Basic { email: email.to_owned(), token: token.to_owned() })
            })
            .unwrap_or(Self::Other(header))
    }

    /// The secret half: the password of `Basic`, the token of `Bearer`.
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Basic { token, .. } | Self::Bearer(token) => Some(token),
            Self::None | Self::Other(_) => None,
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Outcome {
    /// It is being worked on, or its client left before the answer.
    Pending,
    /// Answered with this status.
    Answered(u16),
    /// Never answered and without effect.
    Hung,
    /// The connection was closed without an answer and without effect.
    Reset,
    /// It took effect with this status, but the answer never left.
    Lost(u16),
}

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number; larger is later, across both services.
    pub seq: u64,
    /// When it arrived, by the stand-in's clock.
    pub time: Timestamp,
    /// Who sent it.
    pub caller: Caller,
    /// What it asks for.
    pub operation: Operation,
    /// The HTTP method.
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// The query, decoded, in the order it was sent.
    pub query: Vec<(String, String)>,
    /// The `Authorization` header, decoded.
    pub auth: Auth,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, byte by byte.
    pub body: Vec<u8>,
    /// The body, if it is JSON.
    pub json: Option<Value>,
    /// How it ended.
    pub outcome: Outcome,
    target: String,
}

impl Entry {
    pub(crate) fn new(caller: Caller, time: Timestamp, parts: &Parts, body: &[u8]) -> Self {
        let method = parts.method.as_str();
        let path = parts.uri.path();
        Self {
            seq: NEXT.fetch_add(1, Ordering::Relaxed),
            time,
            caller,
            operation: Operation::of(method, path),
            method: method.to_owned(),
            path: path.to_owned(),
            query: axum::extract::Query::try_from_uri(&parts.uri).map(|query| query.0).unwrap_or_default(),
            auth: Auth::of(parts),
            headers: parts
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            body: body.to_vec(),
            json: serde_json::from_slice(body).ok(),
            outcome: Outcome::Pending,
            target: parts.uri.to_string(),
        }
    }

    /// The value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The status of the answer, if one left.
    pub fn status(&self) -> Option<u16> {
        match self.outcome {
            Outcome::Answered(status) => Some(status),
            Outcome::Pending | Outcome::Hung | Outcome::Reset | Outcome::Lost(_) => None,
        }
    }

    /// The whole request as it stood on the wire (header names in lower case), to be searched for secrets.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Does the request hold this text anywhere: as it is, or in a decoded `Basic` header?
    pub fn contains(&self, text: &str) -> bool {
        let found = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        text.is_empty()
            || found(&self.bytes())
            || matches!(&self.auth, Auth::Basic { email, token } if found(email.as_bytes()) || found(token.as_bytes()))
    }
}

/// The requests of a stand-in, or at least their number.
pub(crate) struct Journal {
    entries: Vec<Entry>,
    kept: bool,
    pub(crate) tally: Tally,
}

impl Default for Journal {
    fn default() -> Self {
        Self { entries: Vec::new(), kept: true, tally: Tally::default() }
    }
}

impl Journal {
    pub(crate) fn keep(&mut self, keep: bool) {
        self.kept = keep;
        if !keep {
            self.entries = Vec::new();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.tally = Tally::default();
    }

    /// A test that looks for a request where none is kept should not pass.
    pub(crate) fn entries(&self) -> &[Entry] {
        assert!(self.kept, "no journal is kept: there are counts of operations and callers alone");
        &self.entries
    }

    pub(crate) fn arrived(&mut self, entry: &Entry) {
        self.tally.arrived(entry);
        if self.kept {
            self.entries.push(entry.clone());
        }
    }

    pub(crate) fn closed(&mut self, entry: &Entry, outcome: Outcome) {
        self.tally.closed(entry, outcome);
        if let Some(kept) = self.entries.iter_mut().rev().find(|kept| kept.seq == entry.seq) {
            kept.outcome = outcome;
        }
    }
}
