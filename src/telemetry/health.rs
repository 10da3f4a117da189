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

/// Listens on both addresses, logs which they are, and serves until `stop` holds true or its sender is gone. The task
/// ends when the servers have.
pub async fn start(
    health: SocketAddr,
    metrics: SocketAddr,
    readiness: Readiness,
    source: Arc<Metrics>,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, Error> {
    let health = listen("health", "--health-addr", health).await?;
    let metrics = listen("metrics", "--metrics-addr", metrics).await?;
    let checks = Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(ready)).with_state(readiness);
    let scrapes = Router::new().route("/metrics", get(scraped)).with_state((source, Arc::new(Semaphore::new(SCRAPES))));
    let health = serve(health, checks, stop.clone());
    let metrics = serve(metrics, scrapes, stop);
    Ok(tokio::spawn(async move {
        tokio::join!(health, metrics);
    }))
}

async fn listen(server: &'static str, flag: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let failed = |reason| Error::Bind { flag, address, reason };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(server, %address, "{server} listening on {address}");
    Ok(listener)
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
