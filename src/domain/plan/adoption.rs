//! Taking over a connection that was there before, and letting it go again.

use super::{Intent, Plan, Remote, Stage, Step, Wanted, finalizer, in_sync, origin};
use crate::{
    api::ConnectionStatus,
    domain::{
        conditions::{Judgement, Reason},
        connection::{Changes, KmsConnection},
        ownership::{self, KMS_DESCRIPTION_MAX, Origin},
        spec::{AdoptionPolicy, ConnectionSpec, DeletionPolicy},
        token::Push,
    },
};

/// What becomes of a connection where the spec doesn't say: what was created is deleted, what was adopted stays.
pub(super) fn deletion_policy(recorded: Option<&ConnectionStatus>, remote: &Remote) -> DeletionPolicy {
    let adopted = match remote {
        Remote::Ours(connection) => ownership::origin_of(&connection.description) == Some(Origin::Adopted),
        _ => origin(recorded) == Origin::Adopted,
    };
    if adopted { DeletionPolicy::Retain } else { DeletionPolicy::Delete }
}

/// The text before the mark: of the spec, else the one that is kept.
pub(super) fn text<'a>(spec: &'a ConnectionSpec, kept: &'a str) -> &'a str {
    spec.description.as_deref().unwrap_or(kept)
}

/// Takes over a connection that was there before, and that nobody has marked.
pub(super) fn adopt(wanted: &Wanted<'_>, connection: &KmsConnection) -> Plan {
    let Wanted { spec, token, .. } = *wanted;
    if spec.adoption == AdoptionPolicy::Never {
        let mut conflict = name_conflict(spec);
        conflict
            .message
            .push_str(" To take it over with the credentials of the Secret, set spec.adoptionPolicy: Adopt.");
        return Plan::nothing(conflict, false);
    }
    if !wanted.adoption_granted {
        return Plan::nothing(
            Judgement::new(
                Reason::AdoptionNotAllowed,
                format!(
                    "The KMS has a connection named {} in {} already, and {} doesn't let this namespace take connections over. Ask whoever runs it for a grant with adoption: true, or set another spec.connectionName.",
                    spec.name, spec.scope, spec.kms_ref
                ),
            ),
            false,
        );
    }
    let described = ownership::describe(text(spec, &connection.description), wanted.owner, Origin::Adopted);
    if described.encode_utf16().count() > KMS_DESCRIPTION_MAX {
        return Plan::nothing(
            Judgement::new(
                Reason::DescriptionTooLong,
                format!(
                    "The connection {} can't be taken over yet: with the mark of this object its description would be longer than the {KMS_DESCRIPTION_MAX} UTF-16 units that the KMS takes (an emoji is two). Set spec.description, which replaces it, or shorten it in the KMS to {} units.",
                    spec.name,
                    KMS_DESCRIPTION_MAX - " ".len() - wanted.owner.mark(Origin::Adopted).len()
                ),
            ),
            false,
        );
    }
    if token.push(spec) != Push::Allowed {
        return Plan::nothing(
            Judgement::not_evaluated(
                "the connection is taken over once there is a token that may be used (see CredentialsValid and ScopesSufficient)",
            ),
            false,
        );
    }
    let changes = Changes { name: None, description: Some(described) };
    let adopt = Stage {
        step: Step::Adopt { id: connection.id.clone(), seen: connection.description.clone(), changes },
        tells: vec![Intent::Adopted],
    };
    Plan {
        tells: Vec::new(),
        stages: finalizer(wanted).into_iter().chain([adopt]).collect(),
        synced: in_sync(spec),
        holds: wanted.recorded.is_some(),
        release: false,
        pending: None,
    }
}

/// The name is somebody else's.
pub fn name_conflict(spec: &ConnectionSpec) -> Judgement {
    Judgement::new(
        Reason::NameConflict,
        format!(
            "The KMS has a connection named {} in {} already, and this object didn't make it (names are shared by all apps). Set another spec.connectionName, or delete or rename that connection in the KMS.",
            spec.name, spec.scope
        ),
    )
}
