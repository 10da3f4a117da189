//! What must hold at every write to the KMS, at the moment at which it arrives.

use std::time::Duration;

use serde_json::Value;
use sim::{Connection, Operation};

use crate::{
    cast::{Cast, Mark, Slot},
    facts::{Facts, Granted},
    ledger::Ledger,
    model,
    token::{Issued, Opinion, opinion},
};

/// How long a pass may take that began before somebody changed something: it may still write what was right then.
const PASS: Duration = Duration::from_secs(120);
/// How old a list of connections may be that a write relies on, and the pass besides.
const LIST: Duration = Duration::from_secs(600 + 120);

/// How old a verdict may be that a write relies on: the longest interval that is set, and a tenth.
const INTERVAL: Duration = Duration::from_secs(66 * 60);

/// A write to the KMS.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// What it does.
    pub operation: Operation,
    /// To which connection, if it is there already.
    pub id: &'a str,
    /// What it says.
    pub body: &'a Value,
}

/// Notes which tokens may be written by now.
pub fn justify(facts: &Facts, ledger: &mut Ledger, now: Duration) {
    for (slot, object) in &facts.objects {
        if model::may_push(object, facts, ledger)
            && let Some(text) = facts.secrets.get(&object.secret).and_then(|data| data.get(&object.token_key))
        {
            ledger.justified.insert((*slot, text.clone()));
            ledger.good.insert(text.clone(), now);
        }
    }
}

/// Notes of which objects a connection may be left, now that somebody deleted or changed them.
pub fn note_deletions(facts: &Facts, ledger: &mut Ledger, cast: &Cast) {
    for (slot, object) in facts.objects.iter().filter(|(_, object)| object.deleting) {
        let adopted = facts.rows.iter().any(|row| {
            let mark = row.description.as_deref().and_then(|text| cast.mark(text));
            mark.is_some_and(|mark| mark.slot == Some(*slot) && mark.adopted)
        });
        let retained = match object.deletion.as_deref() {
            Some(policy) => policy == "Retain",
            None => adopted,
        };
        if retained || object.management != "Full" {
            ledger.may_leave.insert(*slot);
        }
    }
}

/// Looks at a write before it is carried out, and notes what must not be.
pub fn look(write: Write<'_>, facts: &Facts, ledger: &mut Ledger, cast: &Cast, now: Duration) {
    justify(facts, ledger, now);
    let row = facts.rows.iter().find(|row| row.id == write.id);
    let said = write.body["description"].as_str().and_then(|text| cast.mark(text));
    let result = match write.operation {
        Operation::Create => create(said, facts, ledger, cast, now),
        Operation::Update => update(row, said, facts, ledger, cast, now),
        Operation::Delete => delete(row, facts, ledger, cast, now),
        _ => return,
    };
    match result {
        Err(why) => {
            ledger.violations.insert(format!("{why}: {write:?} to {row:?}"));
        }
        Ok(None) => {}
        Ok(Some(slot)) => {
            let problem = rights(slot, write, facts, ledger, now).or_else(|| token(slot, write, facts, ledger, now));
            ledger.violations.extend(problem.map(|why| format!("{why}: {slot:?} {write:?}")));
        }
    }
}

fn create(
    said: Option<Mark>,
    facts: &Facts,
    ledger: &Ledger,
    cast: &Cast,
    now: Duration,
) -> Result<Option<Slot>, &'static str> {
    let Some(slot) = said.and_then(|mark| mark.slot) else { return Err("a connection without a mark is created") };
    let Some(object) = facts.objects.get(&slot) else {
        return Err("a connection is created for an object that isn't there");
    };
    // Where it goes on as planned after somebody had one appear, the KMS can't be asked to make none.
    let seen = ledger.appeared.is_none_or(|then| now > then + LIST);
    if seen && !model::visible_rows(slot, object, facts, ledger, cast).is_empty() {
        return Err("a second connection is created");
    }
    Ok(Some(slot))
}

