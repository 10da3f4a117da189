//! Whether the world is as it must be: between steps, and once all is quiet.

use crate::{
    cast::{Cast, Slot},
    facts::{Facts, Object},
    ledger::Ledger,
    model::{self, End},
};

/// What must hold at every moment, as far as it can be seen between two steps.
pub fn meanwhile(facts: &Facts, ledger: &mut Ledger, cast: &Cast) {
    let mut found = Vec::new();
    for slot in Slot::ALL {
        let places = facts.rows.iter().filter(|row| model::is_marked(row, slot, cast)).map(|row| &row.project_id);
        let mut places: Vec<_> = places.collect();
        places.sort();
        if places.windows(2).any(|pair| pair[0] == pair[1]) {
            found.push(format!("{slot:?} has several connections in one place"));
        }
    }
    for (id, left) in &ledger.foreign {
        let now = facts.rows.iter().find(|row| row.id == *id);
        if now != Some(left) {
            found.push(format!("somebody else's connection changed: {left:?} is now {now:?}"));
        }
    }
    ledger.violations.extend(found);
}

/// How long it was quiet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// Long enough for three intervals, and all that takes.
    Hours,
    /// Long enough to look at everything on request. What was Ready still is, if nobody can tell that it is not.
    Moments,
}

/// What isn't as it must be in the end.
pub fn in_the_end(facts: &Facts, ledger: &Ledger, cast: &Cast, patience: Patience) -> Vec<String> {
    let mut found: Vec<_> = ledger.violations.iter().cloned().collect();
    for (slot, object) in &facts.objects {
        let problem = if object.deleting {
            stuck(object, facts)
        } else {
            let end = match model::end(*slot, facts, ledger, cast) {
                End::NotReady(mut reasons)
                    if patience == Patience::Moments && reasons.contains(&"VerificationStale") =>
                {
                    reasons.push("InSync");
                    End::NotReady(reasons)
                }
                end => end,
            };
            settled(*slot, object, end, facts, cast)
        };
        found.extend(problem.map(|problem| format!("{slot:?}: {problem}\n  {object:?}")));
    }
    for row in &facts.rows {
        let Some(mark) = row.description.as_deref().and_then(|text| cast.mark(text)) else { continue };
        let Some(slot) = mark.slot else { continue };
        let wanted = facts.objects.get(&slot).is_some_and(|object| object.project == row.project_id);
        if !wanted && !ledger.may_leave.contains(&slot) {
            found.push(format!("nobody wants a connection of {slot:?}: {row:?}"));
        }
    }
    for team in &facts.ending {
        if !facts.objects.iter().any(|(slot, object)| slot.team() == *team && object.deleting) {
            found.push(format!("the namespace of {team:?} doesn't end, though nothing holds it"));
        }
    }
    found
}

/// A deletion that didn't end, though nothing is in its way.
fn stuck(object: &Object, facts: &Facts) -> Option<String> {
    let usable = facts.instances.get(&object.instance).is_some_and(|instance| instance.usable);
    let forced = object.management != "Full" || object.deletion.as_deref() == Some("Retain");
    let said = object.condition("Synced").map(|(_, reason)| reason);
    let told = matches!(said, Some("DeletionBlocked" | "KmsUnavailable"));
    if usable || forced {
        Some("its deletion doesn't end, though nothing is in the way".to_owned())
    } else {
        (!told).then(|| format!("its deletion waits for its instance, but it says {said:?}"))
    }
}

fn settled(slot: Slot, object: &Object, end: End, facts: &Facts, cast: &Cast) -> Option<String> {
    let suspended = object.management == "Suspended";
    if object.status.0["observedGeneration"].as_i64() != object.generation && !suspended {
        return Some("its present spec was not looked at".to_owned());
    }
    let ready = object.condition("Ready");
    let rows = model::own_rows(slot, object, facts, cast);
    let as_told = match (&end, ready) {
        (End::Unknown, _) => true,
        (End::Ready, Some(("True", _))) => true,
        (End::Somehow, Some((status, _))) => status != "True",
        (End::NotReady(reasons), Some(("True", _))) => reasons.contains(&"InSync"),
        (End::NotReady(reasons), Some((_, reason))) => reasons.contains(&reason),
        (End::Ready | End::Somehow | End::NotReady(_), _) => false,
    };
    if !as_told {
        return Some(format!("it must end {end:?}, but Ready is {ready:?}; its connections: {rows:?}"));
    }
    match (&end, &rows[..]) {
        (End::Ready, [row]) => {
            let problem = model::difference(row, object, facts);
            problem.map(|problem| format!("it is Ready, but in the KMS {problem}"))
        }
        (End::Ready, _) => Some(format!("it is Ready with {} connections", rows.len())),
        (End::NotReady(_) | End::Somehow | End::Unknown, _) => None,
    }
}
