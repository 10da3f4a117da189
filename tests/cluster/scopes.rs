//! What a token may do, compared with what it must be able to do.

use futures::future::join_all;
use serde_json::{Value, json};
use sim::{Caller, Match, Operation, Token};

use crate::harness::{EMAIL, Kstatus, World, assert_condition, condition, kstatus};

/// What SecretScanning needs, without suffixes.
const SCANNING: [&str; 6] =
    ["read:workspace", "read:user", "read:webhook", "write:webhook", "delete:webhook", "read:repository"];

fn full(scopes: &[&str]) -> Vec<String> {
    let mut scopes: Vec<_> = scopes.iter().map(|scope| format!("{scope}:bitbucket")).collect();
    scopes.sort();
    scopes
}

/// The scopes for SecretScanning without some and with others.
fn scanning(without: &[&str], and: &[&'static str]) -> Vec<String> {
    let kept = SCANNING.into_iter().filter(|scope| !without.contains(scope));
    full(&kept.chain(and.iter().copied()).collect::<Vec<_>>())
}

fn token_of(row: &str) -> String {
    format!("ATATT3xFfGF0-canary-of-{row}")
}

/// A token, a spec, and what comes of them.
struct Row {
    name: &'static str,
    granted: Vec<String>,
    /// A change of `spec.scopes`.
    scopes: Value,
    status: &'static str,
    reason: &'static str,
    words: &'static [&'static str],
    missing: &'static [&'static str],
    excess: &'static [&'static str],
}

/// A sentence of a near miss, which must not be there where there is none.
const NEAR: &str = "does not include";

