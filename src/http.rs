//! The outgoing side of HTTP, shared by the clients of Bitbucket and of the KMS.
//!
//! What comes back is untrusted: bodies are read up to a limit, only JSON is kept, and errors of the transport become a
//! few words that hold neither an address nor a byte of what was sent.

pub(crate) mod certificates;
mod guarded;
mod limits;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod scrub;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use ::http::{
    HeaderMap,
    header::{CONTENT_TYPE, DATE, RETRY_AFTER},
};
use futures::future::BoxFuture;
use reqwest::{Certificate, Method, RequestBuilder, Response, redirect};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::{Instrument, field::Empty};
use url::Url;

use self::certificates::is_about_certificate;
use crate::telemetry::traces::STEPS;

pub use guarded::MayWrite;
pub use limits::{Gate, NotYet, ObserveWait};
pub use scrub::{line, mask, server_text};

/// Longest usual body, in bytes.
pub const BODY_MAX: usize = 1 << 20;
/// Longest list, in bytes.
pub const LIST_MAX: usize = 32 << 20;

/// Time to a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time from the first byte out to the last byte in.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait that a server may ask for.
const RETRY_AFTER_MAX: u64 = 3600;

/// Told of each request when it ends: operation, code, and how long it took. The code is the status, or one of
/// `connect`, `certificate`, `timeout`, `body`, `too_large`, `not_leading`; both are bounded, so they may be metric labels.
pub type Observe = Arc<dyn Fn(&'static str, &str, Duration) + Send + Sync>;

/// Why there is no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoClient {
    /// The additional roots can't be read.
    #[error("the additional certificates are no PEM bundle of CA certificates")]
    BadRoots,
    /// The system trusts nobody, so that no TLS connection could ever be made.
    #[error(
        "TLS can't be set up: this system has no trusted CA certificates. Install them (such as the package ca-certificates), or set SSL_CERT_FILE to a PEM bundle of them"
    )]
    NoTls,
}

/// What carries a request to its server, and the answer back: the network, or what stands in its place.
pub trait Transport: Send + Sync {
    /// Carries one request.
    fn carry(&self, request: reqwest::Request) -> BoxFuture<'_, Result<Response, Failure>>;
}

/// Sends requests to one kind of server.
#[derive(Clone)]
pub struct Client {
    requests: reqwest::Client,
    /// Something else than the network.
    transport: Option<Arc<dyn Transport>>,
    /// Whether it may write; asked right before each write.
    may_write: Option<MayWrite>,
}

/// A client that trusts the system's CAs. It follows no redirects, so that credentials can't be led elsewhere, and gives
/// up after 5 s without a connection and 20 s in all.
///
/// A rustls provider must be installed before.
pub fn client() -> Result<Client, NoClient> {
    build(Vec::new())
}

/// A client that trusts the CAs of a PEM bundle besides the system's; otherwise as [`client`].
pub fn client_trusting(pem: &[u8]) -> Result<Client, NoClient> {
    let roots = Certificate::from_pem_bundle(pem).map_err(|_| NoClient::BadRoots)?;
    if roots.is_empty() { Err(NoClient::BadRoots) } else { build(roots) }
}

fn build(roots: Vec<Certificate>) -> Result<Client, NoClient> {
    let otherwise = if roots.is_empty() { NoClient::NoTls } else { NoClient::BadRoots };
    reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .user_agent(concat!("bitbucket-connection-operator/", env!("CARGO_PKG_VERSION")))
        .tls_certs_merge(roots)
        .build()
        .map(|requests| Client { requests, transport: None, may_write: None })
        .map_err(|_| otherwise)
}

impl Client {
    /// The same, over something else than the network.
    pub fn over(self, transport: Arc<dyn Transport>) -> Self {
        Self { transport: Some(transport), ..self }
    }

    /// The same, but it sends no write unless it may: nothing that goes through it can forget to ask.
    pub fn guarded(self, may_write: MayWrite) -> Self {
        Self { may_write: Some(may_write), ..self }
    }

    /// A client that trusts the CAs of a PEM bundle besides the system's, and otherwise is as this one.
    pub fn trusting(&self, pem: &[u8]) -> Result<Self, NoClient> {
        Ok(Self { requests: client_trusting(pem)?.requests, ..self.clone() })
    }

    /// Begins a request.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.requests.request(method, url)
    }

    /// Sends a request and reads the answer, up to `limit` bytes of body.
    pub async fn send(
        &self,
        request: RequestBuilder,
        limit: usize,
        operation: &'static str,
        observe: &Observe,
    ) -> Result<Answer, Failure> {
        let started = Instant::now();
        let span = tracing::info_span!(target: STEPS, "request", operation, code = Empty, "otel.kind" = "client");
        let result = async { read(self.carry(request).await?, limit).await }.instrument(span.clone()).await;
        let code = match &result {
            Ok(answer) => Cow::Owned(answer.status.to_string()),
            Err(failure) => Cow::Borrowed(failure.code()),
        };
        span.record("code", &*code);
        observe(operation, &code, started.elapsed());
        result
    }

    async fn carry(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let mut request = request.build().map_err(|error| Failure::of(&error))?;
        let may_write = self.may_write.as_ref().filter(|_| !request.method().is_safe());
        if may_write.is_some_and(|may_write| !may_write()) {
            return Err(Failure::NotLeading);
        }
        match &self.transport {
            None => {
                if let Some(may_write) = may_write {
                    guarded::guard_body(&mut request, may_write);
                }
                self.requests.execute(request).await.map_err(|error| Failure::of(&error))
            }
            Some(transport) => {
                let carried = tokio::time::timeout(TOTAL_TIMEOUT, transport.carry(request)).await;
                carried.unwrap_or(Err(Failure::Timeout))
            }
        }
    }
}

