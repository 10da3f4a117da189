//! Each answer that Bitbucket is known to give, and some that nobody should.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use ::http::HeaderMap;
use axum::{
    Router,
    http::{HeaderMap as Seen, StatusCode},
    routing::get,
};
use serde_json::json;

use super::{
    Accounts, BadBaseUrl, Bitbucket,
    judge::{diagnose, judge},
};
use crate::{
    domain::{
        credential::Credentials,
        limit::Priority,
        scopes::parse_header,
        verdict::{Accepted, Account, NoVerdict, Refusal, Verdict},
    },
    http::{self, Body, Client, Observe},
};

const USER: &str =
    r#"{"type":"user","uuid":"{1}","username":"bot","nickname":"b","display_name":"Bot","account_id":"5:1"}"#;
const SCOPES: &str = "read:user:bitbucket, read:repository:bitbucket";

fn body(text: &str) -> Body {
    match text {
        "" => Body::Empty,
        text if text.starts_with('<') => Body::Other,
        text => Body::Json(text.as_bytes().to_vec()),
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value"))).collect()
}

fn judged(status: u16, pairs: &[(&'static str, &str)], text: &str) -> Verdict {
    judge(status, &headers(pairs), &body(text), &["s3cr3t-token"])
}

fn error(message: &str, detail: &serde_json::Value) -> String {
    json!({ "type": "error", "error": { "message": message, "detail": detail } }).to_string()
}

fn accepted(account: bool, granted: Option<&str>) -> Verdict {
    let text = |text: &str| Some(text.to_owned());
    let bot = Account { uuid: text("{1}"), username: text("bot"), display_name: text("Bot") };
    Verdict::Accepted(Accepted {
        account: account.then_some(bot),
        granted: granted.map(parse_header),
        ..Accepted::default()
    })
}

fn unavailable(what: &str) -> Verdict {
    Verdict::Unknown(NoVerdict::Unavailable(what.to_owned()))
}

#[test]
fn a_good_token() {
    let table = [
        (vec![("x-oauth-scopes", SCOPES)], accepted(true, Some(SCOPES))),
        (
            vec![("x-oauth-scopes", "read:user,read:new-thing"), ("x-credential-type", "api_token")],
            accepted(true, Some("read:user:bitbucket read:new-thing:bitbucket")),
        ),
        (vec![], accepted(true, None)),
        (vec![("x-oauth-scopes", "")], accepted(true, None)),
        (vec![("x-accepted-oauth-scopes", "account")], accepted(true, None)),
    ];
    for (headers, expected) in table {
        assert_eq!(judged(200, &headers, USER), expected, "{headers:?}");
    }
    let Verdict::Accepted(other) = judged(200, &[("x-credential-type", "repo_access_token")], USER) else {
        panic!("not accepted");
    };
    assert_eq!(other.foreign_credential_type.as_deref(), Some("repo_access_token"));
    let Verdict::Accepted(named) = judged(200, &[], r#"{"nickname":"nick","display_name":7}"#) else {
        panic!("not accepted");
    };
    let account = Account { uuid: None, username: Some("nick".to_owned()), display_name: None };
    assert_eq!(named.account, Some(account));
}

#[test]
fn a_token_without_the_scope_of_the_question() {
    let lacks = "Your credentials lack one or more required privilege scopes.";
    let detail = json!({ "required": ["read:user:bitbucket"], "granted": ["read:repository:bitbucket", 7] });
    let known = Some("read:repository:bitbucket");
    assert_eq!(judged(403, &[("x-oauth-scopes", "read:repository")], &error(lacks, &detail)), accepted(false, known));
    assert_eq!(judged(403, &[("x-oauth-scopes", "read:repository")], ""), accepted(false, known));
    assert_eq!(judged(403, &[("x-oauth-scopes", "")], &error(lacks, &detail)), accepted(false, Some("")));
    assert_eq!(judged(403, &[], &error(lacks, &detail)), accepted(false, known));
    let half = json!({ "required": ["read:user:bitbucket"] });
    assert_eq!(judged(403, &[], &error(lacks, &half)), accepted(false, None));
}

#[test]
fn a_refusal_for_another_reason() {
    let forbidden = Verdict::Unknown(NoVerdict::Forbidden);
    let whitelist = error("To access this repository, an IP allow list applies.", &json!(null));
    assert_eq!(judged(403, &[], &whitelist), forbidden);
    assert_eq!(judged(403, &[("x-oauth-scopes", SCOPES)], &whitelist), forbidden);
    assert_eq!(judged(403, &[], &error("No", &json!("a text"))), forbidden);
    assert_eq!(judged(403, &[], r#"{"error":"Forbidden"}"#), forbidden);
    assert_eq!(judged(403, &[], ""), forbidden);
    assert_eq!(judged(403, &[("x-oauth-scopes", "read:issue")], "<html>"), unavailable("an answer that is no JSON"));
}

#[test]
fn a_refused_token() {
    use Refusal::*;
    let object = |message: &str| error(message, &json!(null));
    let table = [
        (401, object("Token is invalid, expired, or not supported for this endpoint."), InvalidOrExpired),
        (401, r#"{"error":"Unauthorized"}"#.to_owned(), InvalidOrExpired),
        (401, r#"{"odd":true}"#.to_owned(), InvalidOrExpired),
        (401, String::new(), InvalidOrExpired),
        (401, object("API token must be used with an atlassian registered email"), NotARegisteredEmail),
        (
            401,
            r#"{"error":"API token must be used with an Atlassian registered email"}"#.to_owned(),
            NotARegisteredEmail,
        ),
        (401, object("API Token provided has no Bitbucket scopes"), NoBitbucketScopes),
        (403, object("API Token provided has no Bitbucket scopes"), NoBitbucketScopes),
        (403, object("This API is not accessible by this authentication mechanism"), NotAnApiToken(None)),
        (410, error("Gone", &json!("See CHANGE-3222")), AppPassword),
        (401, error("CHANGE-3222", &json!({ "a": 1 })), AppPassword),
        (403, error("x", &json!({ "links": ["https://example.com/CHANGE-3222"] })), AppPassword),
        (200, r#"{"error":"CHANGE-3222"}"#.to_owned(), AppPassword),
        (503, r#"{"error":"CHANGE-3222"}"#.to_owned(), AppPassword),
    ];
    for (status, text, expected) in table {
        assert_eq!(judged(status, &[("x-oauth-scopes", SCOPES)], &text), Verdict::Refused(expected), "{status} {text}");
    }
    let named = USER.replace("Bot", "CHANGE-3222");
    assert!(matches!(judged(200, &[], &named), Verdict::Accepted(_)), "an account may have any name");
}

#[test]
fn a_refused_token_of_another_kind() {
    let mechanism = error("This API is not accessible by this authentication mechanism", &json!(null));
    for (kind, expected) in [
        ("repo_access_token", Refusal::NotAnApiToken(Some("repo_access_token".to_owned()))),
        ("Workspace_Access_Token", Refusal::NotAnApiToken(Some("Workspace_Access_Token".to_owned()))),
        ("api_token", Refusal::NotAnApiToken(None)),
        ("apppassword", Refusal::AppPassword),
    ] {
        let verdict = judged(403, &[("x-credential-type", kind)], &mechanism);
        assert_eq!(verdict, Verdict::Refused(expected), "{kind}");
    }
}

#[test]
fn the_same_token_without_its_email() {
    use Refusal::*;
    let lacks = error("Your credentials lack scopes.", &json!({ "required": ["read:user:bitbucket"], "granted": [] }));
    let words = |message: &str| error(message, &json!(null));
    let text = |text: &str| Some(text.to_owned());
    let bot = Account { uuid: text("{1}"), username: text("bot"), display_name: text("Bot") };
    let none: &[(&'static str, &str)] = &[];
    let of_repository = &[("x-credential-type", "repo_access_token")];
    let table = [
        (200, none, USER.to_owned(), WrongEmail(Some(bot))),
        (403, &[("x-oauth-scopes", "read:issue")], lacks, WrongEmail(None)),
        (200, of_repository, USER.to_owned(), NotAnApiToken(text("repo_access_token"))),
        (200, &[("x-credential-type", "apppassword")], USER.to_owned(), AppPassword),
        (401, none, words("Token is invalid, expired, or not supported for this endpoint."), Dead),
        (401, none, String::new(), Dead),
        (401, none, words("API Token provided has no Bitbucket scopes"), NoBitbucketScopes),
        (401, none, words("API token must be used with an atlassian registered email"), InvalidOrExpired),
        (403, none, words("This API is not accessible by this authentication mechanism"), NotAnApiToken(None)),
        (403, none, words("An IP allow list applies."), InvalidOrExpired),
        (401, none, "<html>".to_owned(), InvalidOrExpired),
        (429, none, String::new(), InvalidOrExpired),
        (503, none, String::new(), InvalidOrExpired),
        (410, none, words("CHANGE-2770"), InvalidOrExpired),
    ];
    for (status, headers, text, expected) in table {
        assert_eq!(diagnose(judged(status, headers, &text)), expected, "{status} {text}");
    }
}

#[test]
fn no_word_about_the_token() {
    let gone = error("Gone", &json!("CHANGE-2770: this endpoint was removed"));
    let table = [
        (410, gone.as_str(), "HTTP 410"),
        (500, "<html>", "HTTP 500"),
        (503, r#"{"error":{"message":"Token is invalid"}}"#, "HTTP 503"),
        (404, "", "HTTP 404"),
        (302, "<html>", "HTTP 302"),
        (200, "<html>", "an answer that is no JSON"),
        (200, "", "an answer that is no JSON"),
        (200, &USER[..USER.len() - 5], "an answer that is no JSON"),
        (200, "{}", "an answer that describes no user"),
        (200, "[1]", "an answer that describes no user"),
        (401, "<html>", "an answer that is no JSON"),
        (401, r#"{"error":{"mess"#, "an answer that is no JSON"),
    ];
    for (status, text, expected) in table {
        assert_eq!(judged(status, &[], text), unavailable(expected), "{status} {text}");
    }
    let limited = |seconds: Option<u64>| {
        Verdict::Unknown(NoVerdict::RateLimited { retry_after: seconds.map(Duration::from_secs) })
    };
    assert_eq!(judged(429, &[("retry-after", "17")], "<html>"), limited(Some(17)));
    assert_eq!(judged(429, &[], ""), limited(None));
}

#[test]
fn an_echo_holds_no_token() {
    let echo = USER.replace("Bot", "s3cr3t-token").replace("\"bot\"", "\"eDpzM2NyM3QtdG9rZW4=\"");
    let pairs = [("x-oauth-scopes", "read:user s3cr3t-token"), ("x-credential-type", "s3cr3t-token")];
    let verdict = judged(200, &pairs, &echo);
    let Verdict::Accepted(accepted) = &verdict else { panic!("not accepted") };
    assert_eq!(accepted.granted, Some(BTreeSet::from([crate::domain::scopes::Scope::read_user()])));
    let text = format!("{verdict:?}");
    assert!(!text.contains("s3cr3t") && !text.contains("eDpz"), "{text}");
}

proptest::proptest! {
    #[test]
    fn no_answer_panics(status in 100u16..600, text in "\\PC*", scopes in "[ -~]*") {
        let body = Body::Json(text.into_bytes());
        let _ = judge(status, &headers(&[("x-oauth-scopes", &scopes)]), &body, &["s3cr3t-token"]);
    }
}

fn accounts() -> Accounts {
    Accounts::new(None, Arc::new(|| {}))
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    http::client().expect("TLS")
}

#[test]
fn tokens_are_not_sent_everywhere() {
    let silent: Observe = Arc::new(|_, _, _| {});
    for (url, expected) in [
        ("https://api.bitbucket.org/2.0", None),
        ("https://api.bitbucket.org/2.0/", None),
        ("http://127.0.0.1:8080/2.0", None),
        ("http://[::1]:8080", None),
        ("http://localhost:8080", None),
        ("http://api.bitbucket.org/2.0", Some(BadBaseUrl::Insecure)),
        ("http://localhost.example.com", Some(BadBaseUrl::Insecure)),
        ("ftp://127.0.0.1/2.0", Some(BadBaseUrl::NotAUrl)),
        ("api.bitbucket.org/2.0", Some(BadBaseUrl::NotAUrl)),
        ("", Some(BadBaseUrl::NotAUrl)),
        ("https://bot:secret@api.bitbucket.org/2.0", Some(BadBaseUrl::Extras)),
        ("https://api.bitbucket.org/2.0?x=1", Some(BadBaseUrl::Extras)),
    ] {
        assert_eq!(Bitbucket::new(url, client(), accounts(), Arc::clone(&silent)).err(), expected, "{url}");
    }
}

#[tokio::test]
async fn one_question_is_asked() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/2.0/", listener.local_addr().expect("an address"));
    let answer = |headers: Seen| async move {
        // base64 of bot@example.com:s3cr3t-token
        let good =
            headers.get("authorization").is_some_and(|value| value == "Basic Ym90QGV4YW1wbGUuY29tOnMzY3IzdC10b2tlbg==");
        ([("content-type", "application/json"), ("x-oauth-scopes", SCOPES)], if good { USER } else { "{}" })
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/2.0/user", get(answer))).await });
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&log);
    let observe: Observe = Arc::new(move |operation, code, _| {
        seen.lock().expect("no panic").push(format!("{operation} {code}"));
    });
    let credentials = Credentials::parse("bot@example.com", "s3cr3t-token").expect("good values");
    let bitbucket = Bitbucket::new(&url, client(), accounts(), Arc::clone(&observe)).expect("good URL");
    assert_eq!(bitbucket.verify(&credentials, Priority::First).await, accepted(true, Some(SCOPES)));
    let closed = Bitbucket::new("http://127.0.0.1:1", client(), accounts(), observe).expect("good URL");
    assert_eq!(closed.verify(&credentials, Priority::First).await, unavailable("no connection"));
    assert_eq!(*log.lock().expect("no panic"), ["get_user 200", "get_user connect"]);
}

/// What the stand-in of one test answers to a kind of Authorization.
type Answers = fn(basic: bool) -> (StatusCode, &'static str);

/// The verdict on credentials, and which questions were asked.
async fn verified(answers: Answers) -> (Verdict, Vec<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/2.0/", listener.local_addr().expect("an address"));
    let answer = move |headers: Seen| async move {
        let given = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (basic, bearer) = (given.starts_with("Basic "), given == "Bearer s3cr3t-token");
        let (status, body) = if basic || bearer { answers(basic) } else { (StatusCode::IM_A_TEAPOT, "") };
        (status, [("content-type", "application/json")], body)
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/2.0/user", get(answer))).await });
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&log);
    let observe: Observe = Arc::new(move |operation, code, _| {
        seen.lock().expect("no panic").push(format!("{operation} {code}"));
    });
    let credentials = Credentials::parse("bot@example.com", "s3cr3t-token").expect("good values");
    let verdict = Bitbucket::new(&url, client(), accounts(), observe)
        .expect("good URL")
        .verify(&credentials, Priority::First)
        .await;
    let questions = log.lock().expect("no panic").clone();
    (verdict, questions)
}

#[tokio::test]
async fn an_unexplained_refusal_alone_is_asked_about_without_the_email() {
    const NO_SCOPES: &str = r#"{"error":{"message":"API Token provided has no Bitbucket scopes"}}"#;
    const ECHO: &str = r#"{"username":"s3cr3t-token","display_name":"Bot"}"#;
    let (verdict, questions) = verified(|_| (StatusCode::UNAUTHORIZED, "{}")).await;
    assert_eq!(verdict, Verdict::Refused(Refusal::Dead));
    assert_eq!(questions, ["get_user 401", "get_user_bearer 401"]);
    let (verdict, questions) =
        verified(|basic| if basic { (StatusCode::UNAUTHORIZED, "{}") } else { (StatusCode::OK, ECHO) }).await;
    let Verdict::Refused(Refusal::WrongEmail(Some(account))) = &verdict else { panic!("{verdict:?}") };
    assert_eq!(account.display_name.as_deref(), Some("Bot"));
    assert!(!format!("{verdict:?}").contains("s3cr3t"), "an echo holds no token");
    assert_eq!(questions, ["get_user 401", "get_user_bearer 200"]);
    let (verdict, questions) =
        verified(|basic| (if basic { StatusCode::UNAUTHORIZED } else { StatusCode::SERVICE_UNAVAILABLE }, "{}")).await;
    assert_eq!(verdict, Verdict::Refused(Refusal::InvalidOrExpired));
    assert_eq!(questions, ["get_user 401", "get_user_bearer 503"]);
    for (answers, first) in [
        ((|_| (StatusCode::OK, USER)) as Answers, "get_user 200"),
        (|_| (StatusCode::UNAUTHORIZED, NO_SCOPES), "get_user 401"),
        (|_| (StatusCode::FORBIDDEN, "{}"), "get_user 403"),
        (|_| (StatusCode::SERVICE_UNAVAILABLE, "{}"), "get_user 503"),
    ] {
        assert_eq!(verified(answers).await.1, [first], "one question is enough");
    }
}
