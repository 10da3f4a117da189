//! Who is to be looked at: the way from one room's news to another's queue.

use std::{collections::HashMap, fmt, sync::Arc};

use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::cached::CachedConnection;
use crate::api::{ClusterKmsInstance, KmsInstance};

/// An object that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A BitbucketConnection. Several lists hold it, and share its names.
    Connection {
        /// Its namespace.
        namespace: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
    /// A KmsInstance, with its namespace, or a ClusterKmsInstance.
    Instance(InstanceKey),
}

/// An instance, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InstanceKey {
    /// A KmsInstance.
    Namespaced {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A ClusterKmsInstance.
    Cluster {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespaced { namespace, name } => write!(f, "KmsInstance {namespace}/{name}"),
            Self::Cluster { name } => write!(f, "ClusterKmsInstance {name}"),
        }
    }
}

/// The queues of all controllers. They are never full: they hold names, each once per change, and are drained as fast
/// as the scheduler can sort out repetitions.
#[derive(Default)]
pub struct Triggers {
    connections: HashMap<Option<String>, UnboundedSender<ObjectRef<CachedConnection>>>,
    instances: HashMap<Option<String>, UnboundedSender<ObjectRef<KmsInstance>>>,
    cluster_instances: Option<UnboundedSender<ObjectRef<ClusterKmsInstance>>>,
}

impl Triggers {
    /// Opens the queue of BitbucketConnections of a namespace, or of all.
    pub fn open_connections(&mut self, namespace: Option<String>) -> UnboundedReceiver<ObjectRef<CachedConnection>> {
        let (sender, receiver) = unbounded_channel();
        self.connections.insert(namespace, sender);
        receiver
    }

    /// Opens the queue of KmsInstances of a namespace, or of all.
    pub fn open_instances(&mut self, namespace: Option<String>) -> UnboundedReceiver<ObjectRef<KmsInstance>> {
        let (sender, receiver) = unbounded_channel();
        self.instances.insert(namespace, sender);
        receiver
    }

    /// Opens the queue of ClusterKmsInstances.
    pub fn open_cluster_instances(&mut self) -> UnboundedReceiver<ObjectRef<ClusterKmsInstance>> {
        let (sender, receiver) = unbounded_channel();
        self.cluster_instances = Some(sender);
        receiver
    }

    /// Has an object looked at. While the operator stops, nobody is.
    pub fn look(&self, target: &Target) {
        match target {
            Target::Connection { namespace, name } => {
                send(of_namespace(&self.connections, namespace), ObjectRef::new(name).within(namespace));
            }
            Target::Instance(InstanceKey::Namespaced { namespace, name }) => {
                send(of_namespace(&self.instances, namespace), ObjectRef::new(name).within(namespace));
            }
            Target::Instance(InstanceKey::Cluster { name }) => {
                send(self.cluster_instances.as_ref(), ObjectRef::new(name));
            }
        }
    }
}

fn of_namespace<'a, T>(queues: &'a HashMap<Option<String>, T>, namespace: &str) -> Option<&'a T> {
    queues.get(&None).or_else(|| queues.get(&Some(namespace.to_owned())))
}

fn send<T>(queue: Option<&UnboundedSender<T>>, item: T) {
    if let Some(queue) = queue {
        // A closed queue means that the operator stops.
        let _ = queue.send(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_be_looked_at_comes_into_the_queue_of_its_kind_and_namespace() {
        let mut triggers = Triggers::default();
        let mut connections = triggers.open_connections(Some("team-a".to_owned()));
        let (mut instances, mut cluster) = (triggers.open_instances(None), triggers.open_cluster_instances());
        let connection = |namespace: &str| Target::Connection { namespace: namespace.into(), name: "payments".into() };
        let key = |namespace: &str| InstanceKey::Namespaced { namespace: namespace.to_owned(), name: "own".to_owned() };
        let default = InstanceKey::Cluster { name: "default".to_owned() };
        let words = [key("team-a").to_string(), default.to_string()];
        assert_eq!(words, ["KmsInstance team-a/own", "ClusterKmsInstance default"]);
        for target in
            [connection("team-a"), connection("not-served"), Target::Instance(key("team-b")), Target::Instance(default)]
        {
            triggers.look(&target);
        }
        let wanted = connections.try_recv().expect("a connection");
        assert_eq!((wanted.name.as_str(), wanted.namespace.as_deref()), ("payments", Some("team-a")));
        assert!(connections.try_recv().is_err(), "nobody serves the other");
        let wanted = instances.try_recv().expect("an instance");
        assert_eq!((wanted.name.as_str(), wanted.namespace.as_deref()), ("own", Some("team-b")));
        assert_eq!(cluster.try_recv().expect("an instance of the cluster").name, "default");
        drop(connections);
        triggers.look(&connection("team-a"));
    }
}