/// What a server answered. It may hold what the server was sent, so it can't be printed.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, if it is worth keeping.
    pub body: Body,
}

/// A body by its content type.
pub enum Body {
    /// It calls itself JSON; whether it is, shows when it is parsed.
    Json(Vec<u8>),
    /// No bytes.
    Empty,
    /// Anything else, such as the page of a proxy. It is never kept: some error pages embed session data.
    Other,
}

/// Why a body does not say what was hoped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadShape {
    /// JSON that breaks off: the answer was lost on the way.
    Truncated,
    /// No JSON, or JSON of another shape: somebody else answered.
    Foreign,
}

impl Body {
    /// Parses a JSON body.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, BadShape> {
        match self {
            Self::Json(bytes) => Ok(serde_json::from_slice(bytes)?),
            Self::Empty | Self::Other => Err(BadShape::Foreign),
        }
    }
}

impl From<serde_json::Error> for BadShape {
    fn from(error: serde_json::Error) -> Self {
        if error.is_eof() { Self::Truncated } else { Self::Foreign }
    }
}

/// Why there is no answer. The texts never change from one attempt to the next and name no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection; nothing was sent.
    Connect,
    /// The server's certificate is expired, of another name, or of an unknown CA; nothing was sent.
    Certificate,
    /// The time was up; the request may have arrived.
    Timeout,
    /// The connection broke after the request was sent, at the latest in the middle of the answer.
    BrokenOff,
    /// The answer is longer than the limit.
    TooLarge,
    /// Another replica may lead by now; nothing was sent.
    NotLeading,
}

impl Failure {
    /// For metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Certificate => "certificate",
            Self::Timeout => "timeout",
            Self::BrokenOff => "body",
            Self::TooLarge => "too_large",
            Self::NotLeading => "not_leading",
        }
    }

    fn of(error: &reqwest::Error) -> Self {
        if guarded::is_about_leading(error) {
            Self::NotLeading
        } else if is_about_certificate(error) {
            Self::Certificate
        } else if error.is_connect() {
            Self::Connect
        } else if error.is_timeout() {
            Self::Timeout
        } else {
            Self::BrokenOff
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection",
            Self::Certificate => "the certificate of the server is not trusted",
            Self::Timeout => "no answer in time",
            Self::BrokenOff => "an answer that breaks off",
            Self::TooLarge => "an answer that is too large",
            Self::NotLeading => "this replica leads no more",
        })
    }
}

async fn read(mut response: Response, limit: usize) -> Result<Answer, Failure> {
    let announced = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
    let json = is_json(response.headers());
    if json && announced > limit {
        return Err(Failure::TooLarge);
    }
    let mut bytes = Vec::with_capacity(if json { announced } else { 0 });
    let mut other = false;
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::of(&error))? {
        if !json {
            // One look is enough to tell it from an empty body.
            other = !chunk.is_empty();
            if other {
                break;
            }
        } else if bytes.len() + chunk.len() > limit {
            return Err(Failure::TooLarge);
        } else {
            bytes.extend_from_slice(&chunk);
        }
    }
    let body = match (other, bytes.is_empty()) {
        (true, _) => Body::Other,
        (false, true) => Body::Empty,
        (false, false) => Body::Json(bytes),
    };
    Ok(Answer { status: response.status().as_u16(), headers: std::mem::take(response.headers_mut()), body })
}

/// `application/json` and its kin, such as `application/problem+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.strip_prefix("application/").is_some_and(|kind| kind == "json" || kind.ends_with("+json"))
}

/// How long the server asks to wait: `Retry-After` in seconds or as a date, at most an hour. A date is compared with the
/// server's own `Date`, so that no clock of ours is asked.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let value = text(RETRY_AFTER)?;
    let seconds = if value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() {
        // What doesn't fit is more than the limit.
        value.parse().unwrap_or(RETRY_AFTER_MAX)
    } else {
        let second = |date| jiff::fmt::rfc2822::parse(date).ok().map(|date| date.timestamp().as_second());
        let wait = second(value)?.saturating_sub(second(text(DATE)?)?);
        u64::try_from(wait).unwrap_or(0)
    };
    Some(bounded(seconds))
}

/// Seconds that a server asked for, as a wait that it may ask for.
pub fn bounded(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value"))).collect()
    }

    #[test]
    fn only_json_is_json() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/html", false),
            ("text/json-ish", false),
            ("application/jsonp", false),
            ("", false),
        ] {
            assert_eq!(is_json(&headers(&[("content-type", value)])), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_wait_is_read_and_bounded() {
        let date = "Wed, 21 Oct 2026 07:28:00 GMT";
        for (value, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Wed, 21 Oct 2026 07:28:30 GMT", Some(30)),
            ("Wed, 21 Oct 2026 07:27:00 GMT", Some(0)),
            ("Thu, 22 Oct 2026 07:28:00 GMT", Some(3600)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let wait = retry_after(&headers(&[("retry-after", value), ("date", date)]));
            assert_eq!(wait, expected.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&headers(&[("retry-after", date)])), None, "a date means nothing without the server's");
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn bad_roots_are_refused() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        assert_eq!(client_trusting(b"").err(), Some(NoClient::BadRoots));
        assert_eq!(client_trusting(b"no PEM").err(), Some(NoClient::BadRoots));
        let junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(client_trusting(junk).err(), Some(NoClient::BadRoots));
        assert!(client().is_ok());
    }
}