fn update(
    row: Option<&Connection>,
    said: Option<Mark>,
    facts: &Facts,
    ledger: &mut Ledger,
    cast: &Cast,
    now: Duration,
) -> Result<Option<Slot>, &'static str> {
    // It was deleted meanwhile: nothing happens.
    let Some(row) = row else { return Ok(None) };
    match row.description.as_deref().and_then(|text| cast.mark(text)) {
        Some(Mark { slot: Some(slot), .. }) => return Ok(Some(slot)),
        Some(Mark { slot: None, .. }) => return Err("another cluster's connection is written to"),
        None => {}
    }
    if lost_its_mark(row, ledger, now) {
        // The KMS can't be asked to write only if nobody wrote meanwhile.
        ledger.foreign.remove(&row.id);
        return Ok(None);
    }
    let Some(Mark { slot: Some(slot), adopted: true }) = said else {
        return Err("a connection without a mark is written to");
    };
    let Some(object) = facts.objects.get(&slot) else { return Err("adopted for an object that isn't there") };
    let granted = facts.granted(object) == Some(Granted::This { adoption: true });
    if (object.adopt && granted) || now <= ledger.changed + PASS {
        ledger.foreign.remove(&row.id);
        Ok(Some(slot))
    } else {
        Err("a connection is adopted that nobody may adopt")
    }
}

fn delete(
    row: Option<&Connection>,
    facts: &Facts,
    ledger: &mut Ledger,
    cast: &Cast,
    now: Duration,
) -> Result<Option<Slot>, &'static str> {
    let Some(row) = row else { return Ok(None) };
    match row.description.as_deref().and_then(|text| cast.mark(text)) {
        Some(Mark { slot: Some(slot), .. }) => {
            let deleting = facts.objects.get(&slot).is_some_and(|object| object.deleting);
            if deleting { Ok(None) } else { Err("the connection of an object that stays is deleted") }
        }
        Some(Mark { slot: None, .. }) => Err("another cluster's connection is deleted"),
        None if lost_its_mark(row, ledger, now) => {
            ledger.foreign.remove(&row.id);
            Ok(None)
        }
        None => Err("a connection without a mark is deleted"),
    }
}

fn lost_its_mark(row: &Connection, ledger: &Ledger, now: Duration) -> bool {
    ledger.stripped.get(&row.id).is_some_and(|then| now <= *then + LIST)
}

/// Whether the instance grants it, and the policy allows it. A deletion needs no grant.
fn rights(slot: Slot, write: Write<'_>, facts: &Facts, ledger: &Ledger, now: Duration) -> Option<&'static str> {
    let object = facts.objects.get(&slot)?;
    // An object is read before anything is written for it, so what its watch doesn't tell is no excuse.
    let unread = ledger.unheard && ledger.objects_read_late;
    if now <= ledger.changed + PASS || unread || object.deleting {
        return None;
    }
    if object.management != "Full" {
        return Some("written although the managementPolicy forbids it");
    }
    if !ledger.unheard && !matches!(facts.granted(object), Some(Granted::This { .. })) {
        return Some("written without a grant");
    }
    let elsewhere =
        write.operation == Operation::Create && write.body["projectId"].as_str() != object.project.as_deref();
    elsewhere.then_some("created elsewhere than the object says")
}

/// Whether a token that was revoked since was good for another object within the interval: they share the verdict.
fn shared(slot: Slot, text: &str, facts: &Facts, ledger: &Ledger, now: Duration) -> bool {
    let Some((object, issued)) = facts.objects.get(&slot).zip(ledger.token(text)) else { return false };
    let alive = Issued { revoked: false, ..issued.clone() };
    let suffices = match opinion(&alive, object.demands) {
        Opinion::Fine => true,
        Opinion::Bad(_) => false,
        Opinion::Unclear(_, may) => may,
    };
    suffices && ledger.good.get(text).is_some_and(|then| now <= *then + INTERVAL + PASS)
}

/// Whether the token was in the Secret before the object came, and is good for it. Who knows no newer version takes what is
/// served for the newest.
fn read_late(slot: Slot, text: &str, facts: &Facts, ledger: &Ledger) -> bool {
    let Some((object, issued)) = facts.objects.get(&slot).zip(ledger.token(text)) else { return false };
    let was_served = ledger.purse(text).is_some_and(|purse| ledger.read_late.contains(&purse));
    was_served && !matches!(opinion(issued, object.demands), Opinion::Bad(_))
}

/// Whether the token was ever good for this object, and is none that a newer one replaced.
fn token(slot: Slot, write: Write<'_>, facts: &Facts, ledger: &mut Ledger, now: Duration) -> Option<&'static str> {
    let text = write.body["credentials"]["apiToken"].as_str()?;
    let justified = ledger.justified.contains(&(slot, text.to_owned())) || read_late(slot, text, facts, ledger);
    if !justified && !shared(slot, text, facts, ledger, now) {
        return Some("a token that was never good for the object is written");
    }
    let (purse, serial) = (ledger.purse(text)?, ledger.token(text)?.serial);
    let newest = ledger.newest.entry((slot, purse)).or_default();
    if serial < *newest {
        return Some("an older token is written over a newer one");
    }
    *newest = serial;
    None
}
