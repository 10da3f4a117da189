//! One list per scope answers the reads of all its connections for a while.
//!
//! A list shows the KMS as it was when it was asked for. What this client wrote since is laid over it, so that nobody who
//! wrote something reads that it isn't there.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::error::KmsError;
use crate::domain::{
    connection::{KmsConnection, KmsScope},
    ownership::{Owner, owner_named_in},
};

/// The connections of one scope at one time. Don't hold it for long: a write while somebody does copies its index.
#[derive(Clone)]
pub struct Snapshot {
    scope: KmsScope,
    asked: Instant,
    by_id: HashSet<ById>,
    by_name: HashSet<ByName>,
    by_owner: HashMap<String, Vec<Arc<KmsConnection>>>,
}

/// Found by its id, without a copy of it.
#[derive(Clone)]
struct ById(Arc<KmsConnection>);

/// Found by its name, without a copy of it.
#[derive(Clone)]
struct ByName(Arc<KmsConnection>);

macro_rules! found_by {
    ($type:ident, $field:ident) => {
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0.$field
            }
        }
        impl Hash for $type {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.$field.hash(state);
            }
        }
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.0.$field == other.0.$field
            }
        }
        impl Eq for $type {}
    };
}
found_by!(ById, id);
found_by!(ByName, name);

impl Snapshot {
    fn new(scope: KmsScope, asked: Instant, connections: Vec<KmsConnection>) -> Self {
        let (by_id, by_name) = (HashSet::with_capacity(connections.len()), HashSet::with_capacity(connections.len()));
        let mut snapshot = Self { scope, asked, by_id, by_name, by_owner: HashMap::new() };
        for connection in connections {
            snapshot.put(Arc::new(connection));
        }
        snapshot
    }

    /// When the KMS was asked for it.
    pub fn asked(&self) -> Instant {
        self.asked
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Of a project's list, whether its connections name the project, which those of a server that knows none don't.
    /// Nothing where there are none to tell.
    pub fn tells_projects(&self) -> Option<bool> {
        self.scope.project_id()?;
        self.by_id.iter().next().map(|ById(connection)| connection.project_id.is_some())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The organization that the identity sees, where a connection tells it.
    pub fn organization(&self) -> Option<&str> {
        self.by_id.iter().find_map(|found| found.0.org_id.as_deref())
    }

    /// The connection of that id.
    pub fn by_id(&self, id: &str) -> Option<&Arc<KmsConnection>> {
        self.by_id.get(id).map(|found| &found.0)
    }

    /// The connection of that name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<KmsConnection>> {
        self.by_name.get(name).map(|found| &found.0)
    }

    /// The connections that bear the mark of that owner; more than one is an accident.
    pub fn owned_by(&self, owner: &Owner) -> Vec<&Arc<KmsConnection>> {
        owner.digits().filter_map(|digits| self.by_owner.get(digits)).flatten().collect()
    }

    fn put(&mut self, connection: Arc<KmsConnection>) {
        self.remove(&connection.id);
        if let Some(owner) = owner_named_in(&connection.description) {
            self.by_owner
                .entry(owner.to_owned())
                .or_insert_with(|| Vec::with_capacity(1))
                .push(Arc::clone(&connection));
        }
        self.by_name.replace(ByName(Arc::clone(&connection)));
        self.by_id.insert(ById(connection));
    }

    fn remove(&mut self, id: &str) {
        let Some(ById(gone)) = self.by_id.take(id) else { return };
        if self.by_name(&gone.name).is_some_and(|named| named.id == id) {
            self.by_name.remove(gone.name.as_str());
        }
        if let Some(owner) = owner_named_in(&gone.description)
            && let Some(owned) = self.by_owner.get_mut(owner)
        {
            owned.retain(|connection| connection.id != id);
            if owned.is_empty() {
                self.by_owner.remove(owner);
            }
        }
    }

    /// Whether a write changes this list.
    fn concerns(&self, write: &Write) -> bool {
        match write {
            Write::Put { scope: Some(scope), .. } => *scope == self.scope,
            Write::Put { scope: None, connection } => {
                let here = connection.project_id.as_deref() == self.scope.project_id();
                // An older server names no project.
                here || self.by_id.contains(connection.id.as_str())
            }
            Write::Gone { id } => self.by_id.contains(id.as_str()),
        }
    }

    fn apply(&mut self, write: &Write) {
        if self.concerns(write) {
            match write {
                Write::Put { connection, .. } => self.put(Arc::clone(connection)),
                Write::Gone { id } => self.remove(id),
            }
        }
    }
}

/// A write that the KMS confirmed.
pub(super) enum Write {
    /// Created or changed.
    Put {
        /// Where it was created; a changed one is where it was.
        scope: Option<KmsScope>,
        /// As the KMS returned it.
        connection: Arc<KmsConnection>,
    },
    /// Deleted, or found to be gone.
    Gone {
        /// Its id.
        id: String,
    },
}

/// The lists of one instance.
#[derive(Default)]
pub(super) struct Lists {
    shared: Mutex<Shared>,
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
        let asked = snapshot.asked;
        let known = asked.elapsed() <= max_age && not_before.is_none_or(|least| least <= asked);
        (known && self.doubt.is_none_or(|doubt| doubt < asked)).then(|| Arc::clone(snapshot))
    }

    /// Forgets lists that answer nobody any more; they may be large.
    fn sweep(&mut self) {
        self.scopes.retain(|_, entry| {
            entry.snapshot.take_if(|snapshot| snapshot.asked.elapsed() > entry.max_age);
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
    pub async fn get<F: Future<Output = Result<Vec<KmsConnection>, KmsError>>>(
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
        let done = result.map(|connections| {
            let mut snapshot = Snapshot::new(scope.clone(), running.asked, connections);
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

    /// Lays a confirmed write over the lists, those on their way too.
    pub fn wrote(&self, write: Write) {
        let mut shared = self.lock();
        for snapshot in shared.scopes.values_mut().filter_map(|entry| entry.snapshot.as_mut()) {
            if snapshot.concerns(&write) {
                Arc::make_mut(snapshot).apply(&write);
            }
        }
        if !shared.running.is_empty() {
            shared.writes.push((Instant::now(), write));
        }
    }

    /// To be taken before a write is sent.
    pub fn doubt(&self) -> Doubt<'_> {
        Doubt(Some(self))
    }
}
