//! How requests are spread so that a server's limit is never met, and who goes first.
//!
//! A server counts requests in a window and refuses those beyond its limit. Of `requests` in a window a share may go at
//! once, and the rest goes evenly spread: in no window are it more. What can't wait, a deletion or a rotation, takes the
//! next place of all, and everybody behind it moves back by one.
//!
//! Our own, because whoever must wait long gives up its place in the process and comes back: it needs a place in the
//! queue that is kept for it. The generic cell rate algorithms at hand tell only when to ask again, and then all ask at
//! once. Time is an argument, counted from any fixed moment.

use std::{collections::HashMap, num::NonZeroU32, time::Duration};

/// How long a place in the queue is kept for somebody who is late. What was kept longer could go together with others'
/// and be too many; servers allow a little more than we take.
const KEPT: Duration = Duration::from_secs(15);
/// How far apart people ask while the server wants no requests.
const INSISTING: Duration = Duration::from_secs(1);

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// What a person asked for: it goes even while the server wants no requests, since that may be over.
    AtOnce,
    /// Deletions and rotations.
    First,
    /// Everything else.
    InTurn,
}

/// The answer to whoever wants to send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Go.
    Now,
    /// Come back at that time; the place is kept for 15 s after it.
    At(Duration),
}

/// How many requests in how much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// At most so many. None: no limit but what the server says.
    pub requests: Option<NonZeroU32>,
    /// In any window of that length.
    pub window: Duration,
    /// How many hundredths of them may go at once, less than 100.
    pub at_once: u32,
}

impl Limit {
    /// How long `count` requests take that are sent in turn. Nothing without a limit.
    pub fn time_for(self, count: u64) -> Duration {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.spacing().map_or(Duration::ZERO, |spacing| spacing.saturating_mul(count))
    }

    fn spacing(self) -> Option<Duration> {
        let requests = self.requests?.get();
        let evenly = 100_u32.saturating_sub(self.at_once);
        // Rounded up, or one too many would fit in.
        Some(self.window * 100 / requests.saturating_mul(evenly).max(1) + Duration::from_nanos(1))
    }
}

/// A place in the queue.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: Duration,
    /// Of what can't wait: nobody goes before it any more.
    firm: bool,
}

/// A row of evenly spread places, some of which may be taken ahead of their time.
#[derive(Clone, Copy, Debug)]
struct Row {
    spacing: Duration,
    ahead: Duration,
    /// The time of the first place that nobody has.
    next: Duration,
}

/// Gives turns for requests to one server.
#[derive(Debug)]
pub struct Limiter {
    /// None without a limit.
    row: Option<Row>,
    /// Until then the server wants no requests at all.
    paused: Duration,
    /// Wider spacing that the server's count asks for, and until when.
    slowed: (Duration, Duration),
    /// Before that nobody else asks while the server wants no requests.
    insisted: Duration,
    /// Places that are kept, by whom.
    kept: HashMap<String, Place>,
    swept: Duration,
}

impl Limiter {
    /// One that keeps a limit.
    pub fn new(limit: Limit) -> Self {
        let at_once = limit.requests.map_or(0, NonZeroU32::get).saturating_mul(limit.at_once) / 100;
        let row = limit.spacing().map(|spacing| Row {
            spacing,
            ahead: spacing * at_once.max(1).saturating_sub(1),
            next: Duration::ZERO,
        });
        let never = (Duration::ZERO, Duration::ZERO);
        let (paused, insisted, swept) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        Self { row, paused, slowed: never, insisted, kept: HashMap::new(), swept }
    }

