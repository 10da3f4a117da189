//! Errors in the KMS's own shape and words.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::front::Answer;

/// `{reqId, statusCode, message, error}`.
pub(super) fn body(status: u16, message: &str) -> Value {
    let word = match status {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "PermissionDenied",
        404 => "NotFound",
        429 => "RateLimitExceeded",
        _ => "InternalServerError",
    };
    json!({"reqId": req_id(), "statusCode": status, "message": message, "error": word})
}

fn req_id() -> String {
    format!("req-{}", &Uuid::new_v4().simple().to_string()[..12])
}

fn error(status: u16, message: &str) -> Answer {
    Answer::json(status, &body(status, message))
}

pub(super) fn bad_request(message: &str) -> Answer {
    error(400, message)
}

pub(super) fn unauthorized(message: &str) -> Answer {
    error(401, message)
}

pub(super) fn not_found(message: &str) -> Answer {
    error(404, message)
}

pub(super) fn rate_limited(retry_after: Option<u64>) -> Answer {
    let message = match retry_after {
        Some(seconds) => format!("Rate limit exceeded. Please try again in {seconds} seconds"),
        None => "Rate limit exceeded".to_owned(),
    };
    let answer = error(429, &message).header("x-ratelimit-remaining", "0");
    match retry_after.map(|seconds| seconds.to_string()) {
        Some(seconds) => answer.header("retry-after", &seconds).header("x-ratelimit-reset", &seconds),
        None => answer,
    }
}

/// A route that doesn't exist is answered by the framework, in a shape of its own.
pub(super) fn no_route(method: &str, path: &str) -> Answer {
    let message = format!("Route {method}:{path} not found");
    Answer::json(404, &json!({"message": message, "error": "Not Found", "statusCode": 404}))
}

pub(super) fn media_type(given: &str) -> Answer {
    let message = format!("Unsupported Media Type: {given}");
    Answer::json(415, &json!({"reqId": req_id(), "statusCode": 415, "message": message, "error": "FastifyError"}))
}

pub(super) fn denied(action: &str) -> Answer {
    let mut body = body(403, &format!("You are not allowed to {action} on app-connections"));
    body["details"] = json!([{"action": action, "subject": "app-connections", "conditions": {}}]);
    Answer::json(403, &body)
}

/// An access token that is no good: 403, or 401 where the server was changed.
pub(super) fn token_error(status: u16, message: &str) -> Answer {
    let mut body = body(status, message);
    body["error"] = json!("TokenError");
    Answer::json(status, &body)
}

/// What is wrong with a body, each at its path.
#[derive(Default)]
pub(super) struct Findings(Vec<Value>);

impl Findings {
    pub(super) fn add(&mut self, code: &str, path: &[&str], message: &str) {
        self.0.push(json!({"code": code, "path": path, "message": message}));
    }

    /// 422 with all findings, if there are any.
    pub(super) fn check(self) -> Result<(), Answer> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Answer::json(
            422,
            &json!({
                "reqId": req_id(), "statusCode": 422, "error": "ValidationFailure", "message": self.0,
            }),
        ))
    }

    /// 422 with one finding.
    pub(super) fn one(code: &str, path: &[&str], message: &str) -> Answer {
        let mut findings = Self::default();
        findings.add(code, path, message);
        match findings.check() {
            Err(answer) => answer,
            Ok(()) => bad_request(message),
        }
    }
}
