//! Puts the operator together, and takes it apart again within 10 seconds.

use std::{collections::HashMap, net::SocketAddr, num::NonZeroU16, sync::Arc, time::Duration};

use futures::{
    Stream, StreamExt,
    future::{self, Either},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client, Config, ResourceExt,
    runtime::{
        applier,
        controller::{self, Action},
        reflector::{self, ObjectRef, Store},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, Semaphore, mpsc::UnboundedReceiver, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::Instrument;
use url::Url;

use super::{
    adoptions::Adoptions,
    context::Context,
    errors,
    guard::{RECONCILE_TIMEOUT, guarded},
    instance,
    instances::{Instance, Instances},
    memory::Memory,
    namespaces::Namespaces,
    reconcile, samples,
    sources::Sources,
    triggers::{InstanceKey, Target, Triggers},
    users::Users,
    verdicts::Verdicts,
    watches::{self, Scope},
};
use crate::{
    api::{BitbucketConnection, ClusterKmsInstance, KmsInstance},
    bitbucket::Bitbucket,
    domain::{credential::ProcessKey, host::AllowedHosts, ownership::OwnerId, schedule},
    http,
    telemetry::{
        health::{self, Readiness},
        metrics::Metrics,
    },
};

/// How long running reconciles may go on after SIGTERM. Kubernetes kills after 30 s by default; whoever waits for us
/// should wait for less.
const DRAIN: Duration = Duration::from_secs(9);
/// How long connections that come and go are collected before their instance counts them.
const RECOUNT: Duration = Duration::from_secs(2);
/// How long a read from the API server may stay silent. Watches hear a bookmark each minute.
const READ_TIMEOUT: Duration = Duration::from_secs(180);

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
    /// No signals.
    #[error("signals can't be received: {0}")]
    Signals(#[source] std::io::Error),
}

/// Runs the operator until SIGTERM or SIGINT.
pub async fn run(options: Options) -> Result<(), Error> {
    let stop = stop_signal()?;
    let scopes: Vec<Scope> = match options.namespaces.as_slice() {
        [] => vec![None],
        names => names.iter().cloned().map(Some).collect(),
    };
    let served = Stores::new(&scopes);
    let metrics = Metrics::new(served.samples());
    let readiness = Readiness::waiting("the caches are not filled yet");
    let servers =
        health::start(options.health_addr, options.metrics_addr, readiness.clone(), Arc::clone(&metrics), stop.clone())
            .await?;

    let client = client().await?;
    let owner_id = match &options.owner_id {
        Some(id) => id.clone(),
        None => owner_id(&client).await?,
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespaces = ?options.namespaces, "starting");
    let (context, queues) = context(&options, &scopes, &served, client.clone(), owner_id, &metrics)?;
    let mut stopped = stop.clone();
    let filled = Box::pin(watch_all(&client, &scopes, served, &context));
    let Either::Left((mut tasks, _)) = future::select(filled, Box::pin(stopped.wait_for(|stop| *stop))).await else {
        tracing::info!("stopped before the caches were filled");
        return Ok(());
    };
    readiness.set_ready();
    tracing::info!("caches are filled");

    let limit = Arc::new(Semaphore::new(usize::from(options.concurrency.get())));
    let running = control_all(queues, &context, &limit, options.concurrency.get(), &stop);
    let mut stopped = stop.clone();
    let drained = async {
        let _ = stopped.wait_for(|stop| *stop).await;
        readiness.set_waiting("the operator is stopping");
        tracing::info!("stopping: running reconciles are finished first");
        tokio::time::sleep(DRAIN).await;
        tracing::warn!("some reconciles were not done in time; they are taken up after the restart");
    };
    future::select(Box::pin(running), Box::pin(drained)).await;
    tasks.shutdown().await;
    let _ = servers.ended.await;
    tracing::info!("stopped");
    Ok(())
}

/// The caches of our own kinds, one of each for each scope.
struct Stores {
    connections: HashMap<Scope, (Store<BitbucketConnection>, reflector::store::Writer<BitbucketConnection>)>,
    instances: HashMap<Scope, (Store<KmsInstance>, reflector::store::Writer<KmsInstance>)>,
    /// Only where all namespaces are served.
    cluster: Option<Cluster>,
}

/// What there is only where all namespaces are served.
struct Cluster {
    instances: (Store<ClusterKmsInstance>, reflector::store::Writer<ClusterKmsInstance>),
    namespaces: (Store<PartialNamespace>, reflector::store::Writer<PartialNamespace>),
}

type PartialNamespace = kube::core::PartialObjectMeta<Namespace>;

impl Stores {
    fn new(scopes: &[Scope]) -> Self {
        let whole = scopes.contains(&None);
        Self {
            connections: scopes.iter().map(|scope| (scope.clone(), reflector::store())).collect(),
            instances: scopes.iter().map(|scope| (scope.clone(), reflector::store())).collect(),
            cluster: whole.then(|| Cluster { instances: reflector::store(), namespaces: reflector::store() }),
        }
    }

    fn samples(&self) -> impl Fn() -> Vec<crate::telemetry::metrics::ObjectSample> + Send + Sync + 'static {
        let stores: Vec<_> = self.connections.values().map(|(store, _)| store.clone()).collect();
        move || stores.iter().flat_map(|store| store.state()).map(|object| samples::sample(&object)).collect()
    }
}

/// Who is to be looked at, and where to find it.
struct Queues {
    connections: Vec<(Store<BitbucketConnection>, UnboundedReceiver<ObjectRef<BitbucketConnection>>)>,
    instances: Vec<(Store<KmsInstance>, UnboundedReceiver<ObjectRef<KmsInstance>>)>,
    cluster: Option<(Store<ClusterKmsInstance>, UnboundedReceiver<ObjectRef<ClusterKmsInstance>>)>,
    recounts: UnboundedReceiver<InstanceKey>,
}

fn context(
    options: &Options,
    scopes: &[Scope],
    stores: &Stores,
    client: Client,
    owner_id: OwnerId,
    metrics: &Arc<Metrics>,
) -> Result<(Arc<Context>, Queues), Error> {
    let mut triggers = Triggers::default();
    let (recount, recounts) = tokio::sync::mpsc::unbounded_channel();
    let queues = Queues {
        connections: scopes
            .iter()
            .map(|scope| (stores.connections[scope].0.clone(), triggers.open_connections(scope.clone())))
            .collect(),
        instances: scopes
            .iter()
            .map(|scope| (stores.instances[scope].0.clone(), triggers.open_instances(scope.clone())))
            .collect(),
        cluster: stores
            .cluster
            .as_ref()
            .map(|cluster| (cluster.instances.0.clone(), triggers.open_cluster_instances())),
        recounts,
    };
    let http = http::client()?;
    let clock: super::clock::Clock = Arc::new(Timestamp::now);
    let bitbucket = Bitbucket::new(options.bitbucket_url.as_str(), http.clone(), metrics.bitbucket_observer())?;
    let namespaced = stores.instances.iter().map(|(scope, (store, _))| (scope.clone(), store.clone())).collect();
    let cluster = stores.cluster.as_ref().map(|cluster| cluster.instances.0.clone());
    let namespaces = match &stores.cluster {
        Some(cluster) => Namespaces::watched(cluster.namespaces.0.clone()),
        None => Namespaces::unknown(),
    };
    let context = Context {
        client,
        owner_id,
        previous_owner_ids: options.previous_owner_ids.clone(),
        adoptions: Adoptions::default(),
        verdicts: Verdicts::new(bitbucket, Arc::clone(&clock)),
        clock,
        allowed_hosts: options.allowed_hosts.clone(),
        instances: Instances::new(namespaced, cluster, http, metrics.kms_observer()),
        sources: Sources::default(),
        namespaces,
        process_key: ProcessKey::random(),
        memory: Memory::default(),
        users: Users::default(),
        triggers,
        recounts: recount,
        metrics: Arc::clone(metrics),
        reporter: reporter(),
    };
    Ok((Arc::new(context), queues))
}

/// Starts all watches, and waits until the caches are filled: instances, namespaces and connections first, then the
/// Secrets and ConfigMaps, of which only those are kept that something refers to.
async fn watch_all(client: &Client, scopes: &[Scope], stores: Stores, context: &Arc<Context>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let mut filled: Vec<future::BoxFuture<'static, ()>> = Vec::new();
    for (scope, (store, writer)) in stores.instances {
        let api = match &scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        tasks.spawn(watches::instances::<KmsInstance>(api, writer, Arc::clone(context)));
        filled.push(Box::pin(async move { drop(store.wait_until_ready().await) }));
    }
    if let Some(Cluster { instances, namespaces }) = stores.cluster {
        tasks.spawn(watches::instances::<ClusterKmsInstance>(
            Api::all(client.clone()),
            instances.1,
            Arc::clone(context),
        ));
        tasks.spawn(watches::namespaces(client.clone(), namespaces.1, Arc::clone(context)));
        filled.push(Box::pin(async move { drop(instances.0.wait_until_ready().await) }));
        filled.push(Box::pin(async move { drop(namespaces.0.wait_until_ready().await) }));
    }
    for (scope, (store, writer)) in stores.connections {
        tasks.spawn(watches::connections(client.clone(), scope, writer, Arc::clone(context)));
        filled.push(Box::pin(async move { drop(store.wait_until_ready().await) }));
    }
    future::join_all(filled).await;
    let mut synced = Vec::new();
    for scope in scopes {
        let (secrets, config_maps) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (client, context) = (|| client.clone(), || Arc::clone(context));
        tasks.spawn(watches::sources::<Secret>(client(), scope.clone(), context(), Arc::clone(&secrets)));
        tasks.spawn(watches::sources::<ConfigMap>(client(), scope.clone(), context(), Arc::clone(&config_maps)));
        synced.push(async move { future::join(secrets.notified(), config_maps.notified()).await });
    }
    future::join_all(synced).await;
    tasks
}

/// Runs all queues until the operator is to stop and what runs is done.
async fn control_all(
    queues: Queues,
    context: &Arc<Context>,
    limit: &Arc<Semaphore>,
    concurrency: u16,
    stop: &watch::Receiver<bool>,
) {
    let mut all: Vec<future::BoxFuture<'_, ()>> = Vec::new();
    for (store, queue) in queues.connections {
        let pass = pass(Arc::clone(limit));
        all.push(Box::pin(control(store, queue, pass, Arc::clone(context), concurrency, stop.clone())));
    }
    for (store, queue) in queues.instances {
        all.push(Box::pin(control(store, queue, instance_pass, Arc::clone(context), concurrency, stop.clone())));
    }
    if let Some((store, queue)) = queues.cluster {
        all.push(Box::pin(control(store, queue, instance_pass, Arc::clone(context), concurrency, stop.clone())));
    }
    all.push(Box::pin(recount(queues.recounts, Arc::clone(context), stop.clone())));
    future::join_all(all).await;
}

/// A pass over a connection: bounded in number and time, logged with what identifies it, counted.
fn pass(
    limit: Arc<Semaphore>,
) -> impl FnMut(Arc<BitbucketConnection>, Arc<Context>) -> future::BoxFuture<'static, Result<Action, errors::Error>> {
    move |object, context| {
        let limit = Arc::clone(&limit);
        let span = span(&*object);
        Box::pin(
            async move {
                let _permit = limit.acquire().await;
                let started = Instant::now();
                let uid = object.uid().unwrap_or_default();
                let result = guarded(RECONCILE_TIMEOUT, reconcile::reconcile(object, &context)).await;
                context.metrics.reconciled(if result.is_ok() { "success" } else { "error" }, started.elapsed());
                if let Err(error) = &result {
                    // What was written before it broke off is not known.
                    context.memory.update(&uid, |memory| {
                        memory.uncertain = true;
                        memory.attempts = memory.attempts.saturating_add(1);
                    });
                    tracing::warn!(%error, "the pass broke off; it is tried again");
                }
                result
            }
            .instrument(span),
        )
    }
}

