//! When an object is looked at again.

use super::*;
use crate::domain::schedule;

const ENDS: Option<&str> = Some("2027-06-01");

#[test]
fn what_is_stale_already_is_not_waited_for() {
    for second in [3 * INTERVAL, 3 * INTERVAL + 60] {
        let mut world = World::ready("2027-06-01");
        let report = world.looks(second, &down("one"), "1", ENDS, synced(Reason::InSync));
        assert_eq!(world.reason(types::READY), "VerificationStale", "{second}");
        assert!(report.wake_at.is_none_or(|wake_at| wake_at > at(second)), "{:?}", report.wake_at);
        world.looks(second + 60, &down("one"), "1", ENDS, synced(Reason::InSync));
        assert_eq!(world.reason(types::READY), "VerificationStale", "{second}: it was Ready before the outage");
    }
}

#[test]
fn an_outage_makes_nothing_ready_that_was_not() {
    let mut world = World::ready("2027-06-01");
    let refused = token("one", Verdict::Refused(Refusal::InvalidOrExpired));
    world.looks(60, &refused, "1", ENDS, synced(Reason::InSync));
    assert_eq!(world.reason(types::READY), "CredentialsRejected");
    world.looks(120, &down("one"), "1", ENDS, synced(Reason::InSync));
    assert_eq!(world.reason(types::READY), "BitbucketUnavailable");
}

#[test]
fn the_next_verification_follows_the_verdict_unless_a_longer_interval_is_forced() {
    // A verdict that another object got before.
    let verified = -600;
    let hour = Span::from_secs(INTERVAL);
    let longer = Span::from_secs(4 * INTERVAL);
    for (forced, from, interval) in [(None, verified, hour), (Some(longer), 0, longer)] {
        let mut world = World { forced, ..World::new() };
        world.looks_with(Some(at(verified)), 0, &good("one"), "1", ENDS, synced(Reason::InSync));
        let next = schedule::next_verification(at(from), interval, "uid");
        assert_eq!(world.status.next_verification_time, Some(Time(next)), "{forced:?}");
    }
}

#[test]
fn where_nobody_was_asked_the_next_verification_stays_or_comes_earlier() {
    let set = |second: Option<i64>| {
        let mut world = World::ready("2027-06-01");
        world.status.next_verification_time = second.map(|second| Time(at(second)));
        world.looks(60, &Token::NoSecret, "1", ENDS, synced(Reason::InSync));
        world.status.next_verification_time.map(|time| time.0)
    };
    let latest = schedule::next_verification(at(60), Span::from_secs(INTERVAL), "uid");
    let table = [
        (Some(61), at(61)),
        (Some(INTERVAL), at(INTERVAL)),
        (Some(9 * INTERVAL), latest),
        // What has passed is set anew.
        (Some(60), latest),
        (Some(59), latest),
        (None, latest),
    ];
    for (before, next) in table {
        assert_eq!(set(before), Some(next), "{before:?}");
    }
}
