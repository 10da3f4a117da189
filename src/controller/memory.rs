//! What the operator remembers of an object between passes. All of it may be lost: a restart makes it ask again, never
//! do wrong.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::time::Instant;

use super::triggers::Target;
use crate::{
    domain::{credential::ContentKey, plan::Intent},
    kms::{Kms, SHARED_MAX},
};

/// Memory of all objects, by uid. Only objects that have something to remember take space: a table has room for more than
/// are in it.
#[derive(Default)]
pub struct Memory {
    objects: Mutex<HashMap<String, Box<ObjectMemory>>>,
    gone: Mutex<Gone>,
}

/// Objects that went, and when, as long as a list of the KMS from before may be used.
#[derive(Default)]
struct Gone {
    since: HashMap<Target, Instant>,
    swept: Option<Instant>,
}

/// Memory of one object.
#[derive(Clone, Default)]
pub struct ObjectMemory {
    /// Attempts in a row that met an outage.
    pub attempts: u32,
    /// When the next one is allowed, by a clock that nobody sets.
    pub retry_at: Option<Instant>,
    /// The account's turn for a write of credentials has come, and that of the KMS not yet.
    pub may_push: bool,
    /// The last pass ended because it wasn't its turn, or because the KMS wanted no more requests.
    pub queued: bool,
    /// What the last pass could not do in its turn goes first.
    pub urgent: bool,
    /// The client of the KMS that the last pass asked.
    pub kms: Option<Weak<Kms>>,
    /// The last pass found no way to the KMS.
    pub denied: bool,
    /// A write to the KMS may have taken effect without our knowing.
    pub uncertain: bool,
    /// What would have been told of it, or was told and is not in the status yet: what such a write did is no drift.
    pub lost: Vec<Intent>,
    /// The version that our last write to the API server replaced; the cache may still hold it.
    pub superseded: Vec<String>,
    /// The Secret's content that the status tells of.
    pub secret: Option<KnownSecret>,
}

/// A Secret whose values are known to be those of an earlier version.
#[derive(Clone)]
pub struct KnownSecret {
    /// The version that the status names.
    pub stands_for: Arc<str>,
    /// The latest version with the same values.
    pub seen: Arc<str>,
    /// By which values are compared.
    pub content: ContentKey,
    /// By which e-mail and token are compared.
    pub credentials: ContentKey,
}

impl Memory {
    /// A copy of what is remembered of an object.
    pub fn of(&self, uid: &str) -> ObjectMemory {
        self.lock().get(uid).map(|memory| ObjectMemory::clone(memory)).unwrap_or_default()
    }

    /// Changes what is remembered of an object.
    pub fn update(&self, uid: &str, change: impl FnOnce(&mut ObjectMemory)) {
        change(self.lock().entry(uid.to_owned()).or_default());
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Notes that an object is gone. Another of its name may come.
    pub fn goes(&self, target: Target, now: Instant) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |since: Instant| now.duration_since(since) > SHARED_MAX;
        if gone.swept.is_none_or(is_old) {
            gone.since.retain(|_, since| !is_old(*since));
            gone.since.shrink_to_fit();
            gone.swept = Some(now);
        }
        gone.since.insert(target, now);
    }

    /// When an object of that name went, if it was lately.
    pub fn went(&self, target: &Target) -> Option<Instant> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).since.get(target).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Box<ObjectMemory>>> {
        // A panic under the lock leaves a map that is still a map.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_remembered_is_that_of_one_object_until_it_is_gone() {
        let memory = Memory::default();
        memory.update("uid-1", |it| it.attempts += 1);
        memory.update("uid-1", |it| it.attempts += 1);
        memory.update("uid-2", |it| it.uncertain = true);
        let of = |uid: &str| (memory.of(uid).attempts, memory.of(uid).uncertain);
        assert_eq!((of("uid-1"), of("uid-2"), of("uid-3")), ((2, false), (0, true), (0, false)));
        memory.forget("uid-1");
        assert_eq!((of("uid-1"), of("uid-2")), ((0, false), (0, true)));
    }

    #[test]
    fn who_went_is_remembered_while_a_list_from_before_may_be_used() {
        let (memory, start) = (Memory::default(), Instant::now());
        let target = |name: &str| Target::Connection { namespace: "team-a".into(), name: name.into() };
        memory.goes(target("one"), start);
        memory.goes(target("two"), start + SHARED_MAX);
        assert_eq!(memory.went(&target("one")), Some(start));
        memory.goes(target("three"), start + SHARED_MAX + Duration::from_secs(1));
        assert_eq!((memory.went(&target("one")), memory.went(&target("two"))), (None, Some(start + SHARED_MAX)));
    }
}
