//! The finalizer of an instance: there while connections use it, so that it isn't lost under them.

use std::sync::Arc;

use kube::{
    Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    context::{Context, FIELD_MANAGER},
    errors::Error,
    instances::Instance,
    triggers::{InstanceKey, Target},
};
use crate::{api::INSTANCE_FINALIZER, domain::instance::InUse};

/// How often a version that was behind is read again.
const ATTEMPTS: usize = 3;

/// Has the finalizer there while somebody uses the instance, and only then. Returns the instance as it is after that;
/// nothing if it is let go.
pub async fn hold<K>(object: Arc<K>, users: &[Target], context: &Context) -> Result<Option<Arc<K>>, Error>
where
    K: Instance + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let api = object.api(context.client.clone());
    let (name, wanted) = (object.name_any(), !users.is_empty());
    let mut object = object;
    for _ in 0..ATTEMPTS {
        let deleting = object.meta().deletion_timestamp.is_some();
        let mut finalizers = object.finalizers().to_vec();
        let there = finalizers.iter().any(|finalizer| finalizer == INSTANCE_FINALIZER);
        match (wanted, there) {
            // An object on its way out takes no more finalizers.
            (true, false) if deleting => return Ok(Some(object)),
            (true, true) => return Ok(Some(object)),
            (false, false) => return Ok((!deleting).then_some(object)),
            (true, false) => finalizers.push(INSTANCE_FINALIZER.to_owned()),
            (false, true) => finalizers.retain(|finalizer| finalizer != INSTANCE_FINALIZER),
        }
        let metadata = json!({
            "uid": object.uid(), "resourceVersion": object.resource_version(), "finalizers": finalizers,
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch(&name, &params, &Patch::Merge(&json!({"metadata": metadata}))).await {
            Ok(_) if deleting => return Ok(None),
            Ok(patched) => return Ok(Some(Arc::new(patched))),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            // The cache was behind, or somebody was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => match api.get_opt(&name).await? {
                Some(newer) if newer.uid() == object.uid() => object = Arc::new(newer),
                Some(_) | None => return Ok(None),
            },
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::keeps_changing())
}

/// What a deletion waits for, if it does.
pub fn waits_for<K: Resource>(object: &K, key: &InstanceKey, users: &[Target]) -> Option<InUse> {
    object.meta().deletion_timestamp.as_ref()?;
    let names = users.iter().filter_map(|user| match user {
        Target::Connection { name, .. } => Some(name.as_str()),
        Target::Instance(_) => None,
    });
    match key {
        _ if users.is_empty() => None,
        InstanceKey::Namespaced { .. } => Some(InUse::by(names.collect())),
        InstanceKey::Cluster { .. } => Some(InUse::by_many(users.len())),
    }
}
