//! Executes a plan, and decides nothing.

use std::time::Duration;

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    context::{Context, FIELD_MANAGER},
    errors::{self, Error},
    observe::{Observed, Task, has_finalizer},
    verify::{self, Verified},
};
use crate::{
    api::{BitbucketConnection, CONNECTION_FINALIZER, ConnectionStatus},
    domain::{
        conditions::{Judgement, Reason},
        connection::KmsConnection,
        limit::Priority,
        ownership::{self, Origin, Ownership},
        plan::{self, Intent, Plan, Remote, Stage, Step, Surprise},
        token::Token,
    },
    kms::{KmsError, WriteTurn},
    telemetry::traces::STEPS,
};

/// What came of a plan.
pub struct Outcome {
    /// What Synced says now.
    pub synced: Judgement,
    /// What the KMS holds now.
    pub connection: Option<ConnectionStatus>,
    /// What is told: of the steps that were done.
    pub tells: Vec<Intent>,
    /// What would be done if that were not forbidden.
    pub pending: Vec<String>,
    /// Whether the object may be let go.
    pub release: bool,
    /// What the plan didn't reckon with.
    pub surprise: Option<Surprise>,
    /// How far our own writes to the API server got.
    pub written: Written,
    /// When the KMS wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// How far our own writes to the API server got in this pass.
#[derive(Clone)]
pub struct Written {
    /// The object's version now.
    pub resource_version: Option<String>,
    /// Whether it bears the finalizer now.
    pub finalizer: bool,
    /// Whether the API server said in this pass that the object is what was observed.
    confirmed: bool,
}

impl Written {
    /// Nothing yet.
    pub fn nothing(observed: &Observed) -> Self {
        Self {
            resource_version: observed.object.resource_version(),
            finalizer: has_finalizer(&observed.object),
            confirmed: false,
        }
    }

