//! What Synced says where nothing leads to the KMS: the instance isn't there, or may not be used.

use super::{
    conditions::{Judgement, Reason},
    connection::KmsScope,
    grants::Denied,
    spec::{InstanceKind, InstanceRef},
};

/// There is no such instance.
pub fn no_instance(instance: &InstanceRef) -> Judgement {
    Judgement::new(
        Reason::KmsRefNotFound,
        format!(
            "There is no {instance}{}. Create it, which is picked up at once, or create this object anew with another in spec.kmsRef.",
            match instance.kind {
                InstanceKind::Namespaced => " in this namespace",
                InstanceKind::Cluster => "",
            }
        ),
    )
}

/// An operator of some namespaces has no ClusterKmsInstances.
pub fn not_served(instance: &InstanceRef) -> Judgement {
    Judgement::new(
        Reason::KmsRefNotAllowed,
        format!(
            "{instance} can't be used, because this operator serves some namespaces only, and no ClusterKmsInstance. Create this object anew with a KmsInstance of this namespace in spec.kmsRef."
        ),
    )
}

/// The grants of an instance don't cover what an object of this namespace wants.
pub fn denied(denied: Denied, instance: &InstanceRef, namespace: &str, scope: &KmsScope) -> Judgement {
    match denied {
        Denied::Namespace => Judgement::new(
            Reason::KmsRefNotAllowed,
            format!(
                "{instance} doesn't let this namespace use it. Ask whoever runs it for a grant that selects namespace {namespace}."
            ),
        ),
        Denied::Scope => {
            let (grant, other) = match scope {
                KmsScope::Project(_) => ("that names the project", "another projectId"),
                KmsScope::Organization => ("with organizationScope: true", "a projectId"),
            };
            Judgement::new(
                Reason::ProjectNotAllowed,
                format!(
                    "{instance} lets this namespace use it, but not for {scope}. Ask whoever runs it for a grant {grant}, or create this object anew with {other}."
                ),
            )
        }
    }
}

/// To an object that is being deleted: its instance was deleted before it.
pub fn instance_gone(instance: &InstanceRef) -> Judgement {
    Judgement::new(
        Reason::KmsRefNotFound,
        format!("{instance}, through which it was made, is gone. Create it again with its credentials."),
    )
}

/// To an object that is being deleted: the operator served all namespaces when its connection was made.
pub fn no_longer_served(instance: &InstanceRef) -> Judgement {
    Judgement::new(
        Reason::KmsRefNotAllowed,
        format!(
            "{instance}, through which it was made, can't be used since the operator serves some namespaces only. Have it serve all namespaces until this object is gone."
        ),
    )
}
