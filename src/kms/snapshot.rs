//! The connections of one scope, as a list of the KMS told them and our own writes changed them. There may be 10,000, and
//! they are kept from one interval to the next: what rows have in common they share, and no index holds a copy.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::domain::{
    connection::{KmsConnection, KmsScope},
    ownership::{Owner, owner_named_in},
    texts::Texts,
};

/// The connections of one scope since one time: what this client writes later shows in it, what others do doesn't.
pub struct Snapshot {
    scope: KmsScope,
    asked: Instant,
    rows: RwLock<Rows>,
}

impl Snapshot {
    pub(super) fn new(scope: KmsScope, asked: Instant, rows: Rows) -> Self {
        Self { scope, asked, rows: RwLock::new(rows) }
    }

    /// When the KMS was asked for it.
    pub fn asked(&self) -> Instant {
        self.asked
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows().by_id.len()
    }

    /// Of a project's list, whether its connections name the project, which those of a server that knows none don't.
    /// Nothing where there are none to tell.
    pub fn tells_projects(&self) -> Option<bool> {
        self.scope.project_id()?;
        self.rows().by_id.iter().next().map(|ById(row)| row.project_id.is_some())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The organization that the identity sees, where a connection tells it.
    pub fn organization(&self) -> Option<String> {
        self.rows().by_id.iter().find_map(|ById(row)| row.org_id.as_deref().map(str::to_owned))
    }

    /// The connection of that id.
    pub fn by_id(&self, id: &str) -> Option<KmsConnection> {
        self.rows().by_id.get(id).map(|ById(row)| row.read())
    }

    /// The connection of that name.
    pub fn by_name(&self, name: &str) -> Option<KmsConnection> {
        self.rows().by_name.get(name).map(|ByName(row)| row.read())
    }

    /// The connections that bear the mark of that owner; more than one is an accident.
    pub fn owned_by(&self, owner: &Owner) -> Vec<KmsConnection> {
        let rows = self.rows();
        let marks = owner.digits().filter_map(mark_of);
        marks.filter_map(|mark| rows.by_mark.get(&mark)).flatten().map(|row| row.read()).collect()
    }

    /// Lays a write over it, if it changes this list.
    pub(super) fn apply(&self, write: &Write) {
        // A panic under the lock leaves sets that are still sets.
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        match write {
            Write::Put { scope, connection } => {
                let is_here = match scope {
                    Some(scope) => *scope == self.scope,
                    // An older server names no project.
                    None => {
                        connection.project_id.as_deref() == self.scope.project_id()
                            || rows.by_id.contains(connection.id.as_str())
                    }
                };
                if is_here {
                    rows.put(connection, None);
                }
            }
            Write::Gone { id } => rows.remove(id),
        }
    }

    /// The ids of rows that are in memory once for both, in order.
    #[cfg(test)]
    pub(super) fn shares_with(&self, other: &Self) -> Vec<String> {
        let (rows, others) = (self.rows(), other.rows());
        let both = rows.by_id.iter().filter_map(|ById(row)| Some((row, others.by_id.get(&*row.id)?)));
        let ids = both.filter(|(row, ById(other))| Arc::ptr_eq(row, other)).map(|(row, _)| row.id.to_string());
        let ids: std::collections::BTreeSet<_> = ids.collect();
        ids.into_iter().collect()
    }

    fn the_same(&self, connection: &KmsConnection) -> Option<Arc<Row>> {
        let rows = self.rows();
        let ById(row) = rows.by_id.get(connection.id.as_str())?;
        (row.read() == *connection).then(|| Arc::clone(row))
    }

    fn rows(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
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

/// The connections by what they are asked for.
#[derive(Default)]
pub(super) struct Rows {
    by_id: HashSet<ById>,
    by_name: HashSet<ByName>,
    /// By the owner that their mark names. Hardly ever are there two.
    by_mark: HashMap<Mark, SmallVec<[Arc<Row>; 1]>>,
    /// Texts that many rows have in common.
    texts: Arc<Texts>,
}

impl Rows {
    /// None yet. What they have in common with other rows is taken from these texts.
    pub fn new(texts: Arc<Texts>) -> Self {
        Self { texts, ..Self::default() }
    }

    /// Adds a connection, or puts it in the place of the one of that id. What the list `before` had to the letter is not made
    /// once more: most of a long list stays the same from one time to the next.
    pub fn put(&mut self, connection: &KmsConnection, before: Option<&Snapshot>) {
        self.remove(&connection.id);
        let same = before.and_then(|before| before.the_same(connection));
        let row = same.unwrap_or_else(|| Arc::new(Row::new(connection, &self.texts)));
        if let Some(mark) = row.mark() {
            self.by_mark.entry(mark).or_default().push(Arc::clone(&row));
        }
        self.by_name.replace(ByName(Arc::clone(&row)));
        self.by_id.insert(ById(row));
    }

    fn remove(&mut self, id: &str) {
        let Some(ById(gone)) = self.by_id.take(id) else { return };
        if self.by_name.get(&*gone.name).is_some_and(|ByName(named)| *named.id == *id) {
            self.by_name.remove(&*gone.name);
        }
        if let Some(mark) = gone.mark()
            && let Some(owned) = self.by_mark.get_mut(&mark)
        {
            owned.retain(|row| *row.id != *id);
            if owned.is_empty() {
                self.by_mark.remove(&mark);
            }
        }
    }
}

/// The 16 digits of a mark, as the number that they are.
type Mark = u64;

fn mark_of(digits: &str) -> Option<Mark> {
    Mark::from_str_radix(digits, 16).ok()
}

/// A [`KmsConnection`], small.
struct Row {
    id: Box<str>,
    name: Box<str>,
    description: Box<str>,
    app: Arc<str>,
    org_id: Option<Arc<str>>,
    project_id: Option<Arc<str>>,
    email: Option<Arc<str>>,
    credentials_hash: Option<Box<str>>,
    updated_at: Option<Box<str>>,
}

impl Row {
    fn new(from: &KmsConnection, texts: &Texts) -> Self {
        let shared = |text: &str| texts.share(text);
        Self {
            id: from.id.as_str().into(),
            name: from.name.as_str().into(),
            description: from.description.as_str().into(),
            app: shared(&from.app),
            org_id: from.org_id.as_deref().map(shared),
            project_id: from.project_id.as_deref().map(shared),
            email: from.email.as_deref().map(shared),
            credentials_hash: from.credentials_hash.as_deref().map(Into::into),
            updated_at: from.updated_at.as_deref().map(Into::into),
        }
    }

    fn read(&self) -> KmsConnection {
        KmsConnection {
            id: self.id.as_ref().to_owned(),
            name: self.name.as_ref().to_owned(),
            description: self.description.as_ref().to_owned(),
            app: self.app.as_ref().to_owned(),
            org_id: self.org_id.as_deref().map(str::to_owned),
            project_id: self.project_id.as_deref().map(str::to_owned),
            email: self.email.as_deref().map(str::to_owned),
            credentials_hash: self.credentials_hash.as_deref().map(str::to_owned),
            updated_at: self.updated_at.as_deref().map(str::to_owned),
        }
    }

    fn mark(&self) -> Option<Mark> {
        owner_named_in(&self.description).and_then(mark_of)
    }
}

/// Found by its id, without a copy of it.
struct ById(Arc<Row>);

/// Found by its name, without a copy of it.
struct ByName(Arc<Row>);

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
