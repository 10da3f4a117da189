//! Bitbucket's verdicts, each asked for once per credential and interval, however many objects share it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::clock::Clock;
use crate::{
    bitbucket::Bitbucket,
    domain::{
        credential::{CredentialKey, Credentials, ProcessKey},
        duration::Span,
        limit::Priority,
        schedule,
        verdict::{Accepted, NoVerdict, Reach, Verdict},
        workspaces,
    },
    http::NotYet,
};

/// A verdict, and when it was given.
#[derive(Clone)]
pub struct Given {
    /// What Bitbucket said.
    pub verdict: Verdict,
    /// When.
    pub at: Timestamp,
    asked: Instant,
    outage: Option<Outage>,
}

/// Attempts that brought no verdict, or no scopes. All objects with equal credentials share them, so that the fleet asks
/// as seldom as one object would.
#[derive(Clone, Copy)]
struct Outage {
    attempts: u32,
    /// Before that nobody asks again.
    until: Instant,
}

/// What an answer must be good enough for.
#[derive(Clone, Copy)]
struct Question {
    /// When somebody came with it.
    came: Instant,
    /// How old the answer may be.
    interval: Span,
    /// Before that nobody may have asked.
    not_before: Option<Instant>,
}

impl Given {
    /// Whether it is good enough at this time, by both clocks: one may be set back, the other stands still while the machine
    /// sleeps. What was asked for after the question came, by somebody before whom one had to wait, always is. After
    /// an outage it is until the next attempt.
    fn answers(&self, question: &Question, time: Timestamp, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.asked).as_secs();
        let young = self.at.checked_add(question.interval.signed()).is_ok_and(|end| end > time)
            && i64::try_from(age).is_ok_and(|age| age < question.interval.as_secs());
        let known = self.outage.map_or(young, |outage| outage.until > question.came);
        self.asked >= question.came || (known && question.not_before.is_none_or(|moment| self.asked >= moment))
    }

    /// How long to wait until it is asked again, where there is no verdict.
    pub fn retry_after(&self) -> Option<Duration> {
        self.outage.map(|outage| outage.until.saturating_duration_since(Instant::now()))
    }
}

/// The verdicts of this process. Credentials are known by a keyed hash.
pub struct Verdicts {
    bitbucket: Bitbucket,
    clock: Clock,
    key: ProcessKey,
    given: Mutex<HashMap<CredentialKey, Arc<tokio::sync::Mutex<Option<Given>>>>>,
}

/// No interval is longer; what is older answers nobody.
const KEPT: Span = Span::from_days(2);

impl Verdicts {
    /// No verdicts yet.
    pub fn new(bitbucket: Bitbucket, clock: Clock) -> Self {
        Self { bitbucket, clock, key: ProcessKey::random(), given: Mutex::default() }
    }

    /// The verdict on credentials: a remembered one that is younger than `interval` and was asked for after
    /// `not_before`, else Bitbucket's answer now. Whoever waits for an answer shares it. One that doesn't say all is
    /// remembered until the next attempt, which is later each time, or when the server says. With `reach` it says which
    /// workspaces the token reaches; that is asked once too, by the first who wants to know.
    pub async fn get(
        &self,
        credentials: &Credentials,
        interval: Span,
        not_before: Option<Instant>,
        reach: bool,
        priority: Priority,
    ) -> Given {
        let question = Question { came: Instant::now(), interval, not_before };
        let slot = self.slot(credentials.key(&self.key));
        let mut slot = slot.lock().await;
        if let Some(given) = slot.as_mut()
            && given.answers(&question, (self.clock)(), Instant::now())
        {
            if reach && self.ask_reach(&mut given.verdict, credentials, priority).await {
                given.outage = outage(&given.verdict, 0, credentials);
            }
            return given.clone();
        }
        let asked = Instant::now();
        let mut verdict = self.bitbucket.verify(credentials, priority).await;
        if reach {
            self.ask_reach(&mut verdict, credentials, priority).await;
        }
        let attempts = slot.as_ref().and_then(|given| given.outage).map_or(0, |outage| outage.attempts);
        let given = Given { outage: outage(&verdict, attempts, credentials), verdict, at: (self.clock)(), asked };
        *slot = Some(given.clone());
        given
    }

