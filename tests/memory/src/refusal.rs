//! What is said when a request is refused, in the API server's own words.

use serde_json::{Value, json};

use crate::{kinds::Kind, object::Key};

/// An answer of status `Failure`.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub code: u16,
    reason: &'static str,
    message: String,
    details: Value,
}

impl Refusal {
    /// The status of what isn't served.
    pub const UNSUPPORTED: u16 = 501;

    fn about(kind: &Kind, name: &str, code: u16, reason: &'static str, message: String) -> Self {
        let mut details = json!({"name": name, "kind": kind.plural});
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        Self { code, reason, message, details }
    }

    fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::about(kind, name, 404, "NotFound", format!("{} {name:?} not found", kind.qualified()))
    }

    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::about(kind, name, 409, "AlreadyExists", format!("{} {name:?} already exists", kind.qualified()))
    }

    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.qualified());
        Self::about(kind, name, 409, "Conflict", message)
    }

    /// Another version is there than the one that was named.
    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    pub fn invalid(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is invalid: {why}", kind.qualified_name());
        let mut refusal = Self::about(kind, name, 422, "Invalid", message);
        refusal.details["kind"] = json!(kind.name);
        refusal
    }

    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", kind.qualified());
        Self::about(kind, name, 403, "Forbidden", message)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// What replaces an object must say which version it is about.
    pub fn unversioned(kind: &Kind, name: &str) -> Self {
        let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
        Self::about(kind, name, 422, "Invalid", format!("{} {name:?} is invalid: {why}", kind.qualified()))
    }

    /// Another object is there than the one that was meant. The real one shows its errors inside out here.
    pub fn another(kind: &Kind, key: &Key, wanted: &str, found: &str) -> Self {
        let group = if kind.group.is_empty() { String::new() } else { format!("/{}", kind.group) };
        let namespace = if kind.namespaced { format!("/{}", key.namespace) } else { String::new() };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry{group}/{}{namespace}/{}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}",
            kind.plural, key.name
        );
        Self::conflict(kind, &key.name, &why)
    }

    /// A deletion insists on something else; both names are `UID` or `ResourceVersion`.
    pub fn insisted(kind: &Kind, name: &str, what: &str, wanted: &str, found: &str) -> Self {
        let happened = if what == "UID" { "deleted and then recreated" } else { "modified" };
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: the {what} in the precondition ({wanted}) does not match \
             the {what} in record ({found}). The object might have been {happened}",
            kind.qualified_name()
        );
        let mut refusal = Self::about(kind, name, 409, "Conflict", message);
        refusal.details["kind"] = json!(kind.name);
        refusal
    }

    /// Whoever applies must say who it is.
    pub fn no_manager() -> Self {
        let why = "fieldManager: Required value: is required for apply patch";
        let message = format!("PatchOptions.meta.k8s.io \"\" is invalid: {why}");
        let details = json!({"group": "meta.k8s.io", "kind": "PatchOptions"});
        Self { details, ..Self::plain(422, "Invalid", message) }
    }

    /// A new object has no version. The real one gives no reason.
    pub fn set_on_create() -> Self {
        Self::plain(500, "", "resourceVersion should not be set on objects to be created")
    }

    /// The history doesn't go back that far.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    /// What a real API server can do and this one can't.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::plain(Self::UNSUPPORTED, "NotImplemented", message)
    }

    /// A version that isn't there yet.
    pub fn from_the_future(asked: u64, now: u64) -> Self {
        Self::plain(504, "Timeout", format!("Too large resource version: {asked}, current: {now}"))
    }

    /// What a test asked for.
    pub fn on_demand(code: u16) -> Self {
        let reason = match code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            422 => "Invalid",
            429 => "TooManyRequests",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "Unknown",
        };
        Self::plain(code, reason, "refused because the test asked for it")
    }

    /// The object `Status`.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}
