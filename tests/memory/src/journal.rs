//! What was asked, and what became of it.

use std::collections::HashMap;

use crate::{fault::Match, request::Asked};

/// What a request does, in the words that roles are written in; `apply` is a `patch`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Verb {
    /// One object.
    Get,
    /// All objects of a kind.
    List,
    /// Changes from now on.
    Watch,
    /// A new object, or a token or review.
    Create,
    /// Replaces an object.
    Update,
    /// Changes an object, whatever the form of the change.
    Patch,
    /// Deletes an object.
    Delete,
}

impl Verb {
    /// Can it change what is stored?
    pub fn is_write(self) -> bool {
        match self {
            Self::Create | Self::Update | Self::Patch | Self::Delete => true,
            Self::Get | Self::List | Self::Watch => false,
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Not yet, or never: its caller went away before.
    Open,
    /// Answered with this status after it was carried out (or refused by the rules).
    Answered(u16),
    /// Carried out with this status, but the answer never came, or is still held, or said something else.
    AnswerLost(u16),
    /// Not carried out because of a fault.
    Failed,
}

/// One request through the client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// What it does.
    pub verb: Verb,
    /// The plural of the kind.
    pub resource: &'static str,
    /// `status`, `token` or nothing.
    pub subresource: &'static str,
    /// Empty for all namespaces and where there is none.
    pub namespace: String,
    /// Empty for lists and watches; for a new object empty if the API server is to choose it.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it changed what is stored.
    pub changed: bool,
}

impl Entry {
    /// What a request asks for that was not sent yet; none if it isn't served.
    pub fn of<B>(request: &http::Request<B>) -> Option<Self> {
        Asked::read_head(request.method(), request.uri(), request.headers()).ok().map(|asked| asked.entry())
    }
}

/// Requests in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: Vec<Entry>,
    counts: HashMap<(Verb, &'static str, &'static str), u64>,
    /// What was there when the journal was cleared: numbers of entries go on.
    cleared: usize,
    pub unsupported: Vec<String>,
}

impl Journal {
    /// Notes a request; the number is for [`Journal::end`].
    pub fn arrived(&mut self, asked: &Asked) -> usize {
        let entry = asked.entry();
        *self.counts.entry((entry.verb, entry.resource, entry.subresource)).or_default() += 1;
        self.entries.push(entry);
        self.cleared + self.entries.len() - 1
    }

    pub fn end(&mut self, number: usize, outcome: Outcome, changed: bool) {
        let entry = number.checked_sub(self.cleared).and_then(|index| self.entries.get_mut(index));
        if let Some(entry) = entry {
            entry.outcome = outcome;
            entry.changed |= changed;
        }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn count(&self, what: &Match) -> u64 {
        match what.as_count() {
            Some(key) => self.counts.get(&key).copied().unwrap_or_default(),
            None => self.entries.iter().filter(|entry| what.matches(entry)).map(|_| 1).sum(),
        }
    }

    pub fn clear(&mut self) {
        self.cleared += self.entries.len();
        self.entries.clear();
        self.counts.clear();
    }
}
