//! The whole operator in the test's process: the API server in memory, the stand-ins without sockets, and the clock in the
//! test's hand.
//!
//! Time is tokio's, paused: it moves on when everybody waits, so hours pass as fast as the machine can work. What the
//! operator sees of it is the real code; only the network, the cluster and the clock are others.

use std::{
    num::{NonZeroU16, NonZeroU32},
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bitbucket_connection_operator::{
    api::BitbucketConnection,
    controller::{Clock, Operator, Options, Outside},
    domain::{host::AllowedHosts, ownership::OwnerId},
    http::{self, Failure, Transport},
    telemetry::{health::Readiness, metrics::Metrics},
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use memory_api::MemoryApi;
use sim::{Bitbucket, Caller, Closed, Connection, Kms, Operation};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use url::Host;

use crate::process::Process;

/// Where the stand-ins are.
pub const BITBUCKET: &str = "https://bitbucket.test/2.0";
/// Where the stand-ins are.
pub const KMS: &str = "https://kms.test";

/// Another name of the same KMS.
pub const KMS_TOO: &str = "https://kms-too.test";
/// Where another KMS is.
pub const OTHER_KMS: &str = "https://other-kms.test";
/// By which the operator marks what is its own.
pub const OWNER_ID: &str = "cluster";

/// The operator is quiet once nothing had an effect for so long: longer than the longest wait before another attempt
/// (five minutes, and a fifth), shorter than an interval.
const QUIET: Duration = Duration::from_secs(7 * 60);
/// What isn't quiet after this waits for what somebody does next.
const RESTLESS: Duration = Duration::from_secs(20 * 60);

/// How long a request takes, there and back.
const LATENCY: Duration = Duration::from_millis(50);

/// No request goes through it, and to read the system's CAs takes longer than many a run.
static HTTP: LazyLock<http::Client> = LazyLock::new(|| http::client().expect("TLS"));

/// Everything around the operator.
pub struct World {
    /// The cluster.
    pub api: MemoryApi,
    /// Bitbucket.
    pub bitbucket: Bitbucket,
    /// The KMS.
    pub kms: Kms,
    /// Another KMS, empty until somebody fills it.
    pub other: Kms,
    /// Of the operator's `run`.
    pub options: Options,
    clock: Clock,
    /// How far the clocks of all were turned, in seconds.
    turned: Arc<AtomicI64>,
    running: Option<Running>,
    /// A process that ends is not followed by another.
    pub stays_down: bool,
    /// How far the caches are behind of the process that follows one that ends.
    pub follower: Option<Behind>,
    /// Sees each write to a KMS.
    witness: Arc<OnceLock<Witness>>,
    /// Sees each request to the services when it arrives there.
    pub inspect: Option<Inspect>,
}

/// How far caches are behind, whose watches tell nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// All of them are of this revision.
    All(u64),
    /// That of BitbucketConnections is.
    Connections(u64),
    /// That of BitbucketConnections lacks what was written last of all.
    LastWrite,
}

/// What is told the connections before and after a write to a KMS.
type Witness = Box<dyn Fn(&[Connection], &[Connection]) + Send + Sync>;

/// What sees a request before it is carried out.
pub type Inspect = Arc<dyn Fn(&reqwest::Request) + Send + Sync>;

struct Running {
    process: Process,
    metrics: Arc<Metrics>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl World {
    /// With the limits that both services and the operator have by default; no operator runs yet.
    pub fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let turned = Arc::new(AtomicI64::new(0));
        let clock = clock(Arc::clone(&turned));
        let api = MemoryApi::new({
            let clock = Arc::clone(&clock);
            move || clock()
        });
        api.let_watches_last();
        let bitbucket = Bitbucket::new();
        let (kms, other) = (Kms::new(&bitbucket), Kms::new(&bitbucket));
        for front in [&*bitbucket, &*kms, &*other] {
            let clock = Arc::clone(&clock);
            front.set_clock(move || clock());
        }
        let local = "127.0.0.1:0".parse().expect("an address");
        let options = Options {
            namespaces: Vec::new(),
            concurrency: NonZeroU16::new(16).expect("not 0"),
            owner_id: Some(OwnerId::new(OWNER_ID).expect("a good id")),
            previous_owner_ids: Vec::new(),
            bitbucket_url: BITBUCKET.parse().expect("a URL"),
            allowed_hosts: AllowedHosts {
                names: ["kms.test", "kms-too.test", "other-kms.test"].map(|name| Host::Domain(name.to_owned())).into(),
                insecure: false,
            },
            kms_reads_per_minute: NonZeroU32::new(50),
            kms_writes_per_minute: NonZeroU32::new(150),
            bitbucket_requests_per_hour: NonZeroU32::new(500),
            election: None,
            metrics_addr: local,
            health_addr: local,
        };
        Self {
            api,
            bitbucket,
            kms,
            other,
            options,
            clock,
            turned,
            running: None,
            stays_down: false,
            follower: None,
            witness: Arc::default(),
            inspect: None,
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Turns the clocks of all, forward or back, as somebody does who sets them. What waits for a time to pass doesn't
    /// notice.
    pub fn turn_clocks(&self, seconds: i64) {
        self.turned.fetch_add(seconds, Ordering::Relaxed);
    }

    /// From now on tells somebody of each write to a KMS: all connections before it and after it.
    pub fn witness(&self, seen: impl Fn(&[Connection], &[Connection]) + Send + Sync + 'static) {
        assert!(self.witness.set(Box::new(seen)).is_ok(), "there is one witness");
    }

    /// The operator's process.
    pub fn process(&self) -> &Process {
        self.running().expect("it runs")
    }

    /// Starts the operator, with an empty memory.
    pub fn start(&mut self) -> Process {
        assert!(self.running.is_none(), "it runs");
        let process = Process::new();
        let wire = Wire {
            bitbucket: self.bitbucket.clone(),
            kms: self.kms.clone(),
            other: self.other.clone(),
            witness: Arc::clone(&self.witness),
            inspect: self.inspect.clone(),
        };
        let outside = Outside {
            client: process.client(&self.api),
            http: HTTP.clone().over(process.transport(wire)),
            clock: Arc::clone(&self.clock),
        };
        let (stop, stopped) = watch::channel(false);
        let (operator, options) = (Operator::new(&self.options), self.options.clone());
        let metrics = operator.metrics();
        let task = tokio::spawn(async move {
            let readiness = Readiness::waiting("the caches are not filled yet");
            operator.operate(&options, outside, &readiness, stopped).await.expect("it operates");
        });
        self.running = Some(Running { process: process.clone(), metrics, stop, task });
        process
    }

    /// The process that runs, or has ended by itself.
    pub fn running(&self) -> Option<&Process> {
        self.running.as_ref().map(|running| &running.process)
    }

    /// What the operator tells when its metrics are scraped.
    pub fn metrics(&self) -> String {
        self.running.as_ref().map(|running| running.metrics.encode()).unwrap_or_default()
    }

    /// Stops the operator as SIGTERM does.
    pub async fn stop(&mut self) {
        if let Some(Running { stop, task, .. }) = self.running.take() {
            stop.send_replace(true);
            task.await.expect("no panic");
        }
    }

    /// Ends the operator as SIGKILL does: nothing that is on its way gets through any more.
    pub async fn kill(&mut self) {
        if let Some(Running { process, task, .. }) = self.running.take() {
            process.end();
            task.abort();
            let ended = task.await;
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()), "no panic");
        }
    }

    /// Waits until the operator is quiet; where its process ends meanwhile, another is started at once, unless it is to
    /// stay down. Whether it was quiet.
    pub async fn settle(&mut self) -> bool {
        let restless = Instant::now() + RESTLESS;
        loop {
            let process = self.process().clone();
            tokio::select! {
                biased;
                () = process.ended(), if self.stays_down => return true,
                () = process.ended() => self.restart().await,
                () = process.quiet(QUIET) => return true,
                () = tokio::time::sleep_until(restless) => return false,
            }
        }
    }

    /// Lets time pass; where the operator's process ends meanwhile, another is started at once, unless it is to stay down.
    pub async fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let process = self.process().clone();
            tokio::select! {
                biased;
                () = process.ended(), if !self.stays_down => self.restart().await,
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    /// Ends the operator as SIGKILL does, and starts it with an empty memory.
    pub async fn restart(&mut self) {
        self.kill().await;
        match self.follower.take() {
            Some(Behind::All(revision)) => self.api.hold_caches_at(revision),
            Some(Behind::Connections(revision)) => self.api.hold_caches_of::<BitbucketConnection>(revision),
            Some(Behind::LastWrite) => self.api.hold_caches_of::<BitbucketConnection>(self.api.revision() - 1),
            None => {}
        }
        self.start();
    }

    /// Waits until something is so; time goes on meanwhile.
    pub async fn until(&self, what: &str, within: Duration, mut is_so: impl FnMut(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < within, "after {:?} it isn't so that {what}", began.elapsed());
            // Looking costs more than passing the time.
            tokio::time::sleep((within / 120).max(Duration::from_millis(500))).await;
        }
        began.elapsed()
    }
}

/// The time of tokio, from a fixed day on, and as far off as it was turned.
fn clock(turned: Arc<AtomicI64>) -> Clock {
    let (began, day) = (Instant::now(), "2026-03-01T00:00:00Z".parse::<Timestamp>().expect("a time"));
    Arc::new(move || {
        let passed = SignedDuration::try_from(began.elapsed()).unwrap_or_default();
        let turned = SignedDuration::from_secs(turned.load(Ordering::Relaxed));
        day.checked_add(passed).and_then(|time| time.checked_add(turned)).expect("a time")
    })
}

/// The way to the stand-ins.
struct Wire {
    bitbucket: Bitbucket,
    kms: Kms,
    other: Kms,
    witness: Arc<OnceLock<Witness>>,
    inspect: Option<Inspect>,
}

impl Wire {
    /// Carries a request to a KMS, before the eyes of the witness.
    async fn to_kms(&self, kms: &Kms, request: axum::extract::Request) -> Result<axum::response::Response, Closed> {
        let is_write = Operation::of(request.method().as_str(), request.uri().path()).is_write();
        let Some(witness) = self.witness.get().filter(|_| is_write) else { return kms.call(request).await };
        let before = kms.connections();
        let answer = kms.call(request).await;
        witness(&before, &kms.connections());
        answer
    }
}

impl Transport for Wire {
    fn carry(&self, request: reqwest::Request) -> BoxFuture<'_, Result<reqwest::Response, Failure>> {
        async move {
            tokio::time::sleep(LATENCY / 2).await;
            if let Some(inspect) = &self.inspect {
                inspect(&request);
            }
            let host = request.url().host_str().unwrap_or_default().to_owned();
            let request = same(request);
            let answer = match host.as_str() {
                "bitbucket.test" => self.bitbucket.call(Caller::Operator, request).await,
                "kms.test" | "kms-too.test" => self.to_kms(&self.kms, request).await,
                "other-kms.test" => self.to_kms(&self.other, request).await,
                other => panic!("a request to {other}"),
            };
            tokio::time::sleep(LATENCY / 2).await;
            let (head, body) = answer.map_err(|_| Failure::BrokenOff)?.into_parts();
            let body = some(body).await.map_err(|_| Failure::BrokenOff)?;
            Ok(reqwest::Response::from(::http::Response::from_parts(head, body)))
        }
        .boxed()
    }
}

/// A body; of one without end as much as shows that it is too large for anybody.
async fn some(body: axum::body::Body) -> Result<Vec<u8>, axum::Error> {
    let (mut chunks, mut some) = (body.into_data_stream(), Vec::new());
    while let Some(chunk) = chunks.next().await {
        some.extend_from_slice(&chunk?);
        if some.len() > http::LIST_MAX {
            break;
        }
    }
    Ok(some)
}

/// A request in the words of the stand-ins.
fn same(request: reqwest::Request) -> axum::extract::Request {
    let body = request.body().and_then(reqwest::Body::as_bytes).map(<[u8]>::to_vec).unwrap_or_default();
    let mut same = axum::extract::Request::new(body.into());
    *same.method_mut() = request.method().clone();
    *same.uri_mut() = request.url().as_str().parse().expect("an address");
    *same.headers_mut() = request.headers().clone();
    same
}
