//! What the cluster says: the spec, the Secret, the instance. Nobody outside the cluster is asked here.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::{
    context::Context,
    errors::{self, Error},
    instances::{Found, Instances},
    memory::{KnownSecret, ObjectMemory},
    sources::SourceKey,
    triggers::{InstanceKey, Target},
};
use crate::{
    api::{BitbucketConnection, BitbucketConnectionStatus, EXPIRES_AT},
    domain::{
        access,
        conditions::{self, Class, Judgement, Reason, types},
        credential::{ContentKey, Credentials},
        duration::Span,
        expiry::Declared,
        limit::Priority,
        ownership::{Owner, OwnerId},
        schedule::{self, Due, Situation},
        spec::{self, ConnectionSpec, InstanceKind, InstanceRef, Management, SpecProblem},
        versions,
    },
    kms::Kms,
    telemetry::traces::STEPS,
};

/// What the cluster says about an object.
pub struct Observed {
    /// The object.
    pub object: Arc<BitbucketConnection>,
    /// The same as it is stored: its status may know the token by an earlier owner id, that of `object` knows it by the
    /// present one.
    pub stored: Arc<BitbucketConnection>,
    /// Its uid.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it was looked at.
    pub now: Timestamp,
    /// Whose its connection is.
    pub owner: Owner,
    /// Its spec, validated.
    pub spec: Result<ConnectionSpec, SpecProblem>,
    /// The way to the KMS, or why there is none.
    pub access: Result<Access, Judgement>,
    /// Its Secret, where something is due.
    pub secret: Option<SecretValues>,
    /// What is remembered of it.
    pub memory: ObjectMemory,
    /// What is to be done.
    pub task: Task,
    /// How often it is verified: as the spec says, or less often where the limits of a server force it.
    pub interval: Span,
}

/// What is to be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Nothing is due; only time may have changed something.
    Nothing,
    /// Its instance is about to be looked at, and triggers it.
    Wait,
    /// Nobody may be asked; only time goes on.
    Suspended,
    /// All is to be verified.
    Verify(Due),
    /// It is being deleted, and something may be left in the KMS.
    Delete,
}

/// The way to the KMS.
#[derive(Clone)]
pub struct Access {
    /// Its client.
    pub kms: Arc<Kms>,
    /// The instance that it is of.
    pub key: InstanceKey,
    /// The same, as the spec names it.
    pub instance: InstanceRef,
    /// Its address.
    pub host: String,
    /// Whether the instance lets connections be taken over.
    pub adoption: bool,
}

/// The values of a Secret, read when they are needed.
pub struct SecretValues {
    /// uid and resourceVersion; of an earlier version if the values have been the same since.
    pub stands_for: Arc<str>,
    /// The e-mail.
    pub email: Option<String>,
    /// The token.
    pub token: Option<SecretString>,
    /// The key with the expiry.
    pub expires_at: Option<String>,
    /// The annotation with the expiry.
    pub annotation: Option<String>,
    /// When its credentials were seen to change; nothing if they are those of the status.
    pub changed: Option<Instant>,
}

