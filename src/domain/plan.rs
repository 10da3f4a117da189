//! What to do: a value that follows from what was observed, that can be printed, compared, and replayed after a crash.
//!
//! A plan is made from what the KMS holds now, never from what was meant to be done before. So a pass after a crash
//! arrives at the same end, whatever the crash left behind.

mod adoption;
mod credentials;
mod deletion;
mod description;
mod misplaced;
mod restraint;

use std::fmt;

pub use adoption::name_conflict;
pub use deletion::deletion;
pub use misplaced::{is_misplaced, left_behind, no_projects};
pub use restraint::{let_go, observed};

use credentials::Need;

use super::{
    conditions::{Judgement, Reason},
    connection::{Changes, KmsConnection, NewConnection},
    ownership::{self, Origin, Owner, Ownership},
    spec::{ConnectionSpec, Management},
    text,
    token::{Push, Token},
};
use crate::api::ConnectionStatus;

/// What the KMS holds for an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Nothing could be asked, or the question failed; the judgement says why.
    Unreadable(Judgement),
    /// Nothing.
    Absent,
    /// A connection with our mark.
    Ours(KmsConnection),
    /// The connection that the status names has lost our mark, or bears another's.
    NotOurs(KmsConnection, Ownership),
    /// Several connections bear our mark.
    Ambiguous,
    /// Nothing of ours, and the name that we want is somebody else's.
    NameTaken,
    /// Nothing of ours, and a connection that bears no mark has the name that we want.
    Adoptable(KmsConnection),
    /// The status tells of a connection in another KMS, and this one holds none of ours: see [`is_another_kms`].
    HostChanged,
    /// A connection with our mark that is for the whole organization, though a project is wanted: see [`is_misplaced`].
    Misplaced(KmsConnection),
    /// Nothing of ours, and the KMS would make it for the whole organization, though a project is wanted.
    NoProjects,
}

/// One effect on the cluster or on the KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Cluster: keep the object until its connection is gone; right before the first write to the KMS.
    AddFinalizer,
    /// KMS: a new connection, with the credentials of the Secret.
    Create(NewConnection),
    /// KMS: take over a connection that bears no mark, with the credentials of the Secret.
    Adopt {
        /// Which.
        id: String,
        /// Its description as the plan knows it; another one leads to another plan.
        seen: String,
        /// Its description with the mark.
        changes: Changes,
    },
    /// KMS: change a connection, with or without the credentials of the Secret.
    Update {
        /// Which.
        id: String,
        /// Name and description.
        changes: Changes,
        /// Whether the credentials are written too.
        credentials: bool,
    },
    /// KMS: delete a connection.
    Delete {
        /// Which.
        id: String,
    },
}

impl Step {
    /// Whether it is a write to the KMS.
    pub const fn writes_to_kms(&self) -> bool {
        match self {
            Self::AddFinalizer => false,
            Self::Create(_) | Self::Adopt { .. } | Self::Update { .. } | Self::Delete { .. } => true,
        }
    }

    /// Whether it writes credentials, which the KMS then tries.
    pub const fn pushes(&self) -> bool {
        match self {
            Self::AddFinalizer | Self::Delete { .. } => false,
            Self::Create(_) | Self::Adopt { .. } => true,
            Self::Update { credentials, .. } => *credentials,
        }
    }
}

impl fmt::Display for Step {
    /// Names of fields, never values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddFinalizer => f.write_str("add finalizer"),
            Self::Create(_) => f.write_str("create connection"),
            Self::Adopt { .. } => f.write_str("adopt connection"),
            Self::Update { changes, credentials, .. } => {
                let name = changes.name.as_ref().map(|_| "name");
                let description = changes.description.as_ref().map(|_| "description");
                let fields = [name, description, credentials.then_some("credentials")];
                write!(f, "update {}", fields.into_iter().flatten().collect::<Vec<_>>().join(", "))
            }
            Self::Delete { .. } => f.write_str("delete connection"),
        }
    }
}

