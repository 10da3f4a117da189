//! When an object is looked at, and how closely.
//!
//! Most of the time nothing is due: then nobody is asked, not even after a restart.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::duration::Span;

/// Why all is to be verified now, the weightiest reason first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nobody has looked at the object yet.
    FirstPass,
    /// The spec changed.
    SpecChanged,
    /// Somebody asked for it by annotation.
    Requested,
    /// The Secret changed, came, or went.
    SecretChanged,
    /// The instance, or what it grants, changed.
    AccessChanged,
    /// The last pass met an outage.
    Retry,
    /// The interval has passed.
    Interval,
}

impl Due {
    /// Whether what is remembered must not be used: what an answer to this is judged by is read after it.
    pub const fn skips_caches(self) -> bool {
        matches!(self, Self::SpecChanged | Self::Requested)
    }

    /// A word for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstPass => "first pass",
            Self::SpecChanged => "spec changed",
            Self::Requested => "requested",
            Self::SecretChanged => "secret changed",
            Self::AccessChanged => "access changed",
            Self::Retry => "retry",
            Self::Interval => "interval",
        }
    }
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// `status.observedGeneration`.
    pub observed_generation: Option<i64>,
    /// The annotation asks for something that the status doesn't echo.
    pub requested: bool,
    /// The Secret is another than the status tells of.
    pub secret_changed: bool,
    /// Access to the KMS is another than the status tells of.
    pub access_changed: bool,
    /// `status.lastVerifiedTime`.
    pub last_verified: Option<Timestamp>,
    /// `status.nextVerificationTime`; none while an outage lasts.
    pub next_verification: Option<Timestamp>,
    /// When the next attempt in an outage is allowed, if this process had one.
    pub retry_at: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// Why all is to be verified now, or nothing.
pub fn due(situation: &Situation) -> Option<Due> {
    let observed = situation.observed_generation.filter(|generation| *generation != crate::api::UNPROCESSED);
    let passed = |at: Timestamp| at <= situation.now;
    // What was planned by the clock of then would come as much too late.
    let set_back = situation.last_verified.is_some_and(|at| is_from_the_future(at, situation.now));
    match (observed, situation.retry_at, situation.next_verification) {
        (None, retry_at, _) if retry_at.is_none_or(passed) => Some(Due::FirstPass),
        (Some(observed), ..) if Some(observed) != situation.generation => Some(Due::SpecChanged),
        _ if situation.requested => Some(Due::Requested),
        _ if situation.secret_changed => Some(Due::SecretChanged),
        _ if situation.access_changed => Some(Due::AccessChanged),
        (_, Some(retry_at), None) if passed(retry_at) => Some(Due::Retry),
        (_, None, None) => Some(Due::Retry),
        (_, _, Some(at)) if passed(at) || set_back => Some(Due::Interval),
        _ => None,
    }
}

/// Whether somebody has set the clock back since a time that lies behind us.
pub fn is_from_the_future(at: Timestamp, now: Timestamp) -> bool {
    at > later(now, CLOCKS_DIFFER)
}

/// How much the clocks of two replicas may differ.
const CLOCKS_DIFFER: Span = Span::from_secs(60);

fn later(at: Timestamp, span: Span) -> Timestamp {
    at.checked_add(span.signed()).unwrap_or(Timestamp::MAX)
}

/// When all is verified again that was verified then: after the interval, and up to a tenth of it later. The share is
/// the object's own, so objects that were applied together drift apart, and those with equal credentials find the
/// answer that the first of them got. In whole seconds, as the API keeps times, and rounded up: a moment too early, the
/// verdict of then would still be good.
pub fn next_verification(verified: Timestamp, interval: Span, uid: &str) -> Timestamp {
    let tenth = interval.as_secs() * 1_000 / 10;
    let share = i64::try_from(seed(uid) % 1_000).unwrap_or_default() * tenth / 1_000;
    let after = jiff::SignedDuration::from_millis(interval.as_secs() * 1_000 + share);
    let at = verified.checked_add(after).unwrap_or(Timestamp::MAX);
    let early = i64::from(at.subsec_nanosecond() > 0);
    Timestamp::from_second(at.as_second().saturating_add(early)).unwrap_or(at)
}

