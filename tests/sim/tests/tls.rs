//! TLS in front of a stand-in: who is trusted, who isn't, and what arrives.

use std::io;
use std::sync::Arc;

use sim::{Authority, Bitbucket, Kms};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A connection to a stand-in by a client that trusts this CA.
async fn connect(kms: &Kms, name: &str, trusted: &Authority) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let pem = CertificateDer::from_pem_slice(trusted.pem().as_bytes()).expect("PEM");
    roots.add(pem).expect("a CA");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let url = kms.url();
    let address = url.strip_prefix("https://").expect("an https URL").to_owned();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

/// The status line of an answer; the connection stays open.
async fn ask(stream: &mut TlsStream<TcpStream>) -> io::Result<String> {
    stream.write_all(b"GET /api/status HTTP/1.1\r\nhost: kms\r\n\r\n").await?;
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn those_who_trust_the_ca_are_served() {
    let authority = Authority::new("a CA");
    let kms = Kms::start_tls(&Bitbucket::start().await, authority.issue()).await;
    for name in ["127.0.0.1", "localhost"] {
        let mut stream = connect(&kms, name, &authority).await.expect("a trusted certificate");
        assert_eq!(ask(&mut stream).await.expect("an answer"), "HTTP/1.1 200 OK", "{name}");
    }
    assert_eq!(kms.journal().len(), 2);
}

#[tokio::test]
async fn a_bad_certificate_is_refused_before_anything_is_sent() {
    let (authority, other) = (Authority::new("a CA"), Authority::new("another CA"));
    let table = [
        (other.issue(), "UnknownIssuer"),
        (authority.issue_expired(), "Expired"),
        (authority.issue_for("other.example"), "not valid for name"),
    ];
    let kms = Kms::start_tls(&Bitbucket::start().await, authority.issue()).await;
    for (certificates, words) in table {
        kms.show(certificates);
        let refused = connect(&kms, "127.0.0.1", &authority).await.expect_err("no trust").to_string();
        assert!(refused.to_lowercase().contains(&words.to_lowercase()), "{refused} lacks {words}");
    }
    assert!(kms.journal().is_empty());
}

#[tokio::test]
async fn with_its_certificate_a_connection_ends() {
    let (old, new) = (Authority::new("the old CA"), Authority::new("the new CA"));
    let kms = Kms::start_tls(&Bitbucket::start().await, old.issue()).await;
    let mut stream = connect(&kms, "127.0.0.1", &old).await.expect("a trusted certificate");
    assert_eq!(ask(&mut stream).await.expect("an answer"), "HTTP/1.1 200 OK");
    kms.show(new.issue());
    // The end may come as a reset.
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or_default(), 0);
    assert!(connect(&kms, "127.0.0.1", &old).await.is_err());
    let mut stream = connect(&kms, "127.0.0.1", &new).await.expect("a trusted certificate");
    assert_eq!(ask(&mut stream).await.expect("an answer"), "HTTP/1.1 200 OK");
}
