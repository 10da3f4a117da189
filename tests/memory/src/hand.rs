//! What a test does without HTTP: neither noted in the journal nor failed by a fault, but by the same rules.
//!
//! What the API server would refuse ends the test; refusals are asked for through a client.

use std::sync::Arc;

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    MemoryApi,
    carry_out::{Patch, Preconditions},
    fault::{Fault, Gate, Held, Hold, Match},
    journal::Entry,
    kinds::KindId,
    object::{Key, Stored},
    refusal::Refusal,
    request::PatchForm,
    rules::Part,
};

/// Objects.
impl MemoryApi {
    /// Creates an object, in its own namespace or `default`.
    #[track_caller]
    pub fn create<K>(&self, object: &K) -> K
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let kind = kind_of::<K>();
        let namespace = object.meta().namespace.as_deref().unwrap_or("default");
        let namespace = if kind.get().namespaced { namespace } else { "" };
        let value = serde_json::to_value(object).expect("an object that is JSON");
        let now = self.now();
        let created = self.state().create(kind, namespace, value, &now);
        typed(&accepted(created.map(|written| written.object)))
    }

    /// Creates a namespace.
    #[track_caller]
    pub fn create_namespace(&self, name: &str) {
        self.create_labelled_namespace(name, &[]);
    }

    /// Creates a namespace with labels.
    #[track_caller]
    pub fn create_labelled_namespace(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: serde_json::Map<_, _> = labels.iter().map(|(key, value)| ((*key).into(), json!(value))).collect();
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        let now = self.now();
        accepted(self.state().create(KindId::namespaces(), "", namespace, &now).map(|written| written.object));
    }

    /// Reads an object; `namespace` is empty for a cluster-scoped one.
    pub fn get<K>(&self, namespace: &str, name: &str) -> Option<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let found = self.state().get(kind_of::<K>(), &key(namespace, name)).cloned();
        found.map(|found| typed(&found))
    }

    /// All objects of a kind, by namespace and name.
    pub fn list<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let found = self.state().list(kind_of::<K>(), None);
        found.iter().map(|found| typed(found)).collect()
    }

    /// Every version of every object of a kind, as far as the history goes back, in the order in which they were written.
    pub fn versions<K: Resource<DynamicType = ()>>(&self) -> Vec<Value> {
        let state = self.state();
        let log = &state.table(kind_of::<K>()).log;
        log.iter().map(|change| change.object.value.clone()).collect()
    }

    /// How many objects of a kind there are.
    pub fn count_of<K: Resource<DynamicType = ()>>(&self) -> usize {
        self.state().table(kind_of::<K>()).objects.len()
    }

    /// Changes an object, but not its status.
    #[track_caller]
    pub fn update<K>(&self, namespace: &str, name: &str, change: impl FnOnce(&mut K)) -> K
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        self.rewrite(namespace, name, Part::Main, change)
    }

    /// Changes the status of an object, and nothing else.
    #[track_caller]
    pub fn update_status<K>(&self, namespace: &str, name: &str, change: impl FnOnce(&mut K)) -> K
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        self.rewrite(namespace, name, Part::Status, change)
    }

    #[track_caller]
    fn rewrite<K>(&self, namespace: &str, name: &str, part: Part, change: impl FnOnce(&mut K)) -> K
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let mut object: K = self.get(namespace, name).unwrap_or_else(|| panic!("there is no {namespace}/{name}"));
        change(&mut object);
        let value = serde_json::to_value(object).expect("an object that is JSON");
        let written = self.state().replace(kind_of::<K>(), &key(namespace, name), part, value);
        typed(&accepted(written.map(|written| written.object)))
    }

    /// Changes an object by a JSON merge patch, but not its status.
    #[track_caller]
    pub fn merge<K>(&self, namespace: &str, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        self.merge_part(namespace, name, Part::Main, patch)
    }

    /// Changes the status of an object by a JSON merge patch of the object, such as `{"status": null}`.
    #[track_caller]
    pub fn merge_status<K>(&self, namespace: &str, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        self.merge_part(namespace, name, Part::Status, patch)
    }

    #[track_caller]
    fn merge_part<K>(&self, namespace: &str, name: &str, part: Part, patch: Value) -> K
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let (kind, key, now) = (kind_of::<K>(), key(namespace, name), self.now());
        let written =
            self.state().patch(kind, &key, part, Patch { form: PatchForm::Merge, manager: "", body: patch }, &now);
        typed(&accepted(written.map(|written| written.object)))
    }

    /// Deletes an object, or marks it if it has finalizers; whether there was one. A namespace takes all with it.
    pub fn delete<K: Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) -> bool {
        let (kind, key, now) = (kind_of::<K>(), key(namespace, name), self.now());
        self.state().delete(kind, &key, &Preconditions::default(), &now).is_ok()
    }

    /// The version of the latest write of all: it stands still while nothing is written.
    pub fn revision(&self) -> u64 {
        self.state().revision
    }
}

