//! What every pass needs from outside: the cluster, both services, the clock. Tests put others in their place.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    adoptions::Adoptions,
    clock::Clock,
    instances::Instances,
    memory::Memory,
    namespaces::Namespaces,
    sources::Sources,
    triggers::{InstanceKey, Triggers},
    users::Users,
    verdicts::Verdicts,
};
use crate::{
    domain::{credential::ProcessKey, duration::Span, host::AllowedHosts, ownership::OwnerId, schedule},
    telemetry::metrics::Metrics,
};

/// The name under which the operator writes to the API server.
pub const FIELD_MANAGER: &str = "bitbucket-connection-operator";

/// What every pass needs from outside.
pub struct Context {
    /// The cluster.
    pub client: Client,
    /// Whose connections are ours.
    pub owner_id: OwnerId,
    /// By which ids they were ours before.
    pub previous_owner_ids: Vec<OwnerId>,
    /// The time.
    pub clock: Clock,
    /// When this process started.
    pub started: Timestamp,
    /// Which hosts may be a KMS.
    pub allowed_hosts: AllowedHosts,
    /// Bitbucket.
    pub verdicts: Verdicts,
    /// The KMS, through its instances.
    pub instances: Instances,
    /// Versions of the Secrets and ConfigMaps that something refers to.
    pub sources: Sources,
    /// Labels of namespaces; none where only some namespaces are served.
    pub namespaces: Namespaces,
    /// By which contents of Secrets are compared.
    pub process_key: ProcessKey,
    /// What is remembered between passes.
    pub memory: Memory,
    /// Which connections use which instance.
    pub users: Users,
    /// Which connections are just being taken over.
    pub adoptions: Adoptions,
    /// Who else is to be looked at.
    pub triggers: Triggers,
    /// Instances whose connections came or went.
    pub recounts: UnboundedSender<InstanceKey>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Which replica sends events: the pod's name.
    pub reporter: String,
}

impl Context {
    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// When this process started, by a clock that shows now.
    pub fn started_by(&self, now: Timestamp) -> Timestamp {
        schedule::started_by(self.started, now)
    }

    /// How often an object is verified that wants to be every `wanted`: less often where the limit of its KMS forces it.
    /// All instances at its host share that.
    pub fn effective_interval(&self, wanted: Span, instance: &InstanceKey) -> Span {
        let Some((limit, sharing)) = self.instances.reads(instance) else { return wanted };
        let lists: usize = sharing.iter().map(|instance| self.users.scopes(instance)).sum();
        schedule::effective(wanted, limit.time_for(u64::try_from(lists).unwrap_or(u64::MAX)))
    }

    /// Has the connections of an instance counted, soon.
    pub fn recount(&self, instance: InstanceKey) {
        // Nobody counts any more while the operator stops.
        let _ = self.recounts.send(instance);
    }
}
