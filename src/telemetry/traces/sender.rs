//! The way of spans to the collector: one request for each batch.

use std::{
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::{Certificate, redirect};
use tokio::runtime::Handle;

use crate::http::certificates::is_about_certificate;

/// How long the collector may take for a batch.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer of a collector that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// The variables that name a file with the CAs of the collector.
const AUTHORITIES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
/// The variables that would have the collector be shown a certificate.
const IDENTITIES: [&str; 4] = [
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
];

/// Why the environment doesn't say how to speak TLS with the collector.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// The file can't be read.
    #[error(
        "{variable}={path:?} can't be read ({reason}): mount a PEM file with the CA of the collector there, or leave the variable out where the system trusts that CA"
    )]
    Unreadable {
        /// Which variable names it.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::ErrorKind,
    },
    /// The file holds no certificate.
    #[error(
        "{variable}={path:?} is no PEM bundle of CA certificates: let it name one with the CA of the collector, which begins with -----BEGIN CERTIFICATE-----"
    )]
    NoCertificates {
        /// Which variable names it.
        variable: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The collector would have to be shown a certificate.
    #[error(
        "{variable} is set, but the operator shows collectors no certificate of its own: leave it out, and send traces to a collector that asks for none, or for a header (OTEL_EXPORTER_OTLP_HEADERS)"
    )]
    Identity {
        /// Which variable says so.
        variable: &'static str,
    },
    /// TLS can't be set up.
    #[error(
        "TLS can't be set up: this system has no trusted CA certificates. Install them (such as the package ca-certificates), or name the CA of the collector by OTEL_EXPORTER_OTLP_CERTIFICATE"
    )]
    NoTls,
}

/// Sends a batch. The exporter has a thread of its own, without a runtime; the client needs one.
#[derive(Debug)]
pub struct Sender {
    client: reqwest::Client,
    runtime: Handle,
    /// Whether it was told that batches fail. Once is enough.
    failing: AtomicBool,
}

/// Why a batch was not sent, in words that hold no address: it could have a password in it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum NotSent {
    #[error("no connection to the collector")]
    Connect,
    #[error(
        "the certificate of the collector is not trusted: it is expired, of another name, or of a CA that neither the system nor OTEL_EXPORTER_OTLP_CERTIFICATE names"
    )]
    Certificate,
    #[error("no answer of the collector in time")]
    Timeout,
    #[error("the connection to the collector broke off")]
    BrokenOff,
    #[error("the operator is ending")]
    Ending,
    #[error("the collector answers {0}")]
    Refused(u16),
}

impl From<reqwest::Error> for NotSent {
    fn from(error: reqwest::Error) -> Self {
        if is_about_certificate(&error) {
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

impl Sender {
    /// One that trusts whom the environment names, else whom the system trusts. Its requests are sent by the runtime.
    pub fn new(variable: impl Fn(&str) -> Option<String>, runtime: &Handle) -> Result<Self, BadTls> {
        let client = reqwest::Client::builder().redirect(redirect::Policy::none()).referer(false).timeout(TIMEOUT);
        let client = match authorities(variable)? {
            Some(authorities) => client.tls_certs_only(authorities),
            None => client,
        };
        let client = client.build().map_err(|_| BadTls::NoTls)?;
        Ok(Self { client, runtime: runtime.clone(), failing: AtomicBool::new(false) })
    }

    /// Tells when it begins to fail, and when that is over; the library would repeat itself with each batch.
    fn tell(&self, failure: Option<NotSent>) {
        if self.failing.swap(failure.is_some(), Ordering::Relaxed) == failure.is_some() {
            return;
        }
        match failure {
            Some(reason) => tracing::warn!(
                %reason,
                "traces are not exported; everything else goes on. See whether OTEL_EXPORTER_OTLP_ENDPOINT is the \
                 collector's URL for OTLP over HTTP, and whether a network policy keeps the operator from it"
            ),
            None => tracing::info!("traces are exported again"),
        }
    }
}

/// The CAs that the environment has the collector be trusted by; the system's, if it names none.
fn authorities(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Vec<Certificate>>, BadTls> {
    if let Some(variable) = IDENTITIES.into_iter().find(|name| variable(name).is_some()) {
        return Err(BadTls::Identity { variable });
    }
    let Some((variable, path)) = AUTHORITIES.into_iter().find_map(|name| Some((name, variable(name)?))) else {
        return Ok(None);
    };
    let path = PathBuf::from(path);
    let pem = match fs::read(&path) {
        Ok(pem) => pem,
        Err(error) => return Err(BadTls::Unreadable { variable, path, reason: error.kind() }),
    };
    match Certificate::from_pem_bundle(&pem) {
        Ok(authorities) if !authorities.is_empty() && can_be_trusted(&authorities) => Ok(Some(authorities)),
        Ok(_) | Err(_) => Err(BadTls::NoCertificates { variable, path }),
    }
}

/// Whether what calls itself a certificate is one, which shows only where it is used.
fn can_be_trusted(authorities: &[Certificate]) -> bool {
    reqwest::Client::builder().tls_certs_only(authorities.to_vec()).build().is_ok()
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), reqwest::Request::try_from(request)?);
        let sent = self.runtime.spawn(async move { answer(client.execute(request).await?).await });
        let answer = sent.await.unwrap_or(Err(NotSent::Ending));
        self.tell(match &answer {
            Ok(answer) if !answer.status().is_success() => Some(NotSent::Refused(answer.status().as_u16())),
            Ok(_) => None,
            Err(failure) => Some(*failure),
        });
        Ok(answer?)
    }
}

async fn answer(mut response: reqwest::Response) -> Result<Response<Bytes>, NotSent> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = ANSWER_MAX.saturating_sub(body.len());
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            break;
        }
    }
    let mut whole = Response::new(Bytes::from(body));
    *whole.status_mut() = response.status();
    *whole.headers_mut() = std::mem::take(response.headers_mut());
    Ok(whole)
}
