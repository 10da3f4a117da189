//! How much a KMS is asked: its limits, which all instances at one host share, and its rest after an outage.

use std::{
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
        let gate = |requests| Gate::new(Limit { requests, window: WINDOW }, waited.clone());
        Self { reads: gate(reads), writes: gate(writes), clients: AtomicU64::new(0) }
    }

    /// A number for another client that shares them.
    pub(super) fn another_client(&self) -> u64 {
        self.clients.fetch_add(1, Ordering::Relaxed)
    }
}

/// How a read is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Who goes first.
    pub priority: Priority,
    /// An answer to an earlier question won't do.
    pub not_before: Option<Instant>,
    /// Neither will an older one.
    pub max_age: Duration,
    /// Ask even while the KMS rests after an outage: somebody wants to know now.
    pub insist: bool,
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

/// After an outage nobody asks for a while, longer each time, however many connections there are.
#[derive(Default)]
pub(super) struct Rest {
    state: Mutex<Option<Outage>>,
    /// Held by the one that asks whether it is over.
    probe: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Outage {
    failure: KmsError,
    attempts: u32,
    noted: Instant,
    until: Instant,
}

impl Rest {
    /// Asks by `ask`, unless an outage was met and the next attempt isn't due. While it lasts one asks for all.
    pub async fn ask<T>(
        &self,
        insist: bool,
        host: &str,
        ask: impl Future<Output = Result<T, KmsError>>,
    ) -> Result<T, KmsError> {
        let mut _probe = None;
        if !insist && self.outage().is_some() {
            _probe = Some(self.probe.lock().await);
            if let Some(outage) = self.outage().filter(|outage| Instant::now() < outage.until) {
                return Err(outage.failure);
            }
        }
        let asked = Instant::now();
        let result = ask.await;
        self.note(result.as_ref().err(), asked, host);
        result
    }

    /// How long until the next attempt, if there was an outage.
    pub fn left(&self) -> Option<Duration> {
        self.outage().map(|outage| outage.until.saturating_duration_since(Instant::now()))
    }

    fn note(&self, error: Option<&KmsError>, asked: Instant, host: &str) {
        let mut state = self.lock();
        let Some(failure) = error.filter(|error| error.is_outage()) else {
            // An answer is an answer, be it a refusal. That it wasn't our turn says nothing.
            if !matches!(error, Some(KmsError::NotYet { .. })) {
                *state = None;
            }
            return;
        };
        // Of those who met it together one counts.
        if state.as_ref().is_some_and(|outage| asked <= outage.noted) {
            return;
        }
        let attempts = state.as_ref().map_or(0, |outage| outage.attempts);
        let now = Instant::now();
        *state = Some(Outage {
            failure: failure.clone(),
            attempts: attempts.saturating_add(1),
            noted: now,
            until: now + schedule::backoff(attempts, host),
        });
    }

    fn outage(&self) -> Option<Outage> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Outage>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use futures::future::join_all;

    use super::*;

    fn down() -> KmsError {
        KmsError::Unavailable { what: "HTTP 503".to_owned() }
    }

    async fn after_a_while<T>(asked: &AtomicUsize, result: T) -> T {
        asked.fetch_add(1, Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
        result
    }

    #[tokio::test(start_paused = true)]
    async fn in_an_outage_one_asks_for_all_and_ever_less_often() {
        let (rest, asked) = (Rest::default(), AtomicUsize::new(0));
        let crowd = || join_all((0..50).map(|_| rest.ask(false, "kms", after_a_while(&asked, Err::<(), _>(down())))));
        crowd().await;
        assert_eq!(asked.swap(0, Relaxed), 50, "who asks before anybody knows");
        let first = rest.left().expect("an outage");
        assert!(first <= Duration::from_secs(10), "they count as one: {first:?}");
        assert!(crowd().await.into_iter().all(|result| result == Err(down())));
        assert_eq!(asked.load(Relaxed), 0);
        tokio::time::advance(first).await;
        crowd().await;
        assert_eq!(asked.swap(0, Relaxed), 1);
        assert!(rest.left().is_some_and(|second| second > first));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_it_and_whoever_insists_gets_one() {
        let (rest, asked) = (Rest::default(), AtomicUsize::new(0));
        assert!(rest.ask(false, "kms", after_a_while(&asked, Err::<(), _>(down()))).await.is_err());
        assert!(rest.ask(false, "kms", after_a_while(&asked, Ok(()))).await.is_err());
        assert_eq!(rest.ask(true, "kms", after_a_while(&asked, Ok(()))).await, Ok(()));
        assert_eq!(rest.left(), None);
        assert_eq!(rest.ask(false, "kms", after_a_while(&asked, Ok(()))).await, Ok(()));
        assert_eq!(
            rest.ask(false, "kms", after_a_while(&asked, Err::<(), _>(KmsError::NotFound))).await,
            Err(KmsError::NotFound)
        );
        assert_eq!(rest.left(), None, "a refusal is no outage");
    }
}