/// Looks at an object.
#[tracing::instrument(target = STEPS, skip_all)]
pub async fn observe(object: Arc<BitbucketConnection>, context: &Context) -> Result<Observed, Error> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let uid = object.uid().unwrap_or_default();
    let spec = spec::validate(&name, &object.spec);
    let mut observed = Observed {
        memory: context.memory.of(&uid),
        now: context.now(),
        owner: Owner::of(&context.owner_id, &namespace, &name).with_previous(
            &context.previous_owner_ids,
            &namespace,
            &name,
        ),
        access: Err(Judgement::not_evaluated("the object was not looked at yet")),
        secret: None,
        task: Task::Nothing,
        interval: interval(&spec, &namespace, context),
        stored: Arc::clone(&object),
        object,
        uid,
        namespace,
        name,
        spec,
    };
    if observed.object.metadata.deletion_timestamp.is_some() {
        if has_finalizer(&observed.object) && observed.management() != Management::Full {
            observed.access = Err(Judgement::not_evaluated("the managementPolicy allows no call"));
            observed.task = Task::Delete;
        } else if has_finalizer(&observed.object) {
            observed.task = match access_for_deletion(&observed, context) {
                Some(way) => {
                    observed.access = way;
                    Task::Delete
                }
                None => Task::Wait,
            };
        }
        return Ok(observed);
    }
    if observed.management() == Management::Suspended {
        observed.task = Task::Suspended;
        return Ok(observed);
    }
    match access_for(&observed, context) {
        Some(way) => observed.access = way,
        None => {
            observed.task = Task::Wait;
            return Ok(observed);
        }
    }
    let Some(due) = schedule::due(&situation(&observed, context)) else { return Ok(observed) };
    observed.task = Task::Verify(due);
    if due == Due::Requested {
        look_at_instance(&observed, context);
    }
    read_secret(&mut observed, due, context).await?;
    rekey(&mut observed, context);
    Ok(observed)
}

impl Observed {
    /// The status before this pass.
    pub fn before(&self) -> BitbucketConnectionStatus {
        self.object.status.clone().unwrap_or_default()
    }

    /// Whether this is the object that was observed, as far as a pass depends on it: what others write to its metadata
    /// meanwhile is no reason to begin anew, and its status is written by nobody but another replica of the operator. A
    /// deletion moves the generation, too.
    pub fn is_still(&self, found: &BitbucketConnection) -> bool {
        let (then, now) = (&self.stored.metadata, &found.metadata);
        then.uid == now.uid && then.generation == now.generation && self.stored.status == found.status
    }

    /// How far to go; what can't be read is told as a problem of the spec, and forbids nothing.
    pub fn management(&self) -> Management {
        spec::management(&self.object.spec).unwrap_or(Management::Full)
    }

    /// The key of its Secret.
    pub fn secret_key(&self) -> Option<SourceKey> {
        self.spec.as_ref().ok().map(|spec| SourceKey::secret(&self.namespace, &spec.secret.name))
    }

    /// What people declared about the end of the token.
    pub fn declared(&self) -> Declared<'_> {
        let secret = self.secret.as_ref();
        Declared {
            secret: secret.and_then(|secret| secret.expires_at.as_deref()),
            annotation: secret.and_then(|secret| secret.annotation.as_deref()),
            spec: self.spec.as_ref().ok().and_then(|spec| spec.not_after.as_deref()),
        }
    }

    /// Whether somebody asks for a look by annotation, and nobody has answered yet.
    pub fn requested(&self) -> bool {
        let handled = self.object.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref());
        self.object.reconcile_requested_at().is_some_and(|requested| handled != Some(requested))
    }

    /// When the next attempt in an outage is allowed.
    pub fn retry_at(&self) -> Option<Timestamp> {
        let wait = self.memory.retry_at?.saturating_duration_since(Instant::now());
        Some(self.now.checked_add(wait).unwrap_or(self.now))
    }

    /// Who goes first where a server's limit makes objects wait: deletions, rotations, and what a person asked for.
    pub fn priority(&self) -> Priority {
        match self.task {
            Task::Delete if self.requested() => Priority::AtOnce,
            Task::Verify(Due::SpecChanged | Due::Requested | Due::SecretChanged) => Priority::AtOnce,
            Task::Delete => Priority::First,
            Task::Verify(Due::Retry) if self.memory.urgent => Priority::First,
            Task::Verify(Due::FirstPass | Due::AccessChanged | Due::Retry | Due::Interval)
            | Task::Nothing
            | Task::Wait
            | Task::Suspended => Priority::InTurn,
        }
    }

    /// Whether the Secret, where it was read, holds other values than those that the status tells of.
    pub fn secret_changed(&self) -> bool {
        let token = self.object.status.as_ref().and_then(|status| status.token.as_ref());
        let recorded = token.and_then(|token| token.secret_version.as_deref());
        self.secret.as_ref().is_some_and(|secret| recorded != Some(&*secret.stands_for))
    }

    /// What others call it.
    pub fn target(&self) -> Target {
        Target::Connection { namespace: self.namespace.as_str().into(), name: self.name.as_str().into() }
    }
}