/// What identifies a pass in the log.
fn span<K: kube::Resource<DynamicType = ()>>(object: &K) -> tracing::Span {
    let namespace = object.namespace().map(|namespace| namespace + "/").unwrap_or_default();
    tracing::info_span!(
        "reconcile",
        kind = %K::kind(&()),
        object = %format_args!("{namespace}{}", object.name_any()),
        generation = object.meta().generation,
        id = %uuid::Uuid::new_v4().simple(),
    )
}

/// A pass over an instance, likewise.
fn instance_pass<K>(object: Arc<K>, context: Arc<Context>) -> future::BoxFuture<'static, Result<Action, errors::Error>>
where
    K: Instance + Serialize + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let span = span(&*object);
    Box::pin(
        async move {
            let result = guarded(RECONCILE_TIMEOUT, instance::reconcile(object, &context)).await;
            if let Err(error) = &result {
                tracing::warn!(%error, "the pass broke off; it is tried again");
            }
            result
        }
        .instrument(span),
    )
}

/// Runs the queue of a kind.
async fn control<K, F>(
    store: Store<K>,
    mut queue: UnboundedReceiver<ObjectRef<K>>,
    pass: F,
    context: Arc<Context>,
    concurrency: u16,
    mut stop: watch::Receiver<bool>,
) where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    F: FnMut(Arc<K>, Arc<Context>) -> future::BoxFuture<'static, Result<Action, errors::Error>>,
{
    let requests = futures::stream::poll_fn(move |task| queue.poll_recv(task))
        .take_until(async move { drop(stop.wait_for(|stop| *stop).await) })
        .map(Ok::<_, std::convert::Infallible>);
    let config = controller::Config::default().concurrency(concurrency);
    let results = applier(pass, again::<K>, context, store, requests, config);
    consume(results).await;
}

