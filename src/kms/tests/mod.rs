//! The client against a small server that counts what it is asked.

mod errors;
mod lists;
mod wire;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::State,
    response::Response,
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Evidence, Identity, Kms, KmsError, Limits, LoginError, Proof, Reading, WriteTurn};
use crate::{
    domain::{
        connection::{Changes, KmsScope, NewConnection},
        credential::Credentials,
        limit::Priority::{AtOnce, InTurn},
        login::AuthMethod,
    },
    http,
};

const ID: &str = "7ffbb072-2575-495a-b5b0-127f88caef78";
const NAME: &str = "payments";
const TOKEN: &str = "hunter2-hunter2";

const INVALID: LoginError = LoginError::InvalidCredentials { method: AuthMethod::Universal };

fn identity(secret: &str) -> Identity {
    let proof = Proof::new([("clientId", "id".into()), ("clientSecret", secret.into())]);
    Identity { method: AuthMethod::Universal, id: None, evidence: Evidence::Held(proof) }
}

fn credentials() -> Credentials {
    Credentials::parse("bot@example.com", TOKEN).expect("good values")
}

/// A server without limits.
fn at(url: url::Url, observe: http::Observe) -> super::Server {
    let limits = Arc::new(Limits::new(None, None, Arc::new(|| {})));
    super::Server { url, http: http::client().expect("TLS"), limits, observe }
}

fn reading(not_before: Option<Instant>) -> Reading {
    Reading { priority: AtOnce, not_before, max_age: Duration::from_secs(30) }
}

async fn turn(kms: &Kms) -> WriteTurn {
    kms.turn_to_write("a test", InTurn).await.expect("no limit")
}

fn new_connection() -> NewConnection {
    NewConnection { name: NAME.to_owned(), description: String::new(), scope: KmsScope::Organization }
}

/// A request as the server sees it.
struct Seen {
    method: Method,
    /// Path and query.
    target: String,
    /// The access token.
    token: String,
    body: String,
}

type Handler = dyn Fn(&Seen) -> Response + Send + Sync;

