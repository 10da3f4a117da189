//! Instances of the KMS: which there are, whether they can be used, and the one session that all connections of an
//! instance share.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::runtime::reflector::{ObjectRef, Store};
use tokio::time::Instant;
use url::Url;

use super::{errors, sources::SourceKey, triggers::InstanceKey};
use crate::{
    api::{ClusterKmsInstance, Grant, InstanceStatus, KmsInstance, KmsInstanceSpec},
    domain::{
        credential::ContentKey,
        grants::{self, Denied},
        host,
        instance::InstanceJudgement,
        limit::Limit,
        login::Login,
        spec::{InstanceKind, InstanceRef},
        trust::CaSource,
    },
    http::{Client, Observe, ObserveWait},
    kms::{Kms, Limits, LoginError, Server},
};

/// What is known of the instances.
pub struct Instances {
    namespaced: HashMap<Option<String>, Store<KmsInstance>>,
    cluster: Option<Store<ClusterKmsInstance>>,
    looked: Mutex<HashMap<InstanceKey, Looked>>,
    /// The client for all instances that trust no CAs of their own.
    pub http: Client,
    /// Told of each request.
    pub observe: Observe,
    pace: Pace,
    /// Limits by host: instances share those of theirs.
    limits: Mutex<HashMap<String, Arc<Limits>>>,
}

/// How many requests a host may get.
pub struct Pace {
    /// Reads a minute.
    pub reads: Option<NonZeroU32>,
    /// Writes a minute.
    pub writes: Option<NonZeroU32>,
    /// Told of each request that had to wait.
    pub waited: ObserveWait,
}

/// Versions (uid and resourceVersion) of what an instance refers to; of what isn't there or isn't known, none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Of its Secret.
    pub secret: Option<String>,
    /// Of the ConfigMap or Secret with its CAs.
    pub ca: Option<String>,
}

/// What the last look at an instance found.
#[derive(Clone)]
pub struct Looked {
    /// Which object that was: one that was deleted and created again is another.
    pub uid: Option<String>,
    /// Its generation then.
    pub generation: Option<i64>,
    /// Whom it granted what.
    pub grants: Vec<Grant>,
    /// What it refers to, as far as it was known then: others are a reason to look again.
    pub known: Versions,
    /// What of that the judgement is about: nothing that wasn't read for it, whatever was known.
    pub judged: Versions,
    /// Host, CAs, organization and credentials that the client was made of.
    pub content: Option<ContentKey>,
    /// Whether it can be used.
    pub judgement: InstanceJudgement,
    /// The client, with its session. It outlives the Secret: connections can still be deleted through it.
    pub kms: Option<Arc<Kms>>,
    /// Attempts in a row that met an outage.
    pub attempts: u32,
    /// When to look again, unless something changes before; by a clock that nobody sets.
    pub look_again: Option<Instant>,
    /// What was asked for so far.
    pub asked: Asked,
    /// What of it this look answered; what is asked for during a look takes another.
    pub answered: Asked,
}

impl Looked {
    /// Notes the version of the Secret that was read, which the judgement is about.
    pub fn know_secret(&mut self, version: Option<String>) {
        self.judged.secret.clone_from(&version);
        self.known.secret = version;
    }
}

/// How often somebody wanted an instance looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Connections that could not log in.
    pub by_failures: u32,
    /// People: what was refused is tried again.
    pub by_requests: u32,
}

/// A KmsInstance or ClusterKmsInstance, whichever.
pub trait Instance: kube::Resource<DynamicType = ()> + Clone {
    /// Which.
    fn key(&self) -> InstanceKey;
    /// Its spec, as far as both kinds share it, and the namespace of what it refers to.
    fn access(&self) -> (KmsInstanceSpec, String);
    /// Whom it grants what, where it is for other namespaces.
    fn grants(&self) -> &[Grant];
    /// Its status.
    fn status(&self) -> Option<&InstanceStatus>;
    /// The API of its kind, in its namespace if it has one.
    fn api(&self, client: kube::Client) -> kube::Api<Self>;
    /// The Secret that its credentials come from.
    fn secret(&self) -> Option<SourceKey> {
        let (spec, namespace) = self.access();
        Some(SourceKey::secret(namespace, Login::of(&spec.auth)?.secret()?))
    }
    /// The ConfigMap or Secret that its CAs come from.
    fn ca(&self) -> Option<SourceKey> {
        let (spec, namespace) = self.access();
        let CaSource { kind, name, .. } = CaSource::of(spec.tls.as_ref()).ok()??;
        Some(SourceKey { kind, namespace, name })
    }
    /// All that it refers to.
    fn sources(&self) -> impl Iterator<Item = SourceKey> {
        self.secret().into_iter().chain(self.ca())
    }
}