fn interval(spec: &Result<ConnectionSpec, SpecProblem>, namespace: &str, context: &Context) -> Span {
    spec.as_ref().map_or(spec::DEFAULT_INTERVAL, |spec| {
        context.effective_interval(spec.interval, &Instances::key(&spec.kms_ref, namespace))
    })
}

/// Whether something may be left of an object in the KMS.
pub fn has_finalizer(object: &BitbucketConnection) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == crate::api::CONNECTION_FINALIZER)
}

/// The way to the KMS; nothing while the instance is about to be looked at.
fn access_for(observed: &Observed, context: &Context) -> Option<Result<Access, Judgement>> {
    let spec = match &observed.spec {
        Ok(spec) => spec,
        Err(problem) => return Some(Err(problem.judgement())),
    };
    let instance = &spec.kms_ref;
    let key = Instances::key(instance, &observed.namespace);
    let found = context.instances.find(&key);
    match &found {
        Found::Missing => return Some(Err(access::no_instance(instance))),
        Found::NotServed => return Some(Err(access::not_served(instance))),
        Found::Pending | Found::NotReady(_) | Found::Ready(_) => {}
    }
    // A namespace that its watch hasn't told of yet is no namespace without labels: once it has, who is in it is looked at.
    let labels = match instance.kind {
        InstanceKind::Cluster => context.namespaces.labels(&observed.namespace)?,
        InstanceKind::Namespaced => BTreeMap::new(),
    };
    if let Err(denied) = context.instances.granted(&key, &labels, &spec.scope) {
        return Some(Err(access::denied(denied, instance, &observed.namespace, &spec.scope)));
    }
    match found {
        Found::Ready(kms) => Some(Ok(Access {
            host: host_of(&kms),
            adoption: context.instances.grants_adoption(&key, &labels, &spec.scope),
            kms,
            key,
            instance: instance.clone(),
        })),
        Found::NotReady(judgement) => Some(Err(errors::not_ready(instance, &judgement))),
        Found::Pending | Found::Missing | Found::NotServed => None,
    }
}

/// The way to the KMS for a deletion: it needs no valid spec and no grant, only the client of the instance that the spec
/// names, or the status where that part of the spec can't be read. Nothing while the instance is about to be looked at.
fn access_for_deletion(observed: &Observed, context: &Context) -> Option<Result<Access, Judgement>> {
    let recorded = observed.object.status.as_ref().and_then(|status| status.connection.as_ref());
    let recorded = recorded.and_then(|connection| InstanceRef::parse(&connection.kms_ref));
    let instance = match (spec::instance_ref(&observed.object.spec), recorded) {
        (Ok(instance), _) | (Err(_), Some(instance)) => instance,
        (Err(problem), None) => return Some(Err(problem.judgement())),
    };
    let key = Instances::key(&instance, &observed.namespace);
    let why = match context.instances.find(&key) {
        Found::Ready(kms) => return Some(Ok(Access { host: host_of(&kms), kms, key, instance, adoption: false })),
        Found::NotReady(judgement) => errors::not_ready(&instance, &judgement),
        Found::Pending => return None,
        Found::Missing => access::instance_gone(&instance),
        Found::NotServed => access::no_longer_served(&instance),
    };
    Some(match context.instances.last_client(&key) {
        Some(kms) => Ok(Access { host: host_of(&kms), kms, key, instance, adoption: false }),
        None => Err(why),
    })
}

fn host_of(kms: &Kms) -> String {
    kms.host().trim_end_matches('/').to_owned()
}

fn look_at_instance(observed: &Observed, context: &Context) {
    if let (Err(_), Ok(spec)) = (&observed.access, &observed.spec) {
        let key = Instances::key(&spec.kms_ref, &observed.namespace);
        context.instances.want(&key);
        context.triggers.look(&Target::Instance(key));
    }
}

