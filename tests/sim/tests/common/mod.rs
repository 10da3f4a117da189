//! The least HTTP client: one request per connection, read to its end. Calls without a network, and a clock.

use std::io;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sim::{Bitbucket, Kms, Token};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub const PROJECT: &str = "7ffbb072-2575-495a-b5b0-127f88caef78";
pub const TOKEN: &str = "ATATT3x-good";
pub const EMAIL: &str = "bot@example.com";

pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().expect("a message").to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// An error means that the connection ended without a whole head.
pub async fn send(method: &str, url: &str, authorization: Option<&str>, body: Option<&Value>) -> io::Result<Response> {
    let rest = url.strip_prefix("http://").expect("an http URL");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut request = format!("{method} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    if let Some(value) = authorization {
        request += &format!("authorization: {value}\r\n");
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        request += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    request += "\r\n";
    request += &body;
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Ok(Response { status, head, body: answer[end + 4..].to_vec() })
}

pub fn basic(email: &str, token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{email}:{token}")))
}

pub async fn user(bitbucket: &Bitbucket, email: &str, token: &str) -> Response {
    let url = format!("{}/user", bitbucket.url());
    send("GET", &url, Some(&basic(email, token)), None).await.expect("an answer")
}

/// Both services, a good token, an identity and a project; the authorization of a session.
pub async fn world() -> (Bitbucket, Kms, String) {
    let bitbucket = Bitbucket::start().await;
    bitbucket.add(Token::new(EMAIL, TOKEN).scopes(["read:user:bitbucket"]));
    let kms = Kms::start(&bitbucket).await;
    kms.add_identity("client", "secret");
    kms.add_project(PROJECT);
    let answer = login(&kms, "secret").await;
    let token = answer.json()["accessToken"].as_str().expect("a token").to_owned();
    (bitbucket, kms, format!("Bearer {token}"))
}

pub async fn login(kms: &Kms, secret: &str) -> Response {
    let url = format!("{}/api/v1/auth/universal-auth/login", kms.url());
    let body = json!({"clientId": "client", "clientSecret": secret});
    send("POST", &url, None, Some(&body)).await.expect("an answer")
}

/// A call below the connections' base.
pub async fn call(kms: &Kms, session: &str, method: &str, path: &str, body: Option<Value>) -> io::Result<Response> {
    let url = format!("{}/api/v1/app-connections/bitbucket{path}", kms.url());
    send(method, &url, Some(session), body.as_ref()).await
}

pub fn create_body(name: &str) -> Value {
    json!({
        "name": name,
        "method": "api-token",
        "projectId": PROJECT,
        "description": " a text ",
        "credentials": {"email": EMAIL, "apiToken": format!(" {TOKEN} ")},
    })
}

/// A clock that stands still until it is put forward.
#[derive(Clone)]
pub struct Hands(Arc<Mutex<Timestamp>>);

impl Hands {
    /// The clock of both services.
    pub fn of(bitbucket: &Bitbucket, kms: &Kms) -> Self {
        let start = "2026-03-01T08:00:00Z".parse().expect("a time");
        let hands = Self(Arc::new(Mutex::new(start)));
        for front in [&**bitbucket, &**kms] {
            let hands = hands.clone();
            front.set_clock(move || hands.now());
        }
        hands
    }

    pub fn now(&self) -> Timestamp {
        *self.0.lock().expect("no panic under the lock")
    }

    pub fn forward(&self, seconds: i64) {
        *self.0.lock().expect("no panic under the lock") += SignedDuration::from_secs(seconds);
    }
}

/// A call without a network: status, headers and body.
pub async fn ask(
    kms: &Kms,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> (u16, HeaderMap, Bytes) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = match body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    let answer = kms.call(request.body(body).expect("a request")).await.expect("an answer");
    let (parts, body) = answer.into_parts();
    (parts.status.as_u16(), parts.headers, to_bytes(body, usize::MAX).await.expect("a body"))
}
