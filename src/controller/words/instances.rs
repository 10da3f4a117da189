//! What KmsInstance and ClusterKmsInstance say.

use serde_json::{Value, json};

use super::{super::errors, Example, every_variant, values};
use crate::{
    domain::{
        conditions::types,
        host::HostProblem,
        instance::{InUse, InstanceJudgement},
        login::{self, AuthMethod, Login, SecretValue, Source},
        trust::CaSource,
    },
    kms::{CERTIFICATE_NOT_TRUSTED, LoginError, NoProof},
};

const NAMESPACE: &str = "team-a";

fn host_problems() -> Vec<(&'static str, HostProblem)> {
    vec![
        ("a host that isn't allowed", HostProblem::NotAllowed),
        ("a host that is none", HostProblem::NotAHost),
        ("http", HostProblem::Insecure),
    ]
}

fn no_proofs() -> Vec<(&'static str, NoProof)> {
    let user = "system:serviceaccount:kms-system:bitbucket-connection-operator";
    vec![
        ("no right to mint", NoProof::Denied(login::minting_denied(NAMESPACE, "kms-login", Some(user)))),
        ("no right to mint, for who knows whom", NoProof::Denied(login::minting_denied(NAMESPACE, "kms-login", None))),
        ("no ServiceAccount", NoProof::Missing(login::no_service_account(NAMESPACE, "kms-login"))),
        ("a refused TokenRequest", NoProof::Unavailable(login::minting_failed(NAMESPACE, "kms-login", Some(422)))),
        ("no answer to a TokenRequest", NoProof::Unavailable(login::minting_failed(NAMESPACE, "kms-login", None))),
    ]
}

/// Why a login fails; of a reason the usual case comes first.
fn login_errors() -> Vec<(&'static str, LoginError)> {
    let unavailable = |what: &str| LoginError::Unavailable { what: what.to_owned() };
    let (method, message) = (AuthMethod::Universal, "Access denied from this address.".to_owned());
    let refused = AuthMethod::ALL.map(|method| {
        let case = match method {
            AuthMethod::Universal => "a refused client secret",
            AuthMethod::Token => "a refused access token",
            AuthMethod::Ldap => "a refused password",
            AuthMethod::Jwt => "a refused JWT",
            AuthMethod::Kubernetes => "a refused token of a ServiceAccount",
            AuthMethod::Oidc => "a refused token of a ServiceAccount, by OIDC",
        };
        (case, LoginError::InvalidCredentials { method })
    });
    let others = [
        ("no answer to a login", unavailable("HTTP 503")),
        ("words of the KMS about a login", LoginError::Refused { method, message: message.clone() }),
        ("a client secret past its end", LoginError::SecretExpired),
        ("a client secret without uses", LoginError::UsageLimitReached),
        ("a locked identity", LoginError::Locked),
        ("a refused session", LoginError::SessionRefused { message }),
        ("a limit of logins", LoginError::RateLimited { retry_after: None }),
        ("no KMS", LoginError::NotOffered),
        ("a certificate that isn't trusted", unavailable(CERTIFICATE_NOT_TRUSTED)),
    ];
    let unproven = no_proofs().into_iter().map(|(case, proof)| (case, LoginError::NoProof(proof)));
    refused.into_iter().chain(others).chain(unproven).collect()
}

/// What the Secret of an instance can lack, by method and value.
fn secrets() -> Vec<(&'static str, InstanceJudgement)> {
    let of = |field: &str, auth: Value| Login::of(&serde_json::from_value(json!({ field: auth })).expect("an auth"));
    let secret = json!({"name": "kms-login"});
    let with_id = json!({"identityId": "me", "secretRef": secret});
    let table = [
        ("no Secret for universal", "no key for universal", of("universal", json!({"secretRef": secret}))),
        ("no Secret for token", "no key for token", of("token", json!({"secretRef": secret}))),
        ("no Secret for ldap", "no key for ldap", of("ldap", with_id.clone())),
        ("no Secret for jwt", "no key for jwt", of("jwt", with_id)),
    ];
    let told = table.into_iter().flat_map(|(no_secret, no_key, login)| {
        let login = login.expect("a method");
        let Source::Secret { name, values } = &login.source else { unreachable!("it comes from a Secret") };
        let value = values.last().expect("a value");
        [
            (no_secret, InstanceJudgement::no_secret(login.method, values, name, NAMESPACE)),
            (no_key, InstanceJudgement::no_key(login.method, value, name, NAMESPACE)),
        ]
    });
    told.collect()
}

/// What can be wrong with the CAs that an instance names.
fn cas() -> Vec<(&'static str, InstanceJudgement)> {
    let of = |kind: &str| {
        let tls = json!({"caRef": {"kind": kind, "name": "kms-ca"}});
        CaSource::of(Some(&serde_json::from_value(tls).expect("a tls")))
    };
    let source = of("ConfigMap").ok().flatten().expect("a source");
    vec![
        ("no CAs under that key", source.no_key(NAMESPACE)),
        ("CAs that can't be read", source.unreadable(NAMESPACE)),
        ("no ConfigMap of CAs", source.missing(NAMESPACE)),
        ("CAs in something else", of("Bundle").expect_err("no kind")),
    ]
}

/// What no value of a Secret can be.
fn lines() -> (&'static str, InstanceJudgement) {
    let value = SecretValue { key: "clientSecret".to_owned(), what: "client secret", field: "clientSecret" };
    let judgement = InstanceJudgement::not_one_line(AuthMethod::Universal, &value, "kms-login", NAMESPACE);
    ("a client secret of several lines", judgement)
}

/// All that instances say.
pub fn all() -> Vec<Example> {
    let hosts = host_problems().into_iter().map(|(case, problem)| (case, InstanceJudgement::host(problem)));
    let logins = login_errors().into_iter().map(|(case, error)| (case, errors::login(&error)));
    let ready = [("a login that went well", InstanceJudgement::authenticated())].into_iter();
    let others = [("no method", InstanceJudgement::no_method()), lines()];
    let ready = ready.chain(secrets()).chain(cas()).chain(logins).chain(hosts).chain(others);
    let ready = ready.map(|(case, judgement)| Example::new(case, types::READY, &judgement));
    let names = vec!["payments", "web"];
    let waiting = [
        ("connections of the namespace", InUse::by(names)),
        ("many connections of the namespace", InUse::by(vec!["payments"; 12])),
        ("one connection of the cluster", InUse::by_many(1)),
        ("connections of the cluster", InUse::by_many(12)),
    ];
    let waiting = waiting.map(|(case, in_use)| Example::new(case, types::DELETION_WAITING, &in_use));
    ready.chain(waiting).collect()
}

#[test]
fn every_failure_of_a_login_is_told() {
    every_variant!(
        HostProblem,
        values(host_problems()),
        HostProblem::NotAHost,
        HostProblem::NotAllowed,
        HostProblem::Insecure
    );
    every_variant!(NoProof, values(no_proofs()), NoProof::Denied(_), NoProof::Missing(_), NoProof::Unavailable(_));
    every_variant!(
        LoginError,
        values(login_errors()),
        LoginError::NoProof(_),
        LoginError::InvalidCredentials { .. },
        LoginError::Locked,
        LoginError::SecretExpired,
        LoginError::UsageLimitReached,
        LoginError::Refused { .. },
        LoginError::SessionRefused { .. },
        LoginError::RateLimited { .. },
        LoginError::NotOffered,
        LoginError::Unavailable { .. },
    );
}
