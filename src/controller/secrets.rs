//! Which Secrets something refers to, who does, and in which version they are. Nothing else of a Secret is in memory.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::triggers::Target;

/// A Secret by namespace and name.
pub type SecretKey = (String, String);

/// What is known of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// uid and resourceVersion.
    pub version: String,
    /// When it was seen to change; unknown for what was there before the operator.
    pub changed: Option<Instant>,
}

/// Secrets that something refers to. What nobody refers to is not kept.
#[derive(Default)]
pub struct SecretIndex(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    dependents: HashMap<SecretKey, HashSet<Target>>,
    refers_to: HashMap<Target, SecretKey>,
    seen: HashMap<SecretKey, Seen>,
    /// How much news the watch has told.
    news: u64,
    /// The latest news of each Secret.
    latest: HashMap<SecretKey, u64>,
}

/// When a Secret was asked for: how much news the watch had told by then.
#[derive(Clone, Copy, Debug)]
pub struct Asked(u64);

impl SecretIndex {
    /// Notes that an object refers to a Secret, and to no other.
    pub fn refer(&self, target: &Target, secret: Option<SecretKey>) {
        let mut inner = self.lock();
        if inner.refers_to.get(target) == secret.as_ref() {
            return;
        }
        if let Some(old) = inner.refers_to.remove(target) {
            let unused = inner.dependents.get_mut(&old).is_some_and(|dependents| {
                dependents.remove(target);
                dependents.is_empty()
            });
            if unused {
                inner.dependents.remove(&old);
                inner.seen.remove(&old);
                inner.latest.remove(&old);
            }
        }
        if let Some(secret) = secret {
            inner.dependents.entry(secret.clone()).or_default().insert(target.clone());
            inner.refers_to.insert(target.clone(), secret);
        }
    }

    /// Notes the version of a Secret that a watch told of. Returns who is to be looked at: nobody, if nobody refers to
    /// it, or the version is the one that was known.
    pub fn watched(&self, secret: &SecretKey, version: Option<String>, at: Option<Instant>) -> Vec<Target> {
        let mut inner = self.lock();
        let targets = inner.note(secret, version, at);
        if !targets.is_empty() {
            inner.news += 1;
            let news = inner.news;
            inner.latest.insert(secret.clone(), news);
        }
        targets
    }

    /// To be called before a Secret is asked for, and handed to [`SecretIndex::read`].
    pub fn ask(&self) -> Asked {
        Asked(self.lock().news)
    }

    /// Notes the version of a Secret that was just read. Returns who else is to be looked at: the watch, which tells of
    /// that version later, will find it known. What the watch told since the Secret was asked for stays: the answer may
    /// be older, and everybody is about to look again anyway.
    pub fn read(&self, reader: &Target, secret: &SecretKey, version: Option<&str>, asked: Asked) -> Vec<Target> {
        let mut inner = self.lock();
        if inner.latest.get(secret).is_some_and(|news| *news > asked.0) {
            return Vec::new();
        }
        let mut targets = inner.note(secret, version.map(str::to_owned), Some(Instant::now()));
        targets.retain(|target| target != reader);
        targets
    }

    /// What is known of a Secret; nothing if it isn't there.
    pub fn get(&self, secret: &SecretKey) -> Option<Seen> {
        self.lock().seen.get(secret).cloned()
    }

    /// Secrets of a namespace (or of all) that were there when last heard of.
    pub fn known(&self, namespace: Option<&str>) -> HashSet<SecretKey> {
        let inner = self.lock();
        inner.seen.keys().filter(|(of, _)| namespace.is_none_or(|namespace| namespace == of)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Who is to be looked at because a Secret has this version now: nobody, if nobody refers to it or it was known.
    fn note(&mut self, secret: &SecretKey, version: Option<String>, at: Option<Instant>) -> Vec<Target> {
        let Some(dependents) = self.dependents.get(secret) else { return Vec::new() };
        if self.seen.get(secret).map(|seen| &seen.version) == version.as_ref() {
            return Vec::new();
        }
        let targets = dependents.iter().cloned().collect();
        match version {
            Some(version) => self.seen.insert(secret.clone(), Seen { version, changed: at }),
            None => self.seen.remove(secret),
        };
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SecretKey {
        ("team-a".to_owned(), name.to_owned())
    }

    fn target(name: &str) -> Target {
        Target::Connection { namespace: "team-a".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn only_what_is_referred_to_is_kept_and_only_changes_are_told() {
        let index = SecretIndex::default();
        assert_eq!(index.watched(&key("token"), Some("1".to_owned()), None), []);
        assert_eq!(index.get(&key("token")), None);
        index.refer(&target("payments"), Some(key("token")));
        assert_eq!(index.watched(&key("token"), Some("1".to_owned()), None), [target("payments")]);
        assert_eq!(index.watched(&key("token"), Some("1".to_owned()), None), []);
        assert_eq!(index.watched(&key("token"), None, None), [target("payments")]);
        assert_eq!(index.read(&target("payments"), &key("token"), Some("2"), index.ask()), []);
        assert_eq!(index.watched(&key("token"), Some("2".to_owned()), None), [], "the pass that read it knows already");
    }

    #[test]
    fn whoever_reads_a_change_before_the_watch_tells_of_it_passes_it_on() {
        let index = SecretIndex::default();
        for name in ["a", "b"] {
            index.refer(&target(name), Some(key("token")));
        }
        assert_eq!(index.read(&target("a"), &key("token"), Some("1"), index.ask()), [target("b")]);
        assert_eq!(index.read(&target("b"), &key("token"), Some("1"), index.ask()), []);
        assert_eq!(index.read(&target("b"), &key("token"), None, index.ask()), [target("a")]);
    }

    #[test]
    fn an_answer_that_the_watch_overtook_changes_nothing() {
        let version = |index: &SecretIndex| index.get(&key("token")).map(|seen| seen.version);
        let newer = || Some("2".to_owned());
        // What was known, what the watch tells while the Secret is read, and what the answer says
        for (known, told, answer) in [
            (None, newer(), Some("1")),
            (Some("1"), newer(), Some("1")),
            (Some("1"), None, Some("1")),
            (None, newer(), None),
        ] {
            let index = SecretIndex::default();
            index.refer(&target("payments"), Some(key("token")));
            index.watched(&key("token"), known.map(str::to_owned), None);
            let asked = index.ask();
            assert_eq!(index.watched(&key("token"), told.clone(), None), [target("payments")]);
            assert_eq!(index.read(&target("payments"), &key("token"), answer, asked), []);
            assert_eq!(version(&index), told, "the look that the watch asks for finds a change");
            index.read(&target("payments"), &key("token"), Some("3"), index.ask());
            assert_eq!(version(&index).as_deref(), Some("3"), "the next answer counts");
        }
    }

    #[test]
    fn a_secret_is_forgotten_with_its_last_dependent() {
        let index = SecretIndex::default();
        for name in ["a", "b"] {
            index.refer(&target(name), Some(key("token")));
        }
        index.watched(&key("token"), Some("1".to_owned()), None);
        index.refer(&target("a"), Some(key("other")));
        assert_eq!(index.watched(&key("token"), Some("2".to_owned()), None), [target("b")]);
        index.refer(&target("b"), None);
        assert_eq!(index.get(&key("token")), None);
        assert_eq!(index.watched(&key("token"), Some("3".to_owned()), None), []);
    }
}
