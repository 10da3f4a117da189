//! What the KMS means by its answers. Its errors are told apart by status and message: of its `error` words only four
//! are reliable, and one status stands for many things.

use std::time::Duration;

use serde_json::Value;

use crate::{
    domain::login::AuthMethod,
    http::{self, Answer, Body, Failure, NotYet},
};

/// No connection to the KMS; nothing was sent.
pub const NO_CONNECTION: &str = "no connection";
/// TLS failed by the KMS's certificate; nothing was sent.
pub const CERTIFICATE_NOT_TRUSTED: &str = "the certificate of the KMS is not trusted";
/// A success that can't be read.
pub(super) const UNREADABLE: &str = "an answer that can't be read";
/// Most issues of a 422 that are repeated.
const ISSUES_MAX: usize = 5;

/// Why the KMS did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KmsError {
    /// There is no session.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The identity may not do that here.
    #[error("the identity may not {action} app connections")]
    PermissionDenied {
        /// `read`, `create`, `edit`, `delete`, or what the KMS names.
        action: String,
    },
    /// There is no connection of that id or name. Reads say so with `None`.
    #[error("there is no such connection")]
    NotFound,
    /// Another connection, maybe of another app, has that name in the scope. On creation this shows only after the
    /// credentials proved good.
    #[error("another connection has that name")]
    NameTaken,
    /// There is no such project, or the identity can't see it.
    #[error("there is no such project")]
    UnknownProject,
    /// Syncs or scanners use the connection: it can't be deleted.
    #[error("the connection is in use")]
    InUse,
    /// The KMS asked Bitbucket, and Bitbucket refused the credentials.
    #[error("Bitbucket refused the credentials when the KMS tried them (HTTP {status})")]
    CredentialsRefused {
        /// Bitbucket's status: 401 or 403.
        status: u16,
    },
    /// The KMS could not ask Bitbucket. Nothing is known about the credentials; try again later.
    #[error("the KMS could not check the credentials with Bitbucket")]
    CredentialsNotChecked,
    /// The id or name is that of a connection to something else than Bitbucket.
    #[error("that connection is not one to Bitbucket")]
    OtherApp,
    /// What answers there is no KMS with app connections.
    #[error("this server does not offer app connections")]
    NotOffered,
    /// Too many requests.
    #[error("the KMS limits the rate of requests")]
    RateLimited {
        /// How long to wait, if the KMS says so; at most an hour.
        retry_after: Option<Duration>,
    },
    /// It isn't our turn: nothing was sent, so that the KMS doesn't have to refuse it.
    #[error("it is not its turn yet")]
    NotYet {
        /// How long to wait; the place is kept.
        wait: Duration,
    },
    /// The KMS, or the way to it, is out of order; try again later.
    #[error("the KMS can't be used: {what}")]
    Unavailable {
        /// A few words that don't change from one attempt to the next, such as `HTTP 503`.
        what: String,
    },
    /// The KMS refuses the request as it is.
    #[error("the KMS refuses this (HTTP {status}): {message}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// Its words, without secrets, in one line; of a 422 the issues as `field: message`.
        message: String,
    },
}

impl KmsError {
    /// Whether a write that ended this way may have been done all the same, now or later: the connection must be looked
    /// up (by id, or by name in its scope) before the write is repeated.
    ///
    /// So it is if the answer got lost (time was up, the connection broke, the answer can't be read or is too large), if
    /// it has a 5xx status, or comes from something in between. It is not if no connection came about, no session was
    /// there to send it in, or the KMS said why it refuses.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Unavailable { what } => what != NO_CONNECTION && what != CERTIFICATE_NOT_TRUSTED,
            Self::Login(_)
            | Self::PermissionDenied { .. }
            | Self::NotFound
            | Self::NameTaken
            | Self::UnknownProject
            | Self::InUse
            | Self::CredentialsRefused { .. }
            | Self::CredentialsNotChecked
            | Self::OtherApp
            | Self::NotOffered
            | Self::RateLimited { .. }
            | Self::NotYet { .. }
            | Self::Rejected { .. } => false,
        }
    }

    /// Whether nobody gets an answer now: whoever asks next would meet the same.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::NotOffered | Self::Login(LoginError::Unavailable { .. }) => true,
            Self::Login(_)
            | Self::PermissionDenied { .. }
            | Self::NotFound
            | Self::NameTaken
            | Self::UnknownProject
            | Self::InUse
            | Self::CredentialsRefused { .. }
            | Self::CredentialsNotChecked
            | Self::OtherApp
            // The gate knows how long.
            | Self::RateLimited { .. }
            | Self::NotYet { .. }
            | Self::Rejected { .. } => false,
        }
    }
}

impl From<NotYet> for KmsError {
    fn from(NotYet { wait }: NotYet) -> Self {
        Self::NotYet { wait }
    }
}

impl From<NotYet> for LoginError {
    fn from(NotYet { wait }: NotYet) -> Self {
        Self::RateLimited { retry_after: Some(wait) }
    }
}

