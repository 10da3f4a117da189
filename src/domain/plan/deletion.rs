//! What to do about an object that is being deleted.

use super::{Identity, Intent, Plan, Remote, Stage, Step, adoption, host};
use crate::{
    api::ConnectionStatus,
    domain::{
        conditions::{Class, Judgement, Reason},
        connection::Changes,
        ownership,
        spec::DeletionPolicy,
    },
};

/// Plans for an object that is being deleted. Without a policy what was created is deleted, and what was adopted stays.
pub fn deletion(policy: Option<DeletionPolicy>, recorded: Option<&ConnectionStatus>, remote: &Remote) -> Plan {
    let policy = policy.unwrap_or_else(|| adoption::deletion_policy(recorded, remote));
    let done = |step: Option<Step>, intent: Option<Intent>| {
        let (tells, stages) = match step {
            Some(step) => (Vec::new(), vec![Stage { step, tells: intent.into_iter().collect() }]),
            None => (intent.into_iter().collect(), Vec::new()),
        };
        let synced = Judgement::not_evaluated("the object is being deleted");
        Plan { tells, stages, pending: None, synced, holds: false, release: true }
    };
    match (policy, remote) {
        (DeletionPolicy::Delete, Remote::Ours(connection)) => {
            done(Some(Step::Delete { id: connection.id.clone() }), Some(Intent::Deleted(Identity::of(connection))))
        }
        // Nobody asked for a connection of the whole organization: it isn't kept either.
        (_, Remote::Misplaced(connection)) => {
            done(Some(Step::Delete { id: connection.id.clone() }), Some(Intent::Deleted(Identity::of(connection))))
        }
        (DeletionPolicy::Retain, Remote::Ours(connection)) => {
            let description = ownership::without_mark(&connection.description).to_owned();
            let changes = Changes { name: None, description: Some(description) };
            let strip = Step::Update { id: connection.id.clone(), changes, credentials: false };
            done(Some(strip), Some(Intent::Retained { connection: Identity::of(connection), with_mark: false }))
        }
        // A pass before a crash deleted it, or somebody else did.
        (DeletionPolicy::Delete, Remote::Absent | Remote::NameTaken | Remote::Adoptable(_) | Remote::NoProjects) => {
            done(None, recorded.map(|recorded| Intent::Deleted(Identity::recorded(recorded))))
        }
        (DeletionPolicy::Retain, Remote::Absent | Remote::NameTaken | Remote::Adoptable(_) | Remote::NoProjects) => {
            done(None, None)
        }
        // Told by the name that the status knows: what the connection is called now may be somebody else's business.
        (DeletionPolicy::Retain, Remote::NotOurs(..)) => done(
            None,
            recorded.map(|recorded| Intent::Retained { connection: Identity::recorded(recorded), with_mark: false }),
        ),
        (DeletionPolicy::Delete, Remote::NotOurs(..)) => {
            done(None, recorded.map(|recorded| Intent::LeftAlone(Identity::recorded(recorded))))
        }
        // It has its turn soon; nothing is in its way.
        (_, Remote::Unreadable(why)) if why.reason == Reason::RateLimited => Plan::nothing(why.clone(), true),
        (DeletionPolicy::Retain, Remote::Unreadable(_) | Remote::Ambiguous | Remote::HostChanged) => done(
            None,
            recorded.map(|recorded| Intent::Retained { connection: Identity::recorded(recorded), with_mark: true }),
        ),
        (DeletionPolicy::Delete, Remote::Unreadable(judgement)) => Plan::nothing(blocked(judgement), true),
        (DeletionPolicy::Delete, Remote::Ambiguous) => Plan::nothing(
            blocked(&Judgement::new(
                Reason::OwnershipAmbiguous,
                "Several connections in the KMS bear the mark of this object. Remove it from the description of those that shall stay.",
            )),
            true,
        ),
        (DeletionPolicy::Delete, Remote::HostChanged) => Plan::nothing(
            blocked(&Judgement::new(
                Reason::KmsChanged,
                format!(
                    "The instance now leads to another KMS, or to another organization of it, which doesn't hold the connection. Set its spec.host back to {}, with credentials of the organization of then.",
                    host(recorded)
                ),
            )),
            true,
        ),
    }
}

/// What a deletion says that can't go on: an outage passes by itself, anything else needs a person. Both are told the
/// one edit that frees the object.
fn blocked(why: &Judgement) -> Judgement {
    const WAY_OUT: &str = "To let this object go and leave the connection in the KMS, set spec.deletionPolicy: Retain.";
    let message = format!("The connection in the KMS can't be deleted. {} {WAY_OUT}", why.message);
    let outage = why.reason.class() == Some(Class::Transient);
    Judgement::new(if outage { why.reason } else { Reason::DeletionBlocked }, message)
}
