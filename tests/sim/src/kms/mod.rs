//! A KMS that knows machine identities, projects and Bitbucket app connections.

mod connection;
mod connections;
mod errors;
mod limits;
mod login;
mod rows;
mod settings;
mod validate;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::json;

use crate::bitbucket::Bitbucket;
use crate::fault::Match;
use crate::front::{self, Answer, Closed, Front, Service, Voice, lock};
use crate::journal::{Caller, Entry, Operation};
use crate::tls::{Certificates, Terminator};
use limits::Quotas;
use rows::Rows;

pub use connection::{Connection, ORG_ID};
pub use limits::Limits;
pub use login::Proof;

/// Which KMS it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Flavor {
    /// Today's TypeScript server.
    #[default]
    Current,
    /// An older one: names up to 32 characters, organization scope only (`projectId` is dropped), no `credentialsHash`.
    Older,
    /// The Go rewrite: no app connections; unknown GETs are answered by its web page with status 200.
    Go,
}

/// The stand-in KMS. A handle: clones share everything. See [`Front`] for journal and faults.
///
/// It answers universal-auth and the other machine logins, the Bitbucket app connections, and `GET /api/status`.
/// Each write of credentials has it ask Bitbucket, as [`Caller::Kms`].
#[derive(Clone)]
pub struct Kms(Arc<Server>);

pub(crate) struct Server {
    front: Front,
    bitbucket: Bitbucket,
    state: Mutex<KmsState>,
    tls: OnceLock<Terminator>,
}

struct KmsState {
    flavor: Flavor,
    logins: login::Logins,
    projects: BTreeSet<String>,
    /// Actions that an identity may not do, or nobody.
    denied: HashSet<(Who, String)>,
    /// Connections that an identity may not read, or nobody.
    hidden: HashMap<String, HashSet<Who>>,
    attached: BTreeSet<String>,
    rows: Rows,
    patience: Duration,
    hide_hash: bool,
    quotas: Quotas,
}

/// An identity, by its client id, identity id or static access token; none is everybody.
type Who = Option<String>;

impl Deref for Kms {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.0.front
    }
}

impl Kms {
    /// One that doesn't listen: reached through [`Kms::call`].
    pub fn new(bitbucket: &Bitbucket) -> Self {
        let state = KmsState {
            flavor: Flavor::Current,
            logins: login::Logins::default(),
            projects: BTreeSet::new(),
            denied: HashSet::new(),
            hidden: HashMap::new(),
            attached: BTreeSet::new(),
            rows: Rows::default(),
            patience: Duration::from_secs(10),
            hide_hash: false,
            quotas: Quotas::default(),
        };
        Self(Arc::new(Server {
            front: Front::new(Voice { error: errors::body, rate_limited: errors::rate_limited }),
            bitbucket: bitbucket.clone(),
            state: Mutex::new(state),
            tls: OnceLock::new(),
        }))
    }

    /// Listens on a free port of 127.0.0.1, and validates credentials with this Bitbucket.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start(bitbucket: &Bitbucket) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_at(address, bitbucket).await.expect("a free port on 127.0.0.1")
    }

    /// Listens on this address, until the runtime ends.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub async fn start_at(address: SocketAddr, bitbucket: &Bitbucket) -> io::Result<Self> {
        let kms = Self::new(bitbucket);
        front::listen(&kms.0, address).await?;
        Ok(kms)
    }

    /// Listens on a free port of 127.0.0.1 by TLS, and validates credentials with this Bitbucket.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start_tls(bitbucket: &Bitbucket, certificates: Certificates) -> Self {
        let kms = Self::start(bitbucket).await;
        let address = kms.address().expect("an address, since it listens");
        let terminator = Terminator::start(address, certificates).await.expect("a free port on 127.0.0.1");
        kms.0.tls.get_or_init(|| terminator);
        kms
    }

    /// Proves itself by other certificates from now on. Connections end with those that they began with.
    ///
    /// # Panics
    /// If it was not started by [`Kms::start_tls`].
    pub fn show(&self, certificates: Certificates) {
        self.0.tls.get().expect("a KMS that was started with TLS").show(certificates);
    }

    /// `http://127.0.0.1:PORT`, or `https://127.0.0.1:PORT` with TLS.
    pub fn url(&self) -> String {
        self.0.tls.get().map_or_else(|| self.origin(), Terminator::origin)
    }

    /// Takes a request without a network; journal and faults apply.
    ///
    /// # Errors
    /// When a connection would have been closed without an answer.
    pub async fn call(&self, request: Request) -> Result<Response, Closed> {
        front::handle(&self.0, Caller::Operator, request).await
    }

    /// How many logins arrived.
    pub fn logins(&self) -> usize {
        self.count(&Match::op(Operation::Login))
    }

    /// How many POST, PATCH and DELETE of connections arrived.
    pub fn writes(&self) -> usize {
        self.count(&Match::writes())
    }

    /// How many lists of connections were asked for.
    pub fn lists(&self) -> usize {
        self.count(&Match::op(Operation::List))
    }

    /// How many single connections were asked for, by id or name.
    pub fn gets(&self) -> usize {
        self.count(&Match::ops([Operation::Get, Operation::GetByName]))
    }
}

impl Service for Server {
    fn front(&self) -> &Front {
        &self.front
    }

    async fn answer(self: Arc<Self>, request: Arc<Entry>) -> Answer {
        let now = self.front.now();
        let standing = {
            let mut state = lock(&self.state);
            if state.flavor == Flavor::Go {
                return go(&request);
            }
            state.quotas.spend(&request, now)
        };
        if let Some(exceeded) = standing.filter(|standing| standing.exceeded) {
            return limits::tell(errors::rate_limited(Some(exceeded.reset)), exceeded);
        }
        let answer = match request.operation {
            Operation::Status => Ok(status(now)),
            Operation::Login => self.login(&request),
            Operation::User | Operation::Workspaces | Operation::Other => {
                Err(errors::no_route(&request.method, &request.path))
            }
            _ => self.connections(&request).await,
        };
        let answer = answer.unwrap_or_else(|refusal| refusal);
        standing.into_iter().fold(answer, limits::tell)
    }
}

fn status(now: Timestamp) -> Answer {
    Answer::json(
        200,
        &json!({
            "date": format!("{now:.3}"),
            "message": "Ok",
            "emailConfigured": false,
            "inviteOnlySignup": true,
            "redisConfigured": true,
            "secretScanningConfigured": false,
        }),
    )
}

fn go(request: &Entry) -> Answer {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/healthz") => Answer::json(200, &json!({"status": "ok"})),
        ("GET", _) => Answer::html(
            200,
            "<!doctype html><html><head><title>KMS</title></head><body><div id=\"root\"></div></body></html>",
        ),
        _ => Answer::html(405, "Method Not Allowed\n"),
    }
}
