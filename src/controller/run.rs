//! Starts the operator in its process: signals, health, the way to the cluster.

use std::{sync::Arc, time::Duration};

use futures::future;
use jiff::Timestamp;
use kube::{Client, Config};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{
    operator::{Operator, Outside},
    options::{Error, Options},
};
use crate::{
    http,
    telemetry::health::{self, Readiness},
};

/// How long a read from the API server may stay silent. Watches hear a bookmark each minute.
const READ_TIMEOUT: Duration = Duration::from_secs(180);

/// Runs the operator until SIGTERM or SIGINT.
pub async fn run(options: Options) -> Result<(), Error> {
    let stop = stop_signal()?;
    let readiness = Readiness::waiting("the caches are not filled yet");
    let operator = Operator::new(&options);
    let servers =
        health::start(options.health_addr, options.metrics_addr, readiness.clone(), operator.metrics(), stop.clone())
            .await?;
    let outside = Outside { client: client().await?, http: http::client()?, clock: Arc::new(Timestamp::now) };
    operator.operate(&options, outside, &readiness, stop).await?;
    let _ = servers.ended.await;
    tracing::info!("stopped");
    Ok(())
}

/// A client, after a first answer: watches would wait for an API server for ever, without a word to whoever started this.
async fn client() -> Result<Client, Error> {
    let mut config = Config::infer().await.map_err(Error::NoCluster)?;
    config.read_timeout = Some(READ_TIMEOUT);
    // Attempts are repeated where each is asked whether it may be made: see `leadership`.
    config.default_retry = false;
    let address = config.cluster_url.to_string();
    let client = Client::try_from(config).map_err(Error::Client)?;
    match client.apiserver_version().await {
        // An answer is an answer, be it that not everybody may ask for the version.
        Ok(_) | Err(kube::Error::Api(_) | kube::Error::SerdeError(_)) => Ok(client),
        Err(error) => Err(Error::Unreachable { address, reason: innermost(&error) }),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}

/// Turns true at SIGTERM or SIGINT.
fn stop_signal() -> Result<watch::Receiver<bool>, Error> {
    let (sender, receiver) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    tokio::spawn(async move {
        future::select(Box::pin(terminate.recv()), Box::pin(interrupt.recv())).await;
        let _ = sender.send(true);
        // A second signal finds nobody who waits for it.
        sender.closed().await;
    });
    Ok(receiver)
}
