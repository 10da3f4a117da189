//! The operator between its start and its end: caches, watches, queues.
//!
//! What it needs from outside comes in by [`Outside`], so that it runs the same way against a real cluster and against
//! one in memory whose clock a test holds.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{
    FutureExt, Stream, StreamExt,
    future::{self, Either},
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        applier,
        controller::{self, Action},
        reflector::{self, ObjectRef, Store},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Notify, Semaphore, mpsc::UnboundedReceiver, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::Instrument;

use super::{
    adoptions::Adoptions,
    clock::Clock,
    context::Context,
    election::{Election, Seat},
    errors,
    guard::{RECONCILE_TIMEOUT, guarded},
    instance,
    instances::{Instance, Instances, Pace},
    leadership::{Leadership, guarded as guarded_client, uptime},
    memory::Memory,
    namespaces::Namespaces,
    options::{Error, Options},
    queues::Queues,
    reconcile, samples,
    sources::Sources,
    triggers::{InstanceKey, Target, Triggers},
    users::Users,
    verdicts::Verdicts,
    watches::{self, Scope},
};
use crate::{
    api::{BitbucketConnection, ClusterKmsInstance, KmsInstance},
    bitbucket::{Accounts, Bitbucket},
    domain::{credential::ProcessKey, ownership::OwnerId, schedule},
    http,
    telemetry::{
        health::Readiness,
        metrics::{Limits, Metrics, ObjectSample},
        traces,
    },
};

/// How long running reconciles may go on after SIGTERM. Kubernetes kills after 30 s by default; whoever waits for us
/// should wait for less.
const DRAIN: Duration = Duration::from_secs(9);
/// How long connections that come and go are collected before their instance counts them.
const RECOUNT: Duration = Duration::from_secs(2);
/// What an operator is given from outside.
pub struct Outside {
    /// The cluster.
    pub client: Client,
    /// The way to Bitbucket and to the KMS.
    pub http: http::Client,
    /// The time.
    pub clock: Clock,
}

/// An operator that doesn't run yet.
pub struct Operator {
    scopes: Vec<Scope>,
    stores: Stores,
    metrics: Arc<Metrics>,
    leadership: Leadership,
}

impl Operator {
    /// One for the namespaces that the options name.
    pub fn new(options: &Options) -> Self {
        let scopes: Vec<Scope> = match options.namespaces.as_slice() {
            [] => vec![None],
            names => names.iter().cloned().map(Some).collect(),
        };
        let stores = Stores::new(&scopes);
        let leadership = match &options.election {
            Some(_) => Leadership::among_others(uptime()),
            None => Leadership::alone(),
        };
        let metrics = Metrics::new(stores.samples(leadership.clone()));
        metrics.keeps(Limits {
            kms_reads_per_minute: options.kms_reads_per_minute,
            kms_writes_per_minute: options.kms_writes_per_minute,
            bitbucket_requests_per_hour: options.bitbucket_requests_per_hour,
        });
        Self { scopes, stores, metrics, leadership }
    }

