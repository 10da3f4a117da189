//! What an error of the KMS means for a condition, and for the next attempt: decided here and nowhere else.

use std::time::Duration;

use crate::{
    api::BitbucketConnection,
    domain::{
        conditions::{Class, Judgement, Reason},
        connection::KmsScope,
        instance::{InstanceJudgement, InstanceReason},
        spec::{InstanceKind, InstanceRef},
    },
    kms::{CERTIFICATE_NOT_TRUSTED, KmsError, LoginError, NoProof},
};

/// Why a pass could not be finished; it is tried again with backoff.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or didn't answer.
    #[error("the API server: {}; {}", words(.0), next_step(.0))]
    Cluster(Box<kube::Error>),
    /// It took too long.
    #[error(
        "the reconcile was not done within {0:?}; what it waited for is tried again; if this lasts, see whether the API server and its etcd, the KMS and Bitbucket answer in time"
    )]
    TimedOut(Duration),
    /// The API server answered with an older version of the object, its Secret or its instance than it told of before.
    #[error("the API server answered with an older version than it had told of; it is read again")]
    Outdated,
    /// The object is another than the pass began with: this, or gone.
    #[error("the object kept changing while it was looked at; it is read again")]
    Superseded(Option<Box<BitbucketConnection>>),
    /// There is a bug; its place was logged.
    #[error("the reconcile panicked; this is a bug in the operator, and the log names its place")]
    Panicked,
}

impl Error {
    /// Each time that something is written, somebody else has written before.
    pub fn keeps_changing() -> Self {
        let status = kube::core::Status::failure("the object keeps changing", "Conflict").with_code(409);
        Self::Cluster(Box::new(kube::Error::Api(Box::new(status))))
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Cluster(Box::new(error))
    }
}

/// What may be shown of an error of the API server. One that tells of an answer that can't be read quotes it, and the
/// answer may be a Secret.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => "an answer that can't be read".to_owned(),
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// What to do if the API server goes on like this.
pub fn next_step(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) => next_step_after(status),
        _ => "if this lasts, see whether the API server can be reached from here",
    }
}

/// The same, of an answer.
pub fn next_step_after(status: &kube::core::Status) -> &'static str {
    match status.code {
        403 if is_ending(status) => "its namespace is being deleted",
        403 => "let the operator's ServiceAccount do that, as the roles of its chart do; nothing has to be restarted",
        401 => "see whether the operator's ServiceAccount was deleted or its token has expired",
        429 => "if this lasts, see the flow control of the API server: kubectl get flowschemas",
        500.. => "if this lasts, see whether the API server and its etcd are well",
        _ => "it was a moment behind, or somebody else was faster",
    }
}

