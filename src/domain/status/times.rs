//! The times in a status: when all was verified last, when it is to be verified again, and when that is too long ago.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Findings, Pass};
use crate::{
    api::BitbucketConnectionStatus,
    domain::{
        conditions::{Children, Class, Judgement},
        duration::Span,
        schedule,
    },
};

/// How many effective intervals without any verification make Ready stale.
const STALE_INTERVALS: i64 = 3;

/// When all was verified last.
pub fn last_verified(pass: &Pass<'_>) -> Option<Timestamp> {
    pass.before.last_verified_time.as_ref().map(|last| no_later_than_now(last.0, pass))
}

/// A time that lies behind us. By a clock that was set back since, what was verified then would count as fresh for as long
/// as it was set back, and be verified again that much later.
fn no_later_than_now(at: Timestamp, pass: &Pass<'_>) -> Timestamp {
    if schedule::is_from_the_future(at, pass.now) { pass.now } else { at }
}

/// When what was verified then is too long ago.
pub fn stale_at(last: Timestamp, interval: Span) -> Option<Timestamp> {
    last.checked_add(Span::from_secs(interval.as_secs() * STALE_INTERVALS).signed()).ok()
}

/// Sets when all was verified last, and when it is to be verified again.
pub fn set(
    status: &mut BitbucketConnectionStatus,
    findings: &Findings<'_>,
    children: &Children,
    class: Option<Class>,
    pass: &Pass<'_>,
) {
    let transient = |judgement: &Judgement| judgement.reason.class() == Some(Class::Transient);
    let open = [&children.credentials, &children.scopes, &children.synced].into_iter().any(transient);
    let verified_at = findings.verified_at.map(|at| no_later_than_now(at, pass));
    status.last_verified_time = match verified_at.filter(|_| !open) {
        Some(at) => Some(at),
        None => last_verified(pass),
    }
    .map(|at| Time(whole(at)));
    // An outage is tried again with backoff; after a restart at once. A time that moved with every attempt would be
    // a write for each.
    let next = (class != Some(Class::Transient)).then(|| {
        let forced = pass.spec.is_some_and(|spec| pass.interval > spec.interval);
        let set = pass.before.next_verification_time.as_ref().map(|time| time.0).filter(|at| *at > pass.now);
        match (verified_at, set) {
            // Where the limit of a host forces a longer interval, those who share a credential don't come together.
            (Some(_), _) if forced => schedule::next_verification(pass.now, pass.interval, pass.uid),
            (Some(at), _) => schedule::next_verification(at, pass.interval, pass.uid),
            // Bitbucket wasn't asked: when it is to be asked doesn't change.
            (None, Some(at)) => at.min(schedule::next_verification(pass.now, pass.interval, pass.uid)),
            (None, None) => schedule::next_verification(pass.now, pass.interval, pass.uid),
        }
    });
    status.next_verification_time = next.map(Time);
}

/// The API knows whole seconds; a finer time would look like a change after every read.
pub fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