    /// Asks for a turn. `who` is any name by which a place can be kept; asking again under it takes no second one.
    pub fn turn(&mut self, who: &str, priority: Priority, now: Duration) -> Turn {
        self.sweep(now);
        let kept = self.kept.get(who).copied().filter(|place| place.at + KEPT >= now);
        if let Some(place) = kept {
            if place.at <= now {
                self.kept.remove(who);
                return Turn::Now;
            }
            // What has become urgent doesn't wait for its old place.
            if place.firm || priority == Priority::InTurn {
                return Turn::At(place.at);
            }
        }
        let paused = self.paused;
        // A refusal may be over, and a person may know; a crowd of people asks one after the other.
        if paused > now && priority == Priority::AtOnce && now >= self.insisted {
            self.insisted = now + INSISTING;
            self.kept.remove(who);
            return Turn::Now;
        }
        let from = now.max(paused);
        let Some(row) = self.row else {
            // No limit of ours.
            return if paused > now { Turn::At(paused) } else { Turn::Now };
        };
        let slowed = if now < self.slowed.1 { self.slowed.0 } else { Duration::ZERO };
        let spacing = row.spacing.max(slowed);
        // After a refusal, and while others use the limit up, nobody goes ahead of its time.
        let ahead = if paused <= now && slowed.is_zero() { row.ahead } else { Duration::ZERO };
        let last = row.next.saturating_sub(ahead).max(from);
        let firm = priority != Priority::InTurn;
        let at = if firm { self.jump(from, last, spacing) } else { last };
        self.row = Some(Row { next: row.next.max(from) + spacing, ..row });
        self.kept.remove(who);
        if at <= now {
            return Turn::Now;
        }
        self.kept.insert(who.to_owned(), Place { at, firm });
        Turn::At(at)
    }

    /// The first place that somebody else can be asked to leave, after those of the others that can't wait; everybody from
    /// there on moves back by one. `last` is the place behind all.
    fn jump(&mut self, from: Duration, last: Duration, spacing: Duration) -> Duration {
        let ahead_of_us = self.kept.values().filter(|place| place.firm && place.at > from).map(|place| place.at).max();
        let after = ahead_of_us.map_or(from, |at| at + spacing);
        let movable = |place: &Place| !place.firm && place.at > from && place.at >= after;
        let Some(at) = self.kept.values().filter(|place| movable(place)).map(|place| place.at).min() else {
            return last;
        };
        for place in self.kept.values_mut().filter(|place| movable(place)) {
            place.at += spacing;
        }
        at
    }

    /// The server refuses for so long. Whoever has a place gets another one after that.
    pub fn pause(&mut self, wait: Duration, now: Duration) {
        self.paused = self.paused.max(now + wait);
        self.kept.clear();
    }

    /// The server answers again.
    pub fn resume(&mut self, now: Duration) {
        self.paused = self.paused.min(now);
    }

    /// The server still takes so many requests until its count starts anew; others may send some of them.
    pub fn slow(&mut self, remaining: u32, reset: Duration, now: Duration) {
        match remaining {
            0 => self.pause(reset, now),
            left => {
                let spacing = reset / left;
                let wider = self.row.is_some_and(|row| spacing > row.spacing);
                self.slowed = if wider { (spacing, now + reset) } else { (Duration::ZERO, now) };
            }
        }
    }

