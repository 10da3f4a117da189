//! Requests are carried out here, one at a time.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::{
    apply,
    kinds::{Kind, KindId},
    object::{self, Key, Stored},
    refusal::Refusal,
    request::PatchForm,
    rules::{self, Part},
    store::State,
};

/// What a write led to.
pub(crate) struct Written {
    /// The object as it is after the write, or was before it went.
    pub object: Arc<Stored>,
    pub effect: Effect,
}

/// What became of the object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Effect {
    Created,
    Changed,
    Unchanged,
    Removed,
}

/// A patch and who sent it.
pub(crate) struct Patch<'a> {
    pub form: PatchForm,
    pub manager: &'a str,
    pub body: Value,
}

/// What a deletion insists on.
#[derive(Debug, Default)]
pub(crate) struct Preconditions {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl State {
    pub fn create(&mut self, kind: KindId, namespace: &str, value: Value, now: &str) -> Result<Written, Refusal> {
        self.create_applied(kind, namespace, value, BTreeMap::new(), now)
    }

    fn create_applied(
        &mut self,
        kind: KindId,
        namespace: &str,
        mut value: Value,
        applied: BTreeMap<String, Value>,
        now: &str,
    ) -> Result<Written, Refusal> {
        let it = kind.get();
        if !value.is_object() {
            return Err(Refusal::bad_request("the object provided is unrecognized: it is no JSON object"));
        }
        let metadata = rules::metadata_of(&mut value);
        let given = |field: &str| metadata.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        if it.namespaced && given("namespace").is_some_and(|given| given != namespace) {
            return Err(Refusal::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let name = match (given("name"), given("generateName")) {
            (Some(name), _) => name.to_owned(),
            (None, Some(prefix)) => format!("{prefix}{:05}", self.next_number()),
            (None, None) => {
                return Err(Refusal::invalid(
                    it,
                    "",
                    "metadata.name: Required value: name or generateName is required",
                ));
            }
        };
        self.check_namespace(it, namespace, &name)?;
        if given("resourceVersion").is_some() {
            return Err(Refusal::set_on_create());
        }
        let key = Key { namespace: namespace.to_owned(), name: name.clone() };
        if self.get(kind, &key).is_some() {
            return Err(Refusal::already_exists(it, &name));
        }
        metadata.insert("name".into(), json!(name));
        if it.namespaced {
            metadata.insert("namespace".into(), json!(namespace));
        }
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.next_number());
        let value = rules::created(it, value, &uid, now)?;
        Ok(Written { object: self.put(kind, key, value, applied), effect: Effect::Created })
    }

    /// Nothing is created where there is no namespace, nor in one on its way out.
    fn check_namespace(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Refusal> {
        if !kind.namespaced {
            return Ok(());
        }
        let key = Key { namespace: String::new(), name: namespace.to_owned() };
        match self.get(KindId::namespaces(), &key) {
            None => Err(Refusal::not_found(KindId::namespaces().get(), namespace)),
            Some(found) if found.is_deleting() => {
                let why =
                    format!("unable to create new content in namespace {namespace} because it is being terminated");
                Err(Refusal::forbidden(kind, name, &why))
            }
            Some(_) => Ok(()),
        }
    }

    /// Replaces an object by what is sent.
    pub fn replace(&mut self, kind: KindId, key: &Key, part: Part, value: Value) -> Result<Written, Refusal> {
        let it = kind.get();
        check_name(&value, key)?;
        let old = self.expect(kind, key)?;
        let uid = value["metadata"].get("uid").and_then(Value::as_str).filter(|uid| !uid.is_empty());
        if let Some(uid) = uid.filter(|uid| *uid != old.uid()) {
            return Err(Refusal::another(it, key, uid, old.uid()));
        }
        let applied = old.applied.clone();
        self.write(kind, &old, part, value, applied)
    }

    /// Changes an object; only what is applied may make a new one.
    pub fn patch(
        &mut self,
        kind: KindId,
        key: &Key,
        part: Part,
        patch: Patch<'_>,
        now: &str,
    ) -> Result<Written, Refusal> {
        let it = kind.get();
        let Patch { form, manager, body: patch } = patch;
        match form {
            PatchForm::Merge => {
                let old = self.expect(kind, key)?;
                let mut value = old.value.clone();
                json_patch::merge(&mut value, &patch);
                check_name(&value, key)?;
                let applied = old.applied.clone();
                self.write(kind, &old, part, value, applied)
            }
            PatchForm::Json => {
                let old = self.expect(kind, key)?;
                let mut value = old.value.clone();
                let patch: json_patch::Patch = serde_json::from_value(patch)
                    .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
                json_patch::patch(&mut value, &patch).map_err(|error| {
                    Refusal::invalid(it, &key.name, &format!("the server rejected our request: {error}"))
                })?;
                let applied = old.applied.clone();
                self.write(kind, &old, part, value, applied)
            }
            PatchForm::Apply => self.apply(kind, key, part, (manager, patch), now),
        }
    }

    fn apply(
        &mut self,
        kind: KindId,
        key: &Key,
        part: Part,
        (manager, mut patch): (&str, Value),
        now: &str,
    ) -> Result<Written, Refusal> {
        let it = kind.get();
        if manager.is_empty() {
            return Err(Refusal::no_manager());
        }
        if patch["apiVersion"] != it.api_version() || patch["kind"] != it.name {
            return Err(Refusal::bad_request("apiVersion and kind must be those of the object that is applied"));
        }
        check_name(&patch, key)?;
        if it.custom {
            rules::refuse_nulls(it, &key.name, &patch)?;
        }
        let Some(old) = self.get(kind, key).cloned() else {
            if part == Part::Status {
                return Err(Refusal::not_found(it, &key.name));
            }
            if let Some(uid) = patch["metadata"].get("uid").and_then(Value::as_str) {
                let why =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(Refusal::conflict(it, &key.name, &why));
            }
            let applied = BTreeMap::from([(manager.to_owned(), apply::owned(&patch))]);
            if rules::object_name(&patch).is_empty() {
                let name = &key.name;
                let message =
                    format!("the name of the object ({name} based on URL) was undeterminable: name must be provided");
                return Err(Refusal::bad_request(message));
            }
            return self.create_applied(kind, &key.namespace, patch, applied, now);
        };
        if part == Part::Status {
            let mut value = old.value.clone();
            value["status"] = patch["status"].take();
            // An empty one is as good as none, and gets its defaults.
            if value["status"].as_object().is_none_or(serde_json::Map::is_empty) {
                value.as_object_mut().map(|fields| fields.remove("status"));
            }
            if let Some(version) = patch["metadata"].get("resourceVersion") {
                value["metadata"]["resourceVersion"] = version.clone();
            }
            let applied = old.applied.clone();
            return self.write(kind, &old, part, value, applied);
        }
        let value = apply::merged(&old.value, old.applied.get(manager), &patch);
        let mut applied = old.applied.clone();
        applied.insert(manager.to_owned(), apply::owned(&patch));
        self.write(kind, &old, part, value, applied)
    }

    fn write(
        &mut self,
        kind: KindId,
        old: &Arc<Stored>,
        part: Part,
        value: Value,
        applied: BTreeMap<String, Value>,
    ) -> Result<Written, Refusal> {
        let value = rules::updated(kind.get(), old, value, part)?;
        let key = old.key.clone();
        if value == old.value && applied == old.applied {
            return Ok(Written { object: Arc::clone(old), effect: Effect::Unchanged });
        }
        if old.is_deleting() && object::finalizers(&value).is_empty() && kind != KindId::namespaces() {
            // The last finalizer went: nobody sees the version without it.
            let last = Arc::new(Stored::at(old.revision, key.clone(), value, applied));
            self.take_out(kind, &key);
            return Ok(Written { object: last, effect: Effect::Removed });
        }
        Ok(Written { object: self.put(kind, key, value, applied), effect: Effect::Changed })
    }

    /// Deletes an object, or marks it until its last finalizer goes. A namespace takes all with it.
    pub fn delete(
        &mut self,
        kind: KindId,
        key: &Key,
        preconditions: &Preconditions,
        now: &str,
    ) -> Result<Written, Refusal> {
        let it = kind.get();
        let old = self.expect(kind, key)?;
        let found = [
            ("UID", &preconditions.uid, old.uid().to_owned()),
            ("ResourceVersion", &preconditions.resource_version, old.revision.to_string()),
        ];
        for (what, wanted, found) in found {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| **wanted != found) {
                return Err(Refusal::insisted(it, &key.name, what, wanted, &found));
            }
        }
        if kind == KindId::namespaces() {
            return Ok(self.delete_namespace(&old, now));
        }
        if object::finalizers(&old.value).is_empty() {
            self.take_out(kind, key);
            return Ok(Written { object: old, effect: Effect::Removed });
        }
        if old.is_deleting() {
            return Ok(Written { object: old, effect: Effect::Unchanged });
        }
        let marked = rules::marked_deleted(&old, now);
        let object = self.put(kind, key.clone(), marked, old.applied.clone());
        Ok(Written { object, effect: Effect::Changed })
    }

    fn delete_namespace(&mut self, old: &Arc<Stored>, now: &str) -> Written {
        let namespaces = KindId::namespaces();
        let object = if old.is_deleting() {
            Arc::clone(old)
        } else {
            let mut value = rules::marked_deleted(old, now);
            value["status"]["phase"] = json!("Terminating");
            self.put(namespaces, old.key.clone(), value, old.applied.clone())
        };
        for kind in KindId::all() {
            for found in self.list(kind, Some(&old.key.name)) {
                // It is there, and nothing is insisted on: this can't fail.
                let _ = self.delete(kind, &found.key, &Preconditions::default(), now);
            }
        }
        self.end_namespace(&old.key.name);
        Written { object, effect: Effect::Changed }
    }

    fn take_out(&mut self, kind: KindId, key: &Key) {
        self.remove(kind, key);
        self.end_namespace(&key.namespace);
    }

    /// Takes a namespace away that is on its way out and empty.
    fn end_namespace(&mut self, name: &str) {
        let key = Key { namespace: String::new(), name: name.to_owned() };
        let namespaces = KindId::namespaces();
        if self.get(namespaces, &key).is_some_and(|found| found.is_deleting()) && !self.holds_anything(name) {
            self.remove(namespaces, &key);
        }
    }

    fn expect(&self, kind: KindId, key: &Key) -> Result<Arc<Stored>, Refusal> {
        self.get(kind, key).cloned().ok_or_else(|| Refusal::not_found(kind.get(), &key.name))
    }
}

fn check_name(value: &Value, key: &Key) -> Result<(), Refusal> {
    let given = |field: &str| value["metadata"].get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(name) = given("name").filter(|name| *name != key.name) {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    if given("namespace").is_some_and(|namespace| namespace != key.namespace) {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}
