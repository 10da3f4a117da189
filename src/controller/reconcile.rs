//! The story of a BitbucketConnection: observe → verify → plan → act → report.
//!
//! What may not be touched: the order. A token is verified before it is written; the finalizer comes before the first
//! write to the KMS; events come before the status that would make them news no more; the object is let go last.

use std::sync::Arc;

use kube::{Api, ResourceExt, runtime::controller::Action};

use super::{
    act::{self, Written},
    cached::CachedConnection,
    context::Context,
    errors::Error,
    observe::{self, Observed, Task},
    report,
    verify::{self, Verified},
};
use crate::{
    api::BitbucketConnection,
    domain::{
        conditions::{self, types},
        plan::{self, Plan, Wanted},
        schedule::Due,
        spec::{self, Management},
        token, versions,
    },
    telemetry::traces::STEPS,
};

/// One pass over an object. Where the cache turns out to be behind, another follows over what the object is now.
pub async fn reconcile(cached: Arc<CachedConnection>, context: &Context) -> Result<Action, Error> {
    let Some(object) = newest(&cached, context).await? else { return Ok(Action::await_change()) };
    match pass(Arc::clone(&object), context).await {
        Err(Error::Superseded(Some(newer))) => {
            if versions::is_before(&observe::version_of(&*newer), &observe::version_of(&*object)) {
                return Err(Error::Outdated);
            }
            let version = object.resource_version().unwrap_or_default();
            context.memory.update(&object.uid().unwrap_or_default(), |memory| memory.superseded.push(version));
            pass(Arc::new(*newer), context).await
        }
        // Its watch is about to tell that it is gone.
        Err(Error::Superseded(None)) => Ok(Action::await_change()),
        done => done,
    }
}

async fn pass(object: Arc<BitbucketConnection>, context: &Context) -> Result<Action, Error> {
    let observed = observe::observe(object, context).await?;
    let mut verified = match observed.task {
        Task::Nothing | Task::Wait | Task::Suspended => return report::quiet(&observed, context).await,
        Task::Verify(due) => verify::verify(&observed, due, context).await,
        Task::Delete => verify::locate(&observed, context).await,
    };
    if let Some(wait) = verified.postponed {
        return report::postponed(&observed, wait, context).await;
    }
    let written = Written::nothing(&observed);
    let mut outcome = act::act(&plan(&observed, &verified, &written), written, &observed, &verified, context).await?;
    if let Some(surprise) = outcome.surprise.take() {
        verified.remote = verify::after(surprise, &observed, context).await;
        verified.retry_after = outcome.retry_after;
        let written = outcome.written;
        outcome = act::act(&plan(&observed, &verified, &written), written, &observed, &verified, context).await?;
    }
    report::report(&observed, &verified, &mut outcome, context).await
}

/// What to do follows from what was observed, and from nothing else.
#[tracing::instrument(target = STEPS, skip_all)]
fn plan(observed: &Observed, verified: &Verified, written: &Written) -> Plan {
    let recorded = observed.object.status.as_ref().and_then(|status| status.connection.as_ref());
    match (&observed.task, &observed.spec) {
        (Task::Delete, _) if observed.management() != Management::Full => plan::let_go(observed.management(), recorded),
        (Task::Delete, _) => plan::deletion(spec::deletion_policy(&observed.object.spec), recorded, &verified.remote),
        (_, Ok(spec)) => {
            let wanted = Wanted {
                spec,
                owner: &observed.owner,
                token: verified.token.as_ref().unwrap_or(&token::Token::NoSecret),
                recorded,
                spec_changed: spec_changed(observed),
                secret_changed: observed.secret_changed(),
                adoption_granted: observed.access.as_ref().is_ok_and(|access| access.adoption),
                lost: &observed.memory.lost,
                finalizer: written.finalizer,
            };
            let plan = plan::plan(&wanted, &verified.remote);
            if spec.management == Management::Observe { plan::observed(plan) } else { plan }
        }
        // Without a valid spec the remote side says why nothing is done.
        (_, Err(_)) => plan::unplanned(&verified.remote),
    }
}

/// Whether the spec changed since the connection was brought in step with it.
fn spec_changed(observed: &Observed) -> bool {
    let before = observed.object.status.as_ref();
    let synced = before.and_then(|status| conditions::recorded(&status.conditions, types::SYNCED));
    let undone = synced.is_some_and(|synced| plan::left_undone(synced.reason));
    undone || observed.task == Task::Verify(Due::SpecChanged)
}

/// The object as it is after our own last write: a cache may be a moment behind it, and must not lead back to what was.
async fn newest(cached: &CachedConnection, context: &Context) -> Result<Option<Arc<BitbucketConnection>>, Error> {
    let (uid, version) = (cached.uid().unwrap_or_default(), cached.resource_version().unwrap_or_default());
    let superseded = context.memory.of(&uid).superseded;
    let is_behind = superseded.contains(&version);
    if !is_behind && !superseded.is_empty() {
        context.memory.update(&uid, |memory| memory.superseded.clear());
    }
    let object = if is_behind { None } else { cached.unpack() };
    if let Some(object) = object {
        return Ok(Some(Arc::new(object)));
    }
    let namespace = cached.namespace().unwrap_or_default();
    let api = Api::<BitbucketConnection>::namespaced(context.client.clone(), &namespace);
    Ok(api.get_opt(&cached.name_any()).await?.map(Arc::new))
}
