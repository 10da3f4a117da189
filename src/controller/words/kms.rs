//! What Synced says.

use std::time::Duration;

use super::{super::errors, Example, asked, connection, every_variant, instance, judged, owner, spec, spec_of, values};
use crate::{
    api::ConnectionStatus,
    domain::{
        access,
        conditions::{Judgement, types},
        connection::{KmsConnection, KmsScope},
        grants::Denied,
        login::AuthMethod,
        ownership::{Origin, Ownership},
        plan::{self, Remote, Wanted},
        scopes,
        spec::{ConnectionSpec, DeletionPolicy, InstanceKind, InstanceRef, Management, SpecProblem, validate},
        token::Token,
        verdict::{Accepted, NoVerdict, Refusal, Verdict},
    },
    kms::{CERTIFICATE_NOT_TRUSTED, KmsError, LoginError},
};
use serde_json::{Value, json};

fn project() -> KmsScope {
    spec().scope
}

/// What can be wrong with a spec that the schema lets pass.
fn spec_problems() -> Vec<(&'static str, SpecProblem)> {
    let of = |name: &str, changed: &Value| {
        let mut raw = json!({"secretRef": {"name": "bitbucket-token"}, "scopes": {"useCases": ["SecretScanning"]}});
        raw.as_object_mut().expect("an object").extend(changed.as_object().cloned().unwrap_or_default());
        validate(name, &serde_json::from_value(raw).expect("a spec")).expect_err("a bad spec")
    };
    let with = |field: &str, value: &Value| of("payments", &json!({"organizationScope": true, field: value}));
    vec![
        ("a name with a dot", of("payments.v2", &json!({"organizationScope": true}))),
        ("a long description", with("description", &json!("😀".repeat(101)))),
        ("no scope", of("payments", &json!({}))),
        ("no id of a project", of("payments", &json!({"projectId": "payments"}))),
        ("an unknown kind of instance", with("kmsRef", &json!({"kind": "Kms", "name": "default"}))),
        ("an instance without a name", with("kmsRef", &json!({"name": ""}))),
        ("a Secret without a name", with("secretRef", &json!({"name": ""}))),
        ("an unknown use case", with("scopes", &json!({"useCases": ["Everything"]}))),
        ("no use case", with("scopes", &json!({}))),
        ("no name of a scope", with("scopes", &json!({"additional": ["read issues"]}))),
        ("an unknown onMissing", with("scopes", &json!({"useCases": ["CodeReview"], "onMissing": "Ask"}))),
        ("an unknown onExcess", with("scopes", &json!({"useCases": ["CodeReview"], "onExcess": "Ask"}))),
        ("no slug", with("workspaces", &json!(["Hanzo Payments"]))),
        ("no duration", with("expiry", &json!({"warnBefore": ["soon"]}))),
        ("an interval out of bounds", with("interval", &json!("1s"))),
        ("an unknown adoptionPolicy", with("adoptionPolicy", &json!("Ask"))),
        ("an unknown managementPolicy", with("managementPolicy", &json!("Ask"))),
    ]
}

/// Why an instance doesn't let itself be used.
fn denials() -> Vec<(&'static str, Denied)> {
    vec![("no grant", Denied::Namespace), ("no grant for the project", Denied::Scope)]
}

/// What the KMS can answer to a request; of a reason the usual case comes first.
fn errors_of_kms() -> Vec<(&'static str, KmsError)> {
    vec![
        (
            "an instance that can't log in",
            KmsError::Login(LoginError::InvalidCredentials { method: AuthMethod::Universal }),
        ),
        ("no right", KmsError::PermissionDenied { action: "create".to_owned() }),
        ("an outage of the KMS", KmsError::Unavailable { what: "HTTP 503".to_owned() }),
        ("a connection that went away", KmsError::NotFound),
        ("a name that is taken, found out late", KmsError::NameTaken),
        ("an unknown project", KmsError::UnknownProject),
        ("a connection in use", KmsError::InUse),
        ("a token that the KMS can't use", KmsError::CredentialsRefused { status: 401 }),
        ("a token that the KMS can't check", KmsError::CredentialsNotChecked),
        ("a connection to something else", KmsError::OtherApp),
        ("no app connections", KmsError::NotOffered),
        ("the KMS's limit", KmsError::RateLimited { retry_after: None }),
        ("our own limit for the KMS", KmsError::NotYet { wait: Duration::from_secs(60) }),
        ("words of the KMS", KmsError::Rejected { status: 422, message: "description: Must be plain text".to_owned() }),
    ]
}