/// The interval that holds: longer than the wanted one where reading all scopes of a host, in turn and with a quarter of
/// the pace to spare for other things, takes longer.
pub fn effective(wanted: Span, reading: Duration) -> Span {
    let seconds = (reading * 4).as_secs().div_ceil(3);
    wanted.max(Span::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

/// When the operator started, by a clock that shows now. By one that was set back since, what fell due before the start is
/// not to be told from what falls due later: then as if it had always run.
pub fn started_by(started: Timestamp, now: Timestamp) -> Timestamp {
    if is_from_the_future(started, now) { Timestamp::MIN } else { started }
}

/// When a verification is due. Those that fell due while no operator ran don't all come at its start: they are spread
/// over a tenth of their interval.
pub fn due_at(next: Timestamp, started: Timestamp, interval: Span, uid: &str) -> Timestamp {
    if next > started {
        return next;
    }
    let later = jiff::SignedDuration::try_from(spread_of(interval).mul_f64(share(uid))).unwrap_or_default();
    started.checked_add(later).unwrap_or(next)
}

/// Over how long objects that were verified together are verified again: a tenth of their interval.
pub fn spread_of(interval: Span) -> Duration {
    Duration::from_secs(u64::try_from(interval.as_secs()).unwrap_or_default() / 10)
}

/// The same wait, and up to a fifth more: what waits for one thing doesn't come at once.
pub fn scatter(wait: Duration, uid: &str) -> Duration {
    wait + wait.mul_f64(share(uid) / 5.0)
}

/// The object's own number between 0 and 1.
fn share(uid: &str) -> f64 {
    f64::from(u32::try_from(seed(uid) % 1_000).unwrap_or_default()) / 1_000.0
}

/// How long to wait after so many attempts in a row that met an outage: 5 s doubled up to 5 min, and some jitter.
pub fn backoff(attempts: u32, uid: &str) -> Duration {
    let builder = ExponentialBuilder::new()
        .with_min_delay(Duration::from_secs(5))
        .with_max_delay(Duration::from_secs(240))
        .with_max_times(usize::MAX)
        .with_jitter()
        .with_jitter_seed(seed(uid));
    let delay = builder.build().nth(usize::try_from(attempts.min(16)).unwrap_or(16));
    delay.unwrap_or(MAX_BACKOFF).min(MAX_BACKOFF)
}

const MAX_BACKOFF: Duration = Duration::from_secs(300);

fn seed(uid: &str) -> u64 {
    let hash = Sha256::digest(uid.as_bytes());
    hash.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn who_asks_gets_an_answer_from_after_the_question() {
        use Due::{AccessChanged, FirstPass, Interval, Requested, Retry, SecretChanged, SpecChanged};
        let all = [FirstPass, SpecChanged, Requested, SecretChanged, AccessChanged, Retry, Interval];
        let asking: Vec<_> = all.into_iter().filter(|due| due.skips_caches()).collect();
        assert_eq!(asking, [SpecChanged, Requested]);
        let words: std::collections::BTreeSet<_> = all.iter().map(|due| due.as_str()).collect();
        assert_eq!(words.len(), all.len(), "logs tell them apart: {words:?}");
    }

    const QUIET: Situation = Situation {
        generation: Some(3),
        observed_generation: Some(3),
        requested: false,
        secret_changed: false,
        access_changed: false,
        last_verified: None,
        next_verification: Some(Timestamp::MAX),
        retry_at: None,
        now: Timestamp::UNIX_EPOCH,
    };

    #[test]
    fn nothing_is_due_until_something_is() {
        let table = [
            (QUIET, None),
            (Situation { observed_generation: None, ..QUIET }, Some(Due::FirstPass)),
            (Situation { observed_generation: Some(-1), ..QUIET }, Some(Due::FirstPass)),
            (Situation { observed_generation: Some(2), ..QUIET }, Some(Due::SpecChanged)),
            (Situation { requested: true, ..QUIET }, Some(Due::Requested)),
            (Situation { secret_changed: true, ..QUIET }, Some(Due::SecretChanged)),
            (Situation { access_changed: true, ..QUIET }, Some(Due::AccessChanged)),
            (Situation { next_verification: Some(at(5)), now: at(4), ..QUIET }, None),
            (Situation { next_verification: Some(at(5)), now: at(5), ..QUIET }, Some(Due::Interval)),
            (Situation { last_verified: Some(at(60)), ..QUIET }, None),
            (Situation { last_verified: Some(at(61)), ..QUIET }, Some(Due::Interval)),
            (Situation { last_verified: Some(at(61)), next_verification: None, retry_at: Some(at(5)), ..QUIET }, None),
            (Situation { next_verification: None, ..QUIET }, Some(Due::Retry)),
            (Situation { next_verification: None, retry_at: Some(at(5)), now: at(4), ..QUIET }, None),
            (Situation { next_verification: None, retry_at: Some(at(5)), now: at(5), ..QUIET }, Some(Due::Retry)),
            // The first pass, too, has met an outage, and waits.
            (
                Situation {
                    observed_generation: None,
                    next_verification: None,
                    retry_at: Some(at(5)),
                    now: at(4),
                    ..QUIET
                },
                None,
            ),
            (
                Situation {
                    observed_generation: None,
                    next_verification: None,
                    retry_at: Some(at(5)),
                    now: at(5),
                    ..QUIET
                },
                Some(Due::FirstPass),
            ),
            (
                Situation { requested: true, next_verification: None, retry_at: Some(at(5)), ..QUIET },
                Some(Due::Requested),
            ),
        ];
        for (situation, expected) in table {
            assert_eq!(due(&situation), expected, "{situation:?}");
        }
    }

    #[test]
    fn objects_applied_together_drift_apart_by_a_tenth_at_most() {
        let times: Vec<_> = (0..50)
            .map(|n| next_verification(at(0), Span::from_secs(3_600), &format!("uid-{n}")).as_second())
            .collect();
        assert!(times.iter().all(|time| (3_600..=3_960).contains(time)), "{times:?}");
        assert!(times.iter().min() != times.iter().max());
    }

    #[test]
    fn a_verification_comes_in_whole_seconds_and_none_too_early() {
        let verified = at(1_000);
        let of = |nanosecond: i32| {
            let exact = Timestamp::new(1_000, nanosecond).expect("a time");
            next_verification(exact, Span::from_secs(600), "uid").duration_since(verified).as_secs()
        };
        assert!((600..=660).contains(&of(0)) && (of(0)..=of(0) + 1).contains(&of(1)), "{} {}", of(0), of(1));
        // Without a share there is nothing to round.
        let sharp = next_verification(verified, Span::from_secs(0), "uid");
        assert_eq!(sharp, verified);
    }

    #[test]
    fn what_waits_for_one_thing_is_scattered_over_a_fifth_more() {
        let wait = Duration::from_secs(100);
        let waits: Vec<_> = (0..50).map(|n| scatter(wait, &format!("uid-{n}"))).collect();
        assert!(waits.iter().all(|it| (wait..=wait + wait / 5).contains(it)), "{waits:?}");
        let (least, most) = (waits.iter().min().expect("some"), waits.iter().max().expect("some"));
        assert!(*most > *least + Duration::from_secs(10), "{waits:?}");
    }

    #[test]
    fn a_host_that_allows_little_makes_the_interval_longer() {
        let hour = Span::from_secs(3_600);
        for (reading, expected) in [(0, 3_600), (2_700, 3_600), (2_701, 3_602), (14_400, 19_200)] {
            assert_eq!(effective(hour, Duration::from_secs(reading)).as_secs(), expected, "{reading}");
        }
    }

    #[test]
    fn what_fell_due_before_the_start_is_spread_and_the_rest_is_not() {
        let hour = Span::from_secs(3_600);
        let due: Vec<_> = (0..50).map(|n| due_at(at(5), at(100), hour, &format!("uid-{n}")).as_second()).collect();
        assert!(due.iter().all(|due| (100..=460).contains(due)), "{due:?}");
        assert!(due.iter().max() > due.iter().min());
        assert!((0..50).any(|n| due_at(at(100), at(100), hour, &format!("uid-{n}")) > at(100)), "nor all at the start");
        assert_eq!(due_at(at(101), at(100), hour, "uid"), at(101));
        // Two days before it was started, by a clock that was set back.
        let (started, now) = (at(200_000), at(27_200));
        assert_eq!(started_by(started, started), started);
        assert_eq!(due_at(at(30_800), started_by(started, now), hour, "uid"), at(30_800));
    }

    #[test]
    fn backoff_grows_to_five_minutes() {
        let of = |attempt| backoff(attempt, "uid");
        assert!(of(0) >= Duration::from_secs(5) && of(0) <= Duration::from_secs(10));
        assert!(of(3) > of(0));
        for attempt in [10, 100, u32::MAX] {
            assert!(of(attempt) <= MAX_BACKOFF && of(attempt) >= Duration::from_secs(240));
        }
    }
}
