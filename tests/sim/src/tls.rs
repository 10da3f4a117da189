//! Certificates of the stand-ins' own, and TLS with them: ended in front of a stand-in, as a load balancer does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::front::Front;

/// The names that a stand-in on this machine can be reached by.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];

/// A CA that nobody trusts who wasn't told of it.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one of this name, with a key of its own.
    ///
    /// # Panics
    /// If there is no randomness.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// Its certificate, which makes those trust it who are told of it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A good certificate for a stand-in on this machine.
    pub fn issue(&self) -> Certificates {
        self.sign(parameters(NAMES))
    }

    /// One whose time is over.
    pub fn issue_expired(&self) -> Certificates {
        let mut params = parameters(NAMES);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.sign(params)
    }

    /// One whose time has not come.
    pub fn issue_for_later(&self) -> Certificates {
        let mut params = parameters(NAMES);
        (params.not_before, params.not_after) = (date_time_ymd(2120, 1, 1), date_time_ymd(2121, 1, 1));
        self.sign(params)
    }

    /// One for another server.
    pub fn issue_for(&self, name: &str) -> Certificates {
        self.sign(parameters([name]))
    }

    fn sign(&self, params: CertificateParams) -> Certificates {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        Certificates(Arc::new(config.expect("a certificate that fits its key")))
    }
}

fn parameters<const N: usize>(names: [&str; N]) -> CertificateParams {
    let mut params = CertificateParams::new(names.map(str::to_owned)).expect("names");
    params.distinguished_name = named("stand-in");
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// What a server proves itself by: a certificate and its key.
#[derive(Clone)]
pub struct Certificates(Arc<ServerConfig>);

/// Ends TLS in front of a server that speaks plain HTTP. Connections end with it.
pub struct Terminator {
    address: SocketAddr,
    certificates: watch::Sender<Certificates>,
}

impl Terminator {
    /// In front of a stand-in that listens, until the runtime ends.
    ///
    /// # Panics
    /// If it doesn't, or there is no free port.
    pub async fn before(server: &Front, certificates: Certificates) -> Self {
        let address = server.address().expect("a stand-in that listens");
        Self::start(address, certificates).await.expect("a free port on 127.0.0.1")
    }

    /// Listens on a free port of 127.0.0.1, until the runtime ends.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(server: SocketAddr, certificates: Certificates) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (certificates, shown) = watch::channel(certificates);
        tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, server, shown.clone()));
                }
            }
        });
        Ok(Self { address, certificates })
    }

    /// `https://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("https://{}", self.address)
    }

    /// From now on shows another certificate; connections with the one before are closed.
    pub fn show(&self, certificates: Certificates) {
        self.certificates.send_replace(certificates);
    }
}

/// Serves a connection until it, or the certificate that it began with, comes to its end.
async fn serve(client: TcpStream, server: SocketAddr, mut shown: watch::Receiver<Certificates>) -> io::Result<()> {
    let Certificates(config) = shown.borrow_and_update().clone();
    let served = async {
        let mut client = TlsAcceptor::from(config).accept(client).await?;
        let mut server = TcpStream::connect(server).await?;
        copy_bidirectional(&mut client, &mut server).await
    };
    tokio::select! {
        // First, so that nothing passes once there is another.
        biased;
        changed = shown.changed() => changed.map_err(io::Error::other),
        served = served => served.map(drop),
    }
}
