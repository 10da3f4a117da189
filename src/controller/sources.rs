//! Which Secrets and ConfigMaps something refers to, who does, and in which version they are. Nothing else of them is in
//! memory.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::triggers::Target;
use crate::domain::trust::SourceKind;

/// A Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceKey {
    /// Which of them.
    pub kind: SourceKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl SourceKey {
    /// A Secret.
    pub fn secret(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: SourceKind::Secret, namespace: namespace.into(), name: name.into() }
    }

    fn is_of(&self, kind: SourceKind, namespace: Option<&str>) -> bool {
        self.kind == kind && namespace.is_none_or(|namespace| namespace == self.namespace)
    }
}

/// What is known of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// uid and resourceVersion. Objects that read this version remember the same text.
    pub version: Arc<str>,
    /// When it was seen to change; unknown for what was there before the operator.
    pub changed: Option<Instant>,
}

/// Secrets and ConfigMaps that something refers to. What nobody refers to is not kept.
#[derive(Default)]
pub struct Sources(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    dependents: HashMap<SourceKey, HashSet<Target>>,
    refers_to: HashMap<Target, Box<[SourceKey]>>,
    seen: HashMap<SourceKey, Seen>,
    /// Of these nothing was heard since something refers to them, not even that they aren't there.
    unheard: HashSet<SourceKey>,
    /// How much news the watches have told.
    news: u64,
    /// The latest news of each source.
    latest: HashMap<SourceKey, u64>,
}

/// When a source was asked for: how much news the watches had told by then.
#[derive(Clone, Copy, Debug)]
pub struct Asked(u64);

impl Sources {
    /// Notes that an object refers to these, and to no others.
    pub fn refer(&self, target: &Target, sources: impl IntoIterator<Item = SourceKey>) {
        let sources: Box<[SourceKey]> = sources.into_iter().collect();
        let mut inner = self.lock();
        let known = inner.refers_to.get(target).map(AsRef::as_ref).unwrap_or_default();
        if known == &*sources {
            return;
        }
        for old in inner.refers_to.remove(target).unwrap_or_default() {
            if sources.contains(&old) {
                continue;
            }
            let unused = inner.dependents.get_mut(&old).is_some_and(|dependents| {
                dependents.remove(target);
                dependents.is_empty()
            });
            if unused {
                inner.dependents.remove(&old);
                inner.seen.remove(&old);
                inner.unheard.remove(&old);
                inner.latest.remove(&old);
            }
        }
        for source in &sources {
            let dependents = inner.dependents.entry(source.clone()).or_default();
            let is_new = dependents.is_empty();
            dependents.insert(target.clone());
            if is_new {
                inner.unheard.insert(source.clone());
            }
        }
        if !sources.is_empty() {
            inner.refers_to.insert(target.clone(), sources);
        }
    }

    /// Notes the version of a source that a watch told of. Returns who is to be looked at: nobody, if nobody refers to
    /// it, or the version is the one that was known.
    pub fn watched(&self, source: &SourceKey, version: Option<String>, at: Option<Instant>) -> Vec<Target> {
        let mut inner = self.lock();
        let targets = inner.note(source, version, at);
        if !targets.is_empty() {
            inner.news += 1;
            let news = inner.news;
            inner.latest.insert(source.clone(), news);
        }
        targets
    }

    /// To be called before a source is asked for, and handed to [`Sources::read`].
    pub fn ask(&self) -> Asked {
        Asked(self.lock().news)
    }

    /// Notes the version of a source that was just read. Returns who else is to be looked at: the watch, which tells of
    /// that version later, will find it known. What the watch told since the source was asked for stays: the answer may
    /// be older, and everybody is about to look again anyway.
    pub fn read(&self, reader: &Target, source: &SourceKey, version: Option<&str>, asked: Asked) -> Vec<Target> {
        let mut inner = self.lock();
        if inner.latest.get(source).is_some_and(|news| *news > asked.0) {
            return Vec::new();
        }
        let mut targets = inner.note(source, version.map(str::to_owned), Some(Instant::now()));
        targets.retain(|target| target != reader);
        targets
    }

    /// Whether nothing was heard of a source since something refers to it: a watch told of it before, if it did, and to
    /// nobody.
    pub fn is_unheard(&self, source: &SourceKey) -> bool {
        self.lock().unheard.contains(source)
    }

    /// Sources of a kind, of a namespace or of all, that nothing was heard of yet.
    pub fn unheard(&self, kind: SourceKind, namespace: Option<&str>) -> HashSet<SourceKey> {
        let is_meant = |source: &&SourceKey| source.is_of(kind, namespace);
        self.lock().unheard.iter().filter(is_meant).cloned().collect()
    }

    /// What is known of a source; nothing if it isn't there.
    pub fn get(&self, source: &SourceKey) -> Option<Seen> {
        self.lock().seen.get(source).cloned()
    }