    /// Its metrics.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Operates until `stop` turns true; what runs then is finished within 9 seconds. With other replicas it looks after
    /// nothing before it leads, and ends with an error when it leads no more.
    pub async fn operate(
        self,
        options: &Options,
        outside: Outside,
        readiness: &Readiness,
        stop: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let Self { scopes, stores, metrics, leadership } = self;
        let election = options.election.clone();
        let election = election.map(|it| Election::new(outside.client.clone(), it, &reporter(), leadership.clone()));
        let client = guarded_client(outside.client, &leadership);
        let may_write = leadership.clone();
        let http = outside.http.guarded(Arc::new(move || may_write.may_write()));
        let outside = Outside { client: client.clone(), http, clock: outside.clock };
        let owner_id = match &options.owner_id {
            Some(id) => id.clone(),
            None => owner_id(&client).await?,
        };
        tracing::info!(version = env!("CARGO_PKG_VERSION"), namespaces = ?options.namespaces, "starting");
        let (context, mut queues) = context(options, &scopes, &stores, outside, owner_id, &metrics)?;
        let mut stopped = stop.clone();
        let filled = Box::pin(watch_all(&client, &scopes, stores, &context));
        let Either::Left((mut tasks, _)) = future::select(filled, Box::pin(stopped.wait_for(|stop| *stop))).await
        else {
            tracing::info!("stopped before the caches were filled");
            return Ok(());
        };
        tracing::info!("caches are filled");
        let mut seat = Seat::of(election.as_ref());
        if let Seat::Among { election, held } = &mut seat {
            readiness.set_waiting("the Lease was not read yet");
            let won = Box::pin(election.win(|| readiness.set_ready()));
            let follow = Box::pin(queues.forget());
            let stopped = Box::pin(async { drop(stop.clone().wait_for(|stop| *stop).await) });
            match future::select(won, future::select(follow, stopped)).await {
                Either::Left((won, _)) => {
                    tasks.spawn(election.tell(client.clone(), &won));
                    *held = Some(won);
                }
                Either::Right(_) => {
                    tasks.shutdown().await;
                    return Ok(());
                }
            }
            queues.look_at_all(&context);
        }
        metrics.leads(true);
        readiness.set_ready();

        let limit = Arc::new(Semaphore::new(usize::from(options.concurrency.get())));
        let running = async {
            control_all(queues, &context, &limit, options.concurrency.get(), &stop).await;
            End::Done
        };
        let mut stopped = stop.clone();
        let drained = async {
            let _ = stopped.wait_for(|stop| *stop).await;
            readiness.set_waiting("the operator is stopping");
            tracing::info!("stopping: running reconciles are finished first");
            tokio::time::sleep(DRAIN).await;
            tracing::warn!("some reconciles were not done in time; they are taken up after the restart");
            End::Late
        };
        let work = future::select(Box::pin(running), Box::pin(drained)).map(|end| end.factor_first().0);
        let end = match future::select(Box::pin(work), Box::pin(seat.keep())).await {
            Either::Left((end, _)) => end,
            // At once, and whatever runs: others may lead.
            Either::Right((lost, _)) => return Err(lost.into()),
        };
        metrics.leads(false);
        tasks.shutdown().await;
        match end {
            End::Done => seat.let_go().await,
            // What was sent may still be carried out.
            End::Late => {
                leadership.end();
                seat.leave();
            }
        }
        Ok(())
    }
}

/// How the work of an operator ends that is to stop.
enum End {
    /// All that ran is done.
    Done,
    /// Something was not.
    Late,
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

    /// Objects are told of by who leads alone: of two replicas one may be behind, and sums would count twice.
    fn samples(&self, leadership: Leadership) -> impl Fn() -> Vec<ObjectSample> + Send + Sync + 'static {
        let stores: Vec<_> = self.connections.values().map(|(store, _)| store.clone()).collect();
        move || {
            let stores = stores.iter().filter(|_| leadership.may_write());
            stores.flat_map(|store| store.state()).map(|object| samples::sample(&object)).collect()
        }
    }
}

fn context(
    options: &Options,
    scopes: &[Scope],
    stores: &Stores,
    outside: Outside,
    owner_id: OwnerId,
    metrics: &Arc<Metrics>,
) -> Result<(Arc<Context>, Queues), Error> {
    let Outside { client, http, clock } = outside;
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
    let accounts = Accounts::new(options.bitbucket_requests_per_hour, metrics.bitbucket_waits());
    let bitbucket =
        Bitbucket::new(options.bitbucket_url.as_str(), http.clone(), accounts, metrics.bitbucket_observer())?;
    let pace = Pace {
        reads: options.kms_reads_per_minute,
        writes: options.kms_writes_per_minute,
        waited: metrics.kms_waits(),
    };
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
        started: clock(),
        clock,
        allowed_hosts: options.allowed_hosts.clone(),
        instances: Instances::new(namespaced, cluster, http, metrics.kms_observer(), pace),
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
        let (span, id) = span(&*object);
        Box::pin(
            async move {
                let _permit = limit.acquire().await;
                begun(&*object, &context);
                let started = Instant::now();
                let uid = object.uid().unwrap_or_default();
                let reconcile = Box::pin(reconcile::reconcile(object, &context));
                let result = guarded(RECONCILE_TIMEOUT, reconcile).await;
                context.metrics.reconciled(if result.is_ok() { "success" } else { "error" }, started.elapsed(), id);
                if let Err(error) = &result {
                    // What was written before it broke off is not known.
                    context.memory.update(&uid, |memory| {
                        memory.uncertain = true;
                        memory.attempts = memory.attempts.saturating_add(1);
                    });
                    traces::failed(&tracing::Span::current());
                    tracing::warn!(%error, "the pass broke off; it is tried again");
                }
                result
            }
            .instrument(span),
        )
    }
}

