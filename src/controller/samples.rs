//! What the metrics say of each object: read from the cache when somebody scrapes, kept nowhere.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::{
    api::BitbucketConnection,
    domain::{
        conditions,
        duration::Span,
        expiry,
        spec::{self, Management},
    },
    telemetry::metrics::{ObjectSample, ReadyStatus},
};

/// The sample of an object.
pub fn sample(object: &Arc<BitbucketConnection>) -> ObjectSample {
    let status = object.status.clone().unwrap_or_default();
    let ready = conditions::find(&status.conditions, conditions::types::READY);
    let token = status.token.unwrap_or_default();
    let expiration = token.expires_at.map(|time| time.0);
    let spec = spec::validate(&object.name_any(), &object.spec).ok();
    let first = spec.as_ref().and_then(|spec| spec.warn_before.first().copied()).unwrap_or(Span::from_secs(0));
    // The status of a suspended object stays as it was; its next verification is never.
    let suspended = spec.as_ref().is_some_and(|spec| spec.management == Management::Suspended);
    let scopes = status.scopes.unwrap_or_default();
    let seconds = |time: Option<Time>| time.map(|time| time.0.as_second());
    ObjectSample {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        ready: ReadyStatus::of(ready.map_or("Unknown", |ready| ready.status.as_str())),
        // By our own enum, never by what somebody else may have written into a status: labels are bounded.
        reason: conditions::recorded(&status.conditions, conditions::types::READY).map(|ready| ready.reason.as_str()),
        expiration: expiration.map(|at| at.as_second()),
        warning: expiration.map(|at| expiry::warning_starts(at, first).as_second()),
        next_verification: seconds(status.next_verification_time).filter(|_| !suspended),
        missing: scopes.missing.len(),
        excess: scopes.excess.len(),
        account: status.account.and_then(|account| account.username).unwrap_or_default(),
        contact: object.spec.contact.clone().unwrap_or_default(),
        kms: status.connection.map(|connection| connection.kms_ref).unwrap_or_default(),
    }
}
