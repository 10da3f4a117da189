//! What the API server tells: caches of our own kinds, versions of Secrets and ConfigMaps, labels of namespaces, and who
//! is to be looked at because of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::store::Writer,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    cached::CachedConnection,
    context::Context,
    errors,
    instances::{Instance, Instances},
    observe,
    pruned::Pruned,
    sources::SourceKey,
    triggers::{InstanceKey, Target},
};
use crate::{
    api::{BitbucketConnection, RECONCILE_REQUESTED_AT},
    domain::{spec, texts::Texts, trust::SourceKind},
};

/// What is watched: a namespace, or all of them.
pub type Scope = Option<String>;

/// How many connections a first list brings at a time: a page is in memory as it came, as 1.2 MiB of text, and that is what
/// a restart peaks by. Of Secrets come metadata alone.
const PAGE: u32 = 250;

/// The API of a kind in a scope.
fn api<K>(client: &Client, scope: &Scope) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Watches a kind for ever; errors are waited out and logged. What nobody here reads isn't kept.
fn watch<K>(api: Api<K>) -> impl Stream<Item = Event<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    quietly(watcher(api, watcher::Config::default())).map(|event| {
        event.modify(|object| {
            object.managed_fields_mut().clear();
            object.annotations_mut().retain(|name, _| name == RECONCILE_REQUESTED_AT);
        })
    })
}

fn quietly<K>(stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send) -> impl Stream<Item = Event<K>> {
    stream
        .default_backoff()
        .inspect_err(|error| match next_step(error) {
            Some(next) => tracing::warn!(%error, next, "a watch broke off; it is taken up again"),
            None => tracing::warn!(%error, "a watch broke off; it is taken up again"),
        })
        .filter_map(|event| async { event.ok() })
}

/// What to do if a watch breaks off again and again; nothing where the API server ended it because it went on for long.
fn next_step(error: &watcher::Error) -> Option<&'static str> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Some(errors::next_step(error)),
        watcher::Error::WatchError(status) if status.code == 410 => None,
        watcher::Error::WatchError(status) => Some(errors::next_step_after(status)),
        watcher::Error::NoResourceVersion => None,
    }
}

/// Keeps the cache of BitbucketConnections, what they refer to, and has those looked at that changed. Our own writes
/// change neither generation nor annotation, so they trigger nothing.
pub async fn connections(client: Client, scope: Scope, mut store: Writer<CachedConnection>, context: Arc<Context>) {
    let reader = store.as_reader();
    let api: Api<Pruned<BitbucketConnection>> = api(&client, &scope);
    let mut events = Box::pin(quietly(watcher(api, watcher::Config::default().page_size(PAGE))));
    let (mut relisted, mut gone, texts) = (Vec::new(), HashMap::new(), Texts::default());
    while let Some(event) = events.next().await {
        let mut news = Vec::new();
        let event = match event {
            Event::Init => {
                relisted.clear();
                let known = reader.state();
                gone = known.iter().map(|known| (target_of(&**known), known.uid().unwrap_or_default())).collect();
                Event::Init
            }
            Event::InitApply(Pruned(object)) => {
                refer(&object, &context);
                let target = target_of(&object);
                let before = gone.remove(&target);
                if let Some(uid) = before.filter(|uid| object.uid().as_ref() != Some(uid)) {
                    context.memory.forget(&uid);
                    context.memory.goes(target.clone(), Instant::now());
                }
                relisted.push(target);
                Event::InitApply(CachedConnection::pack(object, &texts))
            }
            Event::Apply(Pruned(object)) => {
                refer(&object, &context);
                let object = CachedConnection::pack(object, &texts);
                let known = reader.get(&kube::runtime::reflector::ObjectRef::from_obj(&object));
                if known.is_none_or(|known| known.is_asked_for_more_by(&object)) {
                    news.push(target_of(&object));
                }
                Event::Apply(object)
            }
            Event::Delete(Pruned(object)) => {
                forget(&target_of(&object), &object.uid().unwrap_or_default(), &context);
                Event::Delete(CachedConnection::pack(object, &texts))
            }
            Event::InitDone => {
                // What went while nobody watched is told by nobody.
                gone.drain().for_each(|(target, uid)| forget(&target, &uid, &context));
                news.append(&mut relisted);
                Event::InitDone
            }
        };
        store.apply_watcher_event(&event);
        news.iter().for_each(|target| context.triggers.look(target));
    }
}

/// Forgets an object that is gone, and what it referred to.
fn forget(target: &Target, uid: &str, context: &Context) {
    context.sources.refer(target, None);
    recount(context.users.uses(target, None), context);
    context.memory.forget(uid);
    context.memory.goes(target.clone(), Instant::now());
}

/// Notes what an object refers to.
fn refer(object: &BitbucketConnection, context: &Context) {
    let (target, namespace) = (target_of(object), object.namespace().unwrap_or_default());
    context.sources.refer(&target, Some(SourceKey::secret(&namespace, &object.spec.secret_ref.name)));
    let instance = spec::instance_ref(&object.spec).ok().map(|instance| Instances::key(&instance, &namespace));
    let use_of = instance.map(|instance| (instance, spec::scope(&object.spec).ok()));
    recount(context.users.uses(&target, use_of), context);
}

fn recount(changed: Vec<InstanceKey>, context: &Context) {
    changed.into_iter().for_each(|instance| context.recount(instance));
}

/// A connection, as something to look at.
pub fn target_of(object: &impl ResourceExt) -> Target {
    Target::Connection { namespace: object.namespace().unwrap_or_default().into(), name: object.name_any().into() }
}

