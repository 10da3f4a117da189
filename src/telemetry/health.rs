//! The two servers for machines that look after this process: `/livez` and `/readyz` on one address, `/metrics` on
//! another.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
    time,
};

use super::{metrics::Metrics, scrape};

/// How long requests may still take once the process is to end.
const GRACE: Duration = Duration::from_secs(3);
/// The type that OpenMetrics prescribes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Scrapes at once: each holds a sample of every object, and nobody needs more.
const SCRAPES: usize = 2;

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can't be listened on.
    #[error(
        "can't listen on {flag} {address} ({reason}): stop what listens there, or give another address with {flag}, such as {flag} 0.0.0.0:0 for a free port"
    )]
    Bind {
        /// The flag that gave the address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        reason: io::Error,
    },
}

/// Whether the process is ready, and if not, why not. Clones are the same.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Mutex<Option<&'static str>>>);

impl Readiness {
    /// Not ready, for a reason such as `waiting for the first list of objects`.
    pub fn waiting(reason: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Some(reason))))
    }

    /// It is ready now.
    pub fn set_ready(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It is not ready now, for a reason.
    pub fn set_waiting(&self, reason: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Why it is not ready; none if it is.
    pub fn reason(&self) -> Option<&'static str> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The servers, running.
#[derive(Debug)]
pub struct Servers {
    /// Where `/livez` and `/readyz` are.
    pub health: SocketAddr,
    /// Where `/metrics` is.
    pub metrics: SocketAddr,
    /// Ends when both servers have.
    pub ended: JoinHandle<()>,
}

/// Listens on both addresses, logs which they are, and serves until `stop` holds true or its sender is gone.
pub async fn start(
    health: SocketAddr,
    metrics: SocketAddr,
    readiness: Readiness,
    source: Arc<Metrics>,
    stop: watch::Receiver<bool>,
) -> Result<Servers, Error> {
    let (health, on_health) = listen("health", "--health-addr", health).await?;
    let (metrics, on_metrics) = listen("metrics", "--metrics-addr", metrics).await?;
    let checks = Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(ready)).with_state(readiness);
    let scrapes = Router::new().route("/metrics", get(scraped)).with_state((source, Arc::new(Semaphore::new(SCRAPES))));
    let serving = (serve(on_health, checks, stop.clone()), serve(on_metrics, scrapes, stop));
    let ended = tokio::spawn(async move {
        tokio::join!(serving.0, serving.1);
    });
    Ok(Servers { health, metrics, ended })
}

async fn listen(
    server: &'static str,
    flag: &'static str,
    address: SocketAddr,
) -> Result<(SocketAddr, TcpListener), Error> {
    let failed = |reason| Error::Bind { flag, address, reason };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(server, %address, "{server} listening on {address}");
    Ok((address, listener))
}

async fn serve(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    let mut late = stop.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(stopped(stop));
    tokio::select! {
        // It never fails: errors on accepting are waited out.
        _ = server => {}
        () = async { stopped_in(&mut late).await; time::sleep(GRACE).await } => {}
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    stopped_in(&mut stop).await;
}

async fn stopped_in(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone can't ask any more; whoever held it has ended.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness.reason() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn scraped(State((metrics, scrapes)): State<(Arc<Metrics>, Arc<Semaphore>)>) -> Response {
    match scrapes.try_acquire_owned() {
        Ok(permit) => {
            ([(header::CONTENT_TYPE, OPENMETRICS)], Body::from_stream(scrape::stream(metrics, permit))).into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at once; try again\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::telemetry::metrics::{ObjectSample, ReadyStatus};

    /// Both servers on free ports, not ready yet; they serve while the sender is there.
    async fn servers(objects: usize) -> (Servers, Readiness, watch::Sender<bool>) {
        let readiness = Readiness::waiting("waiting for the first list of objects");
        let (stop, stopped) = watch::channel(false);
        let metrics = Metrics::new(move || (0..objects).map(sample).collect());
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        (start(free, free, readiness.clone(), metrics, stopped).await.expect("free ports"), readiness, stop)
    }

    fn sample(number: usize) -> ObjectSample {
        ObjectSample {
            namespace: "team-a".into(),
            name: format!("connection-{number}").into(),
            ready: ReadyStatus::Unknown,
            reason: None,
            expiration: None,
            warning: None,
            next_verification: None,
            missing: 0,
            excess: 0,
            account: "".into(),
            contact: "".into(),
            kms: "".into(),
        }
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        // HTTP/1.0 knows no chunks, so that the answer can be read as one text.
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    #[tokio::test]
    async fn readiness_is_told_with_its_reason() {
        let (Servers { health, .. }, readiness, _stop) = servers(0).await;
        let waiting = get(health, "/readyz").await;
        assert!(waiting.starts_with("HTTP/1.0 503 "), "{waiting}");
        assert!(waiting.ends_with("not ready: waiting for the first list of objects\n"), "{waiting}");
        assert!(get(health, "/livez").await.starts_with("HTTP/1.0 200 "));
        readiness.set_ready();
        assert!(get(health, "/readyz").await.starts_with("HTTP/1.0 200 "));
        assert!(get(health, "/metrics").await.starts_with("HTTP/1.0 404 "), "metrics have an address of their own");
    }

    #[tokio::test]
    async fn a_large_scrape_is_whole() {
        let (Servers { metrics, .. }, _, _stop) = servers(10_000).await;
        let answer = get(metrics, "/metrics").await;
        assert!(answer.contains(OPENMETRICS));
        assert_eq!(answer.matches("bitbucket_connection_info{").count(), 10_000);
        assert!(answer.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn a_scraper_that_does_not_read_keeps_neither_others_nor_the_end_waiting() {
        let (Servers { metrics, ended, .. }, _, stop) = servers(10_000).await;
        let mut lazy = Vec::new();
        for _ in 0..SCRAPES {
            let mut stream = TcpStream::connect(metrics).await.expect("it listens");
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
            stream.read_u8().await.expect("it begins to answer");
            lazy.push(stream);
        }
        let refused = get(metrics, "/metrics").await;
        assert!(refused.starts_with("HTTP/1.0 503 "), "{refused}");
        stop.send(true).expect("somebody listens");
        time::timeout(Duration::from_mins(1), ended).await.expect("it ends").expect("without a panic");
    }

    #[tokio::test]
    async fn a_taken_address_is_named_with_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = taken.local_addr().expect("bound");
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let (_stop, stopped) = watch::channel(false);
        let refusal =
            start(free, address, Readiness::waiting("x"), Metrics::new(Vec::<ObjectSample>::new), stopped).await;
        let text = refusal.expect_err("the port is taken").to_string();
        assert!(text.contains(&format!("--metrics-addr {address}")), "{text}");
    }
}
