//! What is answered without being stored: tokens of ServiceAccounts, who one is, and the version.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::object::Stored;

/// How long a token lives unless asked otherwise, in seconds.
const LIFE: i64 = 3600;

/// A TokenRequest with a made-up JWT: it says what a real one says, and nobody signed it.
pub(crate) fn token(account: &Stored, mut request: Value, now: Timestamp, number: u64) -> Value {
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(LIFE);
    let ends = now + SignedDuration::from_secs(seconds);
    let (namespace, name) = (&account.key.namespace, &account.key.name);
    let audiences = match &request["spec"]["audiences"] {
        Value::Array(given) if !given.is_empty() => json!(given),
        _ => json!(["https://kubernetes.default.svc"]),
    };
    let claims = json!({
        "iss": "https://kubernetes.default.svc", "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "aud": audiences, "iat": now.as_second(), "exp": ends.as_second(), "jti": number.to_string(),
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": account.uid()}},
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = URL_SAFE_NO_PAD.encode("nobody signed this");
    let jwt = format!("{}.{}.{signature}", part(&json!({"alg": "RS256", "kid": "memory"})), part(&claims));
    request["apiVersion"] = json!("authentication.k8s.io/v1");
    request["kind"] = json!("TokenRequest");
    request["metadata"] = json!({"name": name, "namespace": namespace});
    request["spec"]["audiences"] = audiences;
    request["spec"]["expirationSeconds"] = json!(seconds);
    request["spec"]["boundObjectRef"].take();
    request["status"] = json!({"token": jwt, "expirationTimestamp": crate::in_words(ends)});
    request
}

/// A SelfSubjectReview: whoever asks is the operator.
pub(crate) fn review(mut review: Value) -> Value {
    review["status"] = json!({"userInfo": {"username": "operator", "groups": ["system:authenticated"]}});
    review
}

/// What is said about the version.
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.0+memory", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "memory",
    })
}
