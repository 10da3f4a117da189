//! A KMS that is too old to know projects drops the one that is asked for, and makes the connection for the whole
//! organization: what nobody may get by forgetting a line, nobody may get by an old server either. Such a connection
//! bears our mark, so that one which a crash left behind is found and deleted like one that was just made.

use super::{Plan, Stage, Step};
use crate::{
    api::{ConnectionStatus, RECONCILE_REQUESTED_AT},
    domain::{
        conditions::{Judgement, Reason},
        connection::{KmsConnection, KmsScope},
        spec::ConnectionSpec,
    },
};

/// Whether a connection of ours is for the whole organization, though a project is wanted. One that is on record in that
/// project is there, even if the KMS has ceased to say so.
pub fn is_misplaced(connection: &KmsConnection, wanted: &KmsScope, recorded: Option<&ConnectionStatus>) -> bool {
    let on_record = |recorded: &ConnectionStatus| {
        recorded.id == connection.id && recorded.project_id.as_deref() == wanted.project_id()
    };
    wanted.project_id().is_some() && connection.project_id.is_none() && !recorded.is_some_and(on_record)
}

/// The KMS makes no connections in projects.
pub fn no_projects(spec: &ConnectionSpec) -> Judgement {
    Judgement::new(
        Reason::KmsRejected,
        format!(
            "The KMS behind {} is too old to know projects: it makes connections for the whole organization alone, so there is none for this object. Update the KMS, then set the annotation {RECONCILE_REQUESTED_AT} to a new value; or, if the whole organization may use the connection, create an object with organizationScope: true instead.",
            spec.kms_ref
        ),
    )
}

/// Deletes what is for the whole organization.
pub(super) fn delete(spec: &ConnectionSpec, connection: &KmsConnection) -> Plan {
    let delete = Stage { step: Step::Delete { id: connection.id.clone() }, tells: Vec::new() };
    Plan { stages: vec![delete], ..Plan::nothing(no_projects(spec), false) }
}

/// What is said when that doesn't work.
pub fn left_behind(why: &Judgement) -> Judgement {
    let message = format!(
        "The KMS is too old to know projects, and made the connection for the whole organization, where it must not stay; deleting it didn't work yet. {}",
        why.message
    );
    Judgement::new(why.reason, message)
}
