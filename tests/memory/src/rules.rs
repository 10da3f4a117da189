//! What becomes of an object that somebody wants written.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::{
    kinds::Kind,
    object::{self, Stored},
    refusal::Refusal,
};

/// Which part of an object a write is for; the other stays as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    Main,
    Status,
}

/// Metadata that the API server alone decides about.
const OURS: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "name",
    "namespace",
    "resourceVersion",
    "uid",
];

/// The object that is made of what somebody sent, under its final name.
pub(crate) fn created(kind: &Kind, mut value: Value, uid: &str, now: &str) -> Result<Value, Refusal> {
    let name = object_name(&value);
    normalize(kind, &mut value)?;
    let metadata = metadata_of(&mut value);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), json!(uid));
    metadata.insert("creationTimestamp".into(), json!(now));
    if kind.custom {
        metadata.insert("generation".into(), json!(1));
        set(&mut value, "status", None);
    }
    if kind.plural == "namespaces" {
        value["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(name);
        value["spec"] = json!({"finalizers": ["kubernetes"]});
        value["status"] = json!({"phase": "Active"});
    }
    add_defaults(kind, &mut value);
    Ok(value)
}

/// The version that follows an older one, without its number: equal to the older one if nothing changes.
pub(crate) fn updated(kind: &Kind, old: &Stored, mut wanted: Value, part: Part) -> Result<Value, Refusal> {
    let name = &old.key.name;
    let before = &old.value;
    let given = |field: &str| wanted["metadata"].get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    match given("resourceVersion") {
        Some(version) if version != old.revision.to_string() => return Err(Refusal::modified(kind, name)),
        None if !kind.unconditional => return Err(Refusal::unversioned(kind, name)),
        Some(_) | None => {}
    }
    if part == Part::Main && given("uid").is_some_and(|uid| uid != old.uid()) {
        let why = format!("metadata.uid: Invalid value: {:?}: field is immutable", given("uid").unwrap_or_default());
        return Err(Refusal::invalid(kind, name, &why));
    }
    normalize(kind, &mut wanted)?;
    if part == Part::Status {
        let mut value = before.clone();
        set(&mut value, "status", wanted.get("status").cloned());
        add_defaults(kind, &mut value);
        return Ok(value);
    }
    for field in OURS {
        let kept = before["metadata"].get(field).cloned();
        let metadata = metadata_of(&mut wanted);
        match kept {
            Some(kept) => drop(metadata.insert(field.to_owned(), kept)),
            None => drop(metadata.remove(field)),
        }
    }
    if kind.has_status() {
        set(&mut wanted, "status", before.get("status").cloned());
    }
    let added = |finalizer: &&Value| !object::finalizers(before).contains(finalizer);
    if old.is_deleting() && object::finalizers(&wanted).iter().any(|finalizer| added(&finalizer)) {
        let added: Vec<_> = object::finalizers(&wanted).iter().filter(added).filter_map(Value::as_str).collect();
        let why = format!(
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
             finalizers []string{{{}}}",
            added.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
        );
        return Err(Refusal::invalid(kind, name, &why));
    }
    add_defaults(kind, &mut wanted);
    if kind.custom && asks_for(&wanted).ne(asks_for(before)) {
        raise_generation(&mut wanted);
    }
    Ok(wanted)
}

/// What an object with finalizers becomes when it is deleted.
pub(crate) fn marked_deleted(old: &Stored, now: &str) -> Value {
    let mut value = old.value.clone();
    let metadata = metadata_of(&mut value);
    metadata.insert("deletionTimestamp".into(), json!(now));
    metadata.insert("deletionGracePeriodSeconds".into(), json!(0));
    if metadata.contains_key("generation") {
        raise_generation(&mut value);
    }
    value
}

/// What a generation counts: all but metadata and status.
fn asks_for(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"))
}

fn raise_generation(value: &mut Value) {
    let generation = value["metadata"]["generation"].as_u64().unwrap_or_default();
    value["metadata"]["generation"] = json!(generation + 1);
}

/// Puts what was sent into the form in which it is stored.
fn normalize(kind: &Kind, value: &mut Value) -> Result<(), Refusal> {
    if !value.is_object() {
        return Err(Refusal::bad_request("the object provided is unrecognized: it is no JSON object"));
    }
    value["apiVersion"] = json!(kind.api_version());
    value["kind"] = json!(kind.name);
    let metadata = metadata_of(value);
    metadata.remove("managedFields");
    metadata.retain(|_, field| match field {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    });
    without_nulls(value);
    if kind.plural == "secrets" {
        encode_secret(value);
    }
    Ok(())
}

/// Whoever applies a null is told where; whoever writes otherwise finds it gone.
pub(crate) fn refuse_nulls(kind: &Kind, name: &str, applied: &Value) -> Result<(), Refusal> {
    let mut fields = applied.as_object().into_iter().flatten().filter(|(name, _)| *name != "metadata");
    let Some(path) = fields.find_map(|(name, field)| null_in(field, name)) else { return Ok(()) };
    let why = format!("{path}: Invalid value: \"null\": {path} in body must be of another type");
    Err(Refusal::invalid(kind, name, &why))
}

/// Where the first null is.
fn null_in(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Null => Some(path.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| null_in(item, &format!("{path}[{index}]")))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, field)| null_in(field, &format!("{path}.{name}"))),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// What is null isn't there.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Texts become data, and there is always a type.
fn encode_secret(value: &mut Value) {
    let Some(fields) = value.as_object_mut() else { return };
    if let Some(Value::Object(texts)) = fields.remove("stringData") {
        let data = fields.entry("data").or_insert_with(|| json!({}));
        for (key, text) in texts {
            data[key] = json!(STANDARD.encode(text.as_str().unwrap_or_default()));
        }
    }
    fields.entry("type").or_insert_with(|| json!("Opaque"));
}

/// The default of our CRDs: a status that nobody wrote says so.
fn add_defaults(kind: &Kind, value: &mut Value) {
    if kind.custom && value.get("status").is_none() {
        value["status"] = json!({"observedGeneration": -1});
    }
}

fn set(value: &mut Value, field: &str, to: Option<Value>) {
    let Some(fields) = value.as_object_mut() else { return };
    match to {
        Some(to) => drop(fields.insert(field.to_owned(), to)),
        None => drop(fields.remove(field)),
    }
}

/// The metadata, made if there is none.
pub(crate) fn metadata_of(value: &mut Value) -> &mut Map<String, Value> {
    if !value["metadata"].is_object() {
        value["metadata"] = json!({});
    }
    match &mut value["metadata"] {
        Value::Object(metadata) => metadata,
        _ => unreachable!("it was just made"),
    }
}

/// The name in the metadata; empty if there is none.
pub(crate) fn object_name(value: &Value) -> String {
    value["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}
