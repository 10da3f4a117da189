//! How much a KMS is asked: its limits, which all instances at one host share, and its rest after an outage.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::error::KmsError;
use crate::{
    domain::{
        connection::KmsScope,
        limit::{Limit, Priority},
        schedule,
    },
    http::{Gate, NotYet, ObserveWait},
};

/// The KMS counts per client address and minute, reads and writes apart.
const WINDOW: Duration = Duration::from_secs(60);

/// The limits of a host.
#[derive(Debug)]
pub struct Limits {
    /// GET requests.
    pub reads: Gate,
    /// All others; the KMS counts logins as writes.
    pub writes: Gate,
    clients: AtomicU64,
}

impl Limits {
    /// So many requests a minute; none: no limit but what the KMS says.
    pub fn new(reads: Option<NonZeroU32>, writes: Option<NonZeroU32>, waited: ObserveWait) -> Self {
        let gate = |requests| Gate::new(Limit { requests, window: WINDOW, at_once: 10 }, waited.clone());
        Self { reads: gate(reads), writes: gate(writes), clients: AtomicU64::new(0) }
    }

    /// A number for another client that shares them.
    pub(super) fn another_client(&self) -> u64 {
        self.clients.fetch_add(1, Ordering::Relaxed)
    }
}

/// Longest part of an interval over which a list is shared; somebody may change a connection in the KMS meanwhile.
pub const SHARED_MAX: Duration = Duration::from_secs(600);

/// How a read is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Who goes first.
    pub priority: Priority,
    /// An answer to an earlier question won't do.
    pub not_before: Option<Instant>,
    /// Neither will an older one.
    pub max_age: Duration,
}

/// The right to send one write.
#[derive(Debug)]
pub struct WriteTurn(());

impl Limits {
    /// Waits for the right to send one write, if that is a matter of a moment. `who` is the name under which a place is
    /// kept.
    pub async fn turn_to_write(&self, who: &str, priority: Priority) -> Result<WriteTurn, NotYet> {
        self.writes.pass(who, priority).await.map(|()| WriteTurn(()))
    }
}

/// After an outage a scope is left alone for a while, longer each time, however many connections are in it. Scopes are
/// apart: a project that the KMS can't read is not the trouble of the others. One asks at a time for each.
#[derive(Default)]
pub(super) struct Rest(Mutex<HashMap<KmsScope, Outage>>);

#[derive(Clone)]
struct Outage {
    failure: KmsError,
    attempts: u32,
    until: Instant,
}

impl Rest {
    /// Asks by `ask`, unless an outage was met and the next attempt isn't due; whoever insists asks anyway.
    pub async fn ask<T>(
        &self,
        scope: &KmsScope,
        insist: bool,
        ask: impl Future<Output = Result<T, KmsError>>,
    ) -> Result<T, KmsError> {
        let resting = self.outage(scope).filter(|outage| !insist && Instant::now() < outage.until);
        if let Some(outage) = resting {
            return Err(outage.failure);
        }
        let result = ask.await;
        match result.as_ref().err() {
            Some(failure) if failure.is_outage() => self.note(scope, failure),
            // That it wasn't our turn says nothing.
            Some(KmsError::NotYet { .. }) => {}
            // An answer is an answer, be it a refusal.
            Some(_) | None => drop(self.lock().remove(scope)),
        }
        result
    }

    /// How long until the next attempt, if there was an outage.
    pub fn left(&self, scope: &KmsScope) -> Option<Duration> {
        self.outage(scope).map(|outage| outage.until.saturating_duration_since(Instant::now()))
    }

    fn note(&self, scope: &KmsScope, failure: &KmsError) {
        let attempts = self.outage(scope).map_or(0, |outage| outage.attempts);
        let wait = schedule::backoff(attempts, &scope.to_string());
        let outage =
            Outage { failure: failure.clone(), attempts: attempts.saturating_add(1), until: Instant::now() + wait };
        self.lock().insert(scope.clone(), outage);
    }

    fn outage(&self, scope: &KmsScope) -> Option<Outage> {
        self.lock().get(scope).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KmsScope, Outage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    const SCOPE: KmsScope = KmsScope::Organization;

    fn down() -> KmsError {
        KmsError::Unavailable { what: "HTTP 503".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_the_kms_is_asked_ever_less_often() {
        let (rest, asked) = (Rest::default(), AtomicUsize::new(0));
        let ask = || {
            rest.ask(&SCOPE, false, async {
                asked.fetch_add(1, Relaxed);
                Err::<(), _>(down())
            })
        };
        let mut waits = Vec::new();
        for round in 1..=4 {
            for _ in 0..50 {
                assert_eq!(ask().await, Err(down()));
            }
            assert_eq!(asked.load(Relaxed), round);
            let wait = rest.left(&SCOPE).expect("an outage");
            tokio::time::advance(wait).await;
            waits.push(wait);
        }
        assert!(waits.is_sorted() && waits[0] <= Duration::from_secs(10), "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_it_and_whoever_insists_gets_one() {
        let rest = Rest::default();
        let answer = async |insist, answer: Result<(), KmsError>| rest.ask(&SCOPE, insist, async { answer }).await;
        assert_eq!(answer(false, Err(down())).await, Err(down()));
        assert_eq!(answer(false, Ok(())).await, Err(down()));
        let project = KmsScope::Project("p".to_owned());
        assert_eq!(rest.ask(&project, false, async { Ok(()) }).await, Ok(()), "another scope is another matter");
        let wait = Duration::from_secs(1);
        assert_eq!(answer(true, Err(KmsError::NotYet { wait })).await, Err(KmsError::NotYet { wait }));
        assert!(rest.left(&SCOPE).is_some(), "nobody was asked");
        assert_eq!(answer(true, Ok(())).await, Ok(()));
        assert_eq!(answer(false, Err(KmsError::NotFound)).await, Err(KmsError::NotFound));
        assert_eq!(rest.left(&SCOPE), None, "a refusal is no outage");
    }
}
