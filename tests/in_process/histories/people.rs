//! People in the cluster in memory.

use bitbucket_connection_operator::api::{BitbucketConnection, ClusterKmsInstance, KmsInstance};
use histories::hands::{Cluster, Kind};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Resource;
use memory_api::MemoryApi;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// What people do without HTTP, so that no fault is in their way.
pub struct People(pub MemoryApi);

impl People {
    fn read<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned>(&self, at: (&str, &str)) -> Option<Value> {
        let found = self.0.get::<K>(at.0, at.1)?;
        Some(serde_json::to_value(found).expect("an object that is JSON"))
    }

    fn make<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned>(&self, mut manifest: Value) {
        manifest["apiVersion"] = json!(K::api_version(&()));
        manifest["kind"] = json!(K::kind(&()));
        self.0.create::<K>(&serde_json::from_value(manifest).expect("a manifest"));
    }
}

impl Cluster for People {
    async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        let at = (namespace, name);
        match kind {
            Kind::Namespace => self.read::<Namespace>(at),
            Kind::Secret => self.read::<Secret>(at),
            Kind::Connection => self.read::<BitbucketConnection>(at),
            Kind::KmsInstance => self.read::<KmsInstance>(at),
            Kind::ClusterKmsInstance => self.read::<ClusterKmsInstance>(at),
        }
    }

    async fn create(&self, kind: Kind, namespace: &str, mut manifest: Value) {
        if !namespace.is_empty() {
            manifest["metadata"]["namespace"] = json!(namespace);
        }
        match kind {
            Kind::Namespace => {
                self.0.create_namespace(manifest["metadata"]["name"].as_str().expect("a name"));
            }
            Kind::Secret => self.make::<Secret>(manifest),
            Kind::Connection => self.make::<BitbucketConnection>(manifest),
            Kind::KmsInstance => self.make::<KmsInstance>(manifest),
            Kind::ClusterKmsInstance => self.make::<ClusterKmsInstance>(manifest),
        }
    }

    async fn merge(&self, kind: Kind, namespace: &str, name: &str, patch: Value) {
        let (api, namespace) = (&self.0, namespace);
        match kind {
            Kind::Namespace => drop(api.merge::<Namespace>(namespace, name, patch)),
            Kind::Secret => drop(api.merge::<Secret>(namespace, name, patch)),
            Kind::Connection => drop(api.merge::<BitbucketConnection>(namespace, name, patch)),
            Kind::KmsInstance => drop(api.merge::<KmsInstance>(namespace, name, patch)),
            Kind::ClusterKmsInstance => drop(api.merge::<ClusterKmsInstance>(namespace, name, patch)),
        }
    }

    async fn delete(&self, kind: Kind, namespace: &str, name: &str) {
        match kind {
            Kind::Namespace => self.0.delete::<Namespace>(namespace, name),
            Kind::Secret => self.0.delete::<Secret>(namespace, name),
            Kind::Connection => self.0.delete::<BitbucketConnection>(namespace, name),
            Kind::KmsInstance => self.0.delete::<KmsInstance>(namespace, name),
            Kind::ClusterKmsInstance => self.0.delete::<ClusterKmsInstance>(namespace, name),
        };
    }
}
