//! Versions of objects, and what became of them since.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::Value;
use tokio::sync::watch;

use crate::{
    fault::Rules,
    journal::Journal,
    kinds::{KINDS, KindId},
    object::{Key, Stored},
};

/// How many changes of a kind are remembered unless a test says otherwise.
const HISTORY: usize = 10_000;

/// What happened to an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum What {
    Added,
    Modified,
    Deleted,
}

/// One change, as watchers see it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub what: What,
    pub object: Arc<Stored>,
}

impl Change {
    fn apply(&self, objects: &mut BTreeMap<Key, Arc<Stored>>) {
        match self.what {
            What::Added | What::Modified => objects.insert(self.object.key.clone(), Arc::clone(&self.object)),
            What::Deleted => objects.remove(&self.object.key),
        };
    }
}

/// The objects of a kind.
pub(crate) struct Table {
    pub objects: BTreeMap<Key, Arc<Stored>>,
    /// The latest changes, in their order.
    pub log: VecDeque<Change>,
    /// The revision of the latest change that is forgotten.
    pub forgotten: u64,
    /// The objects as they were then.
    then: BTreeMap<Key, Arc<Stored>>,
    /// Wakes watchers.
    pub bell: watch::Sender<()>,
}

/// All that is behind the lock.
pub(crate) struct State {
    /// Of the latest write, whatever its kind.
    pub revision: u64,
    tables: Vec<Table>,
    made: u64,
    history: usize,
    /// How often all watches were broken.
    pub breaks: u64,
    /// Watches deliver nothing for now.
    pub watches_held: bool,
    /// Lists of these kinds tell what there was at this revision, and their watches nothing.
    pub behind: BTreeMap<KindId, u64>,
    /// Watches don't end after the time that their caller asked for.
    pub watches_endless: bool,
    pub rules: Rules,
    pub journal: Journal,
    /// How often a get was answered with a version before the present one.
    pub stale: BTreeMap<KindId, u64>,
}

impl State {
    pub fn new() -> Self {
        let table = || Table {
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            forgotten: 1,
            then: BTreeMap::new(),
            bell: watch::Sender::new(()),
        };
        Self {
            revision: 1,
            tables: KINDS.iter().map(|_| table()).collect(),
            made: 0,
            history: HISTORY,
            breaks: 0,
            watches_held: false,
            behind: BTreeMap::new(),
            watches_endless: false,
            rules: Rules::default(),
            journal: Journal::default(),
            stale: BTreeMap::new(),
        }
    }

    pub fn table(&self, kind: KindId) -> &Table {
        &self.tables[kind.0]
    }

    pub fn get(&self, kind: KindId, key: &Key) -> Option<&Arc<Stored>> {
        self.tables[kind.0].objects.get(key)
    }

    /// The objects of a kind in a namespace, or in all, by namespace and name.
    pub fn list(&self, kind: KindId, namespace: Option<&str>) -> Vec<Arc<Stored>> {
        let objects = &self.tables[kind.0].objects;
        let Some(namespace) = namespace else { return objects.values().cloned().collect() };
        let first = Key { namespace: namespace.to_owned(), name: String::new() };
        objects
            .range(first..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// The objects of a kind as they were at a revision, by namespace and name; if that is forgotten, at the first one that
    /// isn't. Which it was, too.
    pub fn list_as_of(&self, kind: KindId, namespace: Option<&str>, revision: u64) -> (u64, Vec<Arc<Stored>>) {
        let table = &self.tables[kind.0];
        let revision = revision.max(table.forgotten);
        let mut objects = table.then.clone();
        table.log.iter().take_while(|change| change.object.revision <= revision).for_each(|it| it.apply(&mut objects));
        objects.retain(|key, _| namespace.is_none_or(|namespace| key.namespace == namespace));
        (revision, objects.into_values().collect())
    }

    /// Whether a namespace holds anything at all.
    pub fn holds_anything(&self, namespace: &str) -> bool {
        let first = Key { namespace: namespace.to_owned(), name: String::new() };
        self.tables
            .iter()
            .any(|table| table.objects.range(&first..).next().is_some_and(|(key, _)| key.namespace == namespace))
    }

    /// Stores a new version.
    pub fn put(&mut self, kind: KindId, key: Key, value: Value, applied: BTreeMap<String, Value>) -> Arc<Stored> {
        self.revision += 1;
        let object = Arc::new(Stored::at(self.revision, key.clone(), value, applied));
        let before = self.tables[kind.0].objects.insert(key, Arc::clone(&object));
        let what = if before.is_some() { What::Modified } else { What::Added };
        self.note(kind, Change { what, object: Arc::clone(&object) });
        object
    }

    /// Takes an object away. Watchers see its last version, at the revision of the deletion.
    pub fn remove(&mut self, kind: KindId, key: &Key) {
        let Some(object) = self.tables[kind.0].objects.remove(key) else { return };
        self.revision += 1;
        let last = Stored::at(self.revision, key.clone(), object.value.clone(), BTreeMap::new());
        self.note(kind, Change { what: What::Deleted, object: Arc::new(last) });
    }

    fn note(&mut self, kind: KindId, change: Change) {
        let table = &mut self.tables[kind.0];
        table.log.push_back(change);
        table.forget(self.history);
        table.bell.send_replace(());
    }

    /// Remembers that many changes of each kind and no more.
    pub fn keep_history(&mut self, changes: usize) {
        self.history = changes;
        for table in &mut self.tables {
            table.forget(changes);
        }
    }

    /// Forgets what happened so far.
    pub fn forget_history(&mut self) {
        let revision = self.revision;
        for table in &mut self.tables {
            table.log.clear();
            table.forgotten = revision;
            table.then = table.objects.clone();
        }
    }

    /// Has all watchers look around.
    pub fn ring_all(&self) {
        for table in &self.tables {
            table.bell.send_replace(());
        }
    }

    /// A number that was not given before.
    pub fn next_number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }
}

impl Table {
    fn forget(&mut self, keep: usize) {
        while self.log.len() > keep {
            if let Some(change) = self.log.pop_front() {
                self.forgotten = change.object.revision;
                change.apply(&mut self.then);
            }
        }
    }

    /// The changes after a revision; none if they are forgotten in part.
    pub fn since(&self, revision: u64) -> Option<impl Iterator<Item = &Change>> {
        let first = self.log.partition_point(|change| change.object.revision <= revision);
        (revision >= self.forgotten).then(|| self.log.range(first..))
    }

    /// The version of an object before its present one.
    pub fn previous(&self, key: &Key) -> Option<&Arc<Stored>> {
        let present = self.objects.get(key)?.revision;
        let versions = self.log.iter().rev().map(|change| &change.object);
        versions.into_iter().find(|object| object.key == *key && object.revision < present)
    }
}
