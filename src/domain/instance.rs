//! The condition Ready of KmsInstance and ClusterKmsInstance.

use super::{
    conditions::{Class, Says, Status},
    host::HostProblem,
    login::{AuthMethod, SecretValue},
};

/// Why an instance is or isn't ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are the documentation; messages say the rest")]
pub enum InstanceReason {
    Authenticated,
    AuthenticationFailed,
    IdentityLocked,
    SecretNotFound,
    SecretKeyMissing,
    TlsFailed,
    Unreachable,
    ApiNotOffered,
    HostNotAllowed,
    InsecureHost,
}

impl InstanceReason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Authenticated,
        Self::AuthenticationFailed,
        Self::IdentityLocked,
        Self::SecretNotFound,
        Self::SecretKeyMissing,
        Self::TlsFailed,
        Self::Unreachable,
        Self::ApiNotOffered,
        Self::HostNotAllowed,
        Self::InsecureHost,
    ];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authenticated => "Authenticated",
            Self::AuthenticationFailed => "AuthenticationFailed",
            Self::IdentityLocked => "IdentityLocked",
            Self::SecretNotFound => "SecretNotFound",
            Self::SecretKeyMissing => "SecretKeyMissing",
            Self::TlsFailed => "TlsFailed",
            Self::Unreachable => "Unreachable",
            Self::ApiNotOffered => "ApiNotOffered",
            Self::HostNotAllowed => "HostNotAllowed",
            Self::InsecureHost => "InsecureHost",
        }
    }

    /// What it asks of the operator and of people.
    pub const fn class(self) -> Option<Class> {
        match self {
            Self::Authenticated => None,
            Self::SecretNotFound => Some(Class::Waiting),
            Self::IdentityLocked | Self::Unreachable | Self::ApiNotOffered => Some(Class::Transient),
            Self::AuthenticationFailed
            | Self::SecretKeyMissing
            | Self::TlsFailed
            | Self::HostNotAllowed
            | Self::InsecureHost => Some(Class::Stalled),
        }
    }
}

/// A reason and the sentence that tells a person about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceJudgement {
    /// Why.
    pub reason: InstanceReason,
    /// What is wrong, and what to do next.
    pub message: String,
}

impl InstanceJudgement {
    /// A judgement.
    pub fn new(reason: InstanceReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// The operator can log in.
    pub fn authenticated() -> Self {
        Self::new(InstanceReason::Authenticated, "The operator can log in to the KMS.")
    }

    /// The spec names no method of login, or several; the schema refuses that.
    pub fn no_method() -> Self {
        Self::new(
            InstanceReason::AuthenticationFailed,
            "spec.auth names no method or several; write one, such as universal: {secretRef: {name: …}}.",
        )
    }

    /// The Secret that the instance refers to isn't there.
    pub fn no_secret(method: AuthMethod, name: &str, namespace: &str) -> Self {
        Self::new(
            InstanceReason::SecretNotFound,
            format!(
                "There is no Secret {name} in namespace {namespace}. Create it with {} of the machine identity ({method}); it is picked up at once.",
                method.what()
            ),
        )
    }

    /// The Secret lacks a value.
    pub fn no_key(method: AuthMethod, value: &SecretValue, name: &str, namespace: &str) -> Self {
        Self::new(
            InstanceReason::SecretKeyMissing,
            format!(
                "Secret {name} in namespace {namespace} has no key {}, or nothing in it. Put the {} there, or name another key in spec.auth.{}.secretRef.",
                value.key,
                value.what,
                method.field()
            ),
        )
    }

    /// The host may not be talked to.
    pub fn host(problem: HostProblem) -> Self {
        match problem {
            HostProblem::NotAHost | HostProblem::NotAllowed => Self::new(
                InstanceReason::HostNotAllowed,
                "The operator may not talk to the host of this instance: its flag --allowed-kms-hosts doesn't name it. Correct spec.host, or have an administrator of the operator allow the host. Nothing was sent to it.",
            ),
            HostProblem::Insecure => Self::new(
                InstanceReason::InsecureHost,
                "The host of this instance is an http URL, over which credentials would travel in the clear. Write https into spec.host, or have an administrator of the operator set --allow-insecure-kms. Nothing was sent to it.",
            ),
        }
    }
}

impl Says for InstanceJudgement {
    fn status(&self) -> Status {
        match self.reason.class() {
            None => Status::True,
            Some(Class::Waiting | Class::Stalled) => Status::False,
            Some(Class::Transient) => Status::Unknown,
        }
    }

    fn reason(&self) -> &'static str {
        self.reason.as_str()
    }

    fn message(&self) -> &str {
        &self.message
    }
}