/// Keeps the cache of a kind of instances, and has those looked at that changed, with the connections that use them.
pub async fn instances<K>(api: Api<K>, mut store: Writer<K>, context: Arc<Context>)
where
    K: Instance + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let reader = store.as_reader();
    let mut events = Box::pin(watch(api));
    let (mut relisted, mut gone) = (Vec::new(), HashSet::new());
    while let Some(event) = events.next().await {
        let mut news = Vec::new();
        match &event {
            Event::Init => {
                relisted.clear();
                gone = reader.state().iter().map(|known| known.key()).collect();
            }
            Event::InitApply(object) => {
                gone.remove(&object.key());
                context.sources.refer(&Target::Instance(object.key()), object.sources());
                relisted.push(Target::Instance(object.key()));
            }
            Event::Apply(object) => {
                context.sources.refer(&Target::Instance(object.key()), object.sources());
                let known = reader.get(&kube::runtime::reflector::ObjectRef::from_obj(object));
                if known.is_none_or(|known| {
                    known.meta().generation != object.meta().generation || known.uid() != object.uid()
                }) {
                    news.push(Target::Instance(object.key()));
                }
            }
            Event::Delete(object) => news.extend(without(&object.key(), &context)),
            Event::InitDone => {
                gone.drain().for_each(|key| news.extend(without(&key, &context)));
                news.append(&mut relisted);
            }
        }
        store.apply_watcher_event(&event);
        news.iter().for_each(|target| context.triggers.look(target));
    }
}

/// An instance is gone: who used it is to be looked at, and without anybody nothing of it is kept.
fn without(key: &InstanceKey, context: &Context) -> Vec<Target> {
    context.sources.refer(&Target::Instance(key.clone()), None);
    let users = context.users.of(key);
    if users.is_empty() {
        context.instances.forget(key);
    }
    users
}

/// A kind of which versions alone are followed.
pub trait Source:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + std::fmt::Debug + Send + 'static
{
    /// Which.
    const KIND: SourceKind;
}

impl Source for Secret {
    const KIND: SourceKind = SourceKind::Secret;
}

impl Source for ConfigMap {
    const KIND: SourceKind = SourceKind::ConfigMap;
}

/// Follows the versions of what something refers to; of what it holds nothing is read here.
pub async fn sources<K: Source>(client: Client, scope: Scope, context: Arc<Context>, synced: Arc<tokio::sync::Notify>) {
    // Of this type the API server sends metadata alone.
    let api: Api<Pruned<PartialObjectMeta<K>>> = api(&client, &scope);
    let mut events = Box::pin(quietly(watcher(api, watcher::Config::default())));
    let mut gone: HashSet<SourceKey> = HashSet::new();
    let mut listed_before = false;
    while let Some(event) = events.next().await {
        // What was there before the operator didn't change while it watched.
        let at = listed_before.then(Instant::now);
        let (key, version) = match &event {
            Event::Init => {
                // What is wanted before the list is, and isn't in it, isn't there.
                gone = context.sources.known(K::KIND, scope.as_deref());
                gone.extend(context.sources.unheard(K::KIND, scope.as_deref()));
                continue;
            }
            Event::InitApply(Pruned(source)) | Event::Apply(Pruned(source)) => {
                (key_of(source), Some(observe::version_of(source)))
            }
            Event::Delete(Pruned(source)) => (key_of(source), None),
            Event::InitDone => {
                for key in gone.drain() {
                    look(&context, &key, None, at);
                }
                listed_before = true;
                synced.notify_one();
                continue;
            }
        };
        gone.remove(&key);
        look(&context, &key, version, at);
    }
}

fn look(context: &Context, key: &SourceKey, version: Option<String>, at: Option<Instant>) {
    context.sources.watched(key, version, at).iter().for_each(|target| context.triggers.look(target));
}

fn key_of<K: Source>(source: &PartialObjectMeta<K>) -> SourceKey {
    SourceKey { kind: K::KIND, namespace: source.namespace().unwrap_or_default(), name: source.name_any() }
}

/// Keeps the labels of namespaces, and has connections looked at whose grants may have changed by them.
pub async fn namespaces(client: Client, mut store: Writer<PartialObjectMeta<Namespace>>, context: Arc<Context>) {
    let reader = store.as_reader();
    let mut events = Box::pin(
        quietly(watcher(Api::<PartialObjectMeta<Namespace>>::all(client), watcher::Config::default())).map(|event| {
            event.modify(|namespace| {
                namespace.managed_fields_mut().clear();
                namespace.annotations_mut().clear();
            })
        }),
    );
    let changed = |namespace: &PartialObjectMeta<Namespace>| {
        let known = reader.get(&kube::runtime::reflector::ObjectRef::from_obj(namespace));
        known.is_none_or(|known| known.metadata.labels != namespace.metadata.labels)
    };
    let mut relisted = Vec::new();
    while let Some(event) = events.next().await {
        let mut news = Vec::new();
        match &event {
            Event::Init => relisted.clear(),
            Event::InitApply(namespace) if changed(namespace) => relisted.push(namespace.name_any()),
            Event::Apply(namespace) if changed(namespace) => news.push(namespace.name_any()),
            Event::InitDone => news.append(&mut relisted),
            Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
        }
        store.apply_watcher_event(&event);
        let users = news.iter().flat_map(|namespace| context.users.in_namespace(namespace));
        users.for_each(|target| context.triggers.look(&target));
    }
}