fn remotes() -> Vec<(&'static str, Remote)> {
    vec![
        ("nothing yet", Remote::Absent),
        ("in step", Remote::Ours(connection())),
        ("a name that is taken", Remote::NameTaken),
        ("a name that is taken, and could be adopted", Remote::Adoptable(described("made by hand"))),
        ("a KMS without projects", Remote::NoProjects),
        ("a connection for the whole organization", Remote::Misplaced(connection())),
        ("another KMS", Remote::HostChanged),
        ("two connections with the mark", Remote::Ambiguous),
        ("a lost mark", Remote::NotOurs(described("edited"), Ownership::Unmarked)),
        ("another's mark", Remote::NotOurs(described("taken"), Ownership::Another)),
    ]
}

/// What the status says of the connection.
fn recorded() -> ConnectionStatus {
    let KmsConnection { id, name, project_id, .. } = connection();
    let kms_ref = instance(InstanceKind::Cluster).to_string();
    let origin = Origin::Created.as_str().to_owned();
    let host = "https://app.kms.hanzo.ai".to_owned();
    ConnectionStatus { id, name, project_id, origin, kms_ref, host, ..ConnectionStatus::default() }
}

/// A connection of that description.
fn described(description: &str) -> KmsConnection {
    KmsConnection { description: description.to_owned(), ..connection() }
}

fn good() -> Token {
    let granted = Some(scopes::required(&[scopes::UseCase::SecretScanning], &[]));
    asked(Verdict::Accepted(Accepted { granted, ..Accepted::default() }))
}

/// What Synced says of an object that has all that it needs but what the arguments say.
fn planned(spec: &ConnectionSpec, token: &Token, remote: &Remote) -> Judgement {
    planned_with(spec, token, remote, true)
}

fn planned_with(spec: &ConnectionSpec, token: &Token, remote: &Remote, adoption_granted: bool) -> Judgement {
    let wanted = Wanted {
        spec,
        owner: &owner(),
        token,
        recorded: Some(&recorded()),
        spec_changed: false,
        secret_changed: true,
        adoption_granted,
        lost: &[],
        finalizer: true,
    };
    let plan = plan::plan(&wanted, remote);
    if spec.management == Management::Observe { plan::observed(plan).synced } else { plan.synced }
}

/// What Synced says.
pub fn synced() -> Vec<Example> {
    let (cluster, own) = (instance(InstanceKind::Cluster), instance(InstanceKind::Namespaced));
    let of_spec = spec_problems().into_iter().map(|(case, problem)| (case, problem.judgement()));
    let denied =
        denials().into_iter().map(|(case, denied)| (case, access::denied(denied, &cluster, "team-a", &project())));
    let of_kms = errors_of_kms().into_iter().map(|(case, error)| (case, errors::synced(&error, &cluster, &project())));
    let of_remote = remotes().into_iter().map(|(case, remote)| (case, planned(&spec(), &good(), &remote)));
    let all = of_spec.chain(denied).chain(of_remote).chain(of_kms).chain(others(&cluster, &own)).chain(deletions());
    judged(types::SYNCED, all.collect())
}

