//! A connection comes into being, and follows its spec.

use bitbucket_connection_operator::api::{BitbucketConnection, CONNECTION_FINALIZER};
use kube::ResourceExt;
use serde_json::{Value, json};
use sim::{Caller, Connection, Fault, Match, Operation, State};

use crate::harness::{EMAIL, Kstatus, PROJECT, SECRET, TOKEN, World, assert_condition, in_time, kstatus};

fn status_of(bbc: &BitbucketConnection) -> Value {
    serde_json::to_value(&bbc.status).expect("a status")
}

fn has_finalizer(bbc: &BitbucketConnection) -> bool {
    bbc.finalizers().iter().any(|finalizer| finalizer == CONNECTION_FINALIZER)
}

/// The mark at the end of a description.
fn mark(description: Option<&str>) -> &str {
    let description = description.unwrap_or_default();
    let mark = &description[description.rfind("[k8s:").expect("a mark")..];
    assert_eq!(mark.len(), "[k8s:0123456789abcdef:c]".len(), "{description}");
    assert!(mark.ends_with(":c]"), "{description}");
    mark
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_created_once_and_its_status_tells_all() {
    let world = World::start().await;
    world.secret_with(SECRET, json!({"email": EMAIL, "token": TOKEN, "expiresAt": "2031-03-01"})).await;
    world.bitbucket.edit(TOKEN, |token| token.scopes.push("read:issue:bitbucket".to_owned()));
    world.instance().await;
    world.connection("payments").apply().await;
    let bbc = world.ready("payments").await;

    let row = world.row("payments");
    let status = status_of(&bbc);
    let host = world.kms.url();
    assert_eq!(
        status["connection"],
        json!({
            "id": row.id, "name": "payments", "description": row.description, "projectId": PROJECT, "orgId": sim::ORG_ID, "origin": "Created",
            "kmsRef": "KmsInstance/kms", "host": host, "credentialsHash": row.credentials_hash,
            "tokenFingerprint": status["token"]["fingerprint"],
        })
    );
    assert_eq!(status["account"]["username"], "bot");
    assert_eq!(status["account"]["displayName"], "bot");
    assert!(status["account"]["uuid"].as_str().is_some_and(|uuid| uuid.starts_with('{')));
    let scopes = |field: &str| status["scopes"][field].as_array().map_or(0, Vec::len);
    assert_eq!((scopes("required"), scopes("granted"), scopes("missing"), scopes("excess")), (6, 7, 0, 1), "{status}");
    assert_eq!(status["token"]["fingerprint"].as_str().map(str::len), Some(16));
    assert_eq!(status["token"]["expiresAt"], "2031-03-01T00:00:00Z");
    assert_eq!(status["token"]["expirySource"], "Secret");
    for time in ["lastVerifiedTime", "nextVerificationTime"] {
        assert!(status[time].is_string(), "{time}: {status}");
    }
    assert!(status["token"]["firstSeenTime"].is_string());
    assert!(status["token"]["secretVersion"].is_string());
    assert_eq!(status["observedGeneration"].as_i64(), bbc.metadata.generation);
    assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &["Bitbucket accepts the token"]);
    assert_condition(&bbc, "ScopesSufficient", "True", "WarnOnly", &["read:issue:bitbucket"]);
    assert_condition(&bbc, "Synced", "True", "InSync", &["payments", "its project"]);
    assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
    assert_condition(&bbc, "ExpiringSoon", "False", "OutsideWindow", &[]);
    assert_eq!(kstatus(&bbc), Kstatus::Current);
    assert!(has_finalizer(&bbc));

    // A date five years ahead is told too: it can't be right.
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "ExpiryImplausible"]);
    let created = world.events("payments").await.into_iter().find(|(_, reason, _)| reason == "ConnectionCreated");
    let (kind, _, note) = created.expect("the event");
    assert_eq!(kind, "Normal");
    assert!(note.contains("payments"), "{note}");
    assert_eq!((world.bitbucket.calls_by(Caller::Operator), world.kms.writes(), world.kms.logins()), (1, 1, 1));
    assert_eq!((world.kms.lists(), world.kms.gets()), (1, 0), "its share of a list, and nothing else");
    let verified = world.bitbucket.matching(&Match::op(Operation::User).caller(Caller::Operator))[0].seq;
    let written = world.kms.matching(&Match::op(Operation::Create))[0].seq;
    assert!(verified < written, "the token is verified before it is written");
    world.assert_silent(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kms_is_sent_exactly_what_it_takes() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let padded = json!({"user": format!(" {EMAIL}\n"), "pass": format!("\t{TOKEN}\r\n")});
    world.secret_with("padded", padded).await;
    world.instance().await;
    // change of the spec → name, text before the mark, whether in the project
    let table = [
        ("plain", json!({}), "plain", "", true),
        ("renamed", json!({"connectionName": "team-a-bitbucket"}), "team-a-bitbucket", "", true),
        ("described", json!({"description": "  Für Zahlungen \n"}), "described", "Für Zahlungen", true),
        ("global", json!({"projectId": null, "organizationScope": true}), "global", "", false),
        (
            "padded",
            json!({"secretRef": {"name": "padded", "emailKey": "user", "tokenKey": "pass"}}),
            "padded",
            "",
            true,
        ),
    ];
    for (object, change, ..) in &table {
        world.connection(object).change(change.clone()).apply().await;
    }
    for (object, _, name, text, in_project) in &table {
        world.ready(object).await;
        let posts = world.kms.matching(&Match::op(Operation::Create).containing(&format!("\"name\":\"{name}\"")));
        assert_eq!(posts.len(), 1, "{object}");
        let body = posts[0].json.clone().expect("JSON");
        let description = body["description"].as_str();
        let mut expected = json!({
            "name": name,
            "method": "api-token",
            "description": format!("{text} {}", mark(description)).trim(),
            "credentials": {"email": EMAIL, "apiToken": TOKEN},
        });
        if *in_project {
            expected["projectId"] = json!(PROJECT);
        }
        assert_eq!(body, expected, "{object}");
        assert_eq!(posts[0].header("content-type"), Some("application/json"));
        assert_eq!(world.told(object).await, ["ConnectionCreated"], "{object}");
    }
    assert_eq!(world.kms.writes(), table.len());
    assert_eq!(world.bitbucket.calls_by(Caller::Operator), 1, "all objects have equal credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_finalizer_comes_right_before_the_first_write() {
    let world = World::start().await;
    world.bitbucket.fail_when(Match::op(Operation::User).times(1), Fault::Hang);
    world.kms.fail_when(Match::op(Operation::Create).times(1), Fault::Hang);
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("payments").apply().await;

    in_time("Bitbucket is asked", world.bitbucket.seen(&Match::op(Operation::User), 1)).await;
    assert!(!has_finalizer(&world.get("payments").await), "nothing was sent to the KMS yet");
    world.bitbucket.heal();
    in_time("the KMS is written to", world.kms.seen(&Match::op(Operation::Create), 1)).await;
    assert!(has_finalizer(&world.get("payments").await));
    world.kms.heal();
    world.ready("payments").await;
    assert_eq!(world.told("payments").await, ["ConnectionCreated"]);
    assert_eq!(world.kms.connections().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_reached_the_kms_is_deleted_at_once() {
    let world = World::start().await;
    for (token, state) in [("ATATT3x-revoked", State::Revoked), ("ATATT3x-forbidden", State::IpBlocked)] {
        world.issue(EMAIL, token);
        world.bitbucket.set(token, state);
    }
    world.issue(EMAIL, "ATATT3x-narrow");
    world.bitbucket.set_scopes("ATATT3x-narrow", ["read:user:bitbucket"]);
    world.instance_in_use().await;
    // Secret, or none → why it isn't Ready
    let table = [
        ("absent", None, "SecretNotFound", Kstatus::InProgress),
        ("no-key", Some(json!({"email": EMAIL})), "SecretKeyMissing", Kstatus::InProgress),
        ("git-user", Some(json!({"email": "x-token-auth", "token": TOKEN})), "SecretInvalid", Kstatus::Failed),
        ("revoked", Some(json!({"email": EMAIL, "token": "ATATT3x-revoked"})), "CredentialsRejected", Kstatus::Failed),
        ("narrow", Some(json!({"email": EMAIL, "token": "ATATT3x-narrow"})), "ScopesMissing", Kstatus::Failed),
        (
            "blocked",
            Some(json!({"email": EMAIL, "token": "ATATT3x-forbidden"})),
            "BitbucketForbidden",
            Kstatus::InProgress,
        ),
    ];
    for (name, data, ..) in &table {
        if let Some(data) = data {
            world.secret_with(name, data.clone()).await;
        }
        world.connection(name).secret(name).apply().await;
    }
    for (name, _, reason, expected) in &table {
        let bbc = world.not_ready(name, reason).await;
        assert_eq!(kstatus(&bbc), *expected, "{name}");
        assert_condition(&bbc, "Synced", "Unknown", "NotEvaluated", &["once there is a token that may be used"]);
        assert_eq!(bbc.finalizers(), [] as [String; 0], "{name}");
        assert!(bbc.status.is_some_and(|status| status.connection.is_none()), "{name}");
        world.delete(name).await;
        world.until_gone(name).await;
        assert!(!world.told(name).await.contains(&"ConnectionDeleted".to_owned()), "{name}");
    }
    assert_eq!((world.kms.writes(), world.kms.lists(), world.kms.gets()), (0, 0, 0), "the KMS isn't even asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_spec_changes_the_connection_and_nothing_else() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    let row = world.row("payments");
    let mark = mark(row.description.as_deref()).to_owned();
    // Change of the spec → bodies of the PATCHes (a name has one of its own); each is told once.
    let table = [
        (json!({"connectionName": "team-a"}), vec![json!({"name": "team-a"})]),
        (json!({"description": "Payments"}), vec![json!({"description": format!("Payments {mark}")})]),
        (json!({"description": "Zahlungen"}), vec![json!({"description": format!("Zahlungen {mark}")})]),
        (json!({"description": null}), vec![json!({"description": mark})]),
        (
            json!({"description": "Both", "connectionName": "team-b"}),
            vec![json!({"description": format!("Both {mark}")}), json!({"name": "team-b"})],
        ),
        (
            json!({"description": null, "connectionName": null}),
            vec![json!({"description": mark}), json!({"name": "payments"})],
        ),
    ];
    for (at, (change, bodies)) in table.iter().enumerate() {
        world.kms.clear_journal();
        world.patch("payments", json!({"spec": change})).await;
        let bbc = world.ready("payments").await;
        let writes = world.kms.matching(&Match::writes());
        let sent: Vec<_> = writes.iter().filter_map(|entry| entry.json.clone()).collect();
        assert_eq!(sent, *bodies, "{change}");
        assert_eq!(writes[0].path.rsplit('/').next(), Some(row.id.as_str()), "it is the same connection");
        assert_eq!(world.count_events("payments", "ConnectionUpdated").await, at + 1, "{change}");
        let name = world.kms.connections()[0].name.clone();
        assert_eq!(status_of(&bbc)["connection"]["name"], name);
        assert_eq!(
            status_of(&bbc)["connection"]["credentialsHash"],
            row.credentials_hash,
            "no credentials are written"
        );
        assert_condition(&bbc, "Synced", "True", "InSync", &[&name]);
    }
    // What isn't about the connection isn't written to the KMS.
    world.kms.clear_journal();
    world.patch("payments", json!({"spec": {"interval": "2h", "contact": "team-a@example.com"}})).await;
    world.ready("payments").await;
    assert_eq!(world.kms.writes(), 0);
    let mut expected = vec!["ConnectionCreated"];
    expected.extend(["ConnectionUpdated"; 6]);
    assert_eq!(world.told("payments").await, expected);
    assert_eq!(world.row("payments").id, row.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_email_with_the_same_token_is_written_with_it() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    world.bitbucket.edit(TOKEN, |token| token.email = "renamed@example.com".to_owned());
    world.kms.clear_journal();
    world.secret(SECRET, "renamed@example.com", TOKEN).await;
    world.until_event("payments", "ConnectionUpdated").await;
    let bbc = world.ready("payments").await;
    let sent = world.kms.matching(&Match::writes());
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].json, Some(json!({"credentials": {"email": "renamed@example.com", "apiToken": TOKEN}})));
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);
    assert_eq!(world.row("payments").email, "renamed@example.com");
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "ConnectionUpdated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_share_a_secret_share_the_question() {
    let world = World::start().await;
    // In whatever order: the Secret comes last here.
    world.connection("payments").apply().await;
    world.connection("billing").apply().await;
    world.instance().await;
    for name in ["payments", "billing"] {
        let bbc = world.not_ready(name, "SecretNotFound").await;
        assert_condition(&bbc, "CredentialsValid", "False", "SecretNotFound", &[SECRET, "Create it"]);
        assert_eq!(kstatus(&bbc), Kstatus::InProgress);
    }
    world.secret(SECRET, EMAIL, TOKEN).await;
    for name in ["payments", "billing"] {
        world.ready(name).await;
        assert_eq!(world.told(name).await, ["ConnectionCreated"], "waiting is no news");
    }
    assert_eq!(world.bitbucket.calls_by(Caller::Operator), 1);
    let (payments, billing) = (world.row("payments"), world.row("billing"));
    assert_ne!(mark(payments.description.as_deref()), mark(billing.description.as_deref()));
    world.secret_with("unrelated", json!({"token": "ATATT3x-other"})).await;
    assert_eq!(world.kms.writes(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_keeps_the_connection_under_its_old_one() {
    let world = World::start().await;
    let id = world.kms.insert(Connection::new("taken").project(PROJECT).description("Somebody's"));
    world.ready_connection("payments").await;
    let ours = world.row("payments");
    world.patch("payments", json!({"spec": {"connectionName": "taken"}})).await;
    let bbc = world.not_ready("payments", "NameConflict").await;
    assert_condition(&bbc, "Synced", "False", "NameConflict", &["taken", "connectionName"]);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    assert_eq!(status_of(&bbc)["connection"]["id"], ours.id, "what is in the KMS is still told");
    assert_eq!(status_of(&bbc)["connection"]["name"], "payments");
    assert_eq!(world.row("payments"), ours);

    world.kms.remove(&id);
    world.request_reconcile("payments").await;
    world.ready("payments").await;
    assert_eq!(world.row("taken").id, ours.id);
    assert_eq!(world.row("taken").credentials_hash, ours.credentials_hash, "credentials need not be written again");
    let expected = ["ConnectionCreated", "ConnectionUpdated", "NameConflict", "Recovered"];
    assert_eq!(world.told("payments").await, expected);
}