/// What a plan didn't reckon with: the KMS holds something else than was observed, and another plan follows from that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Surprise {
    /// The name of a new connection is taken, or the one to be taken over changed. If it is ours, the answer to an
    /// earlier write was lost.
    NameTaken,
    /// The new connection is for the whole organization, though a project was asked for.
    Misplaced(KmsConnection),
    /// The KMS didn't do what a deletion takes, for that reason. Whether the object may go all the same is for its
    /// policy to say.
    Kept(Judgement),
}

/// A step, and what people are told once it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What is done.
    pub step: Step,
    /// What is told then.
    pub tells: Vec<Intent>,
}

/// What people are told. It follows from what the status records, not from whether this pass
/// or one before a crash wrote: a lost answer loses no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// The connection is new.
    Created,
    /// The connection was there before, and is this object's now.
    Adopted,
    /// Spec or e-mail changed.
    Updated,
    /// A new token replaced the old one.
    Rotated,
    /// Somebody had changed the connection in the KMS.
    DriftCorrected {
        /// Names of the fields that are put back.
        fields: String,
        /// What tells this time from others, whatever our own writes do meanwhile: what was on record then of the
        /// credentials, or else the fields and when the KMS says that they were changed.
        since: String,
    },
    /// The connection that was deleted by hand is back.
    Recreated,
    /// The connection is gone.
    Deleted(Identity),
    /// The connection stays.
    Retained {
        /// Which.
        connection: Identity,
        /// The KMS couldn't be reached or refused, so the mark is still there.
        with_mark: bool,
    },
    /// The object is gone; what it has in the KMS stays there, because the policy forbids every call.
    LeftAsItIs {
        /// Which, if the status tells of one.
        connection: Option<Identity>,
        /// The policy.
        policy: Management,
    },
    /// The object is gone; the connection lost the mark before and was left alone.
    LeftAlone(Identity),
}

/// A connection that the status may not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id in the KMS.
    pub id: String,
    /// Its name there.
    pub name: String,
}

impl Identity {
    fn of(connection: &KmsConnection) -> Self {
        Self { id: connection.id.clone(), name: connection.name.clone() }
    }

    fn recorded(connection: &ConnectionStatus) -> Self {
        Self { id: connection.id.clone(), name: connection.name.clone() }
    }
}

/// Steps in their order, what is told, and what Synced says in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is told of what an earlier pass did.
    pub tells: Vec<Intent>,
    /// Effects, each done once the one before is.
    pub stages: Vec<Stage>,
    /// What would be done in the KMS if that were not forbidden; nothing where the plan is to be carried out.
    pub pending: Option<Vec<String>>,
    /// The condition Synced, if all goes well.
    pub synced: Judgement,
    /// Whether the connection of the status still is what the KMS holds.
    pub holds: bool,
    /// Whether the object is let go in the end: its finalizer is removed after the events, instead of a status.
    pub release: bool,
}

impl Plan {
    fn nothing(synced: Judgement, holds: bool) -> Self {
        Self { tells: Vec::new(), stages: Vec::new(), pending: None, synced, holds, release: false }
    }
}

/// What is wanted, and what the status records.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The validated spec.
    pub spec: &'a ConnectionSpec,
    /// Whose the connection is.
    pub owner: &'a Owner,
    /// The token in the Secret.
    pub token: &'a Token,
    /// What the status says of the connection.
    pub recorded: Option<&'a ConnectionStatus>,
    /// Whether the spec changed since the connection was brought in step with it: see [`left_undone`].
    pub spec_changed: bool,
    /// Whether the values in the Secret are others than those that the status tells of.
    pub secret_changed: bool,
    /// Whether the instance grants the taking over of connections.
    pub adoption_granted: bool,
    /// What would have been told of a write whose answer was lost.
    pub lost: &'a [Intent],
    /// Whether the object bears the finalizer.
    pub finalizer: bool,
}