/// When a pass that broke off is tried again.
fn again<K: kube::Resource<DynamicType = ()>>(object: Arc<K>, _: &errors::Error, context: Arc<Context>) -> Action {
    let uid = object.uid().unwrap_or_default();
    Action::requeue(schedule::backoff(context.memory.of(&uid).attempts.saturating_sub(1), &uid))
}

async fn consume<T, E: std::fmt::Display>(results: impl Stream<Item = Result<T, E>>) {
    let mut results = Box::pin(results);
    while let Some(result) = results.next().await {
        if let Err(error) = result {
            // What failed was told where it failed; what is left are objects that are gone.
            tracing::debug!(%error, "a queue");
        }
    }
}

/// Has instances counted whose connections came or went, together rather than one by one.
async fn recount(mut recounts: UnboundedReceiver<InstanceKey>, context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let collect = async {
        while let Some(first) = recounts.recv().await {
            tokio::time::sleep(RECOUNT).await;
            let mut changed = std::collections::HashSet::from([first]);
            while let Ok(more) = recounts.try_recv() {
                changed.insert(more);
            }
            changed.into_iter().for_each(|instance| context.triggers.look(&Target::Instance(instance)));
        }
    };
    future::select(Box::pin(collect), Box::pin(stop.wait_for(|stop| *stop))).await;
}

/// A client, after a first answer: watches would wait for an API server for ever, without a word to whoever started this.
async fn client() -> Result<Client, Error> {
    let mut config = Config::infer().await.map_err(Error::NoCluster)?;
    config.read_timeout = Some(READ_TIMEOUT);
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

async fn owner_id(client: &Client) -> Result<OwnerId, Error> {
    let namespace = Api::<Namespace>::all(client.clone()).get("kube-system").await.map_err(Error::NoOwnerId)?;
    OwnerId::new(&namespace.uid().unwrap_or_default()).map_err(|_| Error::BadOwnerId)
}

/// Which replica this is: in a pod the host name is the pod's.
fn reporter() -> String {
    let name = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "bitbucket-connection-operator".to_owned()).chars().take(128).collect()
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
