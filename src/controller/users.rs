//! Which connections use which instance.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::triggers::{InstanceKey, Target};

/// Which connections use which instance, by their specs.
#[derive(Default)]
pub struct Users(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    users: HashMap<InstanceKey, HashSet<Target>>,
    uses: HashMap<Target, InstanceKey>,
}

impl Users {
    /// Notes that a connection uses an instance, and no other. Returns the instances whose count changed.
    pub fn uses(&self, user: &Target, instance: Option<InstanceKey>) -> Vec<InstanceKey> {
        let mut inner = self.lock();
        if inner.uses.get(user) == instance.as_ref() {
            return Vec::new();
        }
        let mut changed = Vec::new();
        if let Some(old) = inner.uses.remove(user) {
            if let Some(users) = inner.users.get_mut(&old) {
                users.remove(user);
            }
            inner.users.retain(|_, users| !users.is_empty());
            changed.push(old);
        }
        if let Some(instance) = instance {
            inner.users.entry(instance.clone()).or_default().insert(user.clone());
            inner.uses.insert(user.clone(), instance.clone());
            changed.push(instance);
        }
        changed
    }

    /// The connections that use an instance.
    pub fn of(&self, instance: &InstanceKey) -> Vec<Target> {
        self.lock().users.get(instance).map(|users| users.iter().cloned().collect()).unwrap_or_default()
    }

    /// The connections of a namespace that use a ClusterKmsInstance.
    pub fn in_namespace(&self, of: &str) -> Vec<Target> {
        let inner = self.lock();
        let is_in = |target: &Target| matches!(target, Target::Connection { namespace, .. } if namespace == of);
        let cluster = inner.uses.iter().filter(|(_, instance)| matches!(instance, InstanceKey::Cluster { .. }));
        cluster.map(|(user, _)| user).filter(|user| is_in(user)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
