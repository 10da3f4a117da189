//! One session for everybody, and one login at a time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ::http::HeaderValue;
use tokio::{sync::Mutex, time::Instant};

use super::error::LoginError;

/// How long refused credentials are not tried again: as long as the KMS locks an identity after three failures. A login
/// that met such a lock is no failure that counts, and the lock may end sooner.
const REFUSAL_HOLD: Duration = Duration::from_mins(5);
/// How long a session that was refused although it was new keeps others from logging in.
const CONDEMNED_HOLD: Duration = Duration::from_secs(30);
/// Longest life that is believed, in seconds; more would overflow an instant.
const LIFE_MAX: u64 = 365 * 24 * 3600;

/// What a login brought.
pub(super) struct Granted {
    /// The Authorization header, marked as sensitive.
    pub header: HeaderValue,
    /// Seconds; 0 means for ever.
    pub expires_in: u64,
}

/// A session. It can't be printed.
#[derive(Clone)]
pub(super) struct Bearer {
    header: HeaderValue,
    /// Which session of this client it is, so that everybody who meets an ended one replaces it together.
    pub generation: u64,
    /// Until when it is used; `None` means until the KMS refuses it.
    fresh_until: Option<Instant>,
}

impl Bearer {
    /// The Authorization header, marked as sensitive.
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// The access token, to keep it out of messages.
    pub fn token(&self) -> &str {
        self.header.to_str().ok().and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default()
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.fresh_until.is_none_or(|until| now < until)
    }
}

/// The session that all requests of an instance share.
#[derive(Default)]
pub(super) struct Session {
    /// Held while a login is under way.
    state: Mutex<State>,
    /// Logins that ended, well or badly.
    attempts: AtomicU64,
}

#[derive(Default)]
struct State {
    current: Option<Bearer>,
    generation: u64,
    /// How the last login failed, for those who waited for it.
    failure: Option<LoginError>,
    /// No login before that instant, and why.
    held: Option<(Instant, LoginError)>,
}

