//! What each reason of an instance means, for people who look a word up: docs/conditions.md is written from this.

use super::{InUse, InstanceReason};
use crate::domain::conditions::About;

const fn about(meaning: &'static str, cause: &'static str, cure: &'static str) -> About {
    About { meaning, cause, cure }
}

impl InstanceReason {
    /// What it means.
    pub const fn about(self) -> About {
        match self {
            Self::Authenticated => About::good(
                "The operator can log in to the KMS, and connections may use the instance.",
                "The last login went well. A restart of the operator relies on it until a connection needs a session.",
            ),
            Self::AuthenticationFailed => about(
                "The KMS, or the cluster, refuses the login.",
                "A client secret that was revoked or has expired, another identity, or no right to mint tokens.",
                "What the message says; then change the Secret or the instance.",
            ),
            Self::IdentityLocked => about(
                "The KMS has locked the machine identity after failed logins, for some minutes.",
                "Somebody logs in with wrong credentials; the operator doesn't repeat a refused login within 5 minutes.",
                "Find out who else uses the identity. The lock ends by itself.",
            ),
            Self::SecretNotFound => about(
                "Something that the instance names isn't there: the Secret, the ServiceAccount, or what holds its CAs.",
                "It was not created yet, or is not in the namespace of the instance (`spec.namespace` in the cluster kind).",
                "Create it there.",
            ),
            Self::SecretKeyMissing => about(
                "The Secret lacks a key, or has nothing in it.",
                "Another tool names keys differently.",
                "Add the key, or name yours in `secretRef`.",
            ),
            Self::CaInvalid => about(
                "What `spec.tls.caRef` names holds no CA certificates. Nothing was sent.",
                "The key is missing or named differently, or what is behind it is not PEM, or cut off.",
                "Put the CA certificates (PEM) there, or name another key in `spec.tls.caRef`.",
            ),
            Self::TlsFailed => about(
                "The certificate of the KMS is not trusted. Nothing was sent.",
                "It has expired, is for another name, or comes from a CA that the operator doesn't know.",
                "Have it renewed, correct `spec.host`, or name its CA in `spec.tls.caRef`.",
            ),
            Self::Unreachable => about(
                "The KMS, or the API server that mints a token for it, gave no usable answer.",
                "An outage, a proxy, a NetworkPolicy, or a limit of the KMS.",
                "Nothing as long as it passes by itself. If it lasts, look at the way from the cluster to the host.",
            ),
            Self::ApiNotOffered => about(
                "What answers at the host is no KMS with this login.",
                "The host is another program's, or the KMS is of another version.",
                "Correct `spec.host`.",
            ),
            Self::HostNotAllowed => about(
                "The operator may not talk to this host. Nothing was sent to it.",
                "`--allowed-kms-hosts` doesn't name it: who may create an instance must not be able to send Secrets anywhere.",
                "Correct `spec.host`, or have an administrator of the operator allow the host.",
            ),
            Self::InsecureHost => about(
                "The host is an http URL, over which credentials would travel in the clear. Nothing was sent to it.",
                "`--allow-insecure-kms` is not set.",
                "Write https into `spec.host`.",
            ),
        }
    }
}

impl InUse {
    /// What it means.
    pub const fn about() -> About {
        about(
            "The instance is being deleted, and waits for the connections that use it. Ready is not touched by this.",
            "Without the instance nobody could delete its connections in the KMS.",
            "Delete the connections that use it; it goes away with the last of them.",
        )
    }
}
