//! The caches: what they hold, and how watches fill them.

use std::{collections::HashMap, sync::Arc};

use futures::future;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client,
    runtime::reflector::{self, Store},
};
use tokio::{sync::Notify, task::JoinSet};

use super::{
    context::Context,
    leadership::Leadership,
    samples,
    watches::{self, Scope},
};
use crate::{
    api::{BitbucketConnection, ClusterKmsInstance, KmsInstance},
    telemetry::metrics::ObjectSample,
};

/// The caches of our own kinds, one of each for each scope.
pub struct Stores {
    /// BitbucketConnections.
    pub connections: HashMap<Scope, (Store<BitbucketConnection>, reflector::store::Writer<BitbucketConnection>)>,
    /// KmsInstances.
    pub instances: HashMap<Scope, (Store<KmsInstance>, reflector::store::Writer<KmsInstance>)>,
    /// Only where all namespaces are served.
    pub cluster: Option<Cluster>,
}

/// What there is only where all namespaces are served.
pub struct Cluster {
    /// ClusterKmsInstances.
    pub instances: (Store<ClusterKmsInstance>, reflector::store::Writer<ClusterKmsInstance>),
    /// Namespaces, whose labels grants select.
    pub namespaces: (Store<PartialNamespace>, reflector::store::Writer<PartialNamespace>),
}

/// A namespace without what nobody asks for.
pub type PartialNamespace = kube::core::PartialObjectMeta<Namespace>;

impl Stores {
    /// Empty ones.
    pub fn new(scopes: &[Scope]) -> Self {
        let whole = scopes.contains(&None);
        Self {
            connections: scopes.iter().map(|scope| (scope.clone(), reflector::store())).collect(),
            instances: scopes.iter().map(|scope| (scope.clone(), reflector::store())).collect(),
            cluster: whole.then(|| Cluster { instances: reflector::store(), namespaces: reflector::store() }),
        }
    }

    /// What metrics tell of objects, by who leads alone: of two replicas one may be behind, and sums would count twice.
    pub fn samples(&self, leadership: Leadership) -> impl Fn() -> Vec<ObjectSample> + Send + Sync + 'static {
        let stores: Vec<_> = self.connections.values().map(|(store, _)| store.clone()).collect();
        move || {
            let stores = stores.iter().filter(|_| leadership.may_write());
            stores.flat_map(|store| store.state()).map(|object| samples::sample(&object)).collect()
        }
    }

    /// Starts all watches, and waits until the caches are filled: instances, namespaces and connections first, then the
    /// Secrets and ConfigMaps, of which only those are kept that something refers to.
    pub async fn fill(self, client: &Client, scopes: &[Scope], context: &Arc<Context>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let mut filled: Vec<future::BoxFuture<'static, ()>> = Vec::new();
        for (scope, (store, writer)) in self.instances {
            let api = match &scope {
                Some(namespace) => Api::namespaced(client.clone(), namespace),
                None => Api::all(client.clone()),
            };
            tasks.spawn(watches::instances::<KmsInstance>(api, writer, Arc::clone(context)));
            filled.push(Box::pin(async move { drop(store.wait_until_ready().await) }));
        }
        if let Some(Cluster { instances, namespaces }) = self.cluster {
            tasks.spawn(watches::instances::<ClusterKmsInstance>(
                Api::all(client.clone()),
                instances.1,
                Arc::clone(context),
            ));
            tasks.spawn(watches::namespaces(client.clone(), namespaces.1, Arc::clone(context)));
            filled.push(Box::pin(async move { drop(instances.0.wait_until_ready().await) }));
            filled.push(Box::pin(async move { drop(namespaces.0.wait_until_ready().await) }));
        }
        for (scope, (store, writer)) in self.connections {
            tasks.spawn(watches::connections(client.clone(), scope, writer, Arc::clone(context)));
            filled.push(Box::pin(async move { drop(store.wait_until_ready().await) }));
        }
        future::join_all(filled).await;
        let mut synced = Vec::new();
        for scope in scopes {
            let (secrets, config_maps) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (client, context) = (|| client.clone(), || Arc::clone(context));
            tasks.spawn(watches::sources::<Secret>(client(), scope.clone(), context(), Arc::clone(&secrets)));
            tasks.spawn(watches::sources::<ConfigMap>(client(), scope.clone(), context(), Arc::clone(&config_maps)));
            synced.push(async move { future::join(secrets.notified(), config_maps.notified()).await });
        }
        future::join_all(synced).await;
        tasks
    }
}