#[derive(Clone)]
struct Server {
    handler: Arc<Handler>,
    seen: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Server {
    /// Starts a server; it ends with the test's runtime.
    async fn start(handler: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> (Self, Kms) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = Self { handler: Arc::new(handler), seen: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a URL");
        let app = axum::Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let identity = identity("client-secret");
        let kms = Kms::new(at(url, Arc::new(|_, _, _| {})), identity, Some("acme".to_owned()));
        (server, kms)
    }

    /// How often a method and path were asked for.
    fn count(&self, request: &str) -> usize {
        self.seen.lock().expect("no panic").get(request).copied().unwrap_or_default()
    }

    fn logins(&self) -> usize {
        self.count("POST /api/v1/auth/universal-auth/login")
    }

    fn all(&self) -> usize {
        self.seen.lock().expect("no panic").values().sum()
    }
}

async fn answer(State(server): State<Server>, request: axum::extract::Request) -> Response {
    let (head, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    let token = head.headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let seen = Seen {
        target: head.uri.to_string(),
        token: token.unwrap_or_default().to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
        method: head.method,
    };
    *server.seen.lock().expect("no panic").entry(format!("{} {}", seen.method, seen.target)).or_default() += 1;
    (server.handler)(&seen)
}

fn reply(status: u16, body: &Value) -> Response {
    typed(status, "application/json", body.to_string())
}

fn typed(status: u16, kind: &str, body: impl Into<Body>) -> Response {
    Response::builder().status(status).header("content-type", kind).body(body.into()).expect("a response")
}

fn login(token: &str) -> Response {
    reply(200, &json!({ "accessToken": token, "expiresIn": 7200, "accessTokenMaxTTL": 7200, "tokenType": "Bearer" }))
}

fn is_login(seen: &Seen) -> bool {
    seen.target.starts_with("/api/v1/auth/")
}

fn one(name: &str) -> Response {
    reply(200, &json!({ "appConnection": { "id": ID, "name": name, "projectId": null, "app": "bitbucket" } }))
}

fn none() -> Response {
    reply(404, &json!({ "message": format!("Could not find App Connection with ID {ID}"), "error": "NotFound" }))
}

/// A good login; everything else is answered by the handler.
fn logged_in(handler: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> impl Fn(&Seen) -> Response {
    move |seen| if is_login(seen) { login("t") } else { handler(seen) }
}

#[tokio::test]
async fn many_requests_share_one_login() {
    let (server, kms) = Server::start(|seen| match is_login(seen) {
        true => {
            let expected = json!({ "clientId": "id", "clientSecret": "client-secret", "organizationSlug": "acme" });
            assert_eq!(seen.body.parse::<Value>().expect("JSON"), expected);
            login("t")
        }
        false if seen.token == "t" => one(NAME),
        false => reply(500, &json!({})),
    })
    .await;
    let all = join_all((0..50).map(|_| kms.connection(&KmsScope::Organization, ID, InTurn))).await;
    assert!(all.into_iter().all(|found| found.is_ok_and(|found| found.is_some())));
    assert_eq!((server.logins(), server.all()), (1, 51));
    assert_eq!(kms.authenticate(true).await, Ok(()));
    assert_eq!(server.logins(), 1);
}

#[tokio::test]
async fn many_requests_share_one_new_login() {
    let logins = Mutex::new(0);
    let (server, kms) = Server::start(move |seen| {
        if is_login(seen) {
            let mut logins = logins.lock().expect("no panic");
            *logins += 1;
            return login(&format!("t{logins}"));
        }
        match seen.token.as_str() {
            "t1" => reply(403, &json!({ "error": "TokenError", "message": "Your token has expired." })),
            _ => one(NAME),
        }
    })
    .await;
    assert_eq!(kms.authenticate(false).await, Ok(()));
    let all = join_all((0..50).map(|_| kms.connection(&KmsScope::Organization, ID, InTurn))).await;
    assert!(all.into_iter().all(|found| found.is_ok_and(|found| found.is_some())));
    assert_eq!((server.logins(), server.all()), (2, 102));
}

#[tokio::test]
async fn a_session_that_is_never_taken_makes_no_loop() {
    let (server, kms) = Server::start(logged_in(|_| reply(401, &json!({ "message": "Token missing" })))).await;
    for _ in 0..3 {
        let refused = LoginError::SessionRefused { message: "Token missing".to_owned() };
        assert_eq!(kms.connection(&KmsScope::Organization, ID, InTurn).await, Err(refused.into()));
    }
    assert_eq!((server.logins(), server.all()), (2, 4));
}

#[tokio::test]
async fn refused_credentials_are_not_tried_again() {
    let (server, kms) = Server::start(|_| reply(401, &json!({ "message": "Invalid credentials" }))).await;
    for _ in 0..3 {
        assert_eq!(kms.authenticate(false).await, Err(INVALID));
        assert_eq!(kms.connection(&KmsScope::Organization, ID, InTurn).await, Err(INVALID.into()));
    }
    assert_eq!(server.all(), 1);
    assert_eq!(kms.authenticate(true).await, Err(INVALID));
    assert_eq!(server.all(), 2);
}

#[tokio::test]
async fn a_list_is_read_once_and_follows_own_writes() {
    let (server, kms) = Server::start(logged_in(|seen| match seen.method {
        Method::GET => reply(200, &json!({ "appConnections": [] })),
        Method::PATCH => one("renamed"),
        _ => one(NAME),
    }))
    .await;
    let list = || async { kms.connections(&KmsScope::Organization, reading(None)).await.expect("a list") };
    assert!(list().await.is_empty());
    assert!(kms.create(&new_connection(), &credentials(), turn(&kms).await).await.is_ok());
    assert!(list().await.by_name(NAME).is_some());
    assert!(kms.update(ID, &Changes::default(), None, turn(&kms).await).await.is_ok());
    assert!(list().await.by_name("renamed").is_some());
    assert_eq!(kms.delete(ID, turn(&kms).await).await, Ok(()));
    assert!(list().await.is_empty());
    assert_eq!(server.count("GET /api/v1/app-connections/bitbucket"), 1);
    let project = KmsScope::Project("p/q".to_owned());
    assert!(kms.connections(&project, reading(Some(Instant::now()))).await.is_ok());
    assert_eq!(server.count("GET /api/v1/app-connections/bitbucket?projectId=p%2Fq"), 1);
}

#[tokio::test]
async fn a_missing_connection_is_no_error() {
    let (server, kms) = Server::start(logged_in(|_| none())).await;
    assert_eq!(kms.connection(&KmsScope::Organization, ID, InTurn).await, Ok(None));
    let asked = server.all();
    for no_id in ["", "..", "../x", "x?y", "payments"] {
        assert_eq!(kms.connection(&KmsScope::Organization, no_id, InTurn).await, Ok(None));
    }
    assert_eq!(server.all(), asked, "what is no id is not asked for");
    assert_eq!(kms.connection_named(&KmsScope::Project("p".to_owned()), NAME, InTurn).await, Ok(None));
    assert_eq!(server.count("GET /api/v1/app-connections/bitbucket/connection-name/payments?projectId=p"), 1);
    assert_eq!(kms.delete(ID, turn(&kms).await).await, Ok(()));
    assert_eq!(kms.update(ID, &Changes::default(), None, turn(&kms).await).await, Err(KmsError::NotFound));
}

#[tokio::test]
async fn a_connection_of_another_scope_is_none() {
    let (_server, kms) = Server::start(logged_in(|_| one(NAME))).await;
    let elsewhere = KmsScope::Project("p".to_owned());
    assert!(kms.connection_named(&KmsScope::Organization, NAME, InTurn).await.is_ok_and(|found| found.is_some()));
    assert_eq!(kms.connection_named(&elsewhere, NAME, InTurn).await, Ok(None));
    assert!(kms.connection(&KmsScope::Organization, ID, InTurn).await.is_ok_and(|found| found.is_some()));
    assert_eq!(kms.connection(&elsewhere, ID, InTurn).await, Ok(None));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (other, elsewhere) = Server::start(|_| one(NAME)).await;
    let location = elsewhere.host().to_owned();
    let (_server, kms) = Server::start(logged_in(move |_| {
        let mut response = reply(307, &json!({}));
        response.headers_mut().insert("location", location.parse().expect("value"));
        response
    }))
    .await;
    let moved = KmsError::Unavailable { what: "HTTP 307".to_owned() };
    assert_eq!(kms.create(&new_connection(), &credentials(), turn(&kms).await).await, Err(moved));
    assert_eq!(other.all(), 0);
}

#[tokio::test]
async fn another_server_offers_no_app_connections() {
    let (_server, kms) = Server::start(|_| typed(200, "text/html", "<!doctype html>")).await;
    assert_eq!(kms.authenticate(false).await, Err(LoginError::NotOffered));
    let (_server, kms) = Server::start(logged_in(|_| typed(200, "text/html", "<!doctype html>"))).await;
    assert_eq!(kms.connection(&KmsScope::Organization, ID, InTurn).await, Err(KmsError::NotOffered));
    assert_eq!(kms.connections(&KmsScope::Organization, reading(None)).await.err(), Some(KmsError::NotOffered));
    let lost = kms.create(&new_connection(), &credentials(), turn(&kms).await).await;
    assert!(lost.is_err_and(|error| error.may_have_taken_effect()));
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let long = Bytes::from(vec![b' '; http::BODY_MAX + 1]);
    let (_server, kms) = Server::start(logged_in(move |seen| match seen.method {
        Method::GET => typed(200, "application/json", long.clone()),
        // In pieces, so that its length isn't announced.
        _ => {
            let halves = [(); 2].map(|()| Ok::<_, std::io::Error>(long.slice(..=http::BODY_MAX / 2)));
            typed(200, "application/json", Body::from_stream(futures::stream::iter(halves)))
        }
    }))
    .await;
    let expected = KmsError::Unavailable { what: "an answer that is too large".to_owned() };
    assert_eq!(kms.connection(&KmsScope::Organization, ID, InTurn).await, Err(expected.clone()));
    assert_eq!(kms.delete(ID, turn(&kms).await).await, Err(expected));
}

#[tokio::test]
async fn an_echo_holds_no_secret() {
    let (_server, kms) = Server::start(logged_in(|seen| match seen.method {
        Method::POST => reply(400, &json!({ "message": format!("{} {}", seen.body, seen.token) })),
        _ => reply(200, &json!({ "appConnection": { "id": ID, "name": seen.body, "description": TOKEN } })),
    }))
    .await;
    let refused = format!("{:?}", kms.create(&new_connection(), &credentials(), turn(&kms).await).await);
    assert!(refused.contains("***") && !refused.contains("hunter2"), "{refused}");
    let written = format!("{:?}", kms.update(ID, &Changes::default(), Some(&credentials()), turn(&kms).await).await);
    assert!(written.contains("***") && !written.contains("hunter2"), "{written}");
}

#[tokio::test]
async fn nobody_at_home() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let identity = identity("secret");
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&seen);
    let observe: http::Observe =
        Arc::new(move |operation, code, _| log.lock().expect("no panic").push(format!("{operation} {code}")));
    let closed = "http://127.0.0.1:1".parse().expect("a URL");
    let kms = Kms::new(at(closed, observe), identity, None);
    assert_eq!(kms.host(), "http://127.0.0.1:1");
    let down = LoginError::Unavailable { what: super::NO_CONNECTION.to_owned() };
    let error = kms.create(&new_connection(), &credentials(), turn(&kms).await).await.err();
    assert_eq!(error, Some(KmsError::Login(down)));
    assert_eq!(*seen.lock().expect("no panic"), ["login connect"]);
}

#[tokio::test]
async fn a_write_without_an_answer_ends_the_list() {
    let (server, kms) = Server::start(logged_in(|seen| match seen.method {
        Method::GET => reply(200, &json!({ "appConnections": [] })),
        Method::POST => reply(500, &json!({ "error": "InternalServerError", "message": "Something went wrong" })),
        _ => reply(400, &json!({ "message": "App Connection with ID 1 is not for App \"bitbucket\"" })),
    }))
    .await;
    let kms = Arc::new(kms);
    for expected in [1, 2] {
        // Spawned, which shows that callers may spawn it.
        let shared = Arc::clone(&kms);
        let list = tokio::spawn(async move { shared.connections(&KmsScope::Organization, reading(None)).await });
        assert!(list.await.is_ok_and(|list| list.is_ok()));
        assert_eq!(kms.delete(ID, turn(&kms).await).await, Err(KmsError::OtherApp), "nothing happened");
        assert_eq!(server.count("GET /api/v1/app-connections/bitbucket"), expected);
        let created = kms.create(&new_connection(), &credentials(), turn(&kms).await).await;
        assert!(created.is_err_and(|error| error.may_have_taken_effect()));
    }
}

#[tokio::test]
async fn an_access_token_is_tried_without_a_login() {
    let probe = "GET /api/v1/app-connections/bitbucket/00000000-0000-0000-0000-000000000000";
    let refused = |message: &str| LoginError::Refused { method: AuthMethod::Token, message: message.to_owned() };
    let table = [
        (404, json!({"message": "Could not find App Connection", "error": "NotFound"}), Ok(())),
        (
            403,
            json!({"message": "You are not allowed to read on app-connections", "error": "PermissionDenied"}),
            Ok(()),
        ),
        (422, json!({"message": "Invalid uuid", "error": "ValidationFailure"}), Ok(())),
        (403, json!({"message": "No good: static-token", "error": "TokenError"}), Err(refused("No good: ***"))),
        (401, json!({"message": "No good", "error": "TokenError"}), Err(refused("No good"))),
        (200, json!({"page": true}), Err(LoginError::NotOffered)),
        (503, json!({}), Err(LoginError::Unavailable { what: "HTTP 503".to_owned() })),
    ];
    for (status, body, expected) in table {
        let (server, kms) = Server::start(move |_| reply(status, &body)).await;
        let proof = Proof::new([("token", "static-token".into())]);
        let identity = Identity { method: AuthMethod::Token, id: None, evidence: Evidence::Held(proof) };
        let kms = Kms::new(kms.server.clone(), identity, None);
        for _ in 0..2 {
            assert_eq!(kms.authenticate(false).await, expected, "{status}");
        }
        let unheld = matches!(expected, Err(LoginError::NotOffered | LoginError::Unavailable { .. }));
        assert_eq!((server.count(probe), server.all()), if unheld { (2, 2) } else { (1, 1) }, "{status}");
    }
    let proof = Proof::new([("token", "two\nlines".into())]);
    let (server, kms) = Server::start(|_| reply(200, &json!({}))).await;
    let identity = Identity { method: AuthMethod::Token, id: None, evidence: Evidence::Held(proof) };
    let kms = Kms::new(kms.server.clone(), identity, None);
    let invalid = LoginError::InvalidCredentials { method: AuthMethod::Token };
    assert_eq!((kms.authenticate(false).await, server.all()), (Err(invalid), 0));
}
