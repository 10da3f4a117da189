//! Labels of namespaces, by which grants select.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    core::PartialObjectMeta,
    runtime::reflector::{ObjectRef, Store},
};

/// Labels of namespaces; none where only some namespaces are served.
pub struct Namespaces(Option<Store<PartialObjectMeta<Namespace>>>);

impl Namespaces {
    /// By what a watch tells.
    pub fn watched(store: Store<PartialObjectMeta<Namespace>>) -> Self {
        Self(Some(store))
    }

    /// Not known: ClusterKmsInstances don't serve.
    pub fn unknown() -> Self {
        Self(None)
    }

    /// The labels of a namespace.
    pub fn labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        let namespace: Arc<PartialObjectMeta<Namespace>> = self.0.as_ref()?.get(&ObjectRef::new(namespace))?;
        Some(namespace.metadata.labels.clone().unwrap_or_default())
    }
}