impl Instance for KmsInstance {
    fn key(&self) -> InstanceKey {
        let metadata = &self.metadata;
        InstanceKey::Namespaced {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }

    fn access(&self) -> (KmsInstanceSpec, String) {
        (self.spec.clone(), self.metadata.namespace.clone().unwrap_or_default())
    }

    fn api(&self, client: kube::Client) -> kube::Api<Self> {
        kube::Api::namespaced(client, self.metadata.namespace.as_deref().unwrap_or_default())
    }

    fn grants(&self) -> &[Grant] {
        &[]
    }

    fn status(&self) -> Option<&InstanceStatus> {
        self.status.as_ref()
    }
}

impl Instance for ClusterKmsInstance {
    fn key(&self) -> InstanceKey {
        InstanceKey::Cluster { name: self.metadata.name.clone().unwrap_or_default() }
    }

    fn access(&self) -> (KmsInstanceSpec, String) {
        let spec = self.spec.clone();
        let shared = KmsInstanceSpec {
            host: spec.host,
            tls: spec.tls,
            auth: spec.auth,
            organization_slug: spec.organization_slug,
        };
        (shared, spec.namespace)
    }

    fn api(&self, client: kube::Client) -> kube::Api<Self> {
        kube::Api::all(client)
    }

    fn grants(&self) -> &[Grant] {
        &self.spec.grants
    }

    fn status(&self) -> Option<&InstanceStatus> {
        self.status.as_ref()
    }
}

/// An instance as a connection finds it.
pub enum Found {
    /// There is none of that name.
    Missing,
    /// It is there, and the operator hasn't looked at it yet; it will in a moment.
    Pending,
    /// ClusterKmsInstances don't serve here.
    NotServed,
    /// It can't be used.
    NotReady(InstanceJudgement),
    /// It can be used.
    Ready(Arc<Kms>),
}

impl Instances {
    /// With these stores, and nothing looked at.
    pub fn new(
        namespaced: HashMap<Option<String>, Store<KmsInstance>>,
        cluster: Option<Store<ClusterKmsInstance>>,
        http: Client,
        observe: Observe,
        pace: Pace,
    ) -> Self {
        Self { namespaced, cluster, looked: Mutex::default(), http, observe, pace, limits: Mutex::default() }
    }

    /// The way to the server at an address that was found good before.
    pub fn server(&self, url: Url) -> Server {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.retain(|_, limits| Arc::strong_count(limits) > 1);
        let Pace { reads, writes, waited } = &self.pace;
        let new = || Arc::new(Limits::new(*reads, *writes, Arc::clone(waited)));
        let limits = Arc::clone(limits.entry(host::display(&url)).or_insert_with(new));
        Server { url, http: self.http.clone(), limits, observe: Arc::clone(&self.observe) }
    }

    /// The instance that an object of a namespace refers to.
    pub fn key(reference: &InstanceRef, namespace: &str) -> InstanceKey {
        let name = reference.name.clone();
        match reference.kind {
            InstanceKind::Namespaced => InstanceKey::Namespaced { namespace: namespace.to_owned(), name },
            InstanceKind::Cluster => InstanceKey::Cluster { name },
        }
    }

    /// Finds an instance.
    pub fn find(&self, key: &InstanceKey) -> Found {
        let there = match key {
            InstanceKey::Namespaced { namespace, name } => {
                let store = self.namespaced.get(&None).or_else(|| self.namespaced.get(&Some(namespace.clone())));
                store.is_some_and(|store| store.get(&ObjectRef::new(name).within(namespace)).is_some())
            }
            InstanceKey::Cluster { name } => match &self.cluster {
                None => return Found::NotServed,
                Some(store) => store.get(&ObjectRef::new(name)).is_some(),
            },
        };
        match self.looked(key) {
            _ if !there => Found::Missing,
            None => Found::Pending,
            Some(Looked { judgement, kms: Some(kms), .. }) if judgement.reason.class().is_none() => {
                Found::Ready(Arc::clone(&kms))
            }
            Some(looked) => Found::NotReady(looked.judgement),
        }
    }

