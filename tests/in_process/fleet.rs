//! Many connections with few credentials, in the cluster and at both services.

use bitbucket_connection_operator::{
    api::{BitbucketConnection, ClusterKmsInstance},
    domain::scopes::{UseCase, required},
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sim::Token;

use crate::world::{KMS, World};

/// A fleet.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// How many connections.
    pub connections: usize,
    /// How many credentials, each of an account of its own and in a namespace of its own.
    pub credentials: usize,
    /// How many connections share a project, and so a list.
    pub sharing_a_project: usize,
    /// Their `spec.interval`.
    pub interval: &'static str,
}

/// An object from its manifest.
pub fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn project(number: usize) -> String {
    uuid::Uuid::from_u128(1 + number as u128).to_string()
}

/// A Secret with these keys and texts.
pub fn secret(namespace: &str, name: &str, data: &[(&str, &str)]) -> Secret {
    let bytes = |(key, value): &(&str, &str)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()));
    Secret {
        data: Some(data.iter().map(bytes).collect()),
        ..object(json!({"metadata": {"name": name, "namespace": namespace}}))
    }
}

impl Fleet {
    /// The namespace of a credential.
    pub fn namespace(credential: usize) -> String {
        format!("team-{credential:02}")
    }

    /// Namespace and name of a connection.
    pub fn name(&self, number: usize) -> (String, String) {
        (Self::namespace(number % self.credentials), format!("connection-{number:05}"))
    }

    /// How many connections use a credential.
    pub fn sharers(&self, credential: usize) -> usize {
        (credential..self.connections).step_by(self.credentials).count()
    }

    /// The Secret of a credential; another version is another token, and Bitbucket knows both.
    pub fn secret(world: &World, credential: usize, version: usize) -> Secret {
        let (email, token) = (format!("bot-{credential}@example.com"), format!("ATATT3x-{credential}-{version}"));
        let scopes = required(&[UseCase::SecretScanning], &[]);
        world.bitbucket.add(Token::new(&email, &token).scopes(scopes.iter().map(|scope| scope.as_str())));
        let data = [("email", email.as_str()), ("token", &token), ("expiresAt", "2027-02-01")];
        secret(&Self::namespace(credential), "bitbucket-token", &data)
    }

    /// Puts a new token into the Secret of a credential.
    pub fn rotate(world: &World, credential: usize, version: usize) {
        let new = Self::secret(world, credential, version);
        let (namespace, name) = (Self::namespace(credential), "bitbucket-token");
        world.api.update::<Secret>(&namespace, name, |secret| secret.data = new.data);
    }

    fn connection(&self, number: usize) -> BitbucketConnection {
        let (namespace, name) = self.name(number);
        object(json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
            "kind": "BitbucketConnection",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "projectId": project(number / self.sharing_a_project),
                "secretRef": {"name": "bitbucket-token"},
                "scopes": {"useCases": ["SecretScanning"]},
                "interval": self.interval,
            },
        }))
    }

    /// Applies all of it at once, with a ClusterKmsInstance that grants everything.
    pub fn apply(&self, world: &World) {
        world.api.create_namespace("kms");
        world.api.create(&secret("kms", "kms", &[("clientId", "client"), ("clientSecret", "client-secret")]));
        world.kms.add_identity("client", "client-secret");
        world.api.create::<ClusterKmsInstance>(&object(json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
            "kind": "ClusterKmsInstance",
            "metadata": {"name": "default"},
            "spec": {
                "host": KMS,
                "namespace": "kms",
                "auth": {"universal": {"secretRef": {"name": "kms"}}},
                "grants": [{"namespaceSelector": {}, "projectIds": ["*"]}],
            },
        })));
        for credential in 0..self.credentials {
            world.api.create_namespace(&Self::namespace(credential));
            world.api.create(&Self::secret(world, credential, 0));
        }
        (0..=self.connections / self.sharing_a_project).for_each(|number| world.kms.add_project(&project(number)));
        (0..self.connections).for_each(|number| drop(world.api.create(&self.connection(number))));
    }

    /// How many are Ready.
    pub fn ready(world: &World) -> usize {
        world.api.list::<BitbucketConnection>().iter().filter(|object| is_ready(object)).count()
    }

    /// How many connections of a credential have such a fingerprint in the KMS.
    pub fn with_fingerprint(&self, world: &World, credential: usize, wanted: impl Fn(&str) -> bool) -> usize {
        let has = |number: &usize| {
            let (namespace, name) = self.name(*number);
            let object = world.api.get::<BitbucketConnection>(&namespace, &name);
            object.as_ref().and_then(fingerprint).is_some_and(&wanted)
        };
        (credential..self.connections).step_by(self.credentials).filter(has).count()
    }
}

/// Of the token that is in the KMS.
pub fn fingerprint(object: &BitbucketConnection) -> Option<&str> {
    object.status.as_ref()?.connection.as_ref()?.token_fingerprint.as_deref()
}

/// Whether the condition Ready is True.
pub fn is_ready(object: &BitbucketConnection) -> bool {
    let mut conditions = object.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