impl Session {
    /// A usable session, from a login if need be. `ended` is the generation of one that the KMS refused; `again` lifts
    /// the memory of a refusal. Those who wait for a login share what it brings, a failure too.
    pub async fn bearer<F: Future<Output = Result<Granted, LoginError>>>(
        &self,
        ended: Option<u64>,
        again: bool,
        log_in: impl FnOnce() -> F,
    ) -> Result<Bearer, LoginError> {
        let before = self.attempts.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        let now = Instant::now();
        if let Some(bearer) = &state.current {
            if bearer.is_fresh(now) && ended.is_none_or(|ended| ended < bearer.generation) {
                return Ok(bearer.clone());
            }
            state.current = None;
        }
        if self.attempts.load(Ordering::Acquire) != before
            && let Some(failure) = &state.failure
        {
            return Err(failure.clone());
        }
        if let Some((until, failure)) = &state.held
            && now < *until
            && !again
        {
            return Err(failure.clone());
        }
        let result = log_in().await;
        self.attempts.fetch_add(1, Ordering::Release);
        match result {
            Ok(granted) => {
                state.generation += 1;
                let bearer = Bearer {
                    header: granted.header,
                    generation: state.generation,
                    fresh_until: fresh_for(granted.expires_in).map(|life| now + life),
                };
                (state.failure, state.held) = (None, None);
                state.current = Some(bearer.clone());
                Ok(bearer)
            }
            Err(failure) => {
                state.held = hold(&failure).map(|wait| (Instant::now() + wait, failure.clone()));
                state.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// Gives up a session that the KMS refused although it was new, or whose KMS can't be trusted any more, and keeps
    /// everybody from logging in for a while: otherwise each request would cost a login.
    pub async fn condemn(&self, bearer: &Bearer, failure: LoginError) {
        let mut state = self.state.lock().await;
        if state.current.as_ref().is_some_and(|current| current.generation == bearer.generation) {
            state.current = None;
            state.held = Some((Instant::now() + CONDEMNED_HOLD, failure));
        }
    }
}

/// How long a session of that life, in seconds, is used: 70 % of it. Renewing is no way, since the KMS can delete a
/// renewed token that would outlive its maximum.
fn fresh_for(expires_in: u64) -> Option<Duration> {
    (expires_in > 0).then(|| Duration::from_secs(expires_in.min(LIFE_MAX)) * 7 / 10)
}

/// How long a failed login is not repeated.
fn hold(failure: &LoginError) -> Option<Duration> {
    match failure {
        LoginError::InvalidCredentials { .. }
        | LoginError::SecretExpired
        | LoginError::UsageLimitReached
        | LoginError::Refused { .. } => Some(REFUSAL_HOLD),
        LoginError::RateLimited { retry_after } => *retry_after,
        LoginError::NoProof(_)
        | LoginError::Locked
        | LoginError::SessionRefused { .. }
        | LoginError::NotOffered
        | LoginError::Unavailable { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::login::AuthMethod;

    const INVALID: LoginError = LoginError::InvalidCredentials { method: AuthMethod::Universal };

    #[test]
    fn a_session_is_used_for_most_of_its_life() {
        for (life, expected) in [(0, None), (1, Some(700)), (7200, Some(5_040_000)), (600, Some(420_000))] {
            assert_eq!(fresh_for(life), expected.map(Duration::from_millis), "{life}");
        }
        assert!(fresh_for(u64::MAX).is_some_and(|life| Instant::now().checked_add(life).is_some()));
        let now = Instant::now();
        let bearer = |fresh_until| Bearer { header: HeaderValue::from_static("Bearer t"), generation: 1, fresh_until };
        assert!(bearer(None).is_fresh(now));
        assert!(bearer(Some(now + Duration::from_millis(1))).is_fresh(now));
        assert!(!bearer(Some(now)).is_fresh(now));
        assert_eq!(bearer(None).token(), "t");
    }

    async fn good() -> Result<Granted, LoginError> {
        Ok(Granted { header: HeaderValue::from_static("Bearer t"), expires_in: 0 })
    }

    #[tokio::test]
    async fn refusals_are_remembered_and_outages_are_not() {
        let refused = || async { Err(INVALID) };
        let down = || async { Err(LoginError::Unavailable { what: "HTTP 503".to_owned() }) };

        let session = Session::default();
        assert!(session.bearer(None, false, down).await.is_err());
        assert!(session.bearer(None, false, good).await.is_ok());

        let session = Session::default();
        assert_eq!(session.bearer(None, false, refused).await.err(), Some(INVALID));
        let second = session.bearer(None, false, good).await;
        assert_eq!(second.err(), Some(INVALID));
        assert!(session.bearer(None, true, good).await.is_ok());
        assert!(session.bearer(None, false, refused).await.is_ok(), "there is a session now");
    }

    #[tokio::test]
    async fn an_ended_session_is_replaced_by_a_newer_one_alone() {
        let session = Session::default();
        let first = session.bearer(None, false, good).await.ok().map(|bearer| bearer.generation);
        assert_eq!(first, Some(1));
        for _ in 0..2 {
            let next = session.bearer(first, false, good).await.ok();
            assert_eq!(next.map(|bearer| bearer.generation), Some(2));
        }
    }

    #[tokio::test]
    async fn a_condemned_session_keeps_others_from_logging_in() {
        let session = Session::default();
        let bearer = session.bearer(None, false, good).await.ok();
        session.condemn(&bearer.expect("a session"), LoginError::Locked).await;
        let next = session.bearer(None, false, good).await;
        assert_eq!(next.err(), Some(LoginError::Locked));
    }

    #[tokio::test]
    async fn a_login_that_is_given_up_blocks_nobody() {
        let session = Session::default();
        let mut given_up = Box::pin(session.bearer(None, false, std::future::pending));
        assert!(futures::poll!(&mut given_up).is_pending());
        drop(given_up);
        assert!(session.bearer(None, false, good).await.is_ok());
    }
}
