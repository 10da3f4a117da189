//! Where an object must end, once nothing happens any more: from what others than the operator wrote, and from who has
//! which name in the KMS. Written from the contract, and on purpose without a line of the operator's code.

use sim::Connection;

use crate::{
    cast::{Cast, Slot},
    facts::{Facts, Granted, Object},
    ledger::Ledger,
    token::{Opinion, opinion},
};

/// Where an object must end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// Ready, and the connection in the KMS is as it wants it.
    Ready,
    /// Not Ready, for one of these reasons; Ready if `InSync` is among them.
    NotReady(Vec<&'static str>),
    /// Not Ready, for whatever reason.
    Somehow,
    /// Nobody is asked, so nothing is known.
    Unknown,
}

/// What is to be said of the token that an object would use.
pub fn token_of(object: &Object, facts: &Facts, ledger: &Ledger) -> Opinion {
    let Some(secret) = facts.secrets.get(&object.secret) else { return Opinion::Bad("SecretNotFound") };
    let Some(text) = secret.get(&object.token_key) else { return Opinion::Bad("SecretKeyMissing") };
    if text.is_empty() || !secret.contains_key("email") {
        return Opinion::Bad("SecretKeyMissing");
    }
    match ledger.token(text) {
        Some(token) => opinion(token, object.demands),
        None => Opinion::Bad("CredentialsRejected"),
    }
}

/// Whether an object may write the token in its Secret to the KMS.
pub fn may_push(object: &Object, facts: &Facts, ledger: &Ledger) -> bool {
    match token_of(object, facts, ledger) {
        Opinion::Fine => true,
        Opinion::Bad(_) => false,
        Opinion::Unclear(_, may) => may,
    }
}

/// The connections in an object's scope that bear its mark.
pub fn own_rows<'a>(slot: Slot, object: &Object, facts: &'a Facts, cast: &Cast) -> Vec<&'a Connection> {
    let in_scope = facts.rows.iter().filter(|row| row.project_id == object.project);
    in_scope.filter(|row| is_marked(row, slot, cast)).collect()
}

/// Whether a connection bears the mark of a slot.
pub fn is_marked(row: &Connection, slot: Slot, cast: &Cast) -> bool {
    let mark = row.description.as_deref().and_then(|description| cast.mark(description));
    mark.is_some_and(|mark| mark.slot == Some(slot))
}

/// Where an object must end.
pub fn end(slot: Slot, facts: &Facts, ledger: &Ledger, cast: &Cast) -> End {
    let Some(object) = facts.objects.get(&slot) else { return End::Unknown };
    if object.deleting || object.management == "Suspended" {
        return End::Unknown;
    }
    if object.description.as_ref().is_some_and(|text| text.encode_utf16().count() > 200) {
        // What was said of the token before the spec became unreadable is still said.
        return End::Somehow;
    }
    let token = token_of(object, facts, ledger);
    if let Opinion::Bad(reason) = token {
        return End::NotReady(vec![reason]);
    }
    let mut synced = in_kms(slot, object, facts, ledger, cast);
    if let Opinion::Unclear(reason, _) = token {
        // Whatever else is wrong comes first; what isn't known keeps it from being Ready.
        synced.retain(|reason| *reason != "InSync");
        synced.extend([reason, "VerificationStale"]);
    }
    if synced == ["InSync"] { End::Ready } else { End::NotReady(synced) }
}

/// What Synced may say, `InSync` among it.
fn in_kms(slot: Slot, object: &Object, facts: &Facts, ledger: &Ledger, cast: &Cast) -> Vec<&'static str> {
    let Some(instance) = facts.instances.get(&object.instance) else { return vec!["KmsRefNotFound"] };
    let granted = instance.granted(&object.secret.0, object.project.as_deref());
    let adoption = match granted {
        Granted::Nothing => return vec!["KmsRefNotAllowed"],
        Granted::SomethingElse => return vec!["ProjectNotAllowed"],
        Granted::This { adoption } => adoption,
    };
    if !instance.usable {
        // An identity that failed too often is locked for a while, which is an outage.
        return vec!["KmsInstanceNotReady", "KmsUnavailable", "VerificationStale"];
    }
    let observe = object.management == "Observe";
    let recorded = object.recorded().and_then(|id| facts.rows.iter().find(|row| row.id == id));
    let own = match recorded {
        Some(row) if is_marked(row, slot, cast) => Some(row),
        Some(row) => {
            let marked = row.description.as_deref().and_then(|text| cast.mark(text)).is_some();
            return vec![if marked { "OwnedByAnother" } else { "OwnershipMarkMissing" }];
        }
        None => match own_rows(slot, object, facts, cast)[..] {
            [] => None,
            [row] => Some(row),
            _ => return vec!["OwnershipAmbiguous"],
        },
    };
    let mut named = facts.rows.iter().filter(|row| row.project_id == object.project && row.name == object.name);
    let holder = named.find(|row| own.is_none_or(|own| own.id != row.id));
    match (own, holder) {
        (Some(own), _) if observe => match difference(own, object, facts) {
            // A lost answer leaves what was written unknown, and that can't be written again here.
            None => vec!["InSync", "ChangesPending"],
            Some(_) => vec!["ChangesPending"],
        },
        (Some(_), None) => vec!["InSync"],
        (Some(_), Some(_)) => vec!["NameConflict"],
        (None, _) if !may_push(object, facts, ledger) => {
            vec!["InSync", "NameConflict", "AdoptionNotAllowed", "DescriptionTooLong"]
        }
        (None, None) if observe => vec!["ChangesPending"],
        (None, None) => vec!["InSync"],
        (None, Some(holder)) => {
            let marked = holder.description.as_deref().and_then(|text| cast.mark(text)).is_some();
            let long = object.description.is_none()
                && holder.description.as_deref().is_some_and(|text| text.encode_utf16().count() > 256 - 25);
            let mut reasons = match (object.adopt && !marked && holder.app == "bitbucket", adoption, long) {
                (false, ..) => vec!["NameConflict"],
                (true, false, _) => vec!["AdoptionNotAllowed"],
                (true, true, true) => vec!["DescriptionTooLong"],
                (true, true, false) => vec!["InSync"],
            };
            if observe {
                // Whose a name is shows when it is written.
                reasons.retain(|reason| *reason != "InSync");
                reasons.push("ChangesPending");
            }
            reasons
        }
    }
}

/// What differs between a connection in the KMS and what an object wants; nothing is good.
pub fn difference(row: &Connection, object: &Object, facts: &Facts) -> Option<String> {
    let secret = facts.secrets.get(&object.secret);
    let value = |key: &str| secret.and_then(|data| data.get(key)).map(String::as_str);
    let text = object.description.as_deref().unwrap_or_default();
    let described = row.description.as_deref().unwrap_or_default();
    if row.name != object.name {
        Some(format!("its name is {}, not {}", row.name, object.name))
    } else if !described.starts_with(text)
        || (described.ends_with(":c]") && described.trim_start().len() != whole(text))
    {
        Some(format!("its description is {described:?}, not {text:?} and the mark"))
    } else if Some(&*row.email) != value("email") || Some(&*row.api_token) != value(&object.token_key) {
        Some(format!("its credentials are {} {}", row.email, row.api_token))
    } else {
        None
    }
}

/// The length of a text with the mark.
fn whole(text: &str) -> usize {
    let mark = "[k8s:0123456789abcdef:c]".len();
    if text.is_empty() { mark } else { text.len() + 1 + mark }
}