/// What identifies a pass in the log, and its id.
fn span<K: kube::Resource<DynamicType = ()>>(object: &K) -> (tracing::Span, String) {
    let namespace = object.namespace().map(|namespace| namespace + "/").unwrap_or_default();
    let id = (!traces::are_on()).then(|| uuid::Uuid::new_v4().simple().to_string());
    let span = tracing::info_span!(
        "reconcile",
        kind = %K::kind(&()),
        object = %format_args!("{namespace}{}", object.name_any()),
        generation = object.meta().generation,
        id,
    );
    let id = id.unwrap_or_else(|| {
        // One id for both: who has the line of the log has the trace.
        let id = traces::id_of(&span).unwrap_or_default();
        span.record("id", &id);
        id
    });
    (span, id)
}

/// An object is looked at now.
fn begun<K: kube::Resource<DynamicType = ()>>(object: &K, context: &Context) {
    context.metrics.begun(&K::kind(&()), &object.namespace().unwrap_or_default(), &object.name_any());
}

/// A pass over an instance, likewise.
fn instance_pass<K>(object: Arc<K>, context: Arc<Context>) -> future::BoxFuture<'static, Result<Action, errors::Error>>
where
    K: Instance + Serialize + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let (span, _) = span(&*object);
    Box::pin(
        async move {
            begun(&*object, &context);
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
    let metrics = Arc::clone(&context.metrics);
    let asked = Arc::clone(&metrics);
    let requests = futures::stream::poll_fn(move |task| queue.poll_recv(task))
        .take_until(async move { drop(stop.wait_for(|stop| *stop).await) })
        .inspect(move |object| {
            asked.queue().asked(&K::kind(&()), object.namespace.as_deref().unwrap_or_default(), &object.name);
        })
        .map(Ok::<_, std::convert::Infallible>);
    let config = controller::Config::default().concurrency(concurrency);
    let results = applier(pass, again::<K>, context, store, requests, config);
    consume::<K, _, _>(results, &metrics).await;
}

/// When a pass that broke off is tried again.
fn again<K: kube::Resource<DynamicType = ()>>(object: Arc<K>, _: &errors::Error, context: Arc<Context>) -> Action {
    let uid = object.uid().unwrap_or_default();
    Action::requeue(schedule::backoff(context.memory.of(&uid).attempts.saturating_sub(1), &uid))
}

async fn consume<K, T, Q>(
    results: impl Stream<Item = Result<T, controller::Error<errors::Error, Q>>>,
    metrics: &Metrics,
) where
    K: kube::Resource<DynamicType = ()>,
    Q: std::error::Error + 'static,
{
    let mut results = Box::pin(results);
    while let Some(result) = results.next().await {
        if let Err(error) = result {
            // What failed was told where it failed; what is left are objects that are gone.
            if let controller::Error::ObjectNotFound(gone) = &error {
                metrics.queue().taken(&K::kind(&()), gone.namespace.as_deref().unwrap_or_default(), &gone.name);
            }
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

async fn owner_id(client: &Client) -> Result<OwnerId, Error> {
    let namespace = Api::<Namespace>::all(client.clone()).get("kube-system").await.map_err(Error::NoOwnerId)?;
    OwnerId::new(&namespace.uid().unwrap_or_default()).map_err(|_| Error::BadOwnerId)
}

/// Which replica this is: in a pod the host name is the pod's.
fn reporter() -> String {
    let name = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "bitbucket-connection-operator".to_owned()).chars().take(128).collect()
}
