//! How the queues are run: a pass over each object that is asked for, so many at once, until the operator is to stop.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future};
use kube::{
    ResourceExt,
    runtime::{
        applier,
        controller::{self, Action},
        reflector::{ObjectRef, Store},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Semaphore, mpsc::UnboundedReceiver, watch},
    time::Instant,
};
use tracing::Instrument;

use super::{
    context::Context,
    errors,
    guard::{RECONCILE_TIMEOUT, guarded},
    instance,
    instances::Instance,
    queues::Queues,
    reconcile,
    triggers::{InstanceKey, Target},
};
use crate::{
    api::BitbucketConnection,
    domain::schedule,
    telemetry::{metrics::Metrics, traces},
};

/// How long connections that come and go are collected before their instance counts them.
const RECOUNT: Duration = Duration::from_secs(2);

/// Runs all queues until the operator is to stop and what runs is done.
pub async fn control_all(queues: Queues, context: &Arc<Context>, concurrency: u16, stop: &watch::Receiver<bool>) {
    let limit = Arc::new(Semaphore::new(usize::from(concurrency)));
    let mut all: Vec<future::BoxFuture<'_, ()>> = Vec::new();
    for (store, queue) in queues.connections {
        let pass = pass(Arc::clone(&limit));
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
