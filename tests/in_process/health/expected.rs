//! What is right: from Ready alone, by the table of classes, which is written down here once more. What the operator says
//! to kstatus (Reconciling, Stalled) is not looked at: it is what is judged.

use serde_json::Value;

use super::kstatus::Kstatus;

/// Reasons of False that pass by themselves once something appears. Every other reason of False waits for a person.
const WAITING: [&str; 4] = ["SecretNotFound", "SecretKeyMissing", "KmsRefNotFound", "KmsInstanceNotReady"];
/// The same of instances, which don't wait for a key.
const INSTANCE_WAITING: [&str; 1] = ["SecretNotFound"];

/// The words of Argo CD that an object can get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argo {
    Healthy,
    Progressing,
    Degraded,
    Suspended,
}

impl Argo {
    /// The word as Argo CD spells it.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "Healthy" => Some(Self::Healthy),
            "Progressing" => Some(Self::Progressing),
            "Degraded" => Some(Self::Degraded),
            "Suspended" => Some(Self::Suspended),
            _ => None,
        }
    }
}

/// What each tool should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Flux and `helm --wait`.
    pub kstatus: Kstatus,
    /// Argo CD.
    pub argo: Argo,
}

/// What both should say of an object.
pub fn expected(object: &Value) -> Expected {
    let condition = |kind: &str| {
        let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        conditions.iter().find(|condition| condition["type"] == kind)
    };
    if object["metadata"]["deletionTimestamp"].is_string() {
        // Flux knows no word for a deletion that waits for a person.
        let blocked = condition("Synced").is_some_and(|synced| synced["reason"] == "DeletionBlocked");
        let argo = if blocked { Argo::Degraded } else { Argo::Progressing };
        return Expected { kstatus: Kstatus::Terminating, argo };
    }
    let unseen = object["status"]["observedGeneration"] != object["metadata"]["generation"];
    let ready = condition("Ready").filter(|_| !unseen);
    let class = match ready {
        None => Expected { kstatus: Kstatus::InProgress, argo: Argo::Progressing },
        Some(ready) => by_class(object["kind"] == "BitbucketConnection", &ready["status"], &ready["reason"]),
    };
    // Flux knows no word for what somebody suspended either.
    if ready.is_some() && object["spec"]["managementPolicy"] == "Suspended" {
        return Expected { argo: Argo::Suspended, ..class };
    }
    class
}

fn by_class(is_connection: bool, status: &Value, reason: &Value) -> Expected {
    let waiting = if is_connection { &WAITING[..] } else { &INSTANCE_WAITING };
    let waits = reason.as_str().is_some_and(|reason| waiting.contains(&reason));
    match (status.as_str(), waits) {
        (Some("True"), _) => Expected { kstatus: Kstatus::Current, argo: Argo::Healthy },
        (Some("False"), false) => Expected { kstatus: Kstatus::Failed, argo: Argo::Degraded },
        // Something appears, or an outage passes.
        (Some("False" | "Unknown"), _) => Expected { kstatus: Kstatus::InProgress, argo: Argo::Progressing },
        _ => panic!("Ready is {status}"),
    }
}