/// Why there is no proof of the identity to log in with. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// The operator may not make one.
    #[error("{0}")]
    Denied(String),
    /// What it is made of isn't there.
    #[error("{0}")]
    Missing(String),
    /// It can't be made now.
    #[error("{0}")]
    Unavailable(String),
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// There is nothing to log in with; the KMS was not asked.
    #[error(transparent)]
    NoProof(#[from] NoProof),
    /// Wrong client id or secret, wrong password, no good JWT.
    #[error("the KMS does not know these credentials")]
    InvalidCredentials {
        /// By which method they were tried.
        method: AuthMethod,
    },
    /// Too many failures: the KMS locks an identity for 300 s after three.
    #[error("the KMS has locked the identity for some minutes after failed logins")]
    Locked,
    /// The client secret is past its end.
    #[error("the client secret has expired")]
    SecretExpired,
    /// The client secret was used as often as it may be.
    #[error("the client secret has reached its limit of uses")]
    UsageLimitReached,
    /// Refused for another reason.
    #[error("the KMS refuses the login: {message}")]
    Refused {
        /// By which method it was tried.
        method: AuthMethod,
        /// Its words, without secrets, in one line.
        message: String,
    },
    /// The login went well, but the session that it brought is refused.
    #[error("the KMS refuses the session that it just gave: {message}")]
    SessionRefused {
        /// Its words, without secrets, in one line.
        message: String,
    },
    /// Too many requests.
    #[error("the KMS limits the rate of requests")]
    RateLimited {
        /// How long to wait, if the KMS says so; at most an hour.
        retry_after: Option<Duration>,
    },
    /// What answers there is no KMS with this login.
    #[error("this server does not offer the login of a KMS")]
    NotOffered,
    /// The KMS, or the way to it, is out of order; try again later.
    #[error("the KMS can't be used: {what}")]
    Unavailable {
        /// As in [`KmsError::Unavailable`].
        what: String,
    },
}

/// What is asked of the KMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Login,
    List,
    Get,
    GetByName,
    Create,
    Update,
    Delete,
}

impl Operation {
    /// Label of metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::List => "list",
            Self::Get => "get",
            Self::GetByName => "get_by_name",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// The permission on app connections that it takes.
    const fn permission(self) -> &'static str {
        match self {
            Self::Login | Self::List | Self::Get | Self::GetByName => "read",
            Self::Create => "create",
            Self::Update => "edit",
            Self::Delete => "delete",
        }
    }
}

/// The words for a request without an answer.
pub(super) fn what(failure: Failure) -> String {
    match failure {
        Failure::Connect => NO_CONNECTION.to_owned(),
        Failure::Certificate => CERTIFICATE_NOT_TRUSTED.to_owned(),
        Failure::Timeout | Failure::BrokenOff | Failure::TooLarge | Failure::NotLeading => failure.to_string(),
    }
}

/// Whether the session is over: an expired access token is 403 `TokenError` today and may become 401.
pub(super) fn ends_session(answer: &Answer) -> bool {
    answer.status == 401
        || answer.status == 403 && Words::of(&answer.body).is_some_and(|words| words.error == "TokenError")
}

/// The words of an error in one line, without secrets.
pub(super) fn message(body: &Body, secrets: &[&str]) -> String {
    Words::of(body).map(|words| http::server_text(&words.message, secrets)).unwrap_or_default()
}

/// The meaning of an answer that is no success.
pub(super) fn classify(operation: Operation, answer: &Answer, secrets: &[&str]) -> KmsError {
    let status = answer.status;
    let unavailable = KmsError::Unavailable { what: format!("HTTP {status}") };
    let words = Words::of(&answer.body);
    match (status, words) {
        (429, words) => KmsError::RateLimited { retry_after: wait(answer, words.as_ref()) },
        (404, None) | (405 | 501, _) => KmsError::NotOffered,
        (404, Some(words)) if words.message.starts_with("Route ") => KmsError::NotOffered,
        (400..=499, Some(words)) if !matches!(status, 408 | 425) => {
            let lower = words.message.to_lowercase();
            let message = || http::server_text(&words.message, secrets);
            let refusal = lower.split_once("failed to validate credentials").map(|(_, why)| why);
            if status == 422 || words.error == "ValidationFailure" {
                KmsError::Rejected { status, message: message() }
            } else if let Some(why) = refusal {
                validation(why)
            } else if lower.contains("app connection") && lower.contains("already exists") {
                KmsError::NameTaken
            } else if lower.contains("could not find project") {
                KmsError::UnknownProject
            } else if status == 404 && lower.contains("app connection") {
                KmsError::NotFound
            } else if lower.contains("is not for app") {
                KmsError::OtherApp
            } else if lower.contains("cannot delete app connection") {
                KmsError::InUse
            } else if words.error == "PermissionDenied" || status == 403 && lower.contains("not allowed to") {
                KmsError::PermissionDenied { action: action(&message(), operation) }
            } else {
                KmsError::Rejected { status, message: message() }
            }
        }
        // Not the KMS's words: something in between, an outage, or a redirect, which is never followed.
        (_, _) => unavailable,
    }
}