/// Whether something is refused because its namespace is being deleted.
fn is_ending(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// The condition Synced after an error of the KMS.
pub fn synced(error: &KmsError, instance: &InstanceRef, scope: &KmsScope) -> Judgement {
    match error {
        KmsError::Login(error) => not_ready(instance, &login(error)),
        KmsError::PermissionDenied { action } => Judgement::new(
            Reason::KmsPermissionDenied,
            format!(
                "The identity of {instance} may not {action} app connections in {scope}. Give it a role there that may read, create, edit and delete app connections."
            ),
        ),
        KmsError::UnknownProject => Judgement::new(
            Reason::KmsRejected,
            match scope {
                KmsScope::Project(id) => format!(
                    "The KMS knows no project {id}, or the identity of {instance} is no member of it. Compare spec.projectId with the project's settings in the KMS, and add the identity to the project."
                ),
                KmsScope::Organization => format!(
                    "The KMS says that there is no such project, although this object asks for the organization. See whether the identity of {instance} is still a member of the organization."
                ),
            },
        ),
        KmsError::InUse => Judgement::new(
            Reason::KmsRejected,
            "Syncs, scanners or other features of the KMS still use the connection. Remove them in the KMS first.",
        ),
        KmsError::CredentialsRefused { status } => Judgement::new(
            Reason::KmsRejected,
            format!(
                "Bitbucket refused the token when the KMS tried it ({status}), though it accepts it from here. See whether the token was just revoked, and whether an IP allow list of the workspace lacks the KMS."
            ),
        ),
        KmsError::NotOffered => Judgement::new(
            Reason::KmsUnavailable,
            format!(
                "The server behind {instance} offers no app connections: it is another program or another version of the KMS. See spec.host of the instance. It is tried again by itself."
            ),
        ),
        KmsError::NameTaken | KmsError::OtherApp => Judgement::new(
            Reason::NameConflict,
            format!(
                "The KMS has another connection of that name in {scope}, and this object didn't make it. Set another spec.connectionName, or delete or rename that connection in the KMS."
            ),
        ),
        KmsError::Rejected { status, message } => Judgement::new(
            Reason::KmsRejected,
            format!(
                "The KMS refused the request ({status}): {}. {}",
                message.trim_end_matches('.'),
                cure(*status, message, instance)
            ),
        ),
        KmsError::RateLimited { .. } => Judgement::new(
            Reason::RateLimited,
            "The KMS allows no more requests for now. It is tried again when the KMS allows.",
        ),
        KmsError::NotYet { .. } => Judgement::new(
            Reason::RateLimited,
            "The operator keeps within the limits of the KMS and of the Bitbucket account, and this object's turn has not come yet. It comes by itself; the operator's flags --kms-reads-per-minute, --kms-writes-per-minute and --bitbucket-requests-per-hour set the pace.",
        ),
        KmsError::CredentialsNotChecked => Judgement::new(
            Reason::KmsUnavailable,
            "The KMS could not check the token with Bitbucket, which it does on every write. It is tried again by itself; if this lasts, see whether the KMS reaches Bitbucket.",
        ),
        KmsError::NotFound => Judgement::new(
            Reason::KmsUnavailable,
            "The connection went away in the KMS while it was being changed. It is looked up again by itself.",
        ),
        KmsError::Unavailable { what } => unavailable(instance, what),
    }
}

/// What to do about a refusal, by its words. Those of a 422 are `field: message`.
fn cure(status: u16, message: &str, instance: &InstanceRef) -> String {
    let about_name = status == 422 && message.split("; ").any(|issue| issue.starts_with("name: "));
    if about_name {
        "Set spec.connectionName to a name that it takes: older servers allow 32 characters, newer ones 64.".to_owned()
    } else {
        format!("Change what it names in this object; if it is nothing that stands here, ask whoever runs {instance}.")
    }
}

/// When the KMS wants to be asked again, if it said so.
pub fn retry_after(error: &KmsError) -> Option<Duration> {
    match error {
        KmsError::RateLimited { retry_after } | KmsError::Login(LoginError::RateLimited { retry_after }) => {
            *retry_after
        }
        KmsError::NotYet { wait } => Some(*wait),
        _ => None,
    }
}

/// The condition Ready of an instance after a login that failed.
pub fn login(error: &LoginError) -> InstanceJudgement {
    use InstanceReason::{ApiNotOffered, AuthenticationFailed, IdentityLocked, SecretNotFound, TlsFailed, Unreachable};
    match error {
        LoginError::NoProof(NoProof::Denied(message)) => InstanceJudgement::new(AuthenticationFailed, message),
        // Of the reasons there are, this one waits for something to appear that the credentials come from: an instance
        // that is applied before its ServiceAccount has not failed.
        LoginError::NoProof(NoProof::Missing(message)) => InstanceJudgement::new(SecretNotFound, message),
        LoginError::NoProof(NoProof::Unavailable(message)) => InstanceJudgement::new(Unreachable, message),
        LoginError::InvalidCredentials { method } => InstanceJudgement::new(
            AuthenticationFailed,
            format!("The KMS refuses {} ({method}). {}", method.what(), method.remedy()),
        ),
        LoginError::SecretExpired => InstanceJudgement::new(
            AuthenticationFailed,
            "The client secret has expired. Create a new one for the machine identity in the KMS (Universal Auth), and put it into the Secret that spec.auth.universal names.",
        ),
        LoginError::UsageLimitReached => InstanceJudgement::new(
            AuthenticationFailed,
            "The client secret has been used as often as it may be. Create one without a limit of uses for the machine identity in the KMS (Universal Auth), and put it into the Secret that spec.auth.universal names.",
        ),
        LoginError::Refused { method, message } => InstanceJudgement::new(
            AuthenticationFailed,
            format!(
                "The KMS refuses {} ({method}): {}. {}",
                method.what(),
                message.trim_end_matches('.'),
                method.remedy()
            ),
        ),
        LoginError::Locked => InstanceJudgement::new(
            IdentityLocked,
            "The KMS has locked the machine identity after failed logins, for 5 minutes by default. Find out who else logs in with wrong credentials. It is tried again by itself.",
        ),
        LoginError::SessionRefused { message } => InstanceJudgement::new(
            Unreachable,
            format!(
                "The login went well, but the KMS refuses the session that it just gave: {}. See whether the machine identity limits the addresses that its access tokens are good for. It is tried again by itself.",
                message.trim_end_matches('.')
            ),
        ),
        LoginError::RateLimited { .. } => InstanceJudgement::new(
            Unreachable,
            "The KMS allows no more logins for now. It is tried again when the KMS allows.",
        ),
        LoginError::NotOffered => InstanceJudgement::new(
            ApiNotOffered,
            "The server behind spec.host is no KMS with this login, or another version of it. Compare the host with the address in the browser. It is tried again by itself.",
        ),
        LoginError::Unavailable { what } if what == CERTIFICATE_NOT_TRUSTED => InstanceJudgement::new(
            TlsFailed,
            "The certificate of the KMS is not trusted: it has expired, is for another name than spec.host, or comes from a CA that the operator doesn't know. Have it renewed, correct spec.host, or name its CA in spec.tls.caRef. Nothing was sent. It is tried again when the instance or the CA changes, and every 5 minutes.",
        ),
        LoginError::Unavailable { what } => InstanceJudgement::new(
            Unreachable,
            format!(
                "The KMS can't be reached ({what}). It is tried again by itself; if this lasts, see whether spec.host is right and the cluster reaches it."
            ),
        ),
    }
}

/// The condition Synced of a connection whose instance can't be used. A tenant isn't told what is in the namespace of a
/// ClusterKmsInstance.
pub fn not_ready(instance: &InstanceRef, judgement: &InstanceJudgement) -> Judgement {
    let word = judgement.reason.as_str();
    let message = match instance.kind {
        InstanceKind::Namespaced => format!("{instance} can't be used ({word}). {}", judgement.message),
        InstanceKind::Cluster => {
            format!(
                "{instance} can't be used ({word}): {}. Its condition Ready says more; ask whoever runs it. This object goes on by itself.",
                judgement.reason.in_words()
            )
        }
    };
    let reason = match judgement.reason.class() {
        Some(Class::Transient) => Reason::KmsUnavailable,
        Some(Class::Waiting | Class::Stalled) | None => Reason::KmsInstanceNotReady,
    };
    Judgement::new(reason, message)
}

fn unavailable(instance: &InstanceRef, what: &str) -> Judgement {
    Judgement::new(
        Reason::KmsUnavailable,
        format!(
            "The KMS behind {instance} can't be used ({what}). It is tried again by itself; if this lasts, see whether the KMS works and the cluster reaches it."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_name_is_told_with_its_cure() {
        let instance = InstanceRef { kind: InstanceKind::Cluster, name: "default".to_owned() };
        for (status, message, cured) in [
            (422, "name: name field must be at most 32 characters", true),
            (422, "description: too long; name: too long", true),
            (422, "credentials.email: Invalid email", false),
            (422, "rename: no", false),
            (400, "name: no", false),
        ] {
            let cure = cure(status, message, &instance);
            assert_eq!(cure.contains("spec.connectionName"), cured, "{status} {message}");
        }
    }

    #[test]
    fn an_error_of_the_api_server_is_told_with_its_next_step() {
        use kube::core::Status;
        use serde_json::json;
        let ending = |status: Status| {
            let details = json!({"causes": [{"reason": "NamespaceTerminating"}]});
            status.with_details(serde_json::from_value(details).expect("details"))
        };
        let said = |code| Status::failure("no", "Reason").with_code(code);
        for (status, next) in [
            (said(403), "let the operator's ServiceAccount do that"),
            (ending(said(403)), "its namespace is being deleted"),
            (ending(said(404)), "it was a moment behind"),
            (said(401), "its token has expired"),
            (said(429), "kubectl get flowschemas"),
            (said(500), "its etcd are well"),
            (said(503), "its etcd are well"),
            (said(409), "somebody else was faster"),
        ] {
            let code = status.code;
            let told = Error::from(kube::Error::Api(Box::new(status))).to_string();
            assert!(told.starts_with("the API server: no; ") && told.contains(next), "{code}: {told}");
        }
        let silent = kube::Error::Api(Box::new(Status::failure("", "Forbidden").with_code(403)));
        assert!(words(&silent).contains("Forbidden"), "what has no message is told by what else it says");
        let told = Error::from(kube::Error::LinesCodecMaxLineLengthExceeded).to_string();
        assert!(told.contains("can be reached from here"), "{told}");
    }

    #[test]
    fn the_kms_is_asked_again_when_it_wants_to_be() {
        let wait = Some(Duration::from_secs(7));
        for (error, expected) in [
            (KmsError::RateLimited { retry_after: wait }, wait),
            (KmsError::RateLimited { retry_after: None }, None),
            (KmsError::Login(LoginError::RateLimited { retry_after: wait }), wait),
            (KmsError::Login(LoginError::Locked), None),
            (KmsError::NotYet { wait: Duration::from_secs(7) }, wait),
            (KmsError::InUse, None),
        ] {
            assert_eq!(retry_after(&error), expected, "{error}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_quoted() {
        let secret = r#"{"metadata": {}, "data": "ATATT3x"}"#;
        let error = serde_json::from_str::<k8s_openapi::api::core::v1::Secret>(secret).expect_err("no map");
        assert!(error.to_string().contains("ATATT3x"), "or this test shows nothing: {error}");
        let error = Error::from(kube::Error::SerdeError(error));
        assert!(!format!("{error}").contains("ATATT3x"));
    }
}