/// What went through the client.
impl MemoryApi {
    /// All requests since the beginning, or since the journal was cleared.
    pub fn journal(&self) -> Vec<Entry> {
        self.state().journal.entries().to_vec()
    }

    /// How many of them match. Cheap where exactly verb, resource and subresource are named.
    pub fn count(&self, what: &Match) -> u64 {
        self.state().journal.count(what)
    }

    /// Forgets the requests so far.
    pub fn clear_journal(&self) {
        self.state().journal.clear();
    }

    /// How often a get of such an object was answered with a version before the present one.
    pub fn stale_answers<K: Resource<DynamicType = ()>>(&self) -> u64 {
        self.state().stale.get(&kind_of::<K>()).copied().unwrap_or_default()
    }

    /// Requests that aren't served: a test that finds any here has learned nothing.
    pub fn unsupported(&self) -> Vec<String> {
        self.state().journal.unsupported.clone()
    }
}

/// What goes wrong.
impl MemoryApi {
    /// From now on these requests fail like this.
    pub fn fail_when(&self, what: Match, fault: Fault) {
        self.state().rules.add(what, fault);
    }

    /// From now on these requests wait before they are carried out. One whose caller goes away meanwhile never is.
    pub fn hold(&self, what: Match) -> Held {
        self.hold_at(what, false)
    }

    /// From now on these requests are carried out, and their answers wait.
    pub fn hold_answers(&self, what: Match) -> Held {
        self.hold_at(what, true)
    }

    fn hold_at(&self, what: Match, after: bool) -> Held {
        let gate = Gate::new();
        self.fail_when(what, Fault::Hold(Hold { after, gate: Arc::clone(&gate) }));
        Held(gate)
    }

    /// From now on nothing fails any more. What is held stays so until it is released.
    pub fn heal(&self) {
        self.state().rules.clear();
    }

    /// Breaks all watches off, and from now on all connections too, until [`MemoryApi::heal`].
    pub fn go_down(&self) {
        self.fail_when(Match::any(), Fault::Unreachable);
        self.break_watches();
    }

    /// Breaks off all watches that there are.
    pub fn break_watches(&self) {
        let mut state = self.state();
        state.breaks += 1;
        state.ring_all();
    }

    /// From now on watches tell nothing, so that caches stay behind.
    pub fn hold_watches(&self) {
        self.state().watches_held = true;
    }

    /// From now on watches tell nothing, and lists what there was at an earlier version, or the first that isn't forgotten:
    /// who fills its caches now is like one who did so then, and whose watches are behind since.
    pub fn hold_caches_at(&self, revision: u64) {
        self.state().behind = KindId::all().map(|kind| (kind, revision)).collect();
    }

    /// The same of one kind alone.
    pub fn hold_caches_of<K: Resource<DynamicType = ()>>(&self, revision: u64) {
        self.state().behind.insert(kind_of::<K>(), revision);
    }

    /// Watches tell what they held back, and go on; lists tell what there is.
    pub fn release_watches(&self) {
        let mut state = self.state();
        state.watches_held = false;
        state.behind.clear();
        state.ring_all();
    }

    /// From now on new watches don't end when their time is over: hours then pass without a request.
    pub fn let_watches_last(&self) {
        self.state().watches_endless = true;
    }

    /// Forgets all changes so far: whoever wants to go on from an earlier version is told 410.
    pub fn forget_history(&self) {
        self.state().forget_history();
    }

    /// Remembers that many changes of each kind; 10,000 unless told otherwise.
    pub fn keep_history(&self, changes: usize) {
        self.state().keep_history(changes);
    }
}

#[track_caller]
fn kind_of<K: Resource<DynamicType = ()>>() -> KindId {
    let (group, plural) = (K::group(&()), K::plural(&()));
    KindId::find(&group, &plural).unwrap_or_else(|| panic!("{plural}.{group} aren't served: add them to kinds.rs"))
}

fn key(namespace: &str, name: &str) -> Key {
    Key { namespace: namespace.to_owned(), name: name.to_owned() }
}

#[track_caller]
fn accepted(answer: Result<Arc<Stored>, Refusal>) -> Arc<Stored> {
    answer.unwrap_or_else(|refusal| panic!("the API server refuses: {}", refusal.status()))
}

#[track_caller]
fn typed<K: DeserializeOwned>(stored: &Stored) -> K {
    K::deserialize(&stored.value).unwrap_or_else(|error| panic!("not of this kind ({error}): {:#}", stored.value))
}