fn situation(observed: &Observed, context: &Context) -> Situation {
    let before = observed.object.status.as_ref();
    Situation {
        generation: observed.object.metadata.generation,
        observed_generation: before.and_then(|status| status.observed_generation),
        requested: observed.requested(),
        secret_changed: secret_changed(observed, context),
        access_changed: access_changed(observed),
        last_verified: before.and_then(|status| status.last_verified_time.as_ref()).map(|time| time.0),
        next_verification: before
            .and_then(|status| status.next_verification_time.as_ref())
            .map(|time| schedule::due_at(time.0, context.started_by(observed.now), observed.interval, &observed.uid)),
        retry_at: observed.retry_at(),
        now: observed.now,
    }
}

/// Whether the Secret is another than the one that the status tells of. A version that is known to hold the same
/// values, such as one with new labels, is not another.
fn secret_changed(observed: &Observed, context: &Context) -> bool {
    let Some(key) = observed.secret_key() else { return false };
    let token = observed.object.status.as_ref().and_then(|status| status.token.as_ref());
    let recorded = token.and_then(|token| token.secret_version.as_deref());
    let known = context.sources.get(&key);
    match (recorded, &known) {
        (None, None) => context.sources.is_unheard(&key),
        (Some(recorded), Some(seen)) => {
            let same = |known: &KnownSecret| *known.stands_for == *recorded && known.seen == seen.version;
            *recorded != *seen.version && !observed.memory.secret.as_ref().is_some_and(same)
        }
        (Some(_), None) | (None, Some(_)) => true,
    }
}

/// Whether access to the KMS is another than the status tells of.
fn access_changed(observed: &Observed) -> bool {
    let Some(status) = &observed.object.status else { return false };
    let synced = conditions::recorded(&status.conditions, types::SYNCED);
    match (&observed.access, &synced) {
        (Err(now), synced) => synced.as_ref() != Some(now),
        (Ok(access), Some(synced)) => {
            let recorded = status.connection.as_ref().map(|connection| &connection.host);
            let elsewhere = recorded.is_some_and(|host| *host != access.host);
            // Of a connection at another host KmsChanged tells already; of one that is here again it must not.
            let moved = elsewhere != (synced.reason == Reason::KmsChanged);
            // What a person must mend may be mended by another host or identity.
            let another = observed.memory.kms.as_ref().is_some_and(|kms| kms.as_ptr() != Arc::as_ptr(&access.kms));
            moved
                || (another && synced.reason.class() == Some(Class::Stalled))
                || observed.memory.denied
                || says_denied(synced.reason)
                || (access.adoption && synced.reason == Reason::AdoptionNotAllowed)
        }
        (Ok(_), None) => false,
    }
}

/// Reasons that tell of no way to the KMS. An outage isn't among them: whether it was one of the instance, only this
/// process knows, and after a restart an outage is tried again anyway.
fn says_denied(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::KmsRefNotFound
            | Reason::KmsRefNotAllowed
            | Reason::ProjectNotAllowed
            | Reason::KmsInstanceNotReady
            | Reason::SpecInvalid
            | Reason::InvalidName
    )
}

