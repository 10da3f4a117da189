//! The limits of a server, kept on this side.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::http::HeaderMap;
use tokio::time::Instant;

use super::{bounded, retry_after};
use crate::domain::limit::{Limit, Limiter, Priority, Turn};

/// Who waits shorter than this waits where it is; who would wait longer gives up what it holds, and comes back.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long nobody asks after a 429 that doesn't say how long.
const UNTOLD: Duration = Duration::from_secs(10);

/// Not yet: the next attempt has its place then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotYet {
    /// How long until then.
    pub wait: Duration,
}

/// Told of each request that had to wait for its turn.
pub type ObserveWait = Arc<dyn Fn() + Send + Sync>;

/// What all requests to one server, or in the name of one account, pass through.
pub struct Gate {
    began: Instant,
    limiter: Mutex<Limiter>,
    limit: Limit,
    waited: ObserveWait,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Gate {
    /// One that keeps a limit.
    pub fn new(limit: Limit, waited: ObserveWait) -> Self {
        Self { began: Instant::now(), limiter: Mutex::new(Limiter::new(limit)), limit, waited }
    }

    /// The limit that it keeps.
    pub const fn limit(&self) -> Limit {
        self.limit
    }

    /// Waits for a turn, if that is a matter of a moment; else says when to come back, and keeps the place until then.
    /// `who` is the name under which it is kept.
    pub async fn pass(&self, who: &str, priority: Priority) -> Result<(), NotYet> {
        let mut waited = false;
        loop {
            let now = self.began.elapsed();
            let Turn::At(at) = self.lock().turn(who, priority, now) else { return Ok(()) };
            if !waited {
                (self.waited)();
                waited = true;
            }
            let wait = at.saturating_sub(now);
            if wait > PATIENCE {
                return Err(NotYet { wait });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes to heart what an answer says about the server's limits.
    pub fn heard(&self, status: u16, headers: &HeaderMap) {
        let now = self.began.elapsed();
        if status == 429 {
            self.lock().pause(retry_after(headers).unwrap_or(UNTOLD), now);
            return;
        }
        self.lock().resume(now);
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        if let (Some(remaining), Some(reset)) = (number("x-ratelimit-remaining"), number("x-ratelimit-reset")) {
            self.lock().slow(u32::try_from(remaining).unwrap_or(u32::MAX), bounded(reset), now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Limiter> {
        // Nothing in here is left half done.
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, sync::atomic::AtomicUsize, sync::atomic::Ordering::Relaxed};

    use super::*;

    fn gate(requests: u32) -> (Gate, Arc<AtomicUsize>) {
        let waits = Arc::new(AtomicUsize::default());
        let told = Arc::clone(&waits);
        let limit = Limit { requests: NonZeroU32::new(requests), window: Duration::from_secs(60), at_once: 10 };
        (
            Gate::new(
                limit,
                Arc::new(move || {
                    told.fetch_add(1, Relaxed);
                }),
            ),
            waits,
        )
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value"))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_wait_is_waited_and_a_long_one_is_told() {
        let (gate, waits) = gate(60);
        for n in 0..6 {
            assert_eq!(gate.pass(&n.to_string(), Priority::InTurn).await, Ok(()));
        }
        assert_eq!(waits.load(Relaxed), 0);
        assert_eq!(gate.pass("next", Priority::InTurn).await, Ok(()), "1.25 s is a moment");
        assert_eq!(waits.load(Relaxed), 1);
        for n in 0..3 {
            let _ = gate
                .limiter
                .lock()
                .map(|mut limiter| limiter.turn(&format!("other-{n}"), Priority::InTurn, gate.began.elapsed()));
        }
        let told = gate.pass("late", Priority::InTurn).await;
        let Err(NotYet { wait }) = told else { panic!("{told:?}") };
        assert!(wait > PATIENCE);
        tokio::time::advance(wait).await;
        assert_eq!(gate.pass("late", Priority::InTurn).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_says_is_obeyed() {
        let table = [
            (429, headers(&[("retry-after", "30")]), 30),
            (429, headers(&[]), 10),
            (200, headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "17")]), 17),
            (200, headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "99999999")]), 3_600),
        ];
        for (status, headers, seconds) in table {
            let (gate, _) = gate(60);
            gate.heard(status, &headers);
            let wait = Duration::from_secs(seconds);
            assert_eq!(gate.pass("a", Priority::First).await, Err(NotYet { wait }), "{status} {headers:?}");
        }
        let (gate, _) = gate(60);
        gate.heard(429, &headers(&[("retry-after", "3600")]));
        assert_eq!(gate.pass("a person", Priority::AtOnce).await, Ok(()));
        gate.heard(200, &headers(&[]));
        assert_eq!(gate.pass("the same", Priority::AtOnce).await, Ok(()), "the server answers again");
        gate.heard(200, &headers(&[("x-ratelimit-remaining", "many"), ("x-ratelimit-reset", "")]));
        gate.heard(200, &headers(&[("x-ratelimit-remaining", "59"), ("x-ratelimit-reset", "60")]));
        assert_eq!(gate.pass("a", Priority::InTurn).await, Ok(()));
    }
}
