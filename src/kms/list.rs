//! One list per scope answers the reads of all its connections for a while.
//!
//! A list shows the KMS as it was when it was asked for. What this client wrote since is laid over it, so that nobody who
//! wrote something reads that it isn't there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    error::KmsError,
    snapshot::{Rows, Snapshot, Write},
};
use crate::domain::{connection::KmsScope, texts::Texts};

/// The lists of one instance.
#[derive(Default)]
pub(super) struct Lists {
    shared: Mutex<Shared>,
    /// What rows of its lists have in common.
    texts: Arc<Texts>,
}

#[derive(Default)]
struct Shared {
    scopes: HashMap<KmsScope, Entry>,
    /// Lists on their way, by the instants when they were asked for.
    running: Vec<Instant>,
    /// Writes that ended while a list was on its way, oldest first.
    writes: Vec<(Instant, Write)>,
    /// Lists that were asked for before may lack a write whose answer was lost.
    doubt: Option<Instant>,
}

#[derive(Default)]
struct Entry {
    /// Held by the one that asks for the list.
    turn: Arc<tokio::sync::Mutex<()>>,
    snapshot: Option<Arc<Snapshot>>,
    /// How old a list may be that somebody still uses.
    max_age: Duration,
    /// How often the KMS was asked.
    attempts: u64,
    /// How the last attempt failed, for those who waited for it, and when it began.
    failure: Option<(Instant, KmsError)>,
}

impl Shared {
    /// The list of a scope, if it is new enough.
    fn serve(&self, scope: &KmsScope, max_age: Duration, not_before: Option<Instant>) -> Option<Arc<Snapshot>> {
        let snapshot = self.scopes.get(scope)?.snapshot.as_ref()?;
        let asked = snapshot.asked();
        let known = asked.elapsed() <= max_age && not_before.is_none_or(|least| least <= asked);
        (known && self.doubt.is_none_or(|doubt| doubt < asked)).then(|| Arc::clone(snapshot))
    }

    /// Forgets lists that answer nobody any more; they may be large.
    fn sweep(&mut self) {
        self.scopes.retain(|_, entry| {
            entry.snapshot.take_if(|snapshot| snapshot.asked().elapsed() > entry.max_age);
            // Somebody who waits for a turn has a handle to it.
            entry.snapshot.is_some() || Arc::strong_count(&entry.turn) > 1
        });
    }
}

/// A list on its way; writes are remembered as long as there is one that may lack them.
struct Running<'a> {
    lists: &'a Lists,
    asked: Instant,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut shared = self.lists.lock();
        if let Some(at) = shared.running.iter().position(|asked| *asked == self.asked) {
            shared.running.swap_remove(at);
        }
        match shared.running.iter().min().copied() {
            None => shared.writes = Vec::new(),
            Some(oldest) => shared.writes.retain(|(done, _)| *done >= oldest),
        }
    }
}

/// Stands for a write on its way: unless it is settled, lists from before the end of the write are not used any more.
pub(super) struct Doubt<'a>(Option<&'a Lists>);

impl Doubt<'_> {
    /// It is known what became of the write.
    pub fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(lists) = self.0 {
            lists.lock().doubt = Some(Instant::now());
        }
    }
}

impl Lists {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing in here is left half done.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list of a scope, from `fetch` if the one at hand is older than `max_age` or was asked for before `not_before`.
    /// One fetch serves all who wait for it.
    pub async fn get<F: Future<Output = Result<Rows, KmsError>>>(
        &self,
        scope: &KmsScope,
        not_before: Option<Instant>,
        max_age: Duration,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<Snapshot>, KmsError> {
        let (turn, before) = {
            let mut shared = self.lock();
            if let Some(snapshot) = shared.serve(scope, max_age, not_before) {
                return Ok(snapshot);
            }
            let entry = shared.scopes.entry(scope.clone()).or_default();
            entry.max_age = entry.max_age.max(max_age);
            (Arc::clone(&entry.turn), entry.attempts)
        };
        let _turn = turn.lock().await;
        let running = {
            let mut shared = self.lock();
            if let Some(snapshot) = shared.serve(scope, max_age, not_before) {
                return Ok(snapshot);
            }
            let entry = shared.scopes.entry(scope.clone()).or_default();
            if entry.attempts != before
                && let Some((asked, failure)) = &entry.failure
                && not_before.is_none_or(|least| least <= *asked)
            {
                return Err(failure.clone());
            }
            shared.sweep();
            let running = Running { lists: self, asked: Instant::now() };
            shared.running.push(running.asked);
            running
        };
        let result = fetch().await;
        let mut shared = self.lock();
        let done = result.map(|rows| {
            let snapshot = Snapshot::new(scope.clone(), running.asked, rows);
            for (_, write) in shared.writes.iter().filter(|(done, _)| *done >= running.asked) {
                snapshot.apply(write);
            }
            Arc::new(snapshot)
        });
        let entry = shared.scopes.entry(scope.clone()).or_default();
        entry.attempts += 1;
        entry.failure = done.as_ref().err().map(|failure| (running.asked, failure.clone()));
        if let Ok(snapshot) = &done {
            entry.snapshot = Some(Arc::clone(snapshot));
        }
        drop(shared);
        done
    }

    /// What rows of its lists have in common.
    pub fn texts(&self) -> Arc<Texts> {
        Arc::clone(&self.texts)
    }

    /// The last list of a scope, however old.
    pub fn last(&self, scope: &KmsScope) -> Option<Arc<Snapshot>> {
        self.lock().scopes.get(scope)?.snapshot.clone()
    }

    /// Lays a confirmed write over the lists, those on their way too.
    pub fn wrote(&self, write: Write) {
        let mut shared = self.lock();
        let snapshots = shared.scopes.values().filter_map(|entry| entry.snapshot.as_ref());
        snapshots.for_each(|snapshot| snapshot.apply(&write));
        if !shared.running.is_empty() {
            shared.writes.push((Instant::now(), write));
        }
    }

    /// To be taken before a write is sent.
    pub fn doubt(&self) -> Doubt<'_> {
        Doubt(Some(self))
    }
}
