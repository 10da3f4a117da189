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

impl Given {
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
        let came = Instant::now();
        let slot = self.slot(credentials.key(&self.key));
        let mut slot = slot.lock().await;
        if let Some(given) = slot.as_mut() {
            let waited_for = given.asked >= came;
            let young = given.at.checked_add(interval.signed()).is_ok_and(|end| end > (self.clock)());
            // By both clocks: one may be set back, the other stands still while the machine sleeps.
            let young =
                young && i64::try_from(given.asked.elapsed().as_secs()).is_ok_and(|age| age < interval.as_secs());
            let known = given.outage.map_or(young, |outage| outage.until > came);
            if waited_for || (known && not_before.is_none_or(|moment| given.asked >= moment)) {
                if reach && self.ask_reach(&mut given.verdict, credentials, priority).await {
                    given.outage = outage(&given.verdict, 0, credentials);
                }
                return given.clone();
            }
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
