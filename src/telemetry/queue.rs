//! What waits for its reconcile, as the metrics tell it.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType, registry::Unit};
use tokio::time::Instant;

/// Objects that somebody wants looked at, since when. They are kept by a hash of kind and name, so that a fleet that waits
/// as a whole costs a few bytes for each; two that collide are counted as one, which no graph shows.
#[derive(Default)]
pub struct Queue {
    hasher: RandomState,
    waiting: Mutex<HashMap<u64, Instant>>,
}

impl Queue {
    /// An object is to be looked at; from the first time on it waits.
    pub fn asked(&self, kind: &str, namespace: &str, name: &str) {
        let key = self.key(kind, namespace, name);
        self.waiting().entry(key).or_insert_with(Instant::now);
    }

    /// It is looked at, or gone: it waits no more. How long it did, if it was asked for.
    pub fn taken(&self, kind: &str, namespace: &str, name: &str) -> Option<Duration> {
        let key = self.key(kind, namespace, name);
        self.waiting().remove(&key).map(|since| since.elapsed())
    }

    /// How many wait, and how long the one that has waited longest.
    fn now(&self) -> (usize, Duration) {
        let waiting = self.waiting();
        let longest = waiting.values().min().map(Instant::elapsed).unwrap_or_default();
        (waiting.len(), longest)
    }

    fn key(&self, kind: &str, namespace: &str, name: &str) -> u64 {
        self.hasher.hash_one((kind, namespace, name))
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// Reads the queue at each scrape.
#[derive(Debug)]
pub(super) struct Waiting(pub std::sync::Arc<Queue>);

impl Collector for Waiting {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (depth, longest) = self.0.now();
        let help = "Objects that were changed or asked for and wait for their reconcile.";
        encoder
            .encode_descriptor("queue_depth", help, None, MetricType::Gauge)?
            .encode_gauge(&i64::try_from(depth).unwrap_or(i64::MAX))?;
        let help = "How long the object has waited that waits longest for its reconcile; 0 if none waits.";
        encoder
            .encode_descriptor("queue_longest_wait", help, Some(&Unit::Seconds), MetricType::Gauge)?
            .encode_gauge(&longest.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "BitbucketConnection";

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_for_twice_waits_from_the_first_time_on_and_once() {
        let queue = Queue::default();
        queue.asked(KIND, "team-a", "payments");
        tokio::time::advance(Duration::from_secs(3)).await;
        queue.asked(KIND, "team-a", "payments");
        queue.asked(KIND, "team-b", "payments");
        assert_eq!(queue.now(), (2, Duration::from_secs(3)));
        assert_eq!(queue.taken(KIND, "team-a", "payments"), Some(Duration::from_secs(3)));
        assert_eq!(queue.taken(KIND, "team-a", "payments"), None, "a requeue was asked for by nobody");
        assert_eq!(queue.now(), (1, Duration::ZERO));
        assert_eq!(queue.taken(KIND, "team-b", "payments"), Some(Duration::ZERO));
        assert_eq!(queue.now(), (0, Duration::ZERO));
    }
}
