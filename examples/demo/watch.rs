//! What there is to see at one moment, and waiting until there is something else to see.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::Error;
use crate::screen::{Cell, Style, Table};
use crate::stage::Stage;
use crate::standins::Row;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// The object that the demo is about.
pub const NAME: &str = "payments";

/// An event about the object.
#[derive(Clone, Debug)]
pub struct Event {
    name: String,
    warning: bool,
    reason: String,
    note: String,
    time: String,
}

/// What was said before, and where: conditions and events often share a message.
#[derive(Debug, Default)]
pub struct Said(BTreeMap<String, String>);

impl Said {
    /// The message, or where it stands already.
    fn once(&mut self, by: &str, message: String) -> Cell {
        if let Some(first) = self.0.get(&message) {
            return Cell::new(&format!("(as {first})"), Style::Dim);
        }
        let cell = message.as_str().into();
        self.0.insert(message, by.to_owned());
        cell
    }
}

/// What there is to see.
#[derive(Clone, Debug)]
pub struct Snapshot {
    object: Option<Value>,
    /// Events that were not there before.
    pub events: Vec<Event>,
    /// What the KMS holds.
    pub rows: Vec<Row>,
}

impl Snapshot {
    async fn take(stage: &Stage, known: &BTreeSet<String>) -> Result<Self, Error> {
        let object = stage.get(&["bbc", NAME]).await?;
        let list = stage.get(&["events.events.k8s.io"]).await?.unwrap_or_default();
        let all = list["items"].as_array().into_iter().flatten().filter_map(event);
        let mut events: Vec<Event> = all.filter(|event| !known.contains(&event.name)).collect();
        events.sort_by(|a, b| a.time.cmp(&b.time));
        let rows = stage.stand_ins.view().await?.connections;
        Ok(Self { object, events, rows })
    }

    /// Takes snapshots until one is as wanted.
    pub async fn until(
        stage: &Stage,
        known: &BTreeSet<String>,
        what: &str,
        wanted: impl Fn(&Self) -> bool,
    ) -> Result<Self, Error> {
        let started = Instant::now();
        loop {
            let snapshot = Self::take(stage, known).await?;
            if wanted(&snapshot) {
                return Ok(snapshot);
            }
            if !stage.operator_runs() {
                return Err(Error::OperatorEnded { waiting_for: what.to_owned() });
            }
            if started.elapsed() >= PATIENCE {
                return Err(Error::TimedOut { waiting_for: what.to_owned(), patience: PATIENCE });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether the object is there.
    pub fn exists(&self) -> bool {
        self.object.is_some()
    }

    /// Whether a condition has this status for this reason.
    pub fn is(&self, kind: &str, status: &str, reason: &str) -> bool {
        self.conditions().any(|it| it["type"] == kind && it["status"] == status && it["reason"] == reason)
    }

    /// Whether the object as it is now is Ready.
    pub fn is_ready(&self) -> bool {
        let current = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
        self.object.as_ref().is_some_and(current) && self.is("Ready", "True", "Succeeded")
    }

    /// Whether there is a new event for this reason.
    pub fn tells(&self, reason: &str) -> bool {
        self.events.iter().any(|event| event.reason == reason)
    }

    /// The one connection in the KMS.
    pub fn row(&self) -> Option<&Row> {
        self.rows.first().filter(|_| self.rows.len() == 1)
    }

    /// The conditions that are other than they were, as a table; none if there are none.
    pub fn changed(&self, before: Option<&Self>, said: &mut Said) -> Option<Table> {
        let key = |condition: &Value| ["type", "status", "reason"].map(|field| text(condition, field));
        let old: BTreeSet<_> = before.into_iter().flat_map(Self::conditions).map(key).collect();
        let mut table = Table::new(&["TYPE", "STATUS", "REASON", "MESSAGE"]);
        let mut any = false;
        for condition in self.conditions().filter(|condition| !old.contains(&key(condition))) {
            let [kind, status, reason] = key(condition);
            let style = style(&kind, &status);
            let message = said.once(&kind, text(condition, "message"));
            table.row([kind.as_str().into(), Cell::new(&status, style), reason.as_str().into(), message]);
            any = true;
        }
        any.then_some(table)
    }

    /// The new events as a table.
    pub fn news(&self, said: &mut Said) -> Option<Table> {
        let mut table = Table::new(&["TYPE", "REASON", "NOTE"]);
        for event in &self.events {
            let kind = if event.warning { Cell::new("Warning", Style::Warn) } else { "Normal".into() };
            table.row([kind, event.reason.as_str().into(), said.once(&event.reason, event.note.clone())]);
        }
        (!self.events.is_empty()).then_some(table)
    }

    /// The names of the new events.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.events.iter().map(|event| event.name.clone())
    }

    fn conditions(&self) -> impl Iterator<Item = &Value> {
        self.object.iter().filter_map(|object| object["status"]["conditions"].as_array()).flatten()
    }
}

fn event(event: &Value) -> Option<Event> {
    let about = &event["regarding"];
    (about["kind"] == "BitbucketConnection" && about["name"] == NAME).then(|| Event {
        name: text(&event["metadata"], "name"),
        warning: event["type"] == "Warning",
        reason: text(event, "reason"),
        note: text(event, "note"),
        time: text(event, "eventTime"),
    })
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// ExpiringSoon, Reconciling and Stalled are abnormal when they are true.
fn style(kind: &str, status: &str) -> Style {
    match (kind, status) {
        ("ExpiringSoon", "False") => Style::Plain,
        ("ExpiringSoon" | "Reconciling" | "Stalled", _) => Style::Warn,
        (_, "True") => Style::Good,
        (_, "False") => Style::Bad,
        _ => Style::Warn,
    }
}
