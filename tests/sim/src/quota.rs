//! So many calls in a rolling window, per key.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

/// Counts calls. Without a limit it counts nothing.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: Option<usize>,
    window: SignedDuration,
    calls: HashMap<String, VecDeque<Timestamp>>,
}

impl Quota {
    pub(crate) fn unlimited(window: SignedDuration) -> Self {
        Self { limit: None, window, calls: HashMap::new() }
    }

    /// Sets the limit and forgets what was counted.
    pub(crate) fn set(&mut self, limit: Option<usize>) {
        self.limit = limit;
        self.calls.clear();
    }

    /// Counts one call. When it is one too many: in how many seconds there will be room.
    pub(crate) fn spend(&mut self, key: &str, now: Timestamp) -> Result<(), u64> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let calls = self.calls.entry(key.to_owned()).or_default();
        while calls.front().is_some_and(|first| now.duration_since(*first) >= self.window) {
            calls.pop_front();
        }
        if calls.len() < limit {
            calls.push_back(now);
            return Ok(());
        }
        let waited = calls.front().map_or(SignedDuration::ZERO, |first| now.duration_since(*first));
        Err(u64::try_from((self.window - waited).as_secs()).unwrap_or(0) + 1)
    }
}