fn others(cluster: &InstanceRef, own: &InstanceRef) -> Vec<(&'static str, Judgement)> {
    let adopt = spec_of(&json!({"adoptionPolicy": "Adopt"}));
    let observe = spec_of(&json!({"managementPolicy": "Observe"}));
    let organization = spec_of(&json!({"projectId": null, "organizationScope": true}));
    let refused = || asked(Verdict::Refused(Refusal::Dead));
    let unknown = || asked(Verdict::Unknown(NoVerdict::Forbidden));
    let hand_made = |text: &str| Remote::Adoptable(described(text));
    let short_names =
        KmsError::Rejected { status: 422, message: "name: name field must be at most 32 characters".to_owned() };
    let untrusted = LoginError::Unavailable { what: CERTIFICATE_NOT_TRUSTED.to_owned() };
    let outage = errors::login(&LoginError::Unavailable { what: "no connection".to_owned() });
    vec![
        ("a name that the KMS refuses", errors::synced(&short_names, cluster, &project())),
        (
            "a connection for the whole organization that can't be deleted",
            plan::left_behind(&errors::synced(
                &KmsError::Unavailable { what: "HTTP 503".to_owned() },
                cluster,
                &project(),
            )),
        ),
        ("no instance", access::no_instance(cluster)),
        ("no instance of the namespace", access::no_instance(own)),
        ("an operator of some namespaces", access::not_served(cluster)),
        ("no grant for the organization", access::denied(Denied::Scope, cluster, "team-a", &KmsScope::Organization)),
        (
            "an instance of the namespace whose client secret has expired",
            errors::not_ready(own, &errors::login(&LoginError::SecretExpired)),
        ),
        ("an instance of the namespace with an outage", errors::not_ready(own, &outage)),
        (
            "an instance whose certificate isn't trusted",
            errors::synced(&KmsError::Login(untrusted), cluster, &project()),
        ),
        ("an instance with an outage", errors::not_ready(cluster, &outage)),
        (
            "no right at the organization",
            errors::synced(&KmsError::PermissionDenied { action: "read".to_owned() }, cluster, &KmsScope::Organization),
        ),
        (
            "an organization that isn't known",
            errors::synced(&KmsError::UnknownProject, cluster, &KmsScope::Organization),
        ),
        ("a refused token", planned(&spec(), &refused(), &Remote::Ours(connection()))),
        ("a token that nobody has judged", planned(&spec(), &unknown(), &Remote::Ours(connection()))),
        ("in step in the organization", planned(&organization, &good(), &Remote::Ours(connection()))),
        ("a connection that nobody let us adopt", planned_with(&adopt, &good(), &hand_made("made by hand"), false)),
        ("a long text to adopt", planned(&adopt, &good(), &hand_made(&"x".repeat(250)))),
        ("changes that wait", planned(&observe, &good(), &Remote::Absent)),
        ("no token to create with", planned(&spec(), &refused(), &Remote::Absent)),
        ("no token to adopt with", planned(&adopt, &refused(), &hand_made("made by hand"))),
        ("an unreadable spec", plan::unplanned(&Remote::Absent).synced),
    ]
}

/// What a deletion says that can't go on.
fn deletions() -> Vec<(&'static str, Judgement)> {
    let cluster = instance(InstanceKind::Cluster);
    let recorded = recorded();
    let of = |remote: Remote| plan::deletion(Some(DeletionPolicy::Delete), Some(&recorded), &remote).synced;
    let after = |error: &KmsError| of(Remote::Unreadable(errors::synced(error, &cluster, &project())));
    vec![
        ("a deletion of what is in use", after(&KmsError::InUse)),
        ("a deletion without the right", after(&KmsError::PermissionDenied { action: "delete".to_owned() })),
        ("a deletion during an outage", after(&KmsError::Unavailable { what: "HTTP 503".to_owned() })),
        ("a deletion without the instance", of(Remote::Unreadable(access::instance_gone(&cluster)))),
        ("a deletion by an operator of some namespaces", of(Remote::Unreadable(access::no_longer_served(&cluster)))),
        ("a deletion of one of two", of(Remote::Ambiguous)),
        ("a deletion in another KMS", of(Remote::HostChanged)),
    ]
}

fn project_unknown() -> Judgement {
    errors::synced(&KmsError::UnknownProject, &instance(InstanceKind::Cluster), &project())
}

#[test]
fn every_answer_of_the_kms_is_told() {
    every_variant!(
        SpecProblem,
        values(spec_problems()),
        SpecProblem::InvalidName(_),
        SpecProblem::DescriptionTooLong,
        SpecProblem::Invalid { .. },
    );
    every_variant!(Denied, values(denials()), Denied::Namespace, Denied::Scope);
    every_variant!(
        KmsError,
        values(errors_of_kms()),
        KmsError::Login(_),
        KmsError::PermissionDenied { .. },
        KmsError::NotFound,
        KmsError::NameTaken,
        KmsError::UnknownProject,
        KmsError::InUse,
        KmsError::CredentialsRefused { .. },
        KmsError::CredentialsNotChecked,
        KmsError::OtherApp,
        KmsError::NotOffered,
        KmsError::RateLimited { .. },
        KmsError::NotYet { .. },
        KmsError::Unavailable { .. },
        KmsError::Rejected { .. },
    );
    every_variant!(
        Remote,
        // What can't be read says what the answer of the KMS says.
        values(remotes()).chain([Remote::Unreadable(project_unknown())]),
        Remote::Unreadable(_),
        Remote::Absent,
        Remote::Misplaced(_),
        Remote::NoProjects,
        Remote::Ours(_),
        Remote::NotOurs(..),
        Remote::Ambiguous,
        Remote::NameTaken,
        Remote::Adoptable(_),
        Remote::HostChanged,
    );
}
