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
        ownership::{self, Origin, Ownership},
        plan::{self, Intent, Plan, Remote, Stage, Step, Surprise},
        token::Token,
    },
    kms::KmsError,
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
}

impl Written {
    /// Nothing yet.
    pub fn nothing(observed: &Observed) -> Self {
        Self { resource_version: observed.object.resource_version(), finalizer: has_finalizer(&observed.object) }
    }
}

/// Executes the steps of a plan, each once the one before is done. An error of the KMS ends it and is told by the
/// outcome; an error of the API server ends the pass.
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
    for Stage { step, tells } in &plan.stages {
        tracing::info!(%step, "acting");
        let done = match (step, &observed.access) {
            (Step::AddFinalizer, _) => {
                add_finalizer(observed, &mut outcome.written, context).await?;
                continue;
            }
            (Step::Create(new), Ok(access)) => match &verified.credentials {
                Some(credentials) => access.kms.create(new, credentials).await.map(|made| (Some(made), true)),
                None => continue,
            },
            (Step::Adopt { id, seen, changes }, Ok(access)) => match &verified.credentials {
                Some(credentials) => {
                    let adopted = context.adoptions.adopt(&access.kms, id, seen, changes, credentials).await;
                    adopted.map(|adopted| (Some(adopted), true))
                }
                None => continue,
            },
            (Step::Update { id, changes, credentials }, Ok(access)) => {
                let pushed = verified.credentials.as_ref().filter(|_| *credentials);
                access.kms.update(id, changes, pushed).await.map(|made| (Some(made), pushed.is_some()))
            }
            (Step::Delete { id }, Ok(access)) => access.kms.delete(id).await.map(|()| (None, false)),
            // A plan has no steps in the KMS where there is no way to it.
            (_, Err(_)) => continue,
        };
        match (step, done) {
            (Step::Create(new), Ok((Some(made), _))) if plan::is_misplaced(&made, &new.scope, None) => {
                outcome.surprise = Some(Surprise::Misplaced(made));
                return Ok(outcome);
            }
            (_, Ok((connection, pushed))) => {
                let before = outcome.connection.take();
                outcome.connection = connection
                    .and_then(|connection| describe(&connection, before.as_ref(), pushed, observed, verified));
                outcome.tells.extend_from_slice(tells);
            }
            (_, Err(error)) => {
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
            // Of a plan that was only shown nothing was told.
            if plan.pending.is_none() {
                memory.lost.clear();
            }
        });
    }
    outcome.release = plan.release;
    Ok(outcome)
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
    *written = Written { resource_version: object.resource_version(), finalizer: true };
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
