//! The only writer of status and events.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::controller::Action,
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    act::{self, Outcome, Written},
    context::{Context, FIELD_MANAGER},
    errors::{self, Error},
    observe::{Observed, Task},
    verify::Verified,
};
use crate::{
    api::{BitbucketConnection, BitbucketConnectionStatus, VERSION},
    domain::{
        conditions::{Class, Reason},
        events::{Announcement, EventReason},
        limit::Priority,
        schedule,
        status::{self, Findings, Pass, Report},
    },
    telemetry::traces::STEPS,
};

/// How often a status is applied to a newer version before the pass gives up, and starts again from that version.
const CONFLICTS: usize = 3;
/// After this an object is looked at even if nothing told us to: a missed trigger must not last.
const WAIT_AGAIN: Duration = Duration::from_secs(5);

/// After a pass in which nothing was due: only time may have changed something.
#[tracing::instrument(name = "report", target = STEPS, skip_all)]
pub async fn quiet(observed: &Observed, context: &Context) -> Result<Action, Error> {
    if observed.task == Task::Wait {
        return Ok(Action::requeue(WAIT_AGAIN));
    }
    if observed.object.metadata.deletion_timestamp.is_some() {
        context.memory.forget(&observed.uid);
        return Ok(Action::await_change());
    }
    let before = observed.before();
    let pass = pass(observed, &before, None, context);
    let suspended = observed.task == Task::Suspended;
    let report = if suspended { status::suspended(&pass) } else { status::report(&pass) };
    let mut written = Written::nothing(observed);
    announce(observed, &report.announcements, &mut written, context).await?;
    write(observed, written.resource_version, &report.status, context).await?;
    if suspended {
        // What is taken up again later is not the outage of before.
        if observed.memory.retry_at.is_some() {
            context.memory.update(&observed.uid, |memory| (memory.attempts, memory.retry_at) = (0, None));
        }
        return Ok(wake([report.wake_at, None], observed));
    }
    let retry_at = observed.retry_at().filter(|_| report.status.next_verification_time.is_none());
    Ok(wake([report.wake_at, retry_at], observed))
}

/// After a pass that has to wait for its turn, though nothing else is the matter.
pub async fn postponed(observed: &Observed, wait: Duration, context: &Context) -> Result<Action, Error> {
    quiet(observed, context).await?;
    Ok(Action::requeue(wait + Duration::from_millis(50)))
}

/// After a pass that looked at everything.
#[tracing::instrument(target = STEPS, skip_all)]
pub async fn report(
    observed: &Observed,
    verified: &Verified,
    outcome: &mut Outcome,
    context: &Context,
) -> Result<Action, Error> {
    let before = observed.before();
    let findings = Findings {
        token: verified.token.as_ref(),
        secret_version: observed.secret.as_ref().map(|secret| &*secret.stands_for),
        declared: observed.declared(),
        synced: outcome.synced.clone(),
        connection: outcome.connection.clone(),
        tells: &outcome.tells,
        pending: &outcome.pending,
        verified_at: verified.at,
        requested: observed.object.reconcile_requested_at(),
        release: outcome.release,
    };
    let report = status::report(&pass(observed, &before, Some(findings), context));
    announce(observed, &report.announcements, &mut outcome.written, context).await?;
    if outcome.release {
        act::remove_finalizer(observed, context).await?;
        context.memory.forget(&observed.uid);
        return Ok(Action::await_change());
    }
    write(observed, outcome.written.resource_version.clone(), &report.status, context).await?;
    Ok(next(observed, outcome, &report, context))
}

fn pass<'a>(
    observed: &'a Observed,
    before: &'a BitbucketConnectionStatus,
    findings: Option<Findings<'a>>,
    context: &Context,
) -> Pass<'a> {
    Pass {
        now: observed.now,
        uid: &observed.uid,
        generation: observed.object.metadata.generation,
        before,
        spec: observed.spec.as_ref().ok(),
        interval: observed.interval,
        started: context.started_by(observed.now),
        findings,
    }
}