/// Plans for an object that is to have a connection.
pub fn plan(wanted: &Wanted<'_>, remote: &Remote) -> Plan {
    match remote {
        Remote::Unreadable(judgement) => Plan::nothing(judgement.clone(), true),
        Remote::Ours(connection) => keep(wanted, connection),
        Remote::Absent => create(wanted),
        Remote::NameTaken => Plan::nothing(name_conflict(wanted.spec), false),
        Remote::Adoptable(connection) => adoption::adopt(wanted, connection),
        Remote::Misplaced(connection) => misplaced::delete(wanted.spec, connection),
        Remote::NoProjects => Plan::nothing(no_projects(wanted.spec), false),
        Remote::HostChanged => Plan::nothing(
            Judgement::new(
                Reason::KmsChanged,
                format!(
                    "{} now leads to another KMS, or to another organization of it, and there is no connection of this object. Nothing was written there. Set spec.host of the instance back to {}, with credentials of the organization of then, or delete this object and create it anew.",
                    wanted.spec.kms_ref,
                    host(wanted.recorded)
                ),
            ),
            true,
        ),
        Remote::Ambiguous => Plan::nothing(
            Judgement::new(
                Reason::OwnershipAmbiguous,
                format!(
                    "Several connections in the KMS bear the mark of this object ({}), so none of them is touched. Keep the one that is in use and remove the mark from the description of the others.",
                    wanted.owner.mark(origin(wanted.recorded))
                ),
            ),
            true,
        ),
        Remote::NotOurs(_, Ownership::Another) => Plan::nothing(
            Judgement::new(
                Reason::OwnedByAnother,
                format!(
                    "The connection {} in the KMS now bears the mark of another object or cluster, so it is not touched. To have it managed here, set spec.deletionPolicy: Retain on the other object, delete that, and end the connection's description with {}; otherwise delete this object.",
                    name(wanted),
                    wanted.owner.mark(origin(wanted.recorded))
                ),
            ),
            true,
        ),
        Remote::NotOurs(_, Ownership::Unmarked | Ownership::Ours(_)) => Plan::nothing(
            Judgement::new(
                Reason::OwnershipMarkMissing,
                format!(
                    "The description of the connection {} in the KMS lost the mark by which this object knows it as its own, so it is not touched. To have it managed again, end its description there with {}.",
                    name(wanted),
                    wanted.owner.mark(origin(wanted.recorded))
                ),
            ),
            true,
        ),
    }
}

/// How the connection on record came to be ours: a mark that people put back must say the same, because it decides what
/// becomes of the connection when the object is deleted.
fn origin(recorded: Option<&ConnectionStatus>) -> Origin {
    let adopted = recorded.is_some_and(|recorded| recorded.origin == Origin::Adopted.as_str());
    if adopted { Origin::Adopted } else { Origin::Created }
}

/// The name by which the connection was known last: what it is called now may be somebody else's business.
fn name<'a>(wanted: &Wanted<'a>) -> &'a str {
    wanted.recorded.map_or(&wanted.spec.name, |recorded| &recorded.name)
}

/// The KMS in which the connection on record was made.
fn host(recorded: Option<&ConnectionStatus>) -> &str {
    recorded.map_or("the old one", |recorded| recorded.host.as_str())
}

/// For an object whose spec can't be read: nothing is done, and what is in the KMS stays.
pub fn unplanned(remote: &Remote) -> Plan {
    let judgement = match remote {
        Remote::Unreadable(judgement) => judgement.clone(),
        _ => Judgement::not_evaluated("the spec can't be read"),
    };
    Plan::nothing(judgement, true)
}

