//! What Ready says of its own; else it repeats its children.

use super::{Example, judged};
use crate::{
    api::BitbucketConnectionStatus,
    domain::{
        conditions::{self, Children, History, Judgement, Reason, types},
        status::{self, Pass},
        token,
        verdict::{NoVerdict, Verdict},
    },
};

/// What Ready says.
pub fn ready() -> Vec<Example> {
    let good = |reason| Judgement::new(reason, "");
    let down = super::asked(Verdict::Unknown(NoVerdict::Unavailable("HTTP 503".to_owned())));
    let children =
        |credentials| Children { credentials, scopes: good(Reason::AllGranted), synced: good(Reason::InSync) };
    let stale = History { was_ready: true, stale: true };
    let of = |credentials, history| conditions::readiness(&children(credentials), history).ready;
    let down = token::credentials_valid(&down, &super::spec().secret, false);
    let all = vec![
        ("all is well", of(good(Reason::Authenticated), stale)),
        ("an outage that lasts", of(down, stale)),
        ("suspended", suspended(types::READY)),
    ];
    let unseen = |case, condition| judged(condition, vec![(case, suspended(condition))]);
    let unseen = [
        unseen("a token that nobody has seen", types::CREDENTIALS_VALID),
        unseen("scopes that nobody has seen", types::SCOPES_SUFFICIENT),
        unseen("a connection that nobody has seen", types::SYNCED),
        unseen("the end of a token that nobody has seen", types::EXPIRING_SOON),
    ];
    judged(types::READY, all).into_iter().chain(unseen.into_iter().flatten()).collect()
}

/// What an object says that is suspended from its beginning.
fn suspended(condition: &str) -> Judgement {
    let (before, spec) = (BitbucketConnectionStatus::default(), super::spec());
    let now = "2026-03-01T00:00:00Z".parse().expect("a time");
    let pass = Pass {
        now,
        uid: "uid",
        generation: Some(1),
        before: &before,
        spec: Some(&spec),
        interval: spec.interval,
        started: now,
        findings: None,
    };
    conditions::recorded(&status::suspended(&pass).status.conditions, condition).expect("a condition")
}
