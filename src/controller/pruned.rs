//! Objects as the API server tells them, without what nobody here reads. managedFields alone are more than a third of a
//! connection's text, and as values hundreds of small allocations; so they are passed over where they are read.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{
    Resource,
    core::{PartialObjectMeta, PartialObjectMetaExt},
};
use serde::{Deserialize, Deserializer};

use crate::api::{BitbucketConnection, BitbucketConnectionSpec, BitbucketConnectionStatus, RECONCILE_REQUESTED_AT};

/// An object with the metadata that the operator reads: what it is called and which version it is, whether it is being
/// deleted, and, if somebody asked for a pass, when.
#[derive(Clone, Debug)]
pub struct Pruned<K>(pub K);

impl<K: Resource> Resource for Pruned<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

impl<'de> Deserialize<'de> for Pruned<BitbucketConnection> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Text {
            metadata: Metadata,
            spec: BitbucketConnectionSpec,
            status: Option<BitbucketConnectionStatus>,
        }
        let Text { metadata, spec, status } = Text::deserialize(deserializer)?;
        Ok(Self(BitbucketConnection { metadata: metadata.into(), spec, status }))
    }
}

impl<'de, K> Deserialize<'de> for Pruned<PartialObjectMeta<K>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Text {
            metadata: Metadata,
        }
        Ok(Self(ObjectMeta::from(Text::deserialize(deserializer)?.metadata).into_response_partial()))
    }
}

/// What of an [`ObjectMeta`] is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl From<Metadata> for ObjectMeta {
    fn from(metadata: Metadata) -> Self {
        Self {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            deletion_timestamp: metadata.deletion_timestamp,
            finalizers: metadata.finalizers,
            annotations: metadata.annotations.map(|mut annotations| {
                annotations.retain(|name, _| name == RECONCILE_REQUESTED_AT);
                annotations
            }),
            ..Self::default()
        }
    }
}
