//! A BitbucketConnection as the cache keeps it. A status is a few kilobytes, mostly words that it shares with every other
//! status, and nobody but a pass reads them: they are kept packed, and what others ask for stands beside them.

use std::{borrow::Cow, fmt, mem, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::NamespaceResourceScope};

use super::samples;
use crate::{
    api::{BitbucketConnection, UNPROCESSED},
    domain::texts::Texts,
    telemetry::metrics::ObjectSample,
};

/// What packed texts may refer to instead of repeating it: a connection with nothing wrong, which most are like. `make
/// docs` writes it anew after words have changed.
const DICTIONARY: &[u8] = include_bytes!("cached/dictionary.json");

/// A BitbucketConnection, packed. It names itself; all else of it takes [`unpack`](Self::unpack).
#[derive(Clone)]
pub struct CachedConnection {
    /// Name, namespace, uid, versions, and whether it is being deleted. The rest is packed.
    metadata: ObjectMeta,
    requested_at: Option<Box<str>>,
    processed: bool,
    sample: Arc<ObjectSample>,
    packed: Arc<[u8]>,
}

impl CachedConnection {
    /// Packs an object. Of its metadata it keeps what the operator reads; what metrics say of many objects is taken from
    /// `texts`.
    pub fn pack(mut object: BitbucketConnection, texts: &Texts) -> Self {
        let sample = Arc::new(samples::sample(&object, texts));
        let requested_at = object.reconcile_requested_at().map(Into::into);
        let processed = is_processed(&object);
        let all = mem::take(&mut object.metadata);
        object.metadata = ObjectMeta { annotations: all.annotations, finalizers: all.finalizers, ..Default::default() };
        // No object of ours fails to be written; one that did would be read from the API server.
        let text = serde_json::to_vec(&object).unwrap_or_default();
        let metadata = ObjectMeta {
            name: all.name,
            namespace: all.namespace,
            uid: all.uid,
            resource_version: all.resource_version,
            generation: all.generation,
            deletion_timestamp: all.deletion_timestamp,
            ..ObjectMeta::default()
        };
        let packed = lz4_flex::block::compress_prepend_size_with_dict(&text, DICTIONARY).into();
        Self { metadata, requested_at, processed, sample, packed }
    }

    /// The object. Nothing where it can't be unpacked, which would be a bug: the API server has it too.
    pub fn unpack(&self) -> Option<BitbucketConnection> {
        let text = lz4_flex::block::decompress_size_prepended_with_dict(&self.packed, DICTIONARY).ok()?;
        let mut object: BitbucketConnection = serde_json::from_slice(&text).ok()?;
        let rest = mem::take(&mut object.metadata);
        object.metadata =
            ObjectMeta { annotations: rest.annotations, finalizers: rest.finalizers, ..self.metadata.clone() };
        Some(object)
    }

    /// What metrics say of it.
    pub fn sample(&self) -> &Arc<ObjectSample> {
        &self.sample
    }

    /// Whether a newer version asks for something that this one didn't. Deletion moves the generation too.
    pub fn is_asked_for_more_by(&self, newer: &Self) -> bool {
        self.metadata.uid != newer.metadata.uid
            || self.metadata.generation != newer.metadata.generation
            || self.metadata.deletion_timestamp != newer.metadata.deletion_timestamp
            || self.requested_at != newer.requested_at
            || (self.processed && !newer.processed)
    }
}

/// Whether the status tells of any pass; one that was taken away is replaced by its default.
fn is_processed(object: &BitbucketConnection) -> bool {
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some_and(|generation| generation != UNPROCESSED)
}

impl Resource for CachedConnection {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(kind: &()) -> Cow<'_, str> {
        BitbucketConnection::kind(kind)
    }

    fn group(kind: &()) -> Cow<'_, str> {
        BitbucketConnection::group(kind)
    }

    fn version(kind: &()) -> Cow<'_, str> {
        BitbucketConnection::version(kind)
    }

    fn plural(kind: &()) -> Cow<'_, str> {
        BitbucketConnection::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl fmt::Debug for CachedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedConnection").field("metadata", &self.metadata).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
