//! What the operator is told at its start, and why it can't run.

use std::{
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32},
};

use url::Url;

use super::election::{ElectionOptions, Lost};
use crate::{
    domain::{host::AllowedHosts, ownership::OwnerId},
    http,
    telemetry::health,
};

/// What the operator is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespaces to serve; all if there are none.
    pub namespaces: Vec<String>,
    /// How many connections are reconciled at once.
    pub concurrency: NonZeroU16,
    /// Whose connections are ours; by default the uid of the namespace kube-system.
    pub owner_id: Option<OwnerId>,
    /// By which ids they were ours before.
    pub previous_owner_ids: Vec<OwnerId>,
    /// The Bitbucket API, path included.
    pub bitbucket_url: Url,
    /// Which hosts may be a KMS.
    pub allowed_hosts: AllowedHosts,
    /// Reads a minute at each host of a KMS; none: no limit but the KMS's own.
    pub kms_reads_per_minute: Option<NonZeroU32>,
    /// Writes a minute at each host of a KMS, likewise.
    pub kms_writes_per_minute: Option<NonZeroU32>,
    /// Requests an hour in the name of each Bitbucket account, likewise.
    pub bitbucket_requests_per_hour: Option<NonZeroU32>,
    /// How one of several replicas is made the leader; none: there is only this one.
    pub election: Option<ElectionOptions>,
    /// Where metrics are served.
    pub metrics_addr: SocketAddr,
    /// Where health is served.
    pub health_addr: SocketAddr,
}

/// Why the operator can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cluster.
    #[error(
        "no Kubernetes cluster to connect to: {0}. Run it in a pod with a ServiceAccount, or set KUBECONFIG to the path of a kubeconfig that works with kubectl."
    )]
    NoCluster(#[source] kube::config::InferConfigError),
    /// The connection to the API server can't be set up.
    #[error(
        "the connection to the API server can't be set up: {0}. See whether kubectl works with the same kubeconfig."
    )]
    Client(#[source] kube::Error),
    /// Nobody answers where the API server should be.
    #[error(
        "the API server at {address} can't be reached: {reason}. See whether kubectl works with the same kubeconfig, or, in a pod, whether a network policy keeps it from the API server."
    )]
    Unreachable {
        /// Where it should be.
        address: String,
        /// The innermost cause.
        reason: String,
    },
    /// The default owner id can't be read.
    #[error(
        "the uid of the namespace kube-system, the default owner id, can't be read: {0}. Let the operator's ServiceAccount get that namespace, or set --owner-id to an id that stays the same for this cluster, such as that uid."
    )]
    NoOwnerId(#[source] kube::Error),
    /// The cluster says something that can't be an owner id.
    #[error(
        "the uid of the namespace kube-system is no good owner id; set --owner-id to one that stays the same for this cluster"
    )]
    BadOwnerId,
    /// No HTTP client.
    #[error(transparent)]
    Http(#[from] http::NoClient),
    /// No Bitbucket.
    #[error(transparent)]
    Bitbucket(#[from] crate::bitbucket::BadBaseUrl),
    /// Health and metrics can't be served.
    #[error(transparent)]
    Health(#[from] health::Error),
    /// Another replica may lead by now.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// No signals.
    #[error("signals can't be received: {0}")]
    Signals(#[source] std::io::Error),
}
