//! What the metrics say of each object: read from the cache when somebody scrapes, kept nowhere.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::{
    api::BitbucketConnection,
    domain::{conditions, duration::Span, expiry, spec},
    telemetry::metrics::{ObjectSample, ReadyStatus},
};

/// The sample of an object.
pub fn sample(object: &Arc<BitbucketConnection>) -> ObjectSample {
    let status = object.status.clone().unwrap_or_default();
    let ready = conditions::find(&status.conditions, conditions::types::READY);
    let token = status.token.unwrap_or_default();
    let expiration = token.expires_at.map(|time| time.0);
    let warn_before = spec::validate(&object.name_any(), &object.spec).map(|spec| spec.warn_before).unwrap_or_default();
    let first = warn_before.first().copied().unwrap_or(Span::from_secs(0));
    let scopes = status.scopes.unwrap_or_default();
    let seconds = |time: Option<Time>| time.map(|time| time.0.as_second());
    ObjectSample {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        ready: ReadyStatus::of(ready.map_or("Unknown", |ready| ready.status.as_str())),
        expiration: expiration.map(|at| at.as_second()),
        warning: expiration.map(|at| expiry::warning_starts(at, first).as_second()),
        next_verification: seconds(status.next_verification_time),
        missing: scopes.missing.len(),
        excess: scopes.excess.len(),
        account: status.account.and_then(|account| account.username).unwrap_or_default(),
        contact: object.spec.contact.clone().unwrap_or_default(),
        kms: status.connection.map(|connection| connection.kms_ref).unwrap_or_default(),
    }
}