    /// Adds to a verdict which workspaces the token reaches, unless it says so or can't; whether anybody was asked.
    async fn ask_reach(&self, verdict: &mut Verdict, credentials: &Credentials, priority: Priority) -> bool {
        match verdict {
            Verdict::Accepted(accepted @ Accepted { reach: Reach::NotAsked, .. })
                if workspaces::may_be_asked(accepted) =>
            {
                accepted.reach = self.bitbucket.workspaces(credentials, priority).await;
                true
            }
            Verdict::Accepted(_) | Verdict::Refused(_) | Verdict::Unknown(_) => false,
        }
    }

    /// Waits until the account may be asked once more: whoever writes credentials to the KMS has it ask Bitbucket.
    pub async fn turn_to_push(&self, credentials: &Credentials, who: &str, priority: Priority) -> Result<(), NotYet> {
        self.bitbucket.turn(credentials, who, priority).await
    }

    /// Forgets a verdict that turned out to be wrong.
    pub async fn doubt(&self, credentials: &Credentials) {
        *self.slot(credentials.key(&self.key)).lock().await = None;
    }

    fn slot(&self, key: CredentialKey) -> Arc<tokio::sync::Mutex<Option<Given>>> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if !given.contains_key(&key) {
            let oldest = (self.clock)().checked_sub(KEPT.signed()).unwrap_or(Timestamp::MIN);
            // A slot that is locked, or held by somebody who waits, is in use.
            given.retain(|_, slot| {
                Arc::strong_count(slot) > 1
                    || slot.try_lock().is_ok_and(|slot| slot.as_ref().is_some_and(|given| given.at > oldest))
            });
        }
        Arc::clone(given.entry(key).or_default())
    }
}

/// What an answer after so many attempts without a complete one means for the next one.
fn outage(verdict: &Verdict, attempts: u32, credentials: &Credentials) -> Option<Outage> {
    if verdict.is_complete() {
        return None;
    }
    let asked_for = match verdict {
        Verdict::Unknown(NoVerdict::RateLimited { retry_after })
        | Verdict::Accepted(Accepted { reach: Reach::Unknown(NoVerdict::RateLimited { retry_after }), .. }) => {
            *retry_after
        }
        Verdict::Unknown(NoVerdict::NotYet { wait })
        | Verdict::Accepted(Accepted { reach: Reach::Unknown(NoVerdict::NotYet { wait }), .. }) => Some(*wait),
        _ => None,
    };
    let wait = asked_for.unwrap_or_else(|| schedule::backoff(attempts, credentials.email.as_str()));
    Some(Outage { attempts: attempts.saturating_add(1), until: Instant::now() + wait })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_is_good_for_an_interval_by_both_clocks() {
        let (start, day) = (Instant::now() + 1_000 * SECOND, Timestamp::UNIX_EPOCH);
        let verdict = || Verdict::Unknown(NoVerdict::RateLimited { retry_after: None });
        let given = |until: Option<u32>| Given {
            verdict: verdict(),
            at: day,
            asked: start,
            outage: until.map(|until| Outage { attempts: 1, until: start + until * SECOND }),
        };
        // When somebody came, before when nobody may have asked, and what both clocks show.
        let answers = |given: &Given, came: i32, not_before: Option<i32>, time: i64, now: u32| {
            let at = |second: i32| {
                let shift = second.unsigned_abs() * SECOND;
                if second < 0 { start - shift } else { start + shift }
            };
            let question = Question { came: at(came), interval: Span::from_secs(60), not_before: not_before.map(at) };
            given.answers(&question, Timestamp::from_second(time).expect("a time"), start + now * SECOND)
        };
        for (came, not_before, time, now, expected) in [
            (59, None, 59, 59, true),
            (60, None, 60, 59, false),
            (60, None, 59, 60, false),
            (9, Some(0), 9, 9, true),
            (9, Some(1), 9, 9, false),
            // Asked for while one waited.
            (0, Some(1), 99, 99, true),
            (-1, Some(1), 99, 99, true),
            // A clock that was set back makes nothing younger.
            (99, None, -99, 99, false),
        ] {
            let told = answers(&given(None), came, not_before, time, now);
            assert_eq!(told, expected, "{came} {not_before:?} {time} {now}");
        }
        for (until, came, not_before, expected) in
            [(70, 69, None, true), (70, 70, None, false), (70, 9, Some(1), false), (5, 9, None, false)]
        {
            assert_eq!(answers(&given(Some(until)), came, not_before, 9, 9), expected, "{until} {came} {not_before:?}");
        }
    }
}
