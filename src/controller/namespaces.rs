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

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::{
        core::PartialObjectMetaExt,
        runtime::{reflector, watcher::Event},
    };

    use super::*;

    #[test]
    fn a_namespace_that_is_known_has_labels_even_if_it_has_none() {
        let (store, mut writer) = reflector::store();
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        for (name, labels) in [("team-a", Some(labels.clone())), ("plain", None)] {
            let metadata = ObjectMeta { name: Some(name.to_owned()), labels, ..ObjectMeta::default() };
            writer.apply_watcher_event(&Event::Apply(metadata.into_response_partial::<Namespace>()));
        }
        let namespaces = Namespaces::watched(store);
        assert_eq!(namespaces.labels("team-a"), Some(labels));
        assert_eq!(namespaces.labels("plain"), Some(BTreeMap::new()));
        assert_eq!(namespaces.labels("unknown"), None);
        assert_eq!(Namespaces::unknown().labels("team-a"), None);
    }
}
