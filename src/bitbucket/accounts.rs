//! The limits of accounts. Bitbucket counts the calls of a user, whichever token they are made with.

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    domain::{
        credential::{Credentials, ProcessKey},
        limit::Limit,
        verdict::NoVerdict,
    },
    http::{Gate, NotYet, ObserveWait},
};

/// Bitbucket counts in a rolling hour.
const WINDOW: Duration = Duration::from_secs(3_600);
/// Half of an hour's requests may go at once: a rotated token that many connections share is tried by the KMS for each of
/// them, and nobody should wait for it longer than the KMS makes them.
const AT_ONCE: u32 = 50;

/// The limits of all accounts, which are known by their e-mails.
pub struct Accounts {
    limit: Limit,
    waited: ObserveWait,
    key: ProcessKey,
    gates: Mutex<HashMap<String, (Arc<Gate>, Instant)>>,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Accounts {
    /// So many requests an hour for each; none: no limit but what Bitbucket says.
    pub fn new(requests: Option<NonZeroU32>, waited: ObserveWait) -> Self {
        let limit = Limit { requests, window: WINDOW, at_once: AT_ONCE };
        Self { limit, waited, key: ProcessKey::random(), gates: Mutex::default() }
    }

    /// What all requests in the name of an account pass through.
    pub(super) fn of(&self, credentials: &Credentials) -> Arc<Gate> {
        let email = credentials.email.as_str().to_lowercase();
        let now = Instant::now();
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if !gates.contains_key(&email) {
            // Bitbucket has forgotten what was longer ago.
            gates.retain(|_, (gate, used)| Arc::strong_count(gate) > 1 || now.duration_since(*used) < WINDOW);
        }
        let new = || (Arc::new(Gate::new(self.limit, Arc::clone(&self.waited))), now);
        let (gate, used) = gates.entry(email).or_insert_with(new);
        *used = now;
        Arc::clone(gate)
    }

    /// The name under which a place is kept: tokens of one account are told apart, without being named.
    pub(super) fn place(&self, credentials: &Credentials, purpose: &str) -> String {
        format!("{purpose} {}", credentials.key(&self.key).name())
    }
}

impl From<NotYet> for NoVerdict {
    fn from(NotYet { wait }: NotYet) -> Self {
        Self::NotYet { wait }
    }
}
