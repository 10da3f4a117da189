//! The condition Ready of KmsInstance and ClusterKmsInstance.

mod about;

use super::{
    conditions::{Class, Says, Status},
    host::HostProblem,
    login::{AuthMethod, SecretValue},
};

macro_rules! reasons {
    ($($reason:ident $class:expr;)*) => {
        /// Why an instance is or isn't ready.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the words are the documentation; messages say the rest")]
        pub enum InstanceReason { $($reason,)* }

        impl InstanceReason {
            /// All of them, in table order.
            pub const ALL: &[Self] = &[$(Self::$reason,)*];

            /// The word in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason),)* }
            }

            /// What it asks of the operator and of people.
            pub const fn class(self) -> Option<Class> {
                match self { $(Self::$reason => $class,)* }
            }
        }
    };
}

const WAITING: Option<Class> = Some(Class::Waiting);
const STALLED: Option<Class> = Some(Class::Stalled);
const TRANSIENT: Option<Class> = Some(Class::Transient);

reasons! {
    Authenticated None;
    AuthenticationFailed STALLED;
    IdentityLocked TRANSIENT;
    SecretNotFound WAITING;
    SecretKeyMissing STALLED;
    CaInvalid STALLED;
    TlsFailed STALLED;
    Unreachable TRANSIENT;
    ApiNotOffered TRANSIENT;
    HostNotAllowed STALLED;
    InsecureHost STALLED;
}

impl InstanceReason {
    /// The status that it stands for.
    pub const fn status(self) -> Status {
        match self.class() {
            None => Status::True,
            Some(Class::Waiting | Class::Stalled) => Status::False,
            Some(Class::Transient) => Status::Unknown,
        }
    }
}

impl InstanceReason {
    /// The cause for those who can't see the instance, whose message may name objects of another namespace.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Authenticated => "it is logged in",
            Self::AuthenticationFailed => "its login at the KMS fails",
            Self::IdentityLocked => "the KMS has locked its identity after failed logins",
            Self::SecretNotFound => "a Secret or another object that it needs is not there",
            Self::SecretKeyMissing => "the Secret of its login lacks a value",
            Self::CaInvalid => "the CA that it names can't be read",
            Self::TlsFailed => "the certificate of the KMS is not trusted",
            Self::Unreachable => "the KMS does not answer",
            Self::ApiNotOffered => "what answers at its host is no KMS with app connections",
            Self::HostNotAllowed => "its host is not one that the operator may send anything to",
            Self::InsecureHost => "its host is asked by http, which the operator doesn't allow",
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
    pub fn no_secret(method: AuthMethod, values: &[SecretValue], name: &str, namespace: &str) -> Self {
        let keys: Vec<_> = values.iter().map(|value| format!("the {} in key {}", value.what, value.key)).collect();
        Self::new(
            InstanceReason::SecretNotFound,
            format!(
                "There is no Secret {name} in namespace {namespace}. Create it with {} ({method}); it is picked up at once.",
                keys.join(" and ")
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

    /// What the Secret holds can't be the value: nothing is sent, since the KMS locks an identity after three failures.
    pub fn not_one_line(method: AuthMethod, value: &SecretValue, name: &str, namespace: &str) -> Self {
        Self::new(
            InstanceReason::AuthenticationFailed,
            format!(
                "Key {} of Secret {name} in namespace {namespace} holds several lines, control characters, or bytes that are no text. Put the {} there and nothing else ({method}); it is picked up at once. Nothing was sent.",
                value.key, value.what
            ),
        )
    }

    /// The host may not be talked to.
    pub fn host(problem: HostProblem) -> Self {
        match problem {
            HostProblem::NotAHost => Self::new(
                InstanceReason::HostNotAllowed,
                "spec.host is not the URL of a host: write https:// and its name, such as https://app.kms.hanzo.ai, without a path, a query or a user. Nothing was sent.",
            ),
            HostProblem::NotAllowed => Self::new(
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
        self.reason.status()
    }

    fn reason(&self) -> &'static str {
        self.reason.as_str()
    }

    fn message(&self) -> &str {
        &self.message
    }
}

/// Most connections that a message names.
const NAMES_MAX: usize = 10;

/// Why the deletion of an instance waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    message: String,
}

impl InUse {
    /// Connections of the instance's own namespace use it.
    pub fn by(mut names: Vec<&str>) -> Self {
        names.sort_unstable();
        let more = match names.len().saturating_sub(NAMES_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        names.truncate(NAMES_MAX);
        Self {
            message: format!(
                "BitbucketConnections of this namespace still use this instance: {}{more}. The instance goes away with the last of them: delete them, or move them to another instance by creating them anew.",
                names.join(", ")
            ),
        }
    }

    /// So many connections of any namespace use it.
    pub fn by_many(count: usize) -> Self {
        let (connections, use_it) =
            if count == 1 { ("BitbucketConnection", "uses") } else { ("BitbucketConnections", "use") };
        Self {
            message: format!(
                "{count} {connections} still {use_it} this instance; \"kubectl get bbc --all-namespaces -o wide\" shows them. The instance goes away with the last of them."
            ),
        }
    }
}

impl Says for InUse {
    fn status(&self) -> Status {
        Status::True
    }

    fn reason(&self) -> &'static str {
        "InUse"
    }

    fn message(&self) -> &str {
        &self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_connections_are_named() {
        let names: Vec<String> = (10..22).map(|number| format!("c{number}")).collect();
        let all: Vec<&str> = names.iter().rev().map(String::as_str).collect();
        let message = InUse::by(all.clone()).message;
        assert!(message.contains(": c10, c11, c12, c13, c14, c15, c16, c17, c18, c19 and 2 more. "), "{message}");
        let message = InUse::by(all[..2].to_vec()).message;
        assert!(message.contains(": c20, c21. "), "{message}");
        assert!(InUse::by_many(1).message.starts_with("1 BitbucketConnection still uses"));
        assert!(InUse::by_many(3).message.starts_with("3 BitbucketConnections still use"));
    }
}
