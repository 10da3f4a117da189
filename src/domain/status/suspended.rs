//! The status of an object that nobody may ask about: what was found before stays, and only time goes on.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Pass, Report, children, expiring_soon, expiry_events, expiry_of, outlook,
    times::{last_verified, stale_at, whole},
};
use crate::{
    api::BitbucketConnectionStatus,
    domain::{
        conditions::{self, Judgement, Reason, types},
        events,
    },
};

/// Computes the status of a suspended object. Conditions stay as they were, with the generation that they were judged
/// at, but ExpiringSoon, which needs no call; and Ready says Suspended where it would be a guess: if the object never
/// was Ready, or nothing was verified for three intervals.
pub fn suspended(pass: &Pass<'_>) -> Report {
    let old = &pass.before.conditions;
    let mut status = BitbucketConnectionStatus {
        observed_generation: pass.generation,
        next_verification_time: None,
        last_verified_time: last_verified(pass).map(|at| Time(whole(at))),
        ..pass.before.clone()
    };
    let children = children(pass, false);
    let expiry = expiry_of(&status, pass);
    let outlook = outlook(expiry, pass);
    let write = |kind: &str, says: &Judgement| conditions::condition(kind, says, pass.generation, old, pass.now);
    let keep = |kind: &str, says: &Judgement| conditions::find(old, kind).cloned().unwrap_or_else(|| write(kind, says));

    let guess_at = guess_at(pass);
    let ready = conditions::find(old, types::READY).filter(|ready| ready.reason != Reason::Suspended.as_str());
    let ready = ready.filter(|_| guess_at.is_some_and(|at| at > pass.now)).cloned();
    let goes_on = ready.is_some();
    status.conditions = vec![
        keep(types::CREDENTIALS_VALID, &children.credentials),
        keep(types::SCOPES_SUFFICIENT, &children.scopes),
        keep(types::SYNCED, &children.synced),
        ready.unwrap_or_else(|| write(types::READY, &nobody_knows())),
        write(types::EXPIRING_SOON, &expiring_soon(outlook.as_ref(), old)),
    ];
    let markers = [types::RECONCILING, types::STALLED].into_iter().filter_map(|kind| conditions::find(old, kind));
    status.conditions.extend(markers.filter(|_| goes_on).cloned());

    let mut announcements = events::transitions(old, &status.conditions);
    announcements.extend(expiry_events(pass, &mut status, expiry, outlook.as_ref(), &children));
    let wake_at = [outlook.and_then(|outlook| outlook.changes_at), guess_at.filter(|_| goes_on)];
    Report { status, announcements, class: None, wake_at: wake_at.into_iter().flatten().min() }
}

fn nobody_knows() -> Judgement {
    Judgement::new(
        Reason::Suspended,
        "Nothing is verified and nothing is written while spec.managementPolicy is Suspended. Set it to Full, or to Observe to have all verified without a write to the KMS.",
    )
}

/// From when on the Ready of then is a guess; nothing if the object never was Ready: no credentials of it were written.
fn guess_at(pass: &Pass<'_>) -> Option<Timestamp> {
    let before = pass.before;
    let is_ready =
        conditions::recorded(&before.conditions, types::READY).is_some_and(|it| it.reason == Reason::Succeeded);
    let was_written = before.connection.as_ref().is_some_and(|connection| connection.token_fingerprint.is_some());
    let last = last_verified(pass).filter(|_| is_ready || was_written)?;
    stale_at(last, pass.interval)
}
