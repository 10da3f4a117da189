//! The operator between its start and its end: it fills its caches, leads or waits to, works, and lets go.
//!
//! What it needs from outside comes in by [`Outside`], so that it runs the same way against a real cluster and against
//! one in memory whose clock a test holds.

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{self, Either},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

use super::{
    adoptions::Adoptions,
    caches::Stores,
    clock::Clock,
    context::Context,
    control::control_all,
    election::{Election, Seat},
    instances::{Instances, Pace},
    leadership::{Leadership, guarded, uptime},
    memory::Memory,
    namespaces::Namespaces,
    options::{Error, Options},
    queues::Queues,
    sources::Sources,
    triggers::Triggers,
    users::Users,
    verdicts::Verdicts,
    watches::Scope,
};
use crate::{
    bitbucket::{Accounts, Bitbucket},
    domain::{credential::ProcessKey, ownership::OwnerId},
    http,
    telemetry::{
        health::Readiness,
        metrics::{Limits, Metrics},
    },
};

/// How long running reconciles may go on after SIGTERM. Kubernetes kills after 30 s by default; whoever waits for us
/// should wait for less.
const DRAIN: Duration = Duration::from_secs(9);

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
        let client = guarded(outside.client, &leadership);
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
        let filled = Box::pin(stores.fill(&client, &scopes, &context));
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

        let running = async {
            control_all(queues, &context, options.concurrency.get(), &stop).await;
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

/// What all passes share, and the queues that lead to them.
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

async fn owner_id(client: &Client) -> Result<OwnerId, Error> {
    let namespace = Api::<Namespace>::all(client.clone()).get("kube-system").await.map_err(Error::NoOwnerId)?;
    OwnerId::new(&namespace.uid().unwrap_or_default()).map_err(|_| Error::BadOwnerId)
}

/// Which replica this is: in a pod the host name is the pod's.
fn reporter() -> String {
    let name = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "bitbucket-connection-operator".to_owned()).chars().take(128).collect()
}
