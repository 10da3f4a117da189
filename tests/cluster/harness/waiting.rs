//! Waiting until something is so, told by watches.

use bitbucket_connection_operator::api::{BitbucketConnection, ClusterKmsInstance, KmsInstance};
use futures::StreamExt;
use k8s_openapi::api::{core::v1::Namespace, events::v1::Event};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        wait::await_condition,
        watcher::{self, watcher},
    },
};

use super::{
    PATIENCE, PAUSE,
    reading::condition,
    tenant::{Kind, Tenant},
};

impl Tenant {
    /// Waits until this holds for a BitbucketConnection, and returns it. `what` ends the sentence "payments …".
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&BitbucketConnection) -> bool,
    ) -> BitbucketConnection {
        self.until_object(self.api(), name, what, holds).await
    }

    /// The same for a KmsInstance.
    pub async fn until_instance(&self, name: &str, what: &str, holds: impl Fn(&KmsInstance) -> bool) -> KmsInstance {
        self.until_object(self.api(), name, what, holds).await
    }

    /// Waits until a KmsInstance has this reason in its present generation.
    pub async fn until_instance_says(&self, name: &str, reason: &str) -> KmsInstance {
        let holds = |instance: &KmsInstance| is_settled(instance) && condition(instance, "Ready").1 == reason;
        self.until_instance(name, &format!("says {reason}"), holds).await
    }

    /// The same for a ClusterKmsInstance.
    pub async fn until_cluster_instance(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&ClusterKmsInstance) -> bool,
    ) -> ClusterKmsInstance {
        self.until_object(self.cluster_api(), name, what, holds).await
    }

    /// The same for an object of any kind.
    pub async fn until_object<K: Kind>(&self, api: Api<K>, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> K {
        let object = self.watch(api, name, what, |object| object.is_some_and(&holds)).await;
        object.expect("an object that was seen")
    }

    /// Waits until a BitbucketConnection is Ready in its present generation.
    pub async fn ready(&self, name: &str) -> BitbucketConnection {
        self.until(name, "is Ready", |bbc| is_settled(bbc) && condition(bbc, "Ready").0 == "True").await
    }

    /// Waits until a BitbucketConnection isn't Ready, for this reason, in its present generation.
    pub async fn not_ready(&self, name: &str, reason: &str) -> BitbucketConnection {
        let holds = |bbc: &BitbucketConnection| {
            let (status, found, _) = condition(bbc, "Ready");
            is_settled(bbc) && status != "True" && found == reason
        };
        self.until(name, &format!("isn't Ready because of {reason}"), holds).await
    }

    /// The same, with these words in its message: one reason may have several.
    pub async fn not_ready_saying(&self, name: &str, reason: &str, words: &[&str]) -> BitbucketConnection {
        let holds = |bbc: &BitbucketConnection| {
            let (status, found, message) = condition(bbc, "Ready");
            is_settled(bbc) && status != "True" && found == reason && words.iter().all(|word| message.contains(word))
        };
        self.until(name, &format!("isn't Ready because of {reason}, which says {words:?}"), holds).await
    }

    /// Waits until a condition has this reason in the object's present generation.
    pub async fn until_reason(&self, name: &str, kind: &str, reason: &str) -> BitbucketConnection {
        let holds = |bbc: &BitbucketConnection| is_settled(bbc) && condition(bbc, kind).1 == reason;
        self.until(name, &format!("has {kind} with the reason {reason}"), holds).await
    }

    /// Waits until a BitbucketConnection is gone.
    pub async fn until_gone(&self, name: &str) {
        self.until_object_gone::<BitbucketConnection>(self.api(), name).await;
    }

    /// Waits until an object of any kind is gone.
    pub async fn until_object_gone<K: Kind>(&self, api: Api<K>, name: &str) {
        self.watch(api, name, "is gone", |object| object.is_none()).await;
    }

    /// Waits until this namespace is gone, with everything in it.
    pub async fn until_namespace_gone(&self) {
        self.until_object_gone::<Namespace>(self.cluster_api(), self.namespace()).await;
    }

    /// Waits for an event about a BitbucketConnection, and returns its note.
    pub async fn until_event(&self, name: &str, reason: &str) -> String {
        let events = watcher(self.api::<Event>(), watcher::Config::default()).default_backoff().applied_objects();
        let is_meant = |event: &Event| {
            let about = event.regarding.as_ref().and_then(|object| object.name.as_deref());
            about == Some(name) && event.reason.as_deref() == Some(reason)
        };
        let find = async {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) if is_meant(&event) => return event.note.unwrap_or_default(),
                    Ok(_) | Err(_) => {}
                }
            }
            String::new()
        };
        match tokio::time::timeout(PATIENCE, find).await {
            Ok(note) => note,
            Err(_) => self.give_up(name, &format!("has an event {reason}")).await,
        }
    }

    async fn watch<K: Kind>(
        &self,
        api: Api<K>,
        name: &str,
        what: &str,
        holds: impl Fn(Option<&K>) -> bool,
    ) -> Option<K> {
        let seen = async {
            loop {
                if let Ok(object) = await_condition(api.clone(), name, &holds).await {
                    return object;
                }
                // The API server is away. Nothing tells when it is back.
                tokio::time::sleep(PAUSE).await;
            }
        };
        match tokio::time::timeout(PATIENCE, seen).await {
            Ok(object) => object,
            Err(_) => self.give_up(name, what).await,
        }
    }

    async fn give_up(&self, name: &str, what: &str) -> ! {
        let report = self.report(name).await;
        panic!("after {} s it isn't so that {name} {what}\n{report}", PATIENCE.as_secs());
    }
}

/// Waits for something that tells by itself when it is so, such as a request that a stand-in has seen.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("after {} s it isn't so that {what}", PATIENCE.as_secs()))
}

/// Whether the status is about the present generation.
pub fn is_settled<K: Resource + serde::Serialize>(object: &K) -> bool {
    let status = serde_json::to_value(object).expect("an object");
    status["status"]["observedGeneration"].as_i64() == object.meta().generation
}