/// The meaning of an answer to a login that is no success.
pub(super) fn classify_login(answer: &Answer, method: AuthMethod, secrets: &[&str]) -> LoginError {
    let status = answer.status;
    match (status, Words::of(&answer.body)) {
        (429, words) => LoginError::RateLimited { retry_after: wait(answer, words.as_ref()) },
        (404, None) | (405 | 501, _) => LoginError::NotOffered,
        (404, Some(words)) if words.message.starts_with("Route ") => LoginError::NotOffered,
        (400..=499, Some(words)) if !matches!(status, 408 | 425) => {
            let lower = words.message.to_lowercase();
            if lower.contains("temporarily locked") {
                LoginError::Locked
            } else if lower.contains("expired client secret") {
                LoginError::SecretExpired
            } else if lower.contains("usage limit reached") {
                LoginError::UsageLimitReached
            } else if lower.contains("invalid credentials") {
                LoginError::InvalidCredentials { method }
            } else {
                LoginError::Refused { method, message: http::server_text(&words.message, secrets) }
            }
        }
        (_, _) => LoginError::Unavailable { what: format!("HTTP {status}") },
    }
}

/// What the answer to a question about no connection says of the access token: any answer but a refusal of the token
/// itself means that the KMS takes it, whatever the identity may do.
pub(super) fn classify_probe(answer: &Answer, method: AuthMethod, secrets: &[&str]) -> Result<(), LoginError> {
    if answer.status == 200 {
        // There is no such connection: a page that is there for every path, or another API.
        return Err(LoginError::NotOffered);
    }
    if ends_session(answer) {
        return Err(LoginError::Refused { method, message: message(&answer.body, secrets) });
    }
    match classify(Operation::Get, answer, secrets) {
        KmsError::NotOffered => Err(LoginError::NotOffered),
        KmsError::RateLimited { retry_after } => Err(LoginError::RateLimited { retry_after }),
        KmsError::Unavailable { what } => Err(LoginError::Unavailable { what }),
        KmsError::NotYet { wait } => Err(LoginError::RateLimited { retry_after: Some(wait) }),
        KmsError::Login(error) => Err(error),
        KmsError::PermissionDenied { .. }
        | KmsError::NotFound
        | KmsError::NameTaken
        | KmsError::UnknownProject
        | KmsError::InUse
        | KmsError::CredentialsRefused { .. }
        | KmsError::CredentialsNotChecked
        | KmsError::OtherApp
        | KmsError::Rejected { .. } => Ok(()),
    }
}

/// What follows "Failed to validate credentials": Bitbucket's refusal, or anything that kept the KMS from asking.
fn validation(why: &str) -> KmsError {
    let status = why.split_once("status code ").map(|(_, status)| status.trim());
    match status.and_then(|status| status.get(..3)) {
        Some("401") => KmsError::CredentialsRefused { status: 401 },
        Some("403") => KmsError::CredentialsRefused { status: 403 },
        _ => KmsError::CredentialsNotChecked,
    }
}

/// The action of "You are not allowed to <action> on app-connections".
fn action(message: &str, operation: Operation) -> String {
    let named = message.split_once("not allowed to ").map(|(_, rest)| rest.split(" on ").next().unwrap_or(rest).trim());
    match named {
        Some(action) if !action.is_empty() && action.len() <= 40 => action.to_owned(),
        _ => operation.permission().to_owned(),
    }
}

/// How long to wait: by the header, else by "Please try again in N seconds".
fn wait(answer: &Answer, words: Option<&Words>) -> Option<Duration> {
    http::retry_after(&answer.headers).or_else(|| {
        let (_, rest) = words?.message.split_once("try again in ")?;
        rest.split(' ').next()?.parse().ok().map(http::bounded)
    })
}

/// The words of an error: `{reqId, statusCode, message, error, details?}`.
struct Words {
    message: String,
    error: String,
}

impl Words {
    /// `None` if it is no error of a KMS.
    fn of(body: &Body) -> Option<Self> {
        let json: Value = body.parse().ok()?;
        let message = match json.get("message")? {
            Value::String(text) => text.clone(),
            Value::Array(issues) => issues.iter().filter_map(issue).take(ISSUES_MAX).collect::<Vec<_>>().join("; "),
            _ => return None,
        };
        let error = json.get("error").and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self { message, error })
    }
}

/// An issue as `field: message`.
fn issue(issue: &Value) -> Option<String> {
    let message = issue.get("message")?.as_str()?;
    let part = |part: &Value| part.as_str().map(str::to_owned).or_else(|| part.as_u64().map(|at| at.to_string()));
    let path = issue.get("path").and_then(Value::as_array).map(|path| path.iter().filter_map(part).collect::<Vec<_>>());
    match path {
        Some(path) if !path.is_empty() => Some(format!("{}: {message}", path.join("."))),
        _ => Some(message.to_owned()),
    }
}
