//! The queues: who is to be looked at, and where to find it.

use std::task::{self, Poll};

use futures::future;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    cached::CachedConnection,
    context::Context,
    instances::Instance,
    triggers::{InstanceKey, Target},
    watches,
};
use crate::api::{ClusterKmsInstance, KmsInstance};

/// Who is to be looked at, and where to find it.
pub struct Queues {
    /// BitbucketConnections, by scope.
    pub connections: Vec<(Store<CachedConnection>, UnboundedReceiver<ObjectRef<CachedConnection>>)>,
    /// KmsInstances, by scope.
    pub instances: Vec<(Store<KmsInstance>, UnboundedReceiver<ObjectRef<KmsInstance>>)>,
    /// ClusterKmsInstances, where all namespaces are served.
    pub cluster: Option<(Store<ClusterKmsInstance>, UnboundedReceiver<ObjectRef<ClusterKmsInstance>>)>,
    /// Instances whose connections are to be counted.
    pub recounts: UnboundedReceiver<InstanceKey>,
}

impl Queues {
    /// Forgets whatever comes, for ever: who doesn't lead looks at nothing, and the queues must not grow meanwhile.
    pub async fn forget(&mut self) {
        let nothing: future::PollFn<_> = future::poll_fn(|task| {
            self.connections.iter_mut().for_each(|(_, queue)| forget(queue, task));
            self.instances.iter_mut().for_each(|(_, queue)| forget(queue, task));
            self.cluster.iter_mut().for_each(|(_, queue)| forget(queue, task));
            forget(&mut self.recounts, task);
            Poll::<()>::Pending
        });
        nothing.await;
    }

    /// Has everything looked at that there is.
    pub fn look_at_all(&self, context: &Context) {
        let instances = self.instances.iter().flat_map(|(store, _)| store.state());
        instances.for_each(|instance| context.triggers.look(&Target::Instance(instance.key())));
        let cluster = self.cluster.iter().flat_map(|(store, _)| store.state());
        cluster.for_each(|instance| context.triggers.look(&Target::Instance(instance.key())));
        let connections = self.connections.iter().flat_map(|(store, _)| store.state());
        connections.for_each(|connection| context.triggers.look(&watches::target_of(&*connection)));
    }
}

/// Empties a queue, and asks to be told when there is more.
fn forget<T>(queue: &mut UnboundedReceiver<T>, task: &mut task::Context<'_>) {
    while let Poll::Ready(Some(_)) = queue.poll_recv(task) {}
}
