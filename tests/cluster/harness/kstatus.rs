//! What kstatus, the library behind Flux, `helm --wait` and others, makes of an object of a kind that it doesn't know.

use serde::Serialize;
use serde_json::Value;

/// The library's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kstatus {
    /// Something is under way.
    InProgress,
    /// It won't get anywhere without somebody's help.
    Failed,
    /// It is as it should be.
    Current,
    /// It is going away.
    Terminating,
}

/// The published rules, in their order.
pub fn kstatus(object: &impl Serialize) -> Kstatus {
    let object = serde_json::to_value(object).expect("an object");
    if object["metadata"]["deletionTimestamp"].is_string() {
        return Kstatus::Terminating;
    }
    let (generation, observed) = (&object["metadata"]["generation"], &object["status"]["observedGeneration"]);
    if observed.is_i64() && observed != generation {
        return Kstatus::InProgress;
    }
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let is_true = |condition: &Value, kind: &str| condition["type"] == kind && condition["status"] == "True";
    for condition in conditions {
        if is_true(condition, "Reconciling") {
            return Kstatus::InProgress;
        }
        if is_true(condition, "Stalled") {
            return Kstatus::Failed;
        }
    }
    match conditions.iter().find(|condition| condition["type"] == "Ready") {
        Some(ready) if ready["status"] != "True" => Kstatus::InProgress,
        Some(_) | None => Kstatus::Current,
    }
}