    fn sweep(&mut self, now: Duration) {
        if now >= self.swept + KEPT {
            self.kept.retain(|_, place| place.at + KEPT >= now);
            self.swept = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limit(requests: u32) -> Limit {
        Limit { requests: NonZeroU32::new(requests), window: MINUTE, at_once: 10 }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Sends until `end` what wants to be sent, each coming back when it is told to; the times of sending, by name.
    fn send_all(limiter: &mut Limiter, wanting: &[(String, Priority, Duration)]) -> BTreeMap<String, Duration> {
        let mut waiting: Vec<_> = wanting.iter().map(|(who, priority, from)| (*from, who, *priority)).collect();
        let mut sent = BTreeMap::new();
        while !waiting.is_empty() {
            waiting.sort_by_key(|(at, who, _)| std::cmp::Reverse((*at, *who)));
            let Some((now, who, priority)) = waiting.pop() else { break };
            match limiter.turn(who, priority, now) {
                Turn::Now => drop(sent.insert(who.clone(), now)),
                Turn::At(at) => {
                    assert!(at > now, "whoever must wait is told a later time");
                    waiting.push((at, who, priority));
                }
            }
        }
        sent
    }

    fn many(name: &str, count: usize, priority: Priority) -> Vec<(String, Priority, Duration)> {
        (0..count).map(|n| (format!("{name}-{n:05}"), priority, Duration::ZERO)).collect()
    }

    /// Most requests in any window.
    fn densest(sent: &BTreeMap<String, Duration>, window: Duration) -> usize {
        let mut times: Vec<_> = sent.values().copied().collect();
        times.sort();
        (0..times.len())
            .map(|first| times[first..].iter().take_while(|time| **time < times[first] + window).count())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn a_crowd_is_served_in_the_order_of_its_coming_and_within_the_limit() {
        let mut limiter = Limiter::new(limit(150));
        let sent = send_all(&mut limiter, &many("object", 1_000, Priority::InTurn));
        assert!(densest(&sent, MINUTE) <= 150);
        let times: Vec<_> = sent.values().collect();
        assert!(times.is_sorted(), "nobody overtakes");
        assert_eq!(sent.values().filter(|at| **at == Duration::ZERO).count(), 15, "some go at once");
        let last = sent.values().max().copied().unwrap_or_default();
        assert!(last <= limit(150).time_for(1_000), "{last:?}");
    }

    #[test]
    fn what_cannot_wait_overtakes_the_crowd() {
        let mut limiter = Limiter::new(limit(150));
        let mut wanting = many("object", 1_000, Priority::InTurn);
        wanting.extend((0..10).map(|n| (format!("rotation-{n}"), Priority::First, seconds(30.0))));
        let sent = send_all(&mut limiter, &wanting);
        assert!(densest(&sent, MINUTE) <= 150);
        let places: Vec<_> = sent.iter().filter(|(who, _)| who.starts_with("rotation")).map(|(_, at)| *at).collect();
        assert!(places.is_sorted(), "nor do they overtake one another: {places:?}");
        assert!(places.iter().all(|at| *at <= seconds(30.0 + 11.0 * 60.0 / 135.0)), "{places:?}");
        let crowd: Vec<_> = sent.iter().filter(|(who, _)| who.starts_with("object")).map(|(_, at)| at).collect();
        assert!(crowd.is_sorted(), "the crowd moves back in its order");
    }

    #[test]
    fn what_has_become_urgent_leaves_its_place() {
        let mut limiter = Limiter::new(limit(50));
        send_all(&mut limiter, &many("object", 5, Priority::InTurn));
        for n in 0..100 {
            limiter.turn(&format!("waiting-{n}"), Priority::InTurn, Duration::ZERO);
        }
        assert!(matches!(limiter.turn("waiting-99", Priority::InTurn, seconds(1.0)), Turn::At(at) if at > MINUTE));
        let urgent = limiter.turn("waiting-99", Priority::First, seconds(1.0));
        assert!(matches!(urgent, Turn::At(at) if at <= seconds(3.0)), "{urgent:?}");
    }

    #[test]
    fn asking_again_takes_no_second_place() {
        let mut limiter = Limiter::new(limit(10));
        assert_eq!(limiter.turn("a", Priority::InTurn, Duration::ZERO), Turn::Now);
        let place = limiter.turn("b", Priority::InTurn, Duration::ZERO);
        for _ in 0..20 {
            assert_eq!(limiter.turn("b", Priority::InTurn, seconds(1.0)), place);
        }
        let Turn::At(at) = place else { panic!("b must wait") };
        assert_eq!(limiter.turn("b", Priority::InTurn, at), Turn::Now);
    }

    #[test]
    fn a_refusal_sends_everybody_to_the_time_after_it_and_there_they_are_spread_again() {
        let mut limiter = Limiter::new(limit(50));
        let wanting = many("object", 30, Priority::InTurn);
        for (who, priority, now) in &wanting {
            limiter.turn(who, *priority, *now);
        }
        limiter.pause(seconds(90.0), seconds(1.0));
        assert_eq!(limiter.turn("rotation", Priority::First, seconds(2.0)), Turn::At(seconds(91.0)));
        assert_eq!(limiter.turn("request", Priority::AtOnce, seconds(2.0)), Turn::Now, "a person may know better");
        assert_ne!(limiter.turn("another", Priority::AtOnce, seconds(2.5)), Turn::Now, "one after the other");
        let sent = send_all(&mut limiter, &wanting);
        assert!(sent.values().all(|at| *at >= seconds(91.0)));
        assert!(densest(&sent, seconds(5.0)) <= 5);
    }

    #[test]
    fn when_a_refusal_is_over_a_person_takes_a_place_as_everybody_does() {
        let mut limiter = Limiter::new(limit(10));
        limiter.pause(MINUTE, Duration::ZERO);
        assert_eq!(limiter.turn("request", Priority::AtOnce, MINUTE), Turn::Now);
        assert_ne!(limiter.turn("object", Priority::InTurn, MINUTE), Turn::Now);
        let mut limiter = Limiter::new(limit(10));
        limiter.pause(MINUTE, Duration::ZERO);
        limiter.resume(seconds(1.0));
        assert_eq!(limiter.turn("object", Priority::InTurn, seconds(1.0)), Turn::Now, "the server answers again");
    }

    #[test]
    fn who_comes_after_a_refusal_goes_before_nobody_that_cannot_wait() {
        let mut limiter = Limiter::new(limit(50));
        limiter.pause(seconds(90.0), seconds(1.0));
        let place = |turn| if let Turn::At(at) = turn { at } else { panic!("it must wait") };
        let urgent = (0..10).map(|n| place(limiter.turn(&format!("urgent-{n}"), Priority::First, seconds(2.0))));
        let last = urgent.max().unwrap_or_default();
        // The share that may go at once is back: these get places between those that wait.
        let crowd: Vec<_> =
            (0..4).map(|n| place(limiter.turn(&format!("object-{n}"), Priority::InTurn, seconds(91.0)))).collect();
        assert!(crowd.iter().any(|at| *at < last));
        assert!(place(limiter.turn("another", Priority::First, seconds(91.0))) > last);
    }

    #[test]
    fn as_many_as_the_limit_take_longer_than_its_window() {
        assert!(Limit { at_once: 0, ..limit(3) }.time_for(3) > MINUTE, "or one too many would fit in");
    }

    #[test]
    fn what_the_server_counts_slows_further() {
        let mut limiter = Limiter::new(limit(50));
        limiter.slow(5, MINUTE, Duration::ZERO);
        let sent = send_all(&mut limiter, &many("object", 20, Priority::InTurn));
        let times: Vec<_> = sent.values().take(5).copied().collect();
        assert_eq!(times, [0.0, 12.0, 24.0, 36.0, 48.0].map(seconds));
        // When the server begins to count anew, all is as before.
        let mut limiter = Limiter::new(limit(50));
        limiter.slow(5, MINUTE, Duration::ZERO);
        for who in ["a", "b"] {
            assert_eq!(limiter.turn(who, Priority::InTurn, MINUTE), Turn::Now);
        }
        // A count that leaves more than the limit slows nobody.
        let mut limiter = Limiter::new(limit(50));
        limiter.slow(1_000, MINUTE, Duration::ZERO);
        for who in ["a", "b"] {
            assert_eq!(limiter.turn(who, Priority::InTurn, Duration::ZERO), Turn::Now);
        }
        let mut limiter = Limiter::new(limit(50));
        limiter.slow(0, MINUTE, Duration::ZERO);
        assert_eq!(limiter.turn("a", Priority::First, Duration::ZERO), Turn::At(MINUTE));
    }

    #[test]
    fn without_a_limit_only_the_server_has_a_say() {
        let mut limiter = Limiter::new(limit(0));
        let sent = send_all(&mut limiter, &many("object", 1_000, Priority::InTurn));
        assert!(sent.values().all(|at| *at == Duration::ZERO));
        limiter.pause(MINUTE, Duration::ZERO);
        assert_eq!(limiter.turn("a", Priority::InTurn, Duration::ZERO), Turn::At(MINUTE));
        assert_eq!(limiter.turn("a", Priority::InTurn, MINUTE), Turn::Now);
        assert_eq!(limit(0).time_for(1_000), Duration::ZERO);
    }

    #[test]
    fn places_of_those_who_never_come_back_are_forgotten() {
        let mut limiter = Limiter::new(limit(10));
        for n in 0..50 {
            limiter.turn(&format!("gone-{n}"), Priority::InTurn, Duration::ZERO);
        }
        limiter.turn("later", Priority::InTurn, seconds(10_000.0));
        assert!(limiter.kept.len() <= 1, "{}", limiter.kept.len());
    }

    proptest! {
        #[test]
        fn in_no_window_are_it_more_than_the_limit(
            requests in 1_u32..400,
            at_once in 0_u32..80,
            crowd in proptest::collection::vec((0_u32..200_000, any::<bool>()), 1..600),
        ) {
            let mut limiter = Limiter::new(Limit { at_once, ..limit(requests) });
            let wanting: Vec<_> = crowd
                .into_iter()
                .enumerate()
                .map(|(n, (from, first))| {
                    let priority = if first { Priority::First } else { Priority::InTurn };
                    (format!("{n}"), priority, Duration::from_millis(u64::from(from)))
                })
                .collect();
            let sent = send_all(&mut limiter, &wanting);
            prop_assert_eq!(sent.len(), wanting.len());
            prop_assert!(densest(&sent, MINUTE) <= usize::try_from(requests).unwrap_or(usize::MAX));
        }
    }
}
