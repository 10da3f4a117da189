//! Which CAs an instance trusts besides those of the system, and what to say where they are missing.

use std::fmt;

use super::{
    instance::{InstanceJudgement, InstanceReason},
    names,
};
use crate::api::Tls;

/// The key that holds CAs, unless another is named: as cert-manager, trust-manager and the cluster's own kube-root-ca.crt
/// call it.
const KEY: &str = "ca.crt";

/// What something can be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        })
    }
}

/// Where more CAs of an instance are, in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaSource {
    /// In a ConfigMap or a Secret.
    pub kind: SourceKind,
    /// Its name.
    pub name: String,
    /// The key that holds them.
    pub key: String,
}

impl CaSource {
    /// What `spec.tls` says; nothing if it names none.
    pub fn of(tls: Option<&Tls>) -> Result<Option<Self>, InstanceJudgement> {
        let Some(Tls { ca_ref }) = tls else { return Ok(None) };
        let kind = match ca_ref.kind.as_str() {
            "ConfigMap" => SourceKind::ConfigMap,
            "Secret" => SourceKind::Secret,
            // The schema refuses it.
            _ => return Err(invalid("spec.tls.caRef.kind is neither ConfigMap nor Secret; write one of them.")),
        };
        // As part of an address such a name could lead elsewhere; the schema refuses it too.
        if !names::is_object_name(&ca_ref.name) {
            return Err(invalid(format!(
                "spec.tls.caRef.name is no name that a {kind} can have; write one of lower case letters, digits, '-' and '.'."
            )));
        }
        let key = ca_ref.key.clone().unwrap_or_else(|| KEY.to_owned());
        Ok(Some(Self { kind, name: ca_ref.name.clone(), key }))
    }

    /// The ConfigMap or Secret isn't there.
    ///
    /// Of the reasons there are, SecretNotFound is the one that waits for something to appear: an instance that is applied
    /// before its CAs has not failed.
    pub fn missing(&self, namespace: &str) -> InstanceJudgement {
        let Self { kind, name, key } = self;
        InstanceJudgement::new(
            InstanceReason::SecretNotFound,
            format!(
                "There is no {kind} {name} in namespace {namespace}, which spec.tls.caRef names. Create it with the trusted CA certificates (PEM) in key {key}; it is picked up at once."
            ),
        )
    }

    /// It has nothing behind that key.
    pub fn no_key(&self, namespace: &str) -> InstanceJudgement {
        let Self { kind, name, key } = self;
        invalid(format!(
            "{kind} {name} in namespace {namespace} has no key {key}, or nothing in it. Put the trusted CA certificates (PEM) there, or name another key in spec.tls.caRef."
        ))
    }

    /// What is behind that key are no CAs. It is never repeated: a private key may be there by mistake.
    pub fn unreadable(&self, namespace: &str) -> InstanceJudgement {
        let Self { kind, name, key } = self;
        invalid(format!(
            "What key {key} of {kind} {name} in namespace {namespace} holds can't be read as CA certificates. Put PEM there: one or more blocks from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----, each whole. It is picked up at once."
        ))
    }
}

fn invalid(message: impl Into<String>) -> InstanceJudgement {
    InstanceJudgement::new(InstanceReason::CaInvalid, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(ca_ref: Value) -> Result<Option<CaSource>, InstanceJudgement> {
        CaSource::of(Some(&serde_json::from_value(json!({ "caRef": ca_ref })).expect("a tls")))
    }

    #[test]
    fn a_reference_is_read() {
        let source = |kind, key: &str| CaSource { kind, name: "kms-ca".to_owned(), key: key.to_owned() };
        let table = [
            (json!({"kind": "ConfigMap", "name": "kms-ca"}), source(SourceKind::ConfigMap, "ca.crt")),
            (json!({"kind": "Secret", "name": "kms-ca", "key": "tls.crt"}), source(SourceKind::Secret, "tls.crt")),
        ];
        for (ca_ref, expected) in table {
            assert_eq!(of(ca_ref), Ok(Some(expected)));
        }
        assert_eq!(CaSource::of(None), Ok(None));
        for (kind, name) in [("Bundle", "kms-ca"), ("Secret", ""), ("ConfigMap", "../secrets/token"), ("Secret", "..")]
        {
            let refused = of(json!({"kind": kind, "name": name})).expect_err("nothing that can be looked up");
            assert_eq!(refused.reason, InstanceReason::CaInvalid, "{kind} {name}");
        }
    }

    #[test]
    fn every_message_says_where() {
        let source = CaSource { kind: SourceKind::ConfigMap, name: "kms-ca".to_owned(), key: "bundle.pem".to_owned() };
        for (judgement, reason) in [
            (source.missing("team-a"), InstanceReason::SecretNotFound),
            (source.no_key("team-a"), InstanceReason::CaInvalid),
            (source.unreadable("team-a"), InstanceReason::CaInvalid),
        ] {
            assert_eq!(judgement.reason, reason);
            for word in ["ConfigMap kms-ca in namespace team-a", "key bundle.pem", "PEM"] {
                assert!(judgement.message.contains(word), "{}", judgement.message);
            }
        }
    }
}