    /// Makes sure that the object is what was observed, before anything is done that can't be taken back. The cache may be
    /// behind by more than our own writes: where another replica wrote before this one took over, what it did would be
    /// done again or undone, and what it told be told wrong.
    pub async fn confirm(&mut self, observed: &Observed, context: &Context) -> Result<(), Error> {
        if self.confirmed {
            return Ok(());
        }
        let api = Api::<BitbucketConnection>::namespaced(context.client.clone(), &observed.namespace);
        match api.get_opt(&observed.name).await? {
            Some(found) if observed.is_still(&found) => self.confirmed = true,
            Some(found) if found.uid().as_deref() == Some(&*observed.uid) => {
                return Err(Error::Superseded(Some(Box::new(found))));
            }
            _ => return Err(Error::Superseded(None)),
        }
        Ok(())
    }
}

/// Executes the steps of a plan, each once the one before is done. An error of the KMS ends it and is told by the
/// outcome; an error of the API server ends the pass.
#[tracing::instrument(target = STEPS, skip_all)]
pub async fn act(
    plan: &Plan,
    written: Written,
    observed: &Observed,
    verified: &Verified,
    context: &Context,
) -> Result<Outcome, Error> {
    let recorded = observed.object.status.as_ref().and_then(|status| status.connection.clone());
    let mut outcome = Outcome {
        synced: plan.synced.clone(),
        connection: recorded.clone().filter(|_| plan.holds),
        tells: plan.tells.clone(),
        pending: plan.pending.clone().unwrap_or_default(),
        release: false,
        surprise: None,
        written,
        retry_after: verified.retry_after,
    };
    let ours = match &verified.remote {
        Remote::Ours(connection) => Some(connection).filter(|_| plan.holds),
        // On record until it is gone.
        Remote::Misplaced(connection) => Some(connection),
        Remote::Unreadable(_)
        | Remote::Absent
        | Remote::NotOurs(..)
        | Remote::Ambiguous
        | Remote::NameTaken
        | Remote::Adoptable(_)
        | Remote::HostChanged
        | Remote::NoProjects => None,
    };
    if let Some(connection) = ours {
        outcome.connection = describe(connection, recorded.as_ref(), false, observed, verified)
            .map(|found| plan.record(recorded.as_ref(), found));
    }
    // The turn comes before the finalizer: what has to wait isn't held by one yet.
    let mut turn = None;
    if let Some(Stage { step, .. }) = plan.stages.iter().find(|stage| stage.step.writes_to_kms()) {
        match turn_to(step, observed, verified, context).await {
            Ok(given) => turn = given,
            Err(error) => {
                failed(&mut outcome, &error, step, observed, verified, context).await;
                return Ok(outcome);
            }
        }
    }
    let adds_finalizer = plan.stages.iter().any(|stage| stage.step == Step::AddFinalizer);
    // Else a connection would be made that is nobody's, or be changed back to what an earlier spec wanted.
    if !adds_finalizer && plan.stages.iter().any(|stage| stage.step.writes_to_kms()) {
        outcome.written.confirm(observed, context).await?;
    }
    for Stage { step, tells } in &plan.stages {
        tracing::info!(%step, "acting");
        if *step == Step::AddFinalizer {
            add_finalizer(observed, &mut outcome.written, context).await?;
            continue;
        }
        match write(step, turn.take(), observed, verified, context).await {
            Ok(None) => {}
            Ok(Some((Some(made), _))) if is_misplaced(step, &made) => {
                outcome.surprise = Some(Surprise::Misplaced(made));
                return Ok(outcome);
            }
            Ok(Some((connection, pushed))) => {
                let before = outcome.connection.take();
                outcome.connection = connection
                    .and_then(|connection| describe(&connection, before.as_ref(), pushed, observed, verified));
                outcome.tells.extend_from_slice(tells);
            }
            Err(error) => {
                if error.may_have_taken_effect() {
                    context.memory.update(&observed.uid, |memory| {
                        memory.uncertain = true;
                        memory.lost.clone_from(tells);
                    });
                }
                failed(&mut outcome, &error, step, observed, verified, context).await;
                return Ok(outcome);
            }
        }
    }
    if !matches!(verified.remote, Remote::Unreadable(_)) {
        context.memory.update(&observed.uid, |memory| {
            memory.uncertain = false;
            // Until the status tells of it too. Of a plan that was only shown nothing was told.
            if plan.pending.is_none() {
                memory.lost.clone_from(&outcome.tells);
            }
        });
    }
    outcome.release = plan.release;
    Ok(outcome)
}

/// The right to the first write of a plan. Deletions and rotations go first, and what a person asked for at once.
async fn turn_to(
    step: &Step,
    observed: &Observed,
    verified: &Verified,
    context: &Context,
) -> Result<Option<WriteTurn>, KmsError> {
    let Ok(access) = &observed.access else { return Ok(None) };
    let priority = match step {
        _ if observed.requested() => Priority::AtOnce,
        Step::Delete { .. } | Step::Update { credentials: true, .. } => Priority::First,
        // Not even a changed Secret makes a new connection urgent: its users would overtake those who have one.
        Step::AddFinalizer | Step::Create(_) | Step::Adopt { .. } | Step::Update { credentials: false, .. } => {
            Priority::InTurn
        }
    };
    let may_push = |may| context.memory.update(&observed.uid, |memory| memory.may_push = may);
    if let (Some(credentials), true) = (&verified.credentials, step.pushes()) {
        // One of two turns is kept while the other is waited for; else both would never come together.
        if !observed.memory.may_push {
            context.verdicts.turn_to_push(credentials, &observed.uid, priority).await?;
            may_push(true);
        }
    }
    let turn = access.kms.turn_to_write(&observed.uid, priority).await?;
    if step.pushes() {
        may_push(false);
    }
    Ok(Some(turn))
}

/// Writes to the KMS: what is there then, and whether credentials were written. Nothing where there is no way to it, or
/// nothing to write; a plan has no such steps.
async fn write(
    step: &Step,
    turn: Option<WriteTurn>,
    observed: &Observed,
    verified: &Verified,
    context: &Context,
) -> Result<Option<(Option<KmsConnection>, bool)>, KmsError> {
    let Ok(access) = &observed.access else { return Ok(None) };
    let kms = &access.kms;
    let turn = match turn {
        Some(turn) => turn,
        // In the middle of a plan nobody waits for others.
        None => kms.turn_to_write(&observed.uid, Priority::First).await?,
    };
    match (step, &verified.credentials) {
        (Step::Create(new), Some(credentials)) => {
            kms.create(new, credentials, turn).await.map(|made| Some((Some(made), true)))
        }
        (Step::Adopt { id, seen, changes }, Some(credentials)) => {
            let Ok(spec) = &observed.spec else { return Ok(None) };
            let adopted = context.adoptions.adopt(kms, (&spec.scope, id), seen, changes, credentials, turn).await;
            adopted.map(|adopted| Some((Some(adopted), true)))
        }
        (Step::Update { id, changes, credentials }, found) => {
            let pushed = found.as_ref().filter(|_| *credentials);
            let updated = kms.update(id, changes, pushed, turn).await;
            updated.map(|updated| Some((Some(updated), pushed.is_some())))
        }
        (Step::Delete { id }, _) => kms.delete(id, turn).await.map(|()| Some((None, false))),
        (Step::AddFinalizer, _) | (Step::Create(_) | Step::Adopt { .. }, None) => Ok(None),
    }
}

/// Whether a new connection came out elsewhere than it was meant to be.
fn is_misplaced(step: &Step, made: &KmsConnection) -> bool {
    matches!(step, Step::Create(new) if plan::is_misplaced(made, &new.scope, None))
}

async fn failed(
    outcome: &mut Outcome,
    error: &KmsError,
    step: &Step,
    observed: &Observed,
    verified: &Verified,
    context: &Context,
) {
    if let (KmsError::CredentialsRefused { .. }, Some(credentials)) = (error, &verified.credentials) {
        context.verdicts.doubt(credentials).await;
    }
    outcome.retry_after = errors::retry_after(error).or(outcome.retry_after);
    outcome.synced = match (&observed.access, verify::scope_of(observed), &observed.spec) {
        (_, _, Ok(spec)) if *error == KmsError::NameTaken => plan::name_conflict(spec),
        (Ok(access), Ok(scope), _) => errors::synced(error, &access.instance, &scope),
        // Only a deletion goes on without a valid spec.
        _ => Judgement::new(Reason::KmsRejected, format!("The KMS did not do it: {error}.")),
    };
    if matches!(verified.remote, Remote::Misplaced(_)) {
        outcome.synced = plan::left_behind(&outcome.synced);
    }
    outcome.surprise = match step {
        Step::Create(_) | Step::Adopt { .. } if *error == KmsError::NameTaken => Some(Surprise::NameTaken),
        _ if observed.task == Task::Delete => Some(Surprise::Kept(outcome.synced.clone())),
        _ => None,
    };
}

/// What the status says of a connection. Hash and fingerprint are those of our last write of credentials.
fn describe(
    connection: &KmsConnection,
    recorded: Option<&ConnectionStatus>,
    pushed: bool,
    observed: &Observed,
    verified: &Verified,
) -> Option<ConnectionStatus> {
    let access = observed.access.as_ref().ok()?;
    let origin = match ownership::ownership(&connection.description, &observed.owner) {
        Ownership::Ours(origin) => origin,
        Ownership::Another | Ownership::Unmarked => Origin::Created,
    };
    let fingerprint = match &verified.token {
        Some(Token::Asked { fingerprint, .. }) if pushed => Some(fingerprint.as_str().to_owned()),
        _ => recorded.and_then(|recorded| recorded.token_fingerprint.clone()),
    };
    let hash = if pushed {
        connection.credentials_hash.clone()
    } else {
        recorded.and_then(|recorded| recorded.credentials_hash.clone())
    };
    Some(ConnectionStatus {
        id: connection.id.clone(),
        name: connection.name.clone(),
        description: Some(connection.description.clone()),
        // A server may cease to tell it; nothing is moved from a project to the organization.
        project_id: connection.project_id.clone().or_else(|| {
            let same = recorded.filter(|recorded| recorded.id == connection.id);
            same.and_then(|recorded| recorded.project_id.clone())
        }),
        org_id: connection.org_id.clone(),
        origin: origin.as_str().to_owned(),
        kms_ref: access.instance.to_string(),
        host: access.host.clone(),
        credentials_hash: hash,
        token_fingerprint: fingerprint,
    })
}

/// The last thing before the first write to the KMS: what never reached it is deleted at once.
async fn add_finalizer(observed: &Observed, written: &mut Written, context: &Context) -> Result<(), Error> {
    let mut finalizers = observed.object.finalizers().to_vec();
    finalizers.push(CONNECTION_FINALIZER.to_owned());
    let object = patch_finalizers(observed, written.resource_version.as_deref(), &finalizers, context).await?;
    // It was written to the version that was observed, and to no other.
    *written = Written { resource_version: object.resource_version(), finalizer: true, confirmed: true };
    Ok(())
}

/// Lets the object go.
pub async fn remove_finalizer(observed: &Observed, context: &Context) -> Result<(), Error> {
    let left: Vec<_> =
        observed.object.finalizers().iter().filter(|finalizer| *finalizer != CONNECTION_FINALIZER).cloned().collect();
    match patch_finalizers(observed, observed.object.resource_version().as_deref(), &left, context).await {
        Ok(_) => Ok(()),
        Err(Error::Cluster(error)) if matches!(&*error, kube::Error::Api(status) if status.code == 404) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes the finalizers of the version that was observed; the API server refuses (409) if there is a newer one.
async fn patch_finalizers(
    observed: &Observed,
    resource_version: Option<&str>,
    finalizers: &[String],
    context: &Context,
) -> Result<BitbucketConnection, Error> {
    let api = Api::<BitbucketConnection>::namespaced(context.client.clone(), &observed.namespace);
    let patch =
        json!({"metadata": {"uid": observed.uid, "resourceVersion": resource_version, "finalizers": finalizers}});
    let object = api
        .patch(
            &observed.name,
            &PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() },
            &Patch::Merge(&patch),
        )
        .await?;
    if let Some(replaced) = resource_version {
        context.memory.update(&observed.uid, |memory| memory.superseded.push(replaced.to_owned()));
    }
    Ok(object)
}
