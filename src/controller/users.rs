//! Which connections use which instance.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::connection::KmsScope;

use super::triggers::{InstanceKey, Target};

/// Which connections use which instance, by their specs.
#[derive(Default)]
pub struct Users(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    users: HashMap<InstanceKey, HashSet<Target>>,
    uses: HashMap<Target, (InstanceKey, Option<KmsScope>)>,
    /// In how many connections of an instance a scope occurs.
    scopes: HashMap<InstanceKey, HashMap<KmsScope, usize>>,
}

impl Users {
    /// Notes that a connection uses an instance for a scope, and no other. Returns the instances whose count changed.
    pub fn uses(&self, user: &Target, use_of: Option<(InstanceKey, Option<KmsScope>)>) -> Vec<InstanceKey> {
        let mut inner = self.lock();
        if inner.uses.get(user) == use_of.as_ref() {
            return Vec::new();
        }
        let mut changed = Vec::new();
        if let Some((old, scope)) = inner.uses.remove(user) {
            inner.leave(&old, scope);
            if let Some(users) = inner.users.get_mut(&old) {
                users.remove(user);
            }
            inner.users.retain(|_, users| !users.is_empty());
            changed.push(old);
        }
        if let Some((instance, scope)) = use_of {
            inner.users.entry(instance.clone()).or_default().insert(user.clone());
            if let Some(scope) = &scope {
                *inner.scopes.entry(instance.clone()).or_default().entry(scope.clone()).or_default() += 1;
            }
            inner.uses.insert(user.clone(), (instance.clone(), scope));
            changed.push(instance);
        }
        changed
    }

    /// The connections that use an instance.
    pub fn of(&self, instance: &InstanceKey) -> Vec<Target> {
        self.lock().users.get(instance).map(|users| users.iter().cloned().collect()).unwrap_or_default()
    }

    /// How many scopes the connections of an instance are in: so many lists show them all.
    pub fn scopes(&self, instance: &InstanceKey) -> usize {
        self.lock().scopes.get(instance).map_or(0, HashMap::len)
    }

    /// The connections of a namespace that use a ClusterKmsInstance.
    pub fn in_namespace(&self, of: &str) -> Vec<Target> {
        let inner = self.lock();
        let is_in = |target: &Target| matches!(target, Target::Connection { namespace, .. } if **namespace == *of);
        let cluster = inner.uses.iter().filter(|(_, (instance, _))| matches!(instance, InstanceKey::Cluster { .. }));
        cluster.map(|(user, _)| user).filter(|user| is_in(user)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn leave(&mut self, instance: &InstanceKey, scope: Option<KmsScope>) {
        let (Some(scopes), Some(scope)) = (self.scopes.get_mut(instance), scope) else { return };
        if let Some(count) = scopes.get_mut(&scope) {
            *count -= 1;
        }
        scopes.retain(|_, count| *count > 0);
        if scopes.is_empty() {
            self.scopes.remove(instance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_counted_while_somebody_uses_them() {
        let users = Users::default();
        let user = |name: &str| Target::Connection { namespace: "team-a".into(), name: name.into() };
        let instance = InstanceKey::Cluster { name: "default".to_owned() };
        let in_project = |id: &str| Some((instance.clone(), Some(KmsScope::Project(id.to_owned()))));
        for (name, used, scopes) in [
            ("a", in_project("1"), 1),
            ("b", in_project("1"), 1),
            ("c", in_project("2"), 2),
            ("b", in_project("3"), 3),
            ("a", None, 2),
            ("b", Some((instance.clone(), None)), 1),
            ("c", None, 0),
        ] {
            users.uses(&user(name), used);
            assert_eq!(users.scopes(&instance), scopes, "after {name}");
        }
        assert_eq!(users.of(&instance), [user("b")]);
    }

    #[test]
    fn a_namespace_knows_who_in_it_uses_an_instance_of_the_cluster() {
        let users = Users::default();
        let user = |namespace: &str, name: &str| Target::Connection { namespace: namespace.into(), name: name.into() };
        let cluster = InstanceKey::Cluster { name: "default".to_owned() };
        let own = InstanceKey::Namespaced { namespace: "team-a".to_owned(), name: "own".to_owned() };
        users.uses(&user("team-a", "one"), Some((cluster.clone(), None)));
        users.uses(&user("team-a", "two"), Some((own, None)));
        users.uses(&user("team-b", "three"), Some((cluster, None)));
        assert_eq!(users.in_namespace("team-a"), [user("team-a", "one")]);
        assert_eq!(users.in_namespace("team-c"), []);
    }
}