fn create(wanted: &Wanted<'_>) -> Plan {
    if wanted.token.push(wanted.spec) != Push::Allowed {
        return Plan::nothing(
            Judgement::not_evaluated(
                "the connection is created once there is a token that may be used (see CredentialsValid and ScopesSufficient)",
            ),
            false,
        );
    }
    let spec = wanted.spec;
    let new = NewConnection {
        name: spec.name.clone(),
        description: ownership::describe(adoption::text(spec, ""), wanted.owner, Origin::Created),
        scope: spec.scope.clone(),
    };
    let intent = if wanted.recorded.is_some() { Intent::Recreated } else { Intent::Created };
    let create = Stage { step: Step::Create(new), tells: vec![intent] };
    Plan {
        tells: Vec::new(),
        stages: finalizer(wanted).into_iter().chain([create]).collect(),
        pending: None,
        synced: in_sync(spec),
        // One that somebody deleted is told of until there is a new one.
        holds: wanted.recorded.is_some(),
        release: false,
    }
}

fn finalizer(wanted: &Wanted<'_>) -> Option<Stage> {
    (!wanted.finalizer).then_some(Stage { step: Step::AddFinalizer, tells: Vec::new() })
}

fn keep(wanted: &Wanted<'_>, connection: &KmsConnection) -> Plan {
    let Wanted { spec, token, recorded, .. } = *wanted;
    let origin = match ownership::ownership(&connection.description, wanted.owner) {
        Ownership::Ours(origin) => origin,
        Ownership::Another | Ownership::Unmarked => Origin::Created,
    };
    let kept = if origin == Origin::Adopted { ownership::without_mark(&connection.description) } else { "" };
    let described = ownership::describe(adoption::text(spec, kept), wanted.owner, origin);
    // The mark of an earlier owner id is replaced: our own change, nobody's drift.
    let marked_anew = ownership::bears_previous_mark(&connection.description, wanted.owner);
    let name = (connection.name != spec.name).then(|| spec.name.clone());
    let description = (text::trim(&connection.description) != described).then(|| described.clone());
    let need = credentials::need(wanted, connection);
    let push = token.push(spec);
    let credentials = need.filter(|_| push == Push::Allowed);

    // What differs from the spec although neither the spec nor the Secret changed was changed by somebody else.
    let renamed = recorded.is_some_and(|recorded| recorded.name != spec.name);
    let redescribed = description::is_another_on_record(wanted, origin, &described);
    let drift = |fields: &str| {
        let changed = connection.updated_at.as_deref().unwrap_or_default();
        Intent::DriftCorrected { fields: fields.to_owned(), since: format!("{changed} {fields}") }
    };
    // After a write of credentials the KMS tells another time and another hash; the hash on record stays until the
    // status is written.
    let drift_of_credentials = |fields: &str| {
        let since = recorded.and_then(|recorded| recorded.credentials_hash.clone()).unwrap_or_default();
        Intent::DriftCorrected { fields: fields.to_owned(), since }
    };
    let told_of_description = match description {
        Some(_) if marked_anew => Some(Intent::Updated),
        Some(_) if recorded.is_none() => None,
        Some(_) if wanted.spec_changed => Some(Intent::Updated),
        Some(_) => Some(drift("description")),
        None => None,
    };
    let told_of_credentials = credentials.map(|need| match need {
        // It is no news in the cluster that it was made for.
        Need::NotRecorded if marked_anew => Intent::Updated,
        Need::NotRecorded if origin == Origin::Adopted => Intent::Adopted,
        Need::NotRecorded if recorded.is_some_and(|recorded| recorded.id != connection.id) => Intent::Recreated,
        Need::NotRecorded => Intent::Created,
        Need::NewToken => Intent::Rotated,
        Need::NewEmail => Intent::Updated,
        Need::Drift => drift_of_credentials("credentials"),
    });
    // What somebody seems to have changed may be what our own write did; of that is told what was meant then.
    let told_of_credentials = told_of_credentials.filter(|_| need != Some(Need::Drift) || wanted.lost.is_empty());
    let told = match (told_of_description, told_of_credentials) {
        (Some(Intent::DriftCorrected { .. }), Some(Intent::DriftCorrected { .. })) => {
            vec![drift_of_credentials("description, credentials")]
        }
        (Some(one), Some(other)) if one == other => vec![one],
        (one, other) => one.into_iter().chain(other).collect(),
    };
    let told_of_name = match (&name, renamed) {
        (Some(_), true) => Some(Intent::Updated),
        (Some(_), false) if recorded.is_some() => Some(drift("name")),
        _ => None,
    };
    let update = |name, description, credentials| Step::Update {
        id: connection.id.clone(),
        changes: Changes { name, description },
        credentials,
    };
    let new = |tells: Vec<Intent>| tells.into_iter().filter(|intent| !wanted.lost.contains(intent)).collect();
    let mut stages: Vec<_> = finalizer(wanted).into_iter().collect();
    let description_is_there = description.is_none();
    if description.is_some() || credentials.is_some() {
        stages.push(Stage { step: update(None, description, credentials.is_some()), tells: new(told) });
    }
    // A name of its own request: one that is taken must not keep a new token out.
    let mut tells = wanted.lost.to_vec();
    // It took effect, and nobody was told. What was put back is told as that.
    let put_back = tells.iter().any(|lost| matches!(lost, Intent::DriftCorrected { fields, .. } if fields == "name"));
    let took_effect = (name.is_none() && renamed && !put_back) || (description_is_there && redescribed);
    if took_effect && !tells.contains(&Intent::Updated) {
        tells.push(Intent::Updated);
    }
    if name.is_some() {
        stages.push(Stage { step: update(name, None, false), tells: new(told_of_name.into_iter().collect()) });
    }
    let synced = match (need, push) {
        (Some(_), Push::Refused) => Judgement::new(
            Reason::CredentialsNotPushed,
            "The token in the Secret may not be used (see CredentialsValid and ScopesSufficient), so it was not written to the KMS. The token that is there stays until the Secret holds a good one; don't revoke it before.",
        ),
        (Some(_), Push::Undecided) => Judgement::new(
            Reason::CredentialsNotVerified,
            "The Secret holds other credentials than the KMS, and Bitbucket has not judged them yet. The token that is there stays until it has.",
        ),
        _ => in_sync(spec),
    };
    Plan { tells, stages, pending: None, synced, holds: true, release: false }
}

