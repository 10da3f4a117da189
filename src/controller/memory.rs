//! What the operator remembers of an object between passes. All of it may be lost: a restart makes it ask again, never
//! do wrong.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::time::Instant;

use crate::{
    domain::{credential::ContentKey, plan::Intent},
    kms::Kms,
};

/// Memory of all objects, by uid. Only objects that have something to remember take space.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<String, ObjectMemory>>);

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
    /// What would have been told of it.
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
    pub stands_for: String,
    /// The latest version with the same values.
    pub seen: String,
    /// By which values are compared.
    pub content: ContentKey,
    /// By which e-mail and token are compared.
    pub credentials: ContentKey,
}

impl Memory {
    /// A copy of what is remembered of an object.
    pub fn of(&self, uid: &str) -> ObjectMemory {
        self.lock().get(uid).cloned().unwrap_or_default()
    }

    /// Changes what is remembered of an object.
    pub fn update(&self, uid: &str, change: impl FnOnce(&mut ObjectMemory)) {
        change(self.lock().entry(uid.to_owned()).or_default());
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ObjectMemory>> {
        // A panic under the lock leaves a map that is still a map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
