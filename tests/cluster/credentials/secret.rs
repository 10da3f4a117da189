//! What is in the Secret, or isn't.

use bitbucket_connection_operator::api::BitbucketConnectionStatus;
use futures::future::join_all;
use jiff::{Span, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::{apply, good, status_writes, with, world};
use crate::harness::{EMAIL, Kstatus, TOKEN, assert_condition, kstatus};

/// Values that can't be used, and what is said about them.
struct Unusable {
    name: &'static str,
    /// Nothing: there is no Secret.
    values: Option<Value>,
    reason: &'static str,
    words: &'static [&'static str],
}

fn unusable() -> Vec<Unusable> {
    let row = |name, values, reason, words| Unusable { name, values, reason, words };
    let some = |email: &str, token: &str| Some(json!({"email": email, "token": token}));
    let missing = "SecretKeyMissing";
    let invalid = "SecretInvalid";
    vec![
        row("no-secret", None, "SecretNotFound", &["no Secret no-secret", "email", "token", "picked up at once"]),
        row("no-email", Some(json!({"token": TOKEN})), missing, &["Secret no-email", "key email", "picked up at once"]),
        row("no-token", Some(json!({"email": EMAIL})), missing, &["Secret no-token", "key token", "picked up at once"]),
        row("neither", Some(json!({"Token": TOKEN})), missing, &["Secret neither", "key email"]),
        row("empty-email", some(" \n", TOKEN), missing, &["Secret empty-email", "key email", "nothing in it"]),
        row("empty-token", some(EMAIL, ""), missing, &["Secret empty-token", "key token", "nothing in it"]),
        row("blank-token", some(EMAIL, " \n"), missing, &["Secret blank-token", "key token", "nothing in it"]),
        row("user-name", some("bot", TOKEN), invalid, &["Key email of Secret user-name", "@", "not its user name"]),
        row("git-user", some("x-token-auth", TOKEN), invalid, &["Key email of Secret git-user", "Git user name"]),
        row("git-api-user", some("x-bitbucket-api-token-auth", TOKEN), invalid, &["Key email", "Git user name"]),
        row("swapped", some(TOKEN, EMAIL), invalid, &["Key email of Secret swapped", "@"]),
        row("two-words", some(EMAIL, "token canary-word"), invalid, &["Key token of Secret two-words", "one word"]),
        row("too-long", some(EMAIL, &"t".repeat(256)), invalid, &["Key token of Secret too-long", "255"]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_values_are_told_ask_nobody_and_are_picked_up_once_mended() {
    let world = world().await;
    let rows = unusable();
    join_all(rows.iter().map(async |row| {
        if let Some(values) = &row.values {
            world.secret_with(row.name, values.clone()).await;
        }
        apply(&world, row.name).await;
        let bbc = world.until_reason(row.name, "Synced", "NotEvaluated").await;
        assert_condition(&bbc, "CredentialsValid", "False", row.reason, row.words);
        assert_condition(&bbc, "ScopesSufficient", "Unknown", "NotEvaluated", &[]);
        assert_condition(&bbc, "Ready", "False", row.reason, row.words);
        let waiting = row.reason != "SecretInvalid";
        assert_eq!(kstatus(&bbc), if waiting { Kstatus::InProgress } else { Kstatus::Failed }, "{}", row.name);
        let token = bbc.status.and_then(|status| status.token);
        assert_eq!(token.and_then(|token| token.fingerprint), None, "{} could be a password", row.name);
        assert_eq!(world.told(row.name).await, [""; 0], "{}", row.name);
    }))
    .await;
    assert_eq!((world.bitbucket.calls(), world.kms.writes(), world.kms.lists()), (0, 0, 0));

    join_all(rows.iter().map(async |row| {
        world.secret_with(row.name, with(TOKEN)).await;
        let bbc = world.ready(row.name).await;
        assert_eq!(kstatus(&bbc), Kstatus::Current, "{}", row.name);
        // That what somebody waited for came is no news; that somebody mended something is.
        let mended = row.reason == "SecretInvalid";
        let expected = if mended { vec!["ConnectionCreated", "Recovered"] } else { vec!["ConnectionCreated"] };
        assert_eq!(world.told(row.name).await, expected, "{}", row.name);
        assert_eq!(world.kms.connection(row.name).map(|row| row.api_token).as_deref(), Some(TOKEN));
    }))
    .await;
    world.assert_silent(&["canary-word"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_have_other_names_and_white_space_is_trimmed() {
    let world = world().await;
    let end =
        Timestamp::now().checked_add(Span::new().hours(24 * 100)).expect("a time").strftime("%Y-%m-%d").to_string();
    let spaced = |text: &str| format!(" \t{text}\r\n");

    world
        .secret_with("usual", json!({"email": spaced(EMAIL), "token": spaced(TOKEN), "expiresAt": spaced(&end)}))
        .await;
    apply(&world, "usual").await;
    let own = json!({"user.mail": spaced(EMAIL), "API_TOKEN": spaced(TOKEN), "valid-until": spaced(&end)});
    world.secret_with("own", own).await;
    let keys = json!({"secretRef": {"emailKey": "user.mail", "tokenKey": "API_TOKEN", "expiresAtKey": "valid-until"}});
    world.connection("own").secret("own").change(keys).apply().await;

    for name in ["usual", "own"] {
        let bbc = world.ready(name).await;
        assert_condition(&bbc, "ExpiringSoon", "False", "OutsideWindow", &[]);
        let token = bbc.status.and_then(|status| status.token).expect("a token");
        assert_eq!(token.expiry_source.as_deref(), Some("Secret"), "{name}");
        assert_eq!(token.expires_at.expect("an end").0.strftime("%Y-%m-%d").to_string(), end, "{name}");
        let made = world.kms.connection(name).expect("a connection");
        assert_eq!((made.email.as_str(), made.api_token.as_str()), (EMAIL, TOKEN), "{name}");
    }

    // A key that spec.secretRef names is the one that is asked for.
    world.secret_with("own", with(TOKEN)).await;
    let bbc = world.not_ready("own", "SecretKeyMissing").await;
    assert_condition(&bbc, "CredentialsValid", "False", "SecretKeyMissing", &["key user.mail", "spec.secretRef"]);
    world.connection("own").secret("own").apply().await;
    world.ready("own").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_goes_away_leaves_the_kms_alone_until_it_is_back() {
    let world = world().await;
    for name in ["same", "other"] {
        world.secret_with(name, with(TOKEN)).await;
        apply(&world, name).await;
        world.ready(name).await;
    }
    let before = world.kms.connections();

    for name in ["same", "other"] {
        world.delete_secret(name).await;
        let bbc = world.not_ready(name, "SecretNotFound").await;
        assert_condition(&bbc, "Ready", "False", "SecretNotFound", &["no Secret", name]);
        assert_condition(&bbc, "Synced", "True", "InSync", &[]);
        assert_eq!(kstatus(&bbc), Kstatus::InProgress);
        assert_eq!(world.told(name).await, ["ConnectionCreated"]);
        let connection = bbc.status.and_then(|status| status.connection).expect("what is in the KMS");
        assert_eq!(connection.id, world.kms.connection(name).expect("a connection").id);
    }
    assert_eq!(world.kms.connections(), before);

    world.secret_with("same", with(TOKEN)).await;
    assert_eq!(kstatus(&world.ready("same").await), Kstatus::Current);
    assert_eq!(world.told("same").await, ["ConnectionCreated"], "it waited, which is no news");
    assert_eq!(world.kms.connections(), before, "the token is the one that the KMS has");

    world.bitbucket.add(good("ATATT3xFfGF0-canary-of-the-next"));
    world.secret_with("other", with("ATATT3xFfGF0-canary-of-the-next")).await;
    world.ready("other").await;
    assert_eq!(world.told("other").await, ["ConnectionCreated", "CredentialsRotated"]);
    assert_eq!(
        world.kms.connection("other").map(|row| row.api_token).as_deref(),
        Some("ATATT3xFfGF0-canary-of-the-next")
    );
    world.assert_silent(&["ATATT3xFfGF0-canary-of-the-next"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_restarts_cost_nothing() {
    let world = world().await;
    world.secret_with("payments", with(TOKEN)).await;
    apply(&world, "payments").await;
    let before = world.ready("payments").await;
    world.settled().await;
    let journals = || (world.bitbucket.journal().len(), world.kms.journal().len());
    let (asked, written) = (journals(), status_writes(&world, "payments"));

    world.restart().await;
    world.settled().await;
    assert_eq!(journals(), asked, "the first thing after a restart is no question");

    // This process has not read the Secret yet. It does so now.
    world.request_reconcile("payments").await;
    world.settled().await;
    let (asked, rewritten) = (journals(), status_writes(&world, "payments"));
    for number in 0..3 {
        let labels = json!({"metadata": {"labels": {"team": number.to_string()}, "annotations": {"note": "text"}}});
        world.patch_object::<Secret>("payments", labels.clone()).await;
        world.patch("payments", labels).await;
        world.settled().await;
    }
    assert_eq!(journals(), asked);
    assert_eq!((written, status_writes(&world, "payments")), (1, rewritten));
    let token = |status: Option<BitbucketConnectionStatus>| status.and_then(|status| status.token);
    assert_eq!(token(world.get("payments").await.status), token(before.status), "the version stands for the values");
}