    /// The limit for reads at the host of an instance, and all instances at that host.
    pub fn reads(&self, key: &InstanceKey) -> Option<(Limit, Vec<InstanceKey>)> {
        let looked = self.lock();
        let of = |looked: &Looked| looked.kms.clone();
        let kms = looked.get(key).and_then(of)?;
        let there = |other: &Looked| other.kms.as_ref().is_some_and(|other| other.host() == kms.host());
        let sharing = looked.iter().filter(|(_, looked)| there(looked)).map(|(key, _)| key.clone()).collect();
        Some((kms.limits().reads.limit(), sharing))
    }

    /// The client of an instance by which its connections can be deleted, even if the instance or its Secret is gone.
    pub fn last_client(&self, key: &InstanceKey) -> Option<Arc<Kms>> {
        self.looked(key).and_then(|looked| looked.kms)
    }

    /// What a ClusterKmsInstance grants a namespace of these labels.
    pub fn granted(
        &self,
        key: &InstanceKey,
        labels: &std::collections::BTreeMap<String, String>,
        scope: &crate::domain::connection::KmsScope,
    ) -> Result<(), Denied> {
        let InstanceKey::Cluster { name } = key else { return Ok(()) };
        self.grants(key, name, |grants| grants::check(grants, labels, scope))
    }

    /// Whether an instance lets a namespace of these labels take over connections. In its own namespace it does.
    pub fn grants_adoption(
        &self,
        key: &InstanceKey,
        labels: &std::collections::BTreeMap<String, String>,
        scope: &crate::domain::connection::KmsScope,
    ) -> bool {
        let InstanceKey::Cluster { name } = key else { return true };
        self.grants(key, name, |grants| grants::adoption(grants, labels, scope))
    }

    /// The grants of a ClusterKmsInstance by the newest that is known of it: the cache may be behind the last look.
    fn grants<T>(&self, key: &InstanceKey, name: &str, judge: impl FnOnce(&[Grant]) -> T) -> T {
        let cached = self.cluster.as_ref().and_then(|store| store.get(&ObjectRef::new(name)));
        let Some(cached) = cached else { return judge(&[]) };
        let all = self.lock();
        let is_newer =
            |looked: &&Looked| looked.uid == cached.metadata.uid && looked.generation > cached.metadata.generation;
        judge(all.get(key).filter(is_newer).map_or(&cached.spec.grants, |looked| &looked.grants))
    }

    /// What the last look found.
    pub fn looked(&self, key: &InstanceKey) -> Option<Looked> {
        self.lock().get(key).cloned()
    }

    /// Notes what a look found.
    pub fn note(&self, key: InstanceKey, mut looked: Looked) {
        let mut all = self.lock();
        if let Some(known) = all.get(&key) {
            looked.asked = known.asked;
        }
        all.insert(key, looked);
    }

    /// A person wants an instance looked at; of one that nobody looked at yet that is so anyway.
    pub fn want(&self, key: &InstanceKey) {
        if let Some(looked) = self.lock().get_mut(key) {
            looked.asked.by_requests = looked.asked.by_requests.wrapping_add(1);
        }
    }

    /// Notes that a connection could not log in; returns whether the instance must be looked at, because that is news.
    pub fn failed(&self, key: &InstanceKey, error: &LoginError) -> bool {
        let judgement = errors::login(error);
        self.lock().get_mut(key).is_some_and(|looked| {
            let news = looked.asked == looked.answered && looked.judgement.reason != judgement.reason;
            looked.asked.by_failures = looked.asked.by_failures.wrapping_add(u32::from(news));
            news
        })
    }

    /// Forgets an instance that is gone and that no connection needs any more.
    pub fn forget(&self, key: &InstanceKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceKey, Looked>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