fn rows() -> Vec<Row> {
    let warn_both = json!({"onMissing": "Warn", "onExcess": "Warn"});
    let block_both = json!({"onMissing": "Block", "onExcess": "Block"});
    let row = |name, granted, scopes, status, reason, words, missing, excess| Row {
        name,
        granted,
        scopes,
        status,
        reason,
        words,
        missing,
        excess,
    };
    vec![
        row("exact", scanning(&[], &[]), json!({}), "True", "AllGranted", &["rights of the account"], &[], &[]),
        row(
            "missing",
            scanning(&["delete:webhook", "read:repository", "read:workspace"], &[]),
            json!({}),
            "False",
            "ScopesMissing",
            &[
                "delete:webhook:bitbucket (to remove webhooks when they are no longer needed)",
                "read:repository:bitbucket (to read code and list repositories)",
                "read:workspace:bitbucket (to list workspaces, projects and members)",
                "can't be changed",
                "Create API token with scopes",
            ],
            &["delete:webhook", "read:repository", "read:workspace"],
            &[],
        ),
        row(
            "write-for-read",
            scanning(&["read:repository"], &["write:repository"]),
            json!({}),
            "False",
            "ScopesMissing",
            &[
                "read:repository:bitbucket (to read code and list repositories), which write:repository:bitbucket does not include",
            ],
            &["read:repository"],
            &["write:repository"],
        ),
        row(
            "account-for-user",
            scanning(&["read:user"], &["read:account"]),
            json!({}),
            "False",
            "ScopesMissing",
            &["read:user:bitbucket (to identify the account), which read:account:bitbucket does not include"],
            &["read:user"],
            &["read:account"],
        ),
        row(
            "me-for-user",
            scanning(&["read:user"], &["read:me"]),
            json!({"onMissing": "Warn"}),
            "False",
            "ScopesMissing",
            &["read:user:bitbucket", "which read:me:bitbucket does not include"],
            &["read:user"],
            &["read:me"],
        ),
        row(
            "missing-warn",
            scanning(&["delete:webhook"], &[]),
            json!({"onMissing": "Warn"}),
            "True",
            "WarnOnly",
            &["spec.scopes.onMissing is Warn", "delete:webhook:bitbucket", "remove webhooks"],
            &["delete:webhook"],
            &[],
        ),
        row(
            "excess",
            scanning(&[], &["admin:repository", "read:issue"]),
            json!({}),
            "True",
            "WarnOnly",
            &["more than are needed", "admin:repository:bitbucket, read:issue:bitbucket"],
            &[],
            &["admin:repository", "read:issue"],
        ),
        row(
            "excess-block",
            scanning(&[], &["admin:repository"]),
            json!({"onExcess": "Block"}),
            "False",
            "ScopesExcess",
            &["admin:repository:bitbucket", "onExcess: Warn", "spec.scopes.additional"],
            &[],
            &["admin:repository"],
        ),
        row(
            "both-block",
            scanning(&["read:repository"], &["read:issue"]),
            block_both,
            "False",
            "ScopesMissing",
            &["read:repository:bitbucket"],
            &["read:repository"],
            &["read:issue"],
        ),
        row(
            "both-warn",
            scanning(&["delete:webhook"], &["read:issue"]),
            warn_both,
            "True",
            "WarnOnly",
            &["delete:webhook:bitbucket"],
            &["delete:webhook"],
            &["read:issue"],
        ),
        row(
            "missing-warn-excess-block",
            scanning(&["delete:webhook"], &["read:issue"]),
            json!({"onMissing": "Warn", "onExcess": "Block"}),
            "False",
            "ScopesExcess",
            &["read:issue:bitbucket"],
            &["delete:webhook"],
            &["read:issue"],
        ),
        row(
            "additional",
            scanning(&[], &["read:wiki"]),
            json!({"additional": ["read:wiki:bitbucket"], "onExcess": "Block"}),
            "True",
            "AllGranted",
            &[],
            &[],
            &[],
        ),
        row(
            "additional-missing",
            scanning(&[], &[]),
            json!({"additional": ["read:wiki:bitbucket"]}),
            "False",
            "ScopesMissing",
            &["read:wiki:bitbucket (to read wikis)"],
            &["read:wiki"],
            &[],
        ),
        row(
            "additional-alone",
            full(&["read:user", "read:issue"]),
            json!({"useCases": null, "additional": ["read:issue:bitbucket"]}),
            "True",
            "AllGranted",
            &[],
            &[],
            &[],
        ),
        row(
            "two-uses",
            scanning(&[], &["admin:workspace", "read:pipeline", "write:pipeline"]),
            json!({"useCases": ["SecretScanning", "SecretSync"]}),
            "False",
            "ScopesMissing",
            &[
                "admin:pipeline:bitbucket (to create and change pipeline and deployment variables)",
                "read:pipeline:bitbucket does not include",
            ],
            &["admin:pipeline"],
            &[],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_compared_named_and_enforced() {
    let world = World::start().await;
    world.instance_in_use().await;
    let rows = rows();
    join_all(rows.iter().map(async |row| {
        world.bitbucket.add(Token::new(EMAIL, &token_of(row.name)).scopes(row.granted.clone()));
        world.secret(row.name, EMAIL, &token_of(row.name)).await;
        world.connection(row.name).secret(row.name).change(json!({"scopes": row.scopes})).apply().await;
        let bbc = world.until_reason(row.name, "ScopesSufficient", row.reason).await;
        assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
        assert_condition(&bbc, "ScopesSufficient", row.status, row.reason, row.words);
        let message = condition(&bbc, "ScopesSufficient").2;
        let near = row.words.iter().any(|word| word.contains(NEAR)) || row.missing.contains(&"delete:webhook");
        assert!(near || !message.contains(NEAR), "{}: {message}", row.name);

        let scopes = bbc.status.as_ref().and_then(|status| status.scopes.clone()).expect("scopes");
        assert_eq!(scopes.granted, row.granted, "{}", row.name);
        assert_eq!((scopes.missing, scopes.excess), (full(row.missing), full(row.excess)), "{}", row.name);
        if row.status == "True" {
            assert_eq!(kstatus(&world.ready(row.name).await), Kstatus::Current, "{}", row.name);
            assert_eq!(world.told(row.name).await, ["ConnectionCreated"], "{}", row.name);
            assert_eq!(world.kms.connection(row.name).map(|row| row.api_token), Some(token_of(row.name)));
        } else {
            assert_condition(&bbc, "Ready", "False", row.reason, row.words);
            assert_condition(&bbc, "Synced", "Unknown", "NotEvaluated", &[]);
            assert_eq!(kstatus(&bbc), Kstatus::Failed, "{}", row.name);
            assert_eq!(world.told(row.name).await, [row.reason], "{}", row.name);
            let note = world.until_event(row.name, row.reason).await;
            assert!(row.words.iter().all(|word| note.contains(word)), "{note}");
        }
    }))
    .await;
    let blocked = || rows.iter().filter(|row| row.status == "False");
    for row in blocked() {
        assert_eq!(world.kms.count(&Match::any().token(&token_of(row.name))), 0, "{} never left", row.name);
    }

    // A new token is what cures them.
    join_all(blocked().map(async |row| {
        let (token, all) = (token_of(&format!("{}-next", row.name)), world.get(row.name).await.status);
        let required = all.and_then(|status| status.scopes).expect("scopes").required;
        world.bitbucket.add(Token::new(EMAIL, &token).scopes(required));
        world.secret(row.name, EMAIL, &token).await;
        let bbc = world.ready(row.name).await;
        assert_condition(&bbc, "ScopesSufficient", "True", "AllGranted", &[]);
        assert_eq!(kstatus(&bbc), Kstatus::Current, "{}", row.name);
        assert_eq!(world.told(row.name).await, ["ConnectionCreated", "Recovered", row.reason], "{}", row.name);
        assert_eq!(world.kms.connection(row.name).map(|row| row.api_token), Some(token));
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_spec_is_judged_by_what_is_asked_after_it() {
    let world = World::start().await;
    world.instance().await;
    let token = token_of("payments");
    world.bitbucket.add(Token::new(EMAIL, &token).scopes(scanning(&[], &[])));
    world.secret("payments", EMAIL, &token).await;
    let connection = || world.connection("payments").secret("payments");
    connection().apply().await;
    world.ready("payments").await;
    let asked = || world.bitbucket.count(&Match::op(Operation::User).caller(Caller::Operator).token(&token));
    assert_eq!(asked(), 1);

    connection().change(json!({"scopes": {"additional": ["read:issue:bitbucket"]}})).apply().await;
    let bbc = world.not_ready("payments", "ScopesMissing").await;
    assert_condition(&bbc, "Ready", "False", "ScopesMissing", &["read:issue:bitbucket (to read the issue tracker)"]);
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);
    assert_eq!((kstatus(&bbc), asked()), (Kstatus::Failed, 2));
    assert_eq!(bbc.status.and_then(|status| status.scopes).expect("scopes").missing, full(&["read:issue"]));

    // What Bitbucket said before isn't believed.
    world.bitbucket.set_scopes(&token, scanning(&[], &["read:issue"]));
    connection().change(json!({"scopes": {"additional": ["read:issue:bitbucket"], "onExcess": "Block"}})).apply().await;
    world.ready("payments").await;
    assert_eq!(asked(), 3);

    // The other way to be cured is to want less.
    connection().change(json!({"scopes": {"onExcess": "Block"}})).apply().await;
    assert_eq!(kstatus(&world.not_ready("payments", "ScopesExcess").await), Kstatus::Failed);
    connection().change(json!({"scopes": {"onExcess": "Warn"}})).apply().await;
    let bbc = world.ready("payments").await;
    assert_condition(&bbc, "ScopesSufficient", "True", "WarnOnly", &["read:issue:bitbucket"]);
    assert_eq!(kstatus(&bbc), Kstatus::Current);
    assert_eq!(world.kms.writes(), 1, "the token in the KMS was the right one all the time");
    for (reason, times) in [("ScopesMissing", 1), ("ScopesExcess", 1)] {
        assert_eq!(world.count_events("payments", reason).await, times, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_too_few_scopes_never_replaces_a_good_one() {
    let world = World::start().await;
    world.instance().await;
    let (good, poor) = (token_of("good"), token_of("poor"));
    world.bitbucket.add(Token::new(EMAIL, &good).scopes(scanning(&[], &[])));
    world.bitbucket.add(Token::new(EMAIL, &poor).scopes(scanning(&["read:repository"], &[])));
    world.secret("payments", EMAIL, &good).await;
    world.connection("payments").secret("payments").apply().await;
    world.ready("payments").await;

    world.secret("payments", EMAIL, &poor).await;
    let bbc = world.not_ready("payments", "ScopesMissing").await;
    assert_condition(&bbc, "Synced", "False", "CredentialsNotPushed", &["not written to the KMS", "stays"]);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    assert_eq!(world.kms.connection("payments").map(|row| row.api_token), Some(good));
    assert_eq!(world.kms.count(&Match::any().token(&poor)), 0);

    let warn = json!({"scopes": {"onMissing": "Warn"}});
    world.connection("payments").secret("payments").change(warn).apply().await;
    world.ready("payments").await;
    assert_eq!(world.kms.connection("payments").map(|row| row.api_token), Some(poor), "whoever wants it gets it");
    assert_eq!(world.count_events("payments", "CredentialsRotated").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_that_bitbucket_does_not_tell_are_not_guessed() {
    let world = World::start().await;
    world.instance().await;
    let hidden = |row: &str| Token::new(EMAIL, &token_of(row)).scopes(scanning(&[], &[])).hide_scopes(true);
    let words = &["did not say which scopes", "asked again by itself", "x-oauth-scopes"];
    for row in ["block", "warn", "was-ready"] {
        world.bitbucket.add(hidden(row).hide_scopes(row != "was-ready"));
        world.secret(row, EMAIL, &token_of(row)).await;
        let policy = if row == "warn" { "Warn" } else { "Block" };
        world.connection(row).secret(row).change(json!({"scopes": {"onMissing": policy}})).apply().await;
    }

    let bbc = world.not_ready("block", "ScopesNotReported").await;
    assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
    assert_condition(&bbc, "Ready", "Unknown", "ScopesNotReported", words);
    assert_condition(&bbc, "ScopesSufficient", "Unknown", "ScopesNotReported", &["Nothing new is written to the KMS"]);
    assert_eq!(kstatus(&bbc), Kstatus::InProgress);
    assert_eq!(world.kms.connection("block"), None);

    let bbc = world.until_reason("warn", "Synced", "InSync").await;
    assert_condition(&bbc, "ScopesSufficient", "Unknown", "ScopesNotReported", &["spec.scopes.onMissing is Warn"]);
    assert_eq!(world.kms.connection("warn").map(|row| row.api_token), Some(token_of("warn")));

    // What was Ready stays so, and what is in the KMS stays there.
    world.ready("was-ready").await;
    world.bitbucket.edit(&token_of("was-ready"), |token| *token = hidden("was-ready"));
    let bbc = world.request_reconcile("was-ready").await;
    assert_condition(&bbc, "ScopesSufficient", "Unknown", "ScopesNotReported", words);
    assert_eq!(kstatus(&bbc), Kstatus::Current);
    world.bitbucket.add(hidden("next"));
    world.secret("was-ready", EMAIL, &token_of("next")).await;
    let bbc = world.until_reason("was-ready", "Synced", "CredentialsNotVerified").await;
    assert_eq!(kstatus(&bbc), Kstatus::Current);
    assert_eq!(world.kms.connection("was-ready").map(|row| row.api_token), Some(token_of("was-ready")));

    // All go on by themselves.
    for row in ["block", "warn", "next"] {
        world.bitbucket.edit(&token_of(row), |token| *token = hidden(row).hide_scopes(false));
    }
    for row in ["block", "warn", "was-ready"] {
        let bbc = world.until_reason(row, "ScopesSufficient", "AllGranted").await;
        assert_eq!(kstatus(&bbc), Kstatus::Current, "{row}");
        let told: &[&str] =
            if row == "was-ready" { &["ConnectionCreated", "CredentialsRotated"] } else { &["ConnectionCreated"] };
        assert_eq!(world.told(row).await, told, "{row}");
    }
    assert_eq!(world.kms.connection("was-ready").map(|row| row.api_token), Some(token_of("next")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_is_read_in_every_spelling() {
    let world = World::start().await;
    world.instance().await;
    let joined = |separator: &str| SCANNING.join(separator);
    let rows = [
        ("commas", scanning(&[], &[]).join(",")),
        ("blanks", scanning(&[], &[]).join(" ")),
        ("without-suffix", joined(", ")),
        ("doubled", format!(" ,{},, {}", joined(","), joined(","))),
    ];
    for (name, header) in &rows {
        let token = Token::new(EMAIL, &token_of(name)).scopes(scanning(&[], &[])).scopes_header(header);
        world.bitbucket.add(token);
        world.secret(name, EMAIL, &token_of(name)).await;
        world.connection(name).secret(name).apply().await;
    }
    for (name, _) in &rows {
        let bbc = world.ready(name).await;
        assert_condition(&bbc, "ScopesSufficient", "True", "AllGranted", &[]);
        assert_eq!(bbc.status.and_then(|status| status.scopes).expect("scopes").granted, scanning(&[], &[]));
    }
}
