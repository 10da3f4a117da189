//! The dictionary of the cache: two connections as the operator writes them, the usual one last.

use serde_json::json;

use super::{asked, connection, keep, of_connections, owner_id};
use crate::{
    api::{BitbucketConnection, BitbucketConnectionStatus, CONNECTION_FINALIZER, ConnectionStatus},
    domain::{
        conditions::{Judgement, Reason, types},
        credential::Credentials,
        expiry::Declared,
        scopes,
        spec::{self, InstanceKind},
        status::{self, Findings, Pass},
        verdict::{Accepted, Account, Verdict},
    },
};

const FILE: &str = "src/controller/cached/dictionary.json";

/// A connection that a pass has looked at, whose token has these scopes.
pub fn passed(granted: &str, spec: &serde_json::Value) -> BitbucketConnection {
    let mut object: BitbucketConnection = serde_json::from_value(json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
        "kind": "BitbucketConnection",
        "metadata": {
            "name": "payments", "namespace": "team-a", "uid": "33333333-3333-4333-8333-333333333333",
            "resourceVersion": "1000", "generation": 1, "finalizers": [CONNECTION_FINALIZER],
        },
        "spec": spec,
    }))
    .expect("an object");
    let spec = spec::validate("payments", &object.spec).expect("a good spec");
    let account = Account {
        uuid: Some("{44444444-4444-4444-8444-444444444444}".to_owned()),
        username: Some("bot".to_owned()),
        display_name: Some("Bot".to_owned()),
    };
    let token = asked(Verdict::Accepted(Accepted {
        account: Some(account),
        granted: Some(scopes::parse_header(granted)),
        ..Accepted::default()
    }));
    let held = connection();
    let credentials = Credentials::parse("bot@example.com", "token").expect("good values");
    let in_step = of_connections().into_iter().find(|it| it.reason == Reason::InSync.as_str()).expect("an example");
    let now = "2026-03-01T00:00:00Z".parse().expect("a time");
    let findings = Findings {
        token: Some(&token),
        secret_version: Some("55555555-5555-4555-8555-555555555555/1000"),
        declared: Declared { secret: Some("2027-03-01"), ..Declared::default() },
        synced: Judgement::new(Reason::InSync, in_step.message),
        connection: Some(ConnectionStatus {
            id: held.id,
            name: held.name,
            description: Some(held.description),
            project_id: held.project_id,
            org_id: Some("66666666-6666-4666-8666-666666666666".to_owned()),
            origin: "Created".to_owned(),
            kms_ref: super::instance(InstanceKind::Cluster).to_string(),
            host: "https://app.kms.hanzo.ai".to_owned(),
            credentials_hash: Some("0".repeat(64)),
            token_fingerprint: Some(credentials.fingerprint(&owner_id()).to_string()),
        }),
        tells: &[],
        pending: &[],
        verified_at: Some(now),
        requested: None,
        release: false,
    };
    let before = BitbucketConnectionStatus::default();
    let report = status::report(&Pass {
        now,
        uid: "33333333-3333-4333-8333-333333333333",
        generation: Some(1),
        before: &before,
        spec: Some(&spec),
        interval: spec.interval,
        started: now,
        findings: Some(findings),
    });
    object.status = Some(report.status);
    object
}

/// A connection with nothing wrong.
pub fn good() -> BitbucketConnection {
    let granted = "read:user, read:workspace, read:repository, read:webhook, write:webhook, delete:webhook";
    passed(
        granted,
        &json!({
            "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78", "description": "Repositories of the payments team",
            "contact": "team-a@example.com", "secretRef": {"name": "bitbucket-token"},
            "scopes": {"useCases": ["SecretScanning"]},
        }),
    )
}

/// A connection whose token lacks nearly all of what every use case needs.
pub fn lacking() -> BitbucketConnection {
    passed(
        "read:user, read:account",
        &json!({
            "kmsRef": {"kind": "ClusterKmsInstance", "name": "default"},
            "organizationScope": true, "connectionName": "payments", "secretRef": {"name": "bitbucket-token"},
            "scopes": {"useCases": ["SecretScanning", "SecretSync", "CodeReview"], "onMissing": "Block"},
            "expiry": {"warnBefore": ["30d", "14d", "7d", "3d", "1d"]}, "interval": "1h",
        }),
    )
}

#[test]
fn words_of_the_dictionary() {
    let texts = [lacking(), good()].map(|object| serde_json::to_string(&object).expect("JSON"));
    assert!(texts[1].contains(r#""type":"Ready""#) && texts[1].contains(types::EXPIRING_SOON), "{}", texts[1]);
    keep(FILE, &(texts.join("\n") + "\n"));
}
