//! So many requests in a window, per key; the time is the stand-in's own.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

/// Where a key stands after a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Standing {
    pub(crate) limit: usize,
    pub(crate) remaining: usize,
    /// In how many seconds there is room again: of a fixed window its end.
    pub(crate) reset: u64,
    /// It was one too many.
    pub(crate) exceeded: bool,
}

/// Counts requests. Without a limit it counts nothing.
#[derive(Debug)]
pub(crate) struct Quota<W> {
    limit: Option<usize>,
    length: SignedDuration,
    windows: HashMap<String, W>,
}

/// How requests are counted.
pub(crate) trait Window: Default {
    /// Takes one more, if there is room: how many there are then, and since when the window lasts.
    fn take(&mut self, limit: usize, length: SignedDuration, now: Timestamp) -> (usize, Timestamp, bool);
}

impl<W: Window> Quota<W> {
    pub(crate) fn unlimited(length: SignedDuration) -> Self {
        Self { limit: None, length, windows: HashMap::new() }
    }

    /// Sets the limit and forgets what was counted.
    pub(crate) fn set(&mut self, limit: Option<usize>) {
        self.limit = limit;
        self.windows.clear();
    }

    /// Counts one request.
    pub(crate) fn spend(&mut self, key: &str, now: Timestamp) -> Option<Standing> {
        let limit = self.limit?;
        if !self.windows.contains_key(key) {
            self.windows.insert(key.to_owned(), W::default());
        }
        let (taken, since, room) = self.windows.get_mut(key)?.take(limit, self.length, now);
        let left = (self.length - now.duration_since(since)).max(SignedDuration::ZERO);
        let seconds = u64::try_from(left.as_millis().max(0)).unwrap_or(0).div_ceil(1_000);
        Some(Standing { limit, remaining: limit.saturating_sub(taken), reset: seconds.max(1), exceeded: !room })
    }
}

/// Begins with the first request, and then with the first after its end.
#[derive(Debug, Default)]
pub(crate) struct Fixed {
    since: Option<Timestamp>,
    taken: usize,
}

impl Window for Fixed {
    fn take(&mut self, limit: usize, length: SignedDuration, now: Timestamp) -> (usize, Timestamp, bool) {
        let since = self.since.filter(|since| now.duration_since(*since) < length);
        if since.is_none() {
            self.taken = 0;
        }
        let since = *self.since.insert(since.unwrap_or(now));
        let room = self.taken < limit;
        self.taken += usize::from(room);
        (self.taken, since, room)
    }
}

/// The time before each request: room comes back one by one.
#[derive(Debug, Default)]
pub(crate) struct Rolling(VecDeque<Timestamp>);

impl Window for Rolling {
    fn take(&mut self, limit: usize, length: SignedDuration, now: Timestamp) -> (usize, Timestamp, bool) {
        while self.0.front().is_some_and(|first| now.duration_since(*first) >= length) {
            self.0.pop_front();
        }
        let room = self.0.len() < limit;
        if room {
            self.0.push_back(now);
        }
        (self.0.len(), self.0.front().copied().unwrap_or(now), room)
    }
}