/// When the object is looked at again, and what is remembered until then.
fn next(observed: &Observed, outcome: &Outcome, report: &Report, context: &Context) -> Action {
    // A deletion hangs on the KMS alone, whatever is wrong with the token.
    let class = if observed.task == Task::Delete { outcome.synced.reason.class() } else { report.class };
    let outage = class == Some(Class::Transient);
    let attempts = observed.memory.attempts;
    let wait = || outcome.retry_after.unwrap_or_else(|| schedule::backoff(attempts, &observed.uid));
    let wait = outage.then(wait);
    context.memory.update(&observed.uid, |memory| {
        memory.attempts = if outage { attempts.saturating_add(1) } else { 0 };
        memory.retry_at = wait.map(|wait| Instant::now() + wait);
        memory.queued = outcome.synced.reason == Reason::RateLimited;
        memory.urgent = outage && observed.priority() != Priority::InTurn;
        memory.kms = observed.access.as_ref().ok().map(|access| Arc::downgrade(&access.kms));
        memory.denied = observed.access.is_err();
        if !memory.uncertain {
            memory.lost.clear();
        }
    });
    wake([report.wake_at, wait.and_then(|wait| observed.now.checked_add(wait).ok())], observed)
}

fn wake(times: [Option<jiff::Timestamp>; 2], observed: &Observed) -> Action {
    match times.into_iter().flatten().min() {
        // A second late is in time; one early would find nothing due.
        Some(at) => Action::requeue(
            Duration::try_from(at.duration_since(observed.now)).unwrap_or_default() + Duration::from_millis(50),
        ),
        None => Action::await_change(),
    }
}

/// Creates events, each under a name that stands for what it tells: one that is there already is told already.
async fn announce(
    observed: &Observed,
    announcements: &[Announcement],
    written: &mut Written,
    context: &Context,
) -> Result<(), Error> {
    if !announcements.is_empty() {
        written.confirm(observed, context).await?;
    }
    let api = Api::<Event>::namespaced(context.client.clone(), &observed.namespace);
    for announcement in announcements {
        let event = event(observed, announcement, context);
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                tracing::info!(event = announcement.reason.as_str(), note = announcement.note, "told");
                if announcement.reason == EventReason::DriftCorrected {
                    context.metrics.drift_corrected();
                }
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            // A namespace that is being deleted refuses new events: never an obstacle.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 422) => {
                tracing::warn!(
                    event = announcement.reason.as_str(),
                    code = status.code,
                    error = status.message,
                    next = errors::next_step_after(&status),
                    "the API server refused an event; conditions tell the same"
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn event(observed: &Observed, announcement: &Announcement, context: &Context) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(announcement.name(&observed.name, &observed.uid)),
            namespace: Some(observed.namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(observed.now)),
        reporting_controller: Some(format!("{}/{FIELD_MANAGER}", crate::api::GROUP)),
        reporting_instance: Some(context.reporter.clone()),
        action: Some(announcement.reason.action().to_owned()),
        reason: Some(announcement.reason.as_str().to_owned()),
        type_: Some(if announcement.warning { "Warning" } else { "Normal" }.to_owned()),
        note: Some(announcement.note.clone()),
        regarding: Some(ObjectReference { resource_version: None, ..observed.object.object_ref(&()) }),
        ..Event::default()
    }
}

/// Applies a status to the version that was observed, if it says anything new. On a conflict the newer version is read, and
/// the status applied to it, unless it is another object by now, or another replica wrote its status: then what this
/// pass began with is not what there was, and what follows from it would take back what the other one wrote.
async fn write(
    observed: &Observed,
    resource_version: Option<String>,
    status: &BitbucketConnectionStatus,
    context: &Context,
) -> Result<(), Error> {
    if *status == observed.stored.status.clone().unwrap_or_default() {
        return Ok(());
    }
    let api = Api::<BitbucketConnection>::namespaced(context.client.clone(), &observed.namespace);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let mut version = resource_version;
    for _ in 0..CONFLICTS {
        let patch = json!({
            "apiVersion": format!("{}/{VERSION}", crate::api::GROUP),
            "kind": "BitbucketConnection",
            "metadata": {"name": observed.name, "namespace": observed.namespace, "resourceVersion": version},
            "status": status,
        });
        match api.patch_status(&observed.name, &params, &Patch::Apply(&patch)).await {
            Ok(_) => {
                if let Some(replaced) = version {
                    context.memory.update(&observed.uid, |memory| memory.superseded.push(replaced));
                }
                return Ok(());
            }
            Err(kube::Error::Api(error)) if error.code == 404 => return Ok(()),
            Err(kube::Error::Api(error)) if error.code == 409 => match api.get_opt(&observed.name).await? {
                Some(newer) if newer.uid().as_deref() != Some(&observed.uid) => return Ok(()),
                Some(newer) if newer.status != observed.stored.status => {
                    return Err(Error::Superseded(Some(Box::new(newer))));
                }
                Some(newer) => version = newer.resource_version(),
                None => return Ok(()),
            },
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::keeps_changing())
}
