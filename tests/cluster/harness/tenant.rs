//! One namespace, and what people and tools do in it.

use std::{fmt::Debug, sync::Arc};

use bitbucket_connection_operator::api::{BitbucketConnection, RECONCILE_REQUESTED_AT};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, api::core::v1::Secret};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sim::{Bitbucket, Kms};

use super::{Operator, dynamic};

/// One namespace of a world.
#[derive(Clone)]
pub struct Tenant(Arc<Inner>);

struct Inner {
    namespace: String,
    client: Client,
    cluster_wide: bool,
    bitbucket: Bitbucket,
    kms: Kms,
    operator: Operator,
}

/// What can be read, watched and written as what it is.
pub trait Kind: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}
impl<K> Kind for K where K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl Tenant {
    pub(super) fn new(
        namespace: String,
        client: Client,
        cluster_wide: bool,
        bitbucket: &Bitbucket,
        kms: &Kms,
        operator: &Operator,
    ) -> Self {
        let (bitbucket, kms, operator) = (bitbucket.clone(), kms.clone(), operator.clone());
        Self(Arc::new(Inner { namespace, client, cluster_wide, bitbucket, kms, operator }))
    }

    pub(super) fn in_namespace(&self, namespace: &str) -> Self {
        let Inner { client, cluster_wide, bitbucket, kms, operator, .. } = &*self.0;
        Self::new(namespace.to_owned(), client.clone(), *cluster_wide, bitbucket, kms, operator)
    }

    /// Its name.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// A client as admin.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    pub(super) fn is_cluster_wide(&self) -> bool {
        self.0.cluster_wide
    }

    pub(super) fn stand_ins(&self) -> (&Bitbucket, &Kms) {
        (&self.0.bitbucket, &self.0.kms)
    }

    pub(super) fn process(&self) -> &Operator {
        &self.0.operator
    }

    /// Objects of a kind in this namespace.
    pub fn api<K: Kind + Resource<Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.0.client.clone(), &self.0.namespace)
    }

    /// Objects of a kind without namespaces.
    pub fn cluster_api<K: Kind + Resource<Scope = ClusterResourceScope>>(&self) -> Api<K> {
        Api::all(self.0.client.clone())
    }

    /// Applies a manifest of any kind, as `kubectl apply --server-side` does: what an earlier one said and this one
    /// doesn't is taken back.
    pub async fn apply(&self, manifest: Value) -> DynamicObject {
        let shown = manifest.to_string();
        self.try_apply(manifest).await.unwrap_or_else(|error| panic!("cannot apply {shown}: {error}"))
    }

    /// The same, where a refusal is of interest.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn try_apply(&self, manifest: Value) -> kube::Result<DynamicObject> {
        let (api, object) = dynamic(&self.0.client, Some(&self.0.namespace), manifest);
        let name = object.metadata.name.clone().expect("a name in the manifest");
        api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&object)).await
    }

    /// A BitbucketConnection as it is now.
    pub async fn get(&self, name: &str) -> BitbucketConnection {
        self.api().get(name).await.unwrap_or_else(|error| panic!("cannot get {name}: {error}"))
    }

    /// Changes a BitbucketConnection by a merge patch.
    pub async fn patch(&self, name: &str, change: Value) -> BitbucketConnection {
        self.patch_object(name, change).await
    }

    /// Changes an object of any kind in this namespace by a merge patch.
    pub async fn patch_object<K>(&self, name: &str, change: Value) -> K
    where
        K: Kind + Resource<Scope = NamespaceResourceScope>,
    {
        let patched = self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(&change)).await;
        patched.unwrap_or_else(|error| panic!("cannot patch {name} with {change}: {error}"))
    }

    /// Asks for the end of a BitbucketConnection; [`Tenant::until_gone`] waits for it.
    pub async fn delete(&self, name: &str) {
        self.delete_object::<BitbucketConnection>(name).await;
    }

    /// Asks for the end of a Secret.
    pub async fn delete_secret(&self, name: &str) {
        self.delete_object::<Secret>(name).await;
    }

    /// Asks for the end of an object of any kind in this namespace.
    pub async fn delete_object<K: Kind + Resource<Scope = NamespaceResourceScope>>(&self, name: &str) {
        let deleted = self.api::<K>().delete(name, &DeleteParams::default()).await;
        deleted.unwrap_or_else(|error| panic!("cannot delete {name}: {error}"));
    }

    /// Asks for the end of this namespace and of everything in it.
    pub async fn delete_namespace(&self) {
        let namespaces = self.cluster_api::<k8s_openapi::api::core::v1::Namespace>();
        let deleted = namespaces.delete(&self.0.namespace, &DeleteParams::default()).await;
        deleted.unwrap_or_else(|error| panic!("cannot delete {}: {error}", self.0.namespace));
    }

    /// Presses the button: asks for a reconcile now, and waits until the operator says that it was done.
    pub async fn request_reconcile(&self, name: &str) -> BitbucketConnection {
        let value = uuid::Uuid::new_v4().to_string();
        self.patch(name, json!({"metadata": {"annotations": {RECONCILE_REQUESTED_AT: value}}})).await;
        let echoed = |bbc: &BitbucketConnection| {
            let status = bbc.status.as_ref();
            status.and_then(|status| status.last_handled_reconcile_at.as_ref()) == Some(&value)
        };
        self.until(name, "was reconciled on request", echoed).await
    }
}