/// Reads the Secret. If it turns out that nothing of it changed but its labels, nothing is due.
async fn read_secret(observed: &mut Observed, due: Due, context: &Context) -> Result<(), Error> {
    let (Ok(spec), Some(key)) = (&observed.spec, observed.secret_key()) else { return Ok(()) };
    let asked = context.sources.ask();
    let secret =
        Api::<Secret>::namespaced(context.client.clone(), &observed.namespace).get_opt(&spec.secret.name).await?;
    let version = secret.as_ref().map(version_of);
    let seen = context.sources.get(&key);
    let token = observed.object.status.as_ref().and_then(|status| status.token.as_ref());
    let recorded = token.and_then(|token| token.secret_version.as_deref());
    // A token that was replaced must not come back.
    let known = [recorded, seen.as_ref().map(|seen| &*seen.version)];
    let is_before = |known: &str| version.as_deref().is_some_and(|version| versions::is_before(version, known));
    if known.into_iter().flatten().any(is_before) {
        return Err(Error::Outdated);
    }
    let changed = seen.and_then(|seen| seen.changed);
    context.sources.refer(&observed.target(), Some(key.clone()));
    let others = context.sources.read(&observed.target(), &key, version.as_deref(), asked);
    others.iter().for_each(|other| context.triggers.look(other));
    let (Some(secret), Some(version)) = (secret, version) else { return Ok(()) };
    let noted = context.sources.get(&key).map(|seen| seen.version).filter(|noted| **noted == *version);
    let version = noted.unwrap_or_else(|| version.into());
    let value = |key: &str| value_of(&secret, key);
    let mut values = SecretValues {
        stands_for: version.clone(),
        email: value(&spec.secret.email),
        token: value(&spec.secret.token).map(SecretString::from),
        expires_at: value(&spec.secret.expires_at),
        annotation: secret.annotations().get(EXPIRES_AT).cloned(),
        changed,
    };
    let (content, credentials) = (content(&values, context), credentials(&values, context));
    let known = observed.memory.secret.as_ref().filter(|known| recorded == Some(&*known.stands_for));
    if known.is_some_and(|known| known.credentials == credentials) {
        values.changed = None;
    }
    if let Some(known) = known.filter(|known| known.content == content) {
        values.stands_for.clone_from(&known.stands_for);
        if due == Due::SecretChanged {
            observed.task = Task::Nothing;
        }
    }
    let known = KnownSecret { stands_for: values.stands_for.clone(), seen: version, content, credentials };
    context.memory.update(&observed.uid, |memory| memory.secret = Some(known));
    observed.secret = Some(values);
    Ok(())
}

/// Fingerprints are keyed with the owner id: after a change of it the same token must not look like another.
fn rekey(observed: &mut Observed, context: &Context) {
    let Some(SecretValues { email: Some(email), token: Some(token), .. }) = &observed.secret else { return };
    if context.previous_owner_ids.is_empty() || observed.object.status.is_none() {
        return;
    }
    let Ok(credentials) = Credentials::parse(email, token.expose_secret()) else { return };
    let known_by = |id: &OwnerId| credentials.fingerprint(id).to_string();
    let former: Vec<_> = context.previous_owner_ids.iter().map(known_by).collect();
    let status = Arc::make_mut(&mut observed.object).status.as_mut();
    let (token, connection) = status.map(|it| (it.token.as_mut(), it.connection.as_mut())).unwrap_or_default();
    let places = [token.map(|it| &mut it.fingerprint), connection.map(|it| &mut it.token_fingerprint)];
    for place in places.into_iter().flatten() {
        if place.as_ref().is_some_and(|stored| former.contains(stored)) {
            *place = Some(known_by(&context.owner_id));
        }
    }
}

fn content(values: &SecretValues, context: &Context) -> ContentKey {
    let token = values.token.as_ref().map(ExposeSecret::expose_secret);
    context.process_key.content(&[
        values.email.as_deref(),
        token,
        values.expires_at.as_deref(),
        values.annotation.as_deref(),
    ])
}

fn credentials(values: &SecretValues, context: &Context) -> ContentKey {
    let token = values.token.as_ref().map(ExposeSecret::expose_secret);
    context.process_key.content(&[values.email.as_deref(), token])
}

/// uid and resourceVersion of a Secret: a Secret that was deleted and created again is another.
pub fn version_of<K: ResourceExt>(secret: &K) -> String {
    format!("{}/{}", secret.uid().unwrap_or_default(), secret.resource_version().unwrap_or_default())
}

/// A value of a Secret. What is no text becomes one that nobody accepts: a NUL is in no e-mail and no token.
pub fn value_of(secret: &Secret, key: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    Some(std::str::from_utf8(bytes).map_or_else(|_| "\0".to_owned(), str::to_owned))
}
