//! Counters, which stay exact where no journal is kept.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::journal::{Caller, Entry, Operation, Outcome};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;

/// How many requests arrived, when, and how they ended. It grows with the minutes in which something arrived, not with
/// the requests.
///
/// ```
/// # use sim::{Bitbucket, Caller, Kms, Operation};
/// # let bitbucket = Bitbucket::new();
/// # let kms = Kms::new(&bitbucket);
/// let reads = kms.tally().of([Operation::List, Operation::Get, Operation::GetByName]);
/// assert!(reads.busiest_minute() <= 60);
/// assert_eq!(bitbucket.tally().by(Caller::Kms).ended(429), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Tally {
    kinds: BTreeMap<(Caller, Operation), Kind>,
}

#[derive(Clone, Debug, Default)]
struct Kind {
    total: usize,
    /// By the second with which the minute begins.
    minutes: BTreeMap<i64, usize>,
    outcomes: BTreeMap<Outcome, usize>,
}

impl Tally {
    pub(crate) fn arrived(&mut self, entry: &Entry) {
        let kind = self.kinds.entry((entry.caller, entry.operation)).or_default();
        kind.total += 1;
        *kind.minutes.entry(start(entry.time.as_second(), MINUTE)).or_default() += 1;
    }

    pub(crate) fn closed(&mut self, entry: &Entry, outcome: Outcome) {
        // What was forgotten since can't end any more.
        if let Some(kind) = self.kinds.get_mut(&(entry.caller, entry.operation)) {
            *kind.outcomes.entry(outcome).or_default() += 1;
        }
    }

    /// Without a copy of anything; no operations are all.
    pub(crate) fn count(&self, operations: &[Operation], caller: Option<Caller>) -> usize {
        let meant = |(by, operation): &(Caller, Operation)| {
            (operations.is_empty() || operations.contains(operation)) && caller.is_none_or(|caller| caller == *by)
        };
        self.kinds.iter().filter(|(key, _)| meant(key)).map(|(_, kind)| kind.total).sum()
    }

    /// Only requests for these operations.
    #[must_use]
    pub fn of(mut self, operations: impl IntoIterator<Item = Operation>) -> Self {
        let operations: Vec<_> = operations.into_iter().collect();
        self.kinds.retain(|(_, operation), _| operations.contains(operation));
        self
    }

    /// Only requests of this caller.
    #[must_use]
    pub fn by(mut self, caller: Caller) -> Self {
        self.kinds.retain(|(by, _), _| *by == caller);
        self
    }

    /// How many arrived.
    pub fn total(&self) -> usize {
        self.count(&[], None)
    }

    /// How many were answered with this status.
    pub fn ended(&self, status: u16) -> usize {
        self.kinds.values().filter_map(|kind| kind.outcomes.get(&Outcome::Answered(status))).sum()
    }

    /// How many arrived in each minute of the stand-in's clock; minutes without any are left out.
    pub fn per_minute(&self) -> BTreeMap<Timestamp, usize> {
        self.per(MINUTE)
    }

    /// How many arrived in each hour of the stand-in's clock; hours without any are left out.
    pub fn per_hour(&self) -> BTreeMap<Timestamp, usize> {
        self.per(HOUR)
    }

    /// The most that arrived in a minute of the stand-in's clock.
    pub fn busiest_minute(&self) -> usize {
        self.per(MINUTE).into_values().max().unwrap_or(0)
    }

    /// The most that arrived in an hour of the stand-in's clock.
    pub fn busiest_hour(&self) -> usize {
        self.per(HOUR).into_values().max().unwrap_or(0)
    }

    fn per(&self, seconds: i64) -> BTreeMap<Timestamp, usize> {
        let mut sums = BTreeMap::new();
        for (at, count) in self.kinds.values().flat_map(|kind| &kind.minutes) {
            let begin = Timestamp::from_second(start(*at, seconds)).unwrap_or(Timestamp::MIN);
            *sums.entry(begin).or_default() += count;
        }
        sums
    }
}

fn start(second: i64, length: i64) -> i64 {
    second - second.rem_euclid(length)
}
