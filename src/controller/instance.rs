//! The pass over an instance: may its host be talked to, are its credentials there, does the KMS take them?

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    runtime::controller::Action,
};
use secrecy::SecretString;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::time::Instant;

use super::{
    context::{Context, FIELD_MANAGER},
    errors::{self, Error},
    held,
    instances::{Instance, Looked, Versions},
    mint::Mint,
    observe,
    sources::SourceKey,
    triggers::{InstanceKey, Target},
    trust::{self, Authorities},
};
use crate::{
    api::{InstanceStatus, KmsInstanceSpec},
    domain::{
        conditions::{self, Class, types},
        credential::ContentKey,
        host,
        instance::{InUse, InstanceJudgement},
        login::{Login, Source},
        names, schedule, versions,
    },
    kms::{Evidence, Identity, Kms, LoginError, Proof},
};

/// How often an instance that needs a person is looked at again: cures happen outside the cluster too.
const STALLED_AGAIN: Duration = Duration::from_secs(300);

/// What was found where the proof of an instance's identity should be.
enum Found {
    /// It wasn't looked for: the host or the CAs decided before.
    NotAsked(InstanceJudgement),
    /// Not there, or not usable.
    Nothing {
        /// Why.
        judgement: InstanceJudgement,
        /// Which version of the Secret that was, if there is one.
        version: Option<String>,
    },
    /// There.
    Proof {
        /// What the KMS knows the identity by.
        identity: Identity,
        /// By what equal identities are recognized.
        content: ContentKey,
        /// Which version of the Secret that was, if it comes from one.
        version: Option<String>,
    },
}

/// Looks at an instance, and at the connections that it serves if something changed for them. At the instance as it is now,
/// not as the cache has it: instances are few, and one that is behind may lead a token to a host that the instance has left.
pub async fn reconcile<K>(cached: Arc<K>, context: &Context) -> Result<Action, Error>
where
    K: Instance + Serialize + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let key = cached.key();
    let found = cached.api(context.client.clone()).get_opt(&cached.name_any()).await?;
    let Some(object) = found.map(Arc::new) else { return Ok(Action::await_change()) };
    if versions::is_before(&observe::version_of(&*object), &observe::version_of(&*cached)) {
        return Err(Error::Outdated);
    }
    let now = context.now();
    let held = held::hold(object, &context.users.of(&key), context).await?;
    let Some(object) = held else { return Ok(Action::await_change()) };
    let before = context.instances.looked(&key);
    let known = versions(object.as_ref(), context);
    let due = before.as_ref().is_none_or(|before| {
        before.asked != before.answered
            || before.uid != object.meta().uid
            || before.generation != object.meta().generation
            || before.known != known
            || before.look_again.is_some_and(|at| at <= Instant::now())
    });
    let looked = match before.as_ref().filter(|_| !due) {
        Some(before) => before.clone(),
        None => look(object.as_ref(), &key, before.as_ref(), context).await?,
    };
    let news = before.as_ref().is_none_or(|before| {
        before.judgement != looked.judgement
            || before.kms.as_ref().map(Arc::as_ptr) != looked.kms.as_ref().map(Arc::as_ptr)
            || (&before.uid, before.generation) != (&looked.uid, looked.generation)
    });
    context.instances.note(key.clone(), looked.clone());
    // After it was noted: whoever came during the look found nothing noted, and waits to be told.
    let users = context.users.of(&key);
    if news {
        users.iter().for_each(|user| context.triggers.look(user));
    }
    write_status(object.as_ref(), &looked, &users, now, context).await?;
    Ok(match looked.look_again {
        Some(at) => Action::requeue(at.saturating_duration_since(Instant::now())),
        None => Action::await_change(),
    })
}

