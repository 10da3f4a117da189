//! What the metrics say of each object: made when it enters the cache, and kept with it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::{
    api::BitbucketConnection,
    domain::{
        conditions,
        duration::Span,
        expiry,
        spec::{self, Management},
        text,
        texts::Texts,
    },
    telemetry::metrics::{ObjectSample, ReadyStatus},
};

/// The sample of an object; what many objects have in common is taken from `texts`.
pub fn sample(object: &BitbucketConnection, texts: &Texts) -> ObjectSample {
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
        namespace: texts.share(object.metadata.namespace.as_deref().unwrap_or_default()),
        name: object.name_any().into(),
        ready: ReadyStatus::of(ready.map_or("Unknown", |ready| ready.status.as_str())),
        // By our own enum, never by what somebody else may have written into a status: labels are bounded.
        reason: conditions::recorded(&status.conditions, conditions::types::READY).map(|ready| ready.reason.as_str()),
        expiration: expiration.map(|at| at.as_second()),
        warning: expiration.map(|at| expiry::warning_starts(at, first).as_second()),
        next_verification: seconds(status.next_verification_time).filter(|_| !suspended),
        missing: scopes.missing.len(),
        excess: scopes.excess.len(),
        account: texts.share(&status.account.and_then(|account| account.username).unwrap_or_default()),
        contact: texts.share(&object.spec.contact.as_deref().map(text::one_line).unwrap_or_default()),
        kms: texts.share(&status.connection.map(|connection| connection.kms_ref).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The sample of an object with this mode and this reason of Ready.
    fn of(mode: &str, reason: &str) -> ObjectSample {
        let object = json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnection",
            "metadata": {"name": "payments", "namespace": "team-a"},
            "spec": {
                "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78", "secretRef": {"name": "bitbucket-token"},
                "scopes": {"useCases": ["SecretScanning"]}, "managementPolicy": mode, "contact": "the\nteam \u{202e}",
            },
            "status": {
                "nextVerificationTime": "1970-01-01T00:01:00Z",
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": reason, "message": "",
                    "lastTransitionTime": "1970-01-01T00:00:00Z",
                }],
            },
        });
        sample(&serde_json::from_value(object).expect("an object"), &Texts::default())
    }

    #[test]
    fn a_label_holds_reasons_of_ours_and_nothing_that_somebody_wrote() {
        for (written, told) in [("ScopesMissing", Some("ScopesMissing")), ("attack-1", None), ("", None)] {
            assert_eq!(of("Full", written).reason, told, "{written}");
        }
    }

    #[test]
    fn whoever_reads_an_alert_sees_the_contact_in_one_line() {
        assert_eq!(&*of("Full", "Succeeded").contact, "the team");
    }

    #[test]
    fn what_is_suspended_is_never_verified() {
        for (mode, next) in [("Full", Some(60)), ("Observe", Some(60)), ("Suspended", None)] {
            assert_eq!(of(mode, "Succeeded").next_verification, next, "{mode}");
        }
    }
}
