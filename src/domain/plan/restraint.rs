//! What becomes of a plan where the policy forbids to carry it out.

use super::{Identity, Intent, Plan, Step};
use crate::{
    api::ConnectionStatus,
    domain::{
        conditions::{Judgement, Reason},
        spec::Management,
    },
};

/// A plan that is only shown: nothing of it is done, nor told as if it were. What the KMS would be asked to do is
/// pending; what is told of an earlier write waits until writing is allowed again.
pub fn observed(plan: Plan) -> Plan {
    let in_kms = |step: &Step| !matches!(step, Step::AddFinalizer);
    let steps = plan.stages.iter().map(|stage| &stage.step).filter(|step| in_kms(step));
    let pending: Vec<String> = steps.map(ToString::to_string).collect();
    let synced = match plan.synced.reason {
        // In the order of the table this comes first.
        Reason::CredentialsNotPushed => plan.synced,
        _ if !pending.is_empty() => changes_pending(&pending),
        _ => plan.synced,
    };
    Plan { tells: Vec::new(), stages: Vec::new(), pending: Some(pending), synced, ..plan }
}

fn changes_pending(pending: &[String]) -> Judgement {
    Judgement::new(
        Reason::ChangesPending,
        format!(
            "The connection in the KMS is not as this object wants it, and spec.managementPolicy: Observe forbids to write there. Full would: {}. Set spec.managementPolicy: Full to have that done, or change this object.",
            pending.join("; ")
        ),
    )
}

/// For an object that is deleted while its policy forbids every call: it goes, and what is in the KMS stays as it is.
pub fn let_go(policy: Management, recorded: Option<&ConnectionStatus>) -> Plan {
    let tells = vec![Intent::LeftAsItIs { connection: recorded.map(Identity::recorded), policy }];
    let synced = Judgement::not_evaluated("the object is being deleted");
    Plan { tells, release: true, ..Plan::nothing(synced, false) }
}

impl Plan {
    /// What the status records of a connection that was found. Where nothing may be written, what was written last
    /// stays on record: by it is told later who changed what.
    pub fn record(&self, recorded: Option<&ConnectionStatus>, found: ConnectionStatus) -> ConnectionStatus {
        match recorded {
            Some(recorded) if self.pending.is_some() && recorded.id != found.id => recorded.clone(),
            Some(recorded) if self.pending.is_some() => {
                ConnectionStatus { name: recorded.name.clone(), description: recorded.description.clone(), ..found }
            }
            _ => found,
        }
    }
}