async fn look<K: Instance>(
    object: &K,
    key: &InstanceKey,
    before: Option<&Looked>,
    context: &Context,
) -> Result<Looked, Error> {
    let (spec, namespace) = object.access();
    let asked = before.map(|before| before.asked).unwrap_or_default();
    context.sources.refer(&Target::Instance(key.clone()), object.sources());
    // As they are before anything is read: what comes during the look takes another.
    let known = versions(object, context);
    let mut looked = Looked {
        uid: object.meta().uid.clone(),
        generation: object.meta().generation,
        grants: object.grants().to_vec(),
        known,
        judged: Versions::default(),
        content: before.and_then(|before| before.content),
        judgement: InstanceJudgement::authenticated(),
        kms: before.and_then(|before| before.kms.clone()),
        attempts: before.map_or(0, |before| before.attempts),
        look_again: None,
        asked,
        answered: asked,
    };
    // The host comes first: one that isn't allowed never sees a byte of a Secret. Then whom to trust, then the proof.
    let (found, authorities) = match host::check(spec.host.as_deref(), &context.allowed_hosts) {
        Err(problem) => (Found::NotAsked(InstanceJudgement::host(problem)), None),
        Ok(_) => match trust::authorities(object, context).await? {
            Err(judgement) => {
                // The version that was just read was noted.
                looked.judged.ca = versions(object, context).ca;
                (Found::NotAsked(judgement), None)
            }
            Ok(authorities) => (find(object, &spec, &namespace, authorities.as_ref(), context).await?, authorities),
        },
    };
    if let Some(authorities) = &authorities {
        looked.known.ca = Some(authorities.version.clone());
        looked.judged.ca = looked.known.ca.clone();
    }
    // No watch tells of ServiceAccounts and roles: what is missing there is looked for, though not hot.
    let mut unproven = false;
    match found {
        Found::NotAsked(judgement) => looked.judgement = judgement,
        Found::Nothing { judgement, version } => {
            looked.judgement = judgement;
            looked.know_secret(version);
        }
        Found::Proof { identity, content, version } => {
            looked.know_secret(version);
            let same = looked.kms.clone().filter(|_| looked.content == Some(content));
            let made = || client(&spec, &namespace, identity, authorities.as_ref(), context);
            match same.map_or_else(made, Ok) {
                // The client that there was is kept: connections can still be deleted through it.
                Err(judgement) => looked.judgement = judgement,
                Ok(kms) => {
                    // A restart logs nobody in: the first connection that has something to do will.
                    if !trusted(object, before, &looked)
                        && let Err(error) = kms.authenticate(tries_again(before, content)).await
                    {
                        unproven = matches!(error, LoginError::NoProof(_));
                        looked.judgement = errors::login(&error);
                    }
                    looked.kms = Some(kms);
                    looked.content = Some(content);
                }
            }
        }
    }
    let class = looked.judgement.reason.class();
    let backed_off = class == Some(Class::Transient) || (unproven && class.is_some());
    let wait = match class {
        _ if backed_off => Some(schedule::backoff(looked.attempts, &key.to_string())),
        Some(Class::Stalled) => Some(STALLED_AGAIN),
        Some(Class::Waiting | Class::Transient) | None => None,
    };
    looked.attempts = if backed_off { looked.attempts.saturating_add(1) } else { 0 };
    looked.look_again = wait.map(|wait| Instant::now() + wait);
    tracing::info!(reason = looked.judgement.reason.as_str(), "looked at an instance");
    Ok(looked)
}

/// Whether what was refused is tried again. A refusal is remembered. A person, other credentials and time have them tried
/// again; new labels on the Secret, or a connection that met the refusal, don't.
fn tries_again(before: Option<&Looked>, content: ContentKey) -> bool {
    before.is_none_or(|before| {
        let time = before.look_again.is_some_and(|at| at <= Instant::now());
        before.asked.by_requests != before.answered.by_requests || before.content != Some(content) || time
    })
}

/// Versions of the Secret and of the CAs that an instance refers to, as far as they are known without reading them.
fn versions<K: Instance>(object: &K, context: &Context) -> Versions {
    let version =
        |source: Option<SourceKey>| source.and_then(|it| context.sources.get(&it)).map(|seen| seen.version.to_string());
    Versions { secret: version(object.secret()), ca: version(object.ca()) }
}

/// Whether an earlier process logged in with these very credentials.
fn trusted<K: Instance>(object: &K, before: Option<&Looked>, looked: &Looked) -> bool {
    let Some(status) = object.status().filter(|_| before.is_none()) else { return false };
    let ready = conditions::find(&status.conditions, types::READY);
    status.observed_generation == object.meta().generation
        && (&status.secret_version, &status.ca_version) == (&looked.judged.secret, &looked.judged.ca)
        && ready.is_some_and(|ready| ready.status == "True")
}

