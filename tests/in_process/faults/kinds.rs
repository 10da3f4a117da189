//! In which ways a call can fail.

use serde_json::{Value, json};
use sim::{Fault, Operation};

use super::is_bitbucket;

/// A way.
pub struct Kind {
    /// What people call it.
    pub name: &'static str,
    /// At which service.
    at: At,
    /// The same, for the stand-in.
    pub fault: fn() -> Fault,
}

#[derive(Clone, Copy)]
enum At {
    Both,
    Bitbucket,
    Kms,
}

impl Kind {
    /// Whether such a call can fail like this.
    pub fn concerns(&self, operation: Operation) -> bool {
        match self.at {
            At::Both => true,
            At::Bitbucket => is_bitbucket(operation),
            At::Kms => !is_bitbucket(operation),
        }
    }
}

impl Kind {
    /// Whether what was asked for is done all the same, so that it is found done when somebody looks.
    pub fn has_effect(&self) -> bool {
        matches!(
            (self.fault)(),
            Fault::HangAnswer | Fault::LoseAnswer | Fault::TruncatedJson | Fault::CutBody | Fault::WrongContentType
        )
    }
}

/// A page, as proxies and load balancers show it.
fn page(status: u16) -> Fault {
    Fault::Status(status, "<html><body>No</body></html>".to_owned(), Vec::new()).header("content-type", "text/html")
}

fn bitbucket(status: u16, message: &str) -> Fault {
    Fault::json(status, &json!({"type": "error", "error": {"message": message}}))
}

fn kms(status: u16, error: &str, message: Value) -> Fault {
    Fault::json(status, &json!({"reqId": "req-1", "statusCode": status, "error": error, "message": message}))
}

const fn kind(name: &'static str, at: At, fault: fn() -> Fault) -> Kind {
    Kind { name, at, fault }
}

/// All of them, in the order of the table.
pub const KINDS: &[Kind] = &[
    kind("401 in its own words", At::Bitbucket, || {
        bitbucket(401, "Token is invalid, expired, or not supported for this endpoint.")
    }),
    kind("401 in a bare string", At::Bitbucket, || Fault::json(401, &json!({"error": "Unauthorized"}))),
    kind("401 in its own words", At::Kms, || kms(401, "Unauthorized", json!("Token missing"))),
    kind("401 as a page", At::Both, || page(401)),
    kind("403, the address is not allowed", At::Bitbucket, || bitbucket(403, "Your IP address is not allowed.")),
    kind("403, a scope is missing", At::Bitbucket, || {
        let detail = json!({"required": ["read:user:bitbucket"], "granted": ["read:repository:bitbucket"]});
        let message = "Your credentials lack one or more required privilege scopes.";
        Fault::json(403, &json!({"type": "error", "error": {"message": message, "detail": detail}}))
    }),
    kind("403, another kind of token", At::Bitbucket, || {
        bitbucket(403, "This API is not accessible by this authentication mechanism")
    }),
    kind("403 PermissionDenied", At::Kms, || {
        kms(403, "PermissionDenied", json!("You are not allowed to read on app-connections"))
    }),
    kind("403 TokenError", At::Kms, || {
        kms(403, "TokenError", json!("Your token has expired. Please re-authenticate."))
    }),
    kind("403 in other words", At::Kms, || kms(403, "Forbidden", json!("No"))),
    kind("403 as a page", At::Both, || page(403)),
    kind("404 in its own words", At::Both, || Fault::status(404)),
    kind("404 as a page", At::Both, || page(404)),
    kind("409", At::Both, || Fault::status(409)),
    kind("410, the endpoint was removed", At::Bitbucket, || {
        let error = json!({"message": "This API endpoint has been removed.", "detail": "CHANGE-2770 - deprecated"});
        Fault::json(410, &json!({"type": "error", "error": error}))
    }),
    kind("410", At::Kms, || Fault::status(410)),
    kind("422", At::Both, || kms(422, "ValidationFailure", json!([{"path": ["x"], "message": "Invalid"}]))),
    kind("429", At::Both, || Fault::RateLimited { retry_after: None }),
    kind("429 with Retry-After", At::Both, || Fault::RateLimited { retry_after: Some(60) }),
    kind("500", At::Both, || Fault::status(500)),
    kind("502 as a page", At::Both, || page(502)),
    kind("503", At::Both, || Fault::status(503)),
    kind("no answer, and nothing done", At::Both, || Fault::Hang),
    kind("no answer, though it was done", At::Both, || Fault::HangAnswer),
    kind("a connection that breaks before", At::Both, || Fault::Reset),
    kind("a connection that breaks after it was done", At::Both, || Fault::LoseAnswer),
    kind("JSON that ends in the middle", At::Both, || Fault::TruncatedJson),
    kind("a body that is cut off", At::Both, || Fault::CutBody),
    kind("a page with status 200", At::Both, || Fault::Html),
    kind("other JSON with status 200", At::Both, || Fault::json(200, &json!({"ok": true}))),
    kind("a body without end", At::Both, || Fault::Huge(1 << 30)),
    kind("JSON that calls itself text", At::Both, || Fault::WrongContentType),
    kind("a redirect to another host", At::Both, || Fault::Redirect("https://elsewhere.test/".to_owned())),
    kind("400 that repeats what was sent", At::Both, || Fault::Echo(400)),
    kind("500 that repeats what was sent", At::Both, || Fault::Echo(500)),
];