    /// Sources of a kind, of a namespace or of all, that were there when last heard of.
    pub fn known(&self, kind: SourceKind, namespace: Option<&str>) -> HashSet<SourceKey> {
        let inner = self.lock();
        let is_meant = |source: &&SourceKey| source.is_of(kind, namespace);
        inner.seen.keys().filter(is_meant).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Who is to be looked at because a source has this version now: nobody, if nobody refers to it or it was known.
    fn note(&mut self, source: &SourceKey, version: Option<String>, at: Option<Instant>) -> Vec<Target> {
        let Some(dependents) = self.dependents.get(source) else { return Vec::new() };
        self.unheard.remove(source);
        if self.seen.get(source).map(|seen| &*seen.version) == version.as_deref() {
            return Vec::new();
        }
        let targets = dependents.iter().cloned().collect();
        match version {
            Some(version) => self.seen.insert(source.clone(), Seen { version: version.into(), changed: at }),
            None => self.seen.remove(source),
        };
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SourceKey {
        SourceKey::secret("team-a", name)
    }

    fn target(name: &str) -> Target {
        Target::Connection { namespace: "team-a".into(), name: name.into() }
    }

    #[test]
    fn only_what_is_referred_to_is_kept_and_only_changes_are_told() {
        let index = Sources::default();
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
        let index = Sources::default();
        for name in ["a", "b"] {
            index.refer(&target(name), Some(key("token")));
        }
        assert_eq!(index.read(&target("a"), &key("token"), Some("1"), index.ask()), [target("b")]);
        assert_eq!(index.read(&target("b"), &key("token"), Some("1"), index.ask()), []);
        assert_eq!(index.read(&target("b"), &key("token"), None, index.ask()), [target("a")]);
    }

    #[test]
    fn an_answer_that_the_watch_overtook_changes_nothing() {
        let version = |index: &Sources| index.get(&key("token")).map(|seen| seen.version.to_string());
        let newer = || Some("2".to_owned());
        // What was known, what the watch tells while the Secret is read, and what the answer says
        for (known, told, answer) in [
            (None, newer(), Some("1")),
            (Some("1"), newer(), Some("1")),
            (Some("1"), None, Some("1")),
            (None, newer(), None),
        ] {
            let index = Sources::default();
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
    fn what_was_told_to_nobody_is_unheard_until_it_is_told_or_read() {
        let index = Sources::default();
        assert_eq!(index.watched(&key("token"), Some("1".to_owned()), None), []);
        assert!(!index.is_unheard(&key("token")), "nobody wants to know");
        for hear in [
            (|index| drop(index.watched(&key("token"), Some("2".to_owned()), None))) as fn(&Sources),
            |index| drop(index.watched(&key("token"), None, None)),
            |index| drop(index.read(&target("payments"), &key("token"), None, index.ask())),
        ] {
            index.refer(&target("payments"), Some(key("token")));
            assert!(index.is_unheard(&key("token")));
            assert_eq!(index.unheard(SourceKind::Secret, Some("team-a")), HashSet::from([key("token")]));
            assert_eq!(index.unheard(SourceKind::ConfigMap, None), HashSet::new());
            hear(&index);
            assert!(!index.is_unheard(&key("token")));
            index.refer(&target("billing"), Some(key("token")));
            assert!(!index.is_unheard(&key("token")), "who comes later finds it known");
            ["payments", "billing"].iter().for_each(|name| index.refer(&target(name), None));
        }
        index.refer(&target("payments"), Some(key("token")));
        index.refer(&target("payments"), None);
        assert!(!index.is_unheard(&key("token")));
    }

    #[test]
    fn a_secret_is_forgotten_with_its_last_dependent() {
        let index = Sources::default();
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

    #[test]
    fn an_object_may_refer_to_several_and_a_namesake_of_another_kind_is_another() {
        let index = Sources::default();
        let map = SourceKey { kind: SourceKind::ConfigMap, ..key("ca") };
        index.refer(&target("kms"), [key("token"), map.clone()]);
        assert_eq!(index.watched(&key("ca"), Some("1".to_owned()), None), []);
        for source in [&map, &key("token")] {
            assert_eq!(index.watched(source, Some("1".to_owned()), None), [target("kms")]);
        }
        assert_eq!(index.known(SourceKind::ConfigMap, Some("team-a")), HashSet::from([map.clone()]));
        assert_eq!(index.known(SourceKind::ConfigMap, Some("team-b")), HashSet::new());
        assert_eq!(index.known(SourceKind::Secret, None), HashSet::from([key("token")]));
        // What stays is not heard of anew.
        index.refer(&target("kms"), [key("token"), key("ca")]);
        assert_eq!(index.watched(&key("token"), Some("1".to_owned()), None), []);
        assert_eq!(index.get(&map), None);
        assert_eq!(index.watched(&map, Some("2".to_owned()), None), []);
        assert_eq!(index.watched(&key("ca"), Some("1".to_owned()), None), [target("kms")]);
    }
}
