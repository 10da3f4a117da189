//! One version of an object, as it is stored, listed and watched.

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;
use serde_json::{Value, json};

/// What an object is found by; the namespace of a cluster-scoped one is empty.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key {
    pub namespace: String,
    pub name: String,
}

/// One version of an object. It is turned into bytes at most once in each form, by the first who asks.
#[derive(Debug)]
pub(crate) struct Stored {
    pub key: Key,
    pub revision: u64,
    pub value: Value,
    /// What each field manager applied last to all but the status.
    pub applied: BTreeMap<String, Value>,
    whole: OnceLock<Bytes>,
    metadata: OnceLock<Bytes>,
}

impl Stored {
    /// The object at a revision, which is written into it.
    pub fn at(revision: u64, key: Key, mut value: Value, applied: BTreeMap<String, Value>) -> Self {
        value["metadata"]["resourceVersion"] = json!(revision.to_string());
        Self { key, revision, value, applied, whole: OnceLock::new(), metadata: OnceLock::new() }
    }

    /// As JSON: all of it, or its metadata as a `PartialObjectMetadata`.
    pub fn bytes(&self, metadata_only: bool) -> Bytes {
        if metadata_only {
            self.metadata.get_or_init(|| Bytes::from(partial(&self.value).to_string())).clone()
        } else {
            self.whole.get_or_init(|| Bytes::from(self.value.to_string())).clone()
        }
    }

    pub fn uid(&self) -> &str {
        self.value["metadata"]["uid"].as_str().unwrap_or_default()
    }

    pub fn is_deleting(&self) -> bool {
        is_deleting(&self.value)
    }
}

fn partial(value: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]})
}

pub(crate) fn is_deleting(value: &Value) -> bool {
    value["metadata"].get("deletionTimestamp").is_some()
}

pub(crate) fn finalizers(value: &Value) -> &[Value] {
    value["metadata"].get("finalizers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