/// Whether the KMS is another than the one that a connection was made in: by its host, or by the organization that the
/// instance's identity belongs to. What isn't there then was not deleted, and must not be made a second time.
pub fn is_another_kms(recorded: &ConnectionStatus, host: &str, organization: Option<&str>) -> bool {
    let moved = recorded.org_id.as_deref().zip(organization).is_some_and(|(then, now)| then != now);
    recorded.host != host || moved
}

/// Whether the pass before may have left undone what the spec wanted, by what Synced said after it. Then a difference is
/// no proof that somebody changed the connection in the KMS.
pub fn left_undone(synced: Reason) -> bool {
    use Reason::{
        ChangesPending, DescriptionTooLong, InvalidName, KmsInstanceNotReady, KmsPermissionDenied, KmsRefNotAllowed,
        KmsRefNotFound, KmsRejected, KmsUnavailable, ProjectNotAllowed, RateLimited, SpecInvalid,
    };
    match synced {
        SpecInvalid | InvalidName | DescriptionTooLong => true,
        KmsRefNotFound | KmsRefNotAllowed | ProjectNotAllowed | KmsInstanceNotReady => true,
        KmsPermissionDenied | KmsRejected | KmsUnavailable | RateLimited | ChangesPending => true,
        // All was written but what may not be, or the connection isn't ours to write.
        _ => false,
    }
}

fn in_sync(spec: &ConnectionSpec) -> Judgement {
    let place = match spec.scope.project_id() {
        Some(_) => "its project",
        None => "the organization",
    };
    Judgement::new(
        Reason::InSync,
        format!("The connection {} in {place} of the KMS is as this object wants it.", spec.name),
    )
}

#[cfg(test)]
mod tests;
