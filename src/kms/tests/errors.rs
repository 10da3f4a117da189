//! Each row of the KMS's errors.

use std::time::Duration;

use super::super::error::{self, KmsError, LoginError, Operation, classify, classify_login};
use crate::{
    domain::login::AuthMethod,
    http::{Answer, Body, Failure},
};

fn answer(status: u16, body: &str) -> Answer {
    let body = if body.is_empty() {
        Body::Empty
    } else if body.starts_with('<') {
        Body::Other
    } else {
        Body::Json(body.as_bytes().to_vec())
    };
    Answer { status, headers: ::http::HeaderMap::new(), body }
}

fn words(status: u16, error: &str, message: &str) -> Answer {
    let body = serde_json::json!({ "reqId": "r", "statusCode": status, "message": message, "error": error });
    answer(status, &body.to_string())
}

#[test]
fn every_error_has_its_meaning() {
    use KmsError::*;
    let rejected = |status, message: &str| Rejected { status, message: message.to_owned() };
    let denied = |action: &str| PermissionDenied { action: action.to_owned() };
    let down = |what: &str| Unavailable { what: what.to_owned() };
    let issues = r#"{"statusCode":422,"error":"ValidationFailure","message":[
        {"code":"too_big","path":["name"],"message":"At most 64"},
        {"path":["credentials","apiToken"],"message":"Required"},{"path":[],"message":"Odd"},{"path":["x"]},7]}"#;
    let validate = |why: &str| words(400, "BadRequest", &format!("Failed to validate credentials: {why}"));
    let table = [
        (answer(422, issues), rejected(422, "name: At most 64; credentials.apiToken: Required; Odd")),
        (words(422, "ValidationFailure", "Invalid uuid"), rejected(422, "Invalid uuid")),
        (words(400, "BadRequest", r#"An App Connection with the name "payments" already exists"#), NameTaken),
        (words(400, "BadRequest", "Could not find project with ID 7ffb"), UnknownProject),
        (words(404, "NotFound", "Could not find project with ID 7ffb"), UnknownProject),
        (words(404, "NotFound", "Could not find App Connection with ID 7ffb"), NotFound),
        (words(404, "NotFound", "Could not find App Connection with name a in organization scope."), NotFound),
        (words(404, "Not Found", "Route GET:/api/v1/app-connections/bitbucket not found"), NotOffered),
        (words(404, "NotFound", "No such thing"), rejected(404, "No such thing")),
        (answer(404, "<html>"), NotOffered),
        (answer(404, ""), NotOffered),
        (answer(404, r#"{"oops":1}"#), NotOffered),
        (answer(405, ""), NotOffered),
        (words(400, "BadRequest", r#"App Connection with ID 7ffb is not for App "bitbucket""#), OtherApp),
        (words(400, "BadRequest", r#"App Connection with name a is not for App "bitbucket""#), OtherApp),
        (
            words(
                400,
                "BadRequest",
                "Cannot delete App Connection with existing connections. Remove all existing connections and try again.",
            ),
            InUse,
        ),
        (validate("Request failed with status code 401"), CredentialsRefused { status: 401 }),
        (validate("Request failed with status code 403"), CredentialsRefused { status: 403 }),
        (validate("Request failed with status code 429"), CredentialsNotChecked),
        (validate("Request failed with status code 503"), CredentialsNotChecked),
        (validate("timeout of 60000ms exceeded"), CredentialsNotChecked),
        (validate("getaddrinfo EAI_AGAIN api.bitbucket.org"), CredentialsNotChecked),
        (words(400, "BadRequest", "Failed to validate credentials"), CredentialsNotChecked),
        (words(403, "PermissionDenied", "You are not allowed to edit on app-connections"), denied("edit")),
        (words(403, "Forbidden", "You are not allowed to read on app-connections"), denied("read")),
        (words(403, "PermissionDenied", "No."), denied("create")),
        (
            words(403, "Forbidden", "You are not a member of this project"),
            rejected(403, "You are not a member of this project"),
        ),
        (answer(403, "<html>"), down("HTTP 403")),
        (words(400, "BadRequest", "Odd"), rejected(400, "Odd")),
        (answer(400, r#"{"message":{"odd":true}}"#), down("HTTP 400")),
        (
            words(429, "RateLimitExceeded", "Rate limit exceeded. Please try again in 42 seconds"),
            RateLimited { retry_after: Some(Duration::from_secs(42)) },
        ),
        (answer(429, "<html>"), RateLimited { retry_after: None }),
        (words(500, "InternalServerError", "Something went wrong"), down("HTTP 500")),
        (answer(502, "<html>"), down("HTTP 502")),
        (answer(503, ""), down("HTTP 503")),
        (words(408, "Timeout", "late"), down("HTTP 408")),
        (answer(302, "<html>"), down("HTTP 302")),
        (answer(204, ""), down("HTTP 204")),
        (answer(400, r#"{"message":"App Conn"#), down("HTTP 400")),
    ];
    for (answer, expected) in table {
        assert_eq!(classify(Operation::Create, &answer, &[]), expected);
    }
}

#[test]
fn a_wait_comes_from_the_header_first() {
    let mut answer = words(429, "RateLimitExceeded", "Please try again in 42 seconds");
    answer.headers.insert("retry-after", "7".parse().expect("value"));
    let expected = Some(Duration::from_secs(7));
    assert_eq!(classify(Operation::List, &answer, &[]), KmsError::RateLimited { retry_after: expected });
    assert_eq!(classify_login(&answer, AuthMethod::Universal, &[]), LoginError::RateLimited { retry_after: expected });
}

#[test]
fn every_refused_login_has_its_meaning() {
    use LoginError::*;
    let refused = |message: &str| Refused { method: AuthMethod::Universal, message: message.to_owned() };
    let down = |what: &str| Unavailable { what: what.to_owned() };
    let table = [
        (words(401, "Unauthorized", "Invalid credentials"), InvalidCredentials { method: AuthMethod::Universal }),
        (words(401, "Unauthorized", "This identity auth method is temporarily locked, please try again later"), Locked),
        (words(401, "Unauthorized", "Access denied due to expired client secret"), SecretExpired),
        (words(401, "Unauthorized", "Access denied due to client secret usage limit reached"), UsageLimitReached),
        (
            words(401, "Unauthorized", "Access denied: K8s namespace not allowed."),
            refused("Access denied: K8s namespace not allowed."),
        ),
        (words(403, "Forbidden", "Your IP is not trusted"), refused("Your IP is not trusted")),
        (words(404, "NotFound", "The identity has no universal auth"), refused("The identity has no universal auth")),
        (words(404, "Not Found", "Route POST:/api/v1/auth not found"), NotOffered),
        (answer(404, "<html>"), NotOffered),
        (answer(405, ""), NotOffered),
        (answer(401, "<html>"), down("HTTP 401")),
        (answer(503, ""), down("HTTP 503")),
        (answer(307, ""), down("HTTP 307")),
    ];
    for (answer, expected) in table {
        assert_eq!(classify_login(&answer, AuthMethod::Universal, &[]), expected);
    }
}

#[test]
fn an_ended_session_is_told_from_a_lacking_permission() {
    for (answer, expected) in [
        (words(403, "TokenError", "Your token has expired. Please re-authenticate."), true),
        (words(401, "TokenError", "Your token has expired. Please re-authenticate."), true),
        (words(401, "Unauthorized", "Token missing"), true),
        (answer(401, "<html>"), true),
        (words(403, "PermissionDenied", "You are not allowed to read on app-connections"), false),
        (words(400, "TokenError", "odd"), false),
    ] {
        assert_eq!(error::ends_session(&answer), expected);
    }
}

#[test]
fn messages_hold_no_secret() {
    let echo = words(400, "BadRequest", r#"got {"apiToken":"hunter2hunter2"} and Basic aHVudGVyMmh1bnRlcjI="#);
    let KmsError::Rejected { message, .. } = classify(Operation::Create, &echo, &["hunter2hunter2"]) else {
        panic!("another error");
    };
    assert_eq!(message, r#"got {"apiToken":"***"} and Basic ***"#);
    let echo = words(403, "PermissionDenied", "You are not allowed to hunter2hunter2 on app-connections");
    let denied = classify(Operation::Create, &echo, &["hunter2hunter2"]);
    assert_eq!(denied, KmsError::PermissionDenied { action: "***".to_owned() });
}

#[test]
fn only_lost_answers_leave_a_write_in_doubt() {
    for (failure, expected) in [
        (Failure::Connect, false),
        (Failure::Certificate, false),
        (Failure::Timeout, true),
        (Failure::BrokenOff, true),
        (Failure::TooLarge, true),
    ] {
        let error = KmsError::Unavailable { what: error::what(failure) };
        assert_eq!(error.may_have_taken_effect(), expected, "{failure}");
    }
    assert!(classify(Operation::Create, &answer(500, ""), &[]).may_have_taken_effect());
    assert!(!classify(Operation::Create, &answer(429, ""), &[]).may_have_taken_effect());
    assert!(!classify(Operation::Create, &answer(404, ""), &[]).may_have_taken_effect());
}