/// Finds what proves the identity of an instance.
async fn find<K: Instance>(
    object: &K,
    spec: &KmsInstanceSpec,
    namespace: &str,
    authorities: Option<&Authorities>,
    context: &Context,
) -> Result<Found, Error> {
    let nothing = |judgement, version| Ok(Found::Nothing { judgement, version });
    let Some(login) = Login::of(&spec.auth) else { return nothing(InstanceJudgement::no_method(), None) };
    let parts = [
        spec.host.as_deref(),
        authorities.map(|authorities| authorities.pem.as_str()),
        spec.organization_slug.as_deref(),
        Some(login.method.field()),
        login.identity_id.as_deref(),
    ];
    let content = |proof: &[&str]| {
        let proof = proof.iter().copied().map(Some);
        context.process_key.content(&parts.into_iter().chain(proof).collect::<Vec<_>>())
    };
    let (name, values) = match &login.source {
        Source::Secret { name, values } => (name, values),
        Source::ServiceAccount { name, audience } => {
            let mint = Mint {
                client: context.client.clone(),
                namespace: namespace.to_owned(),
                service_account: name.clone(),
                audience: audience.clone(),
            };
            let content = content(&[namespace, name, audience]);
            let evidence = Evidence::Made(Box::new(mint));
            let identity = Identity { method: login.method, id: login.identity_id.clone(), evidence };
            return Ok(Found::Proof { identity, content, version: None });
        }
    };
    // A name that no Secret can have is not asked for: as part of an address it could lead elsewhere.
    if !names::is_object_name(name) || !names::is_object_name(namespace) {
        return nothing(InstanceJudgement::no_secret(login.method, values, name, namespace), None);
    }
    let asked = context.sources.ask();
    let secret = Api::<Secret>::namespaced(context.client.clone(), namespace).get_opt(name).await?;
    let version = secret.as_ref().map(observe::version_of);
    let target = Target::Instance(object.key());
    let others = context.sources.read(&target, &SourceKey::secret(namespace, name), version.as_deref(), asked);
    others.iter().for_each(|other| context.triggers.look(other));
    let (Some(secret), Some(version)) = (secret, version) else {
        return nothing(InstanceJudgement::no_secret(login.method, values, name, namespace), None);
    };
    let mut proof = Vec::new();
    for value in values {
        let text = observe::value_of(&secret, &value.key).map(|text| text.trim().to_owned());
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return nothing(InstanceJudgement::no_key(login.method, value, name, namespace), Some(version));
        };
        if text.contains(char::is_control) {
            return nothing(InstanceJudgement::not_one_line(login.method, value, name, namespace), Some(version));
        }
        proof.push((value.field, text));
    }
    let content = content(&proof.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>());
    let proof = Proof::new(proof.into_iter().map(|(field, text)| (field, SecretString::from(text))));
    let evidence = Evidence::Held(proof);
    let identity = Identity { method: login.method, id: login.identity_id.clone(), evidence };
    Ok(Found::Proof { identity, content, version: Some(version) })
}

fn client(
    spec: &KmsInstanceSpec,
    namespace: &str,
    identity: Identity,
    authorities: Option<&Authorities>,
    context: &Context,
) -> Result<Arc<Kms>, InstanceJudgement> {
    let url = host::check(spec.host.as_deref(), &context.allowed_hosts).map_err(InstanceJudgement::host)?;
    let mut server = context.instances.server(url);
    if let Some(Authorities { source, pem, .. }) = authorities {
        server.http = server.http.trusting(pem.as_bytes()).map_err(|_| source.unreadable(namespace))?;
    }
    Ok(Arc::new(Kms::new(server, identity, spec.organization_slug.clone())))
}

/// Writes the status of the instance, if it says anything new; on a conflict to the newer version.
async fn write_status<K>(
    object: &K,
    looked: &Looked,
    users: &[Target],
    now: Timestamp,
    context: &Context,
) -> Result<(), Error>
where
    K: Instance + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let api = object.api(context.client.clone());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let mut newest = object.clone();
    loop {
        let before = newest.status().cloned().unwrap_or_default();
        let waits = held::waits_for(&newest, &object.key(), users);
        let status = status(&before, object.meta().generation, looked, users.len(), waits.as_ref(), now);
        if status == before {
            return Ok(());
        }
        let patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": object.name_any(), "resourceVersion": newest.resource_version()},
            "status": status,
        });
        match api.patch_status(&object.name_any(), &params, &Patch::Apply(&patch)).await {
            Ok(_) => return Ok(()),
            // Somebody wrote in between; the reconcile's timeout ends this.
            Err(kube::Error::Api(conflict)) if conflict.code == 409 => {
                match api.get_opt(&object.name_any()).await?.filter(|newer| newer.uid() == object.uid()) {
                    Some(newer) => newest = newer,
                    None => return Ok(()),
                }
            }
            Err(kube::Error::Api(gone)) if gone.code == 404 => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn status(
    before: &InstanceStatus,
    generation: Option<i64>,
    looked: &Looked,
    users: usize,
    waits: Option<&InUse>,
    now: Timestamp,
) -> InstanceStatus {
    let ready = &looked.judgement;
    let mut all = vec![conditions::condition(types::READY, ready, generation, &before.conditions, now)];
    all.extend(
        waits.map(|waits| conditions::marker(types::DELETION_WAITING, waits, generation, &before.conditions, now)),
    );
    let marker = match ready.reason.class() {
        Some(Class::Stalled) => Some(types::STALLED),
        Some(Class::Waiting | Class::Transient) => Some(types::RECONCILING),
        None => None,
    };
    all.extend(marker.map(|kind| conditions::marker(kind, ready, generation, &before.conditions, now)));
    InstanceStatus {
        observed_generation: generation,
        conditions: all,
        connections: i64::try_from(users).ok(),
        secret_version: looked.judged.secret.clone(),
        ca_version: looked.judged.ca.clone(),
    }
}
