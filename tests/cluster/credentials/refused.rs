//! Tokens that Bitbucket refuses: a diagnosis, and no second question.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use sim::{Fault, State, Token};

use super::{apply, asked, good, status_writes, token_of, with, world};
use crate::harness::{EMAIL, Kstatus, World, assert_condition, kstatus};

/// A way to be refused, and the words of its diagnosis.
struct Refused {
    name: &'static str,
    values: Value,
    state: Option<State>,
    /// How often Bitbucket is asked: a second time, without the e-mail, only where it gave no reason.
    questions: usize,
    words: &'static [&'static str],
}

fn refused() -> Vec<Refused> {
    let row =
        |name, state, words| Refused { name, values: with(&token_of(name)), state: Some(state), questions: 1, words };
    let unexplained = |row: Refused| Refused { questions: 2, ..row };
    let dead = &["(401)", "itself is dead", "revoked", "expired", "copied whole", "Create API token with scopes"];
    let wrong_email = &[
        "(401)",
        "takes the token alone",
        "belongs to another account (see status.account), whose",
        "key email of Secret",
    ];
    let app_password = &["app password", "2026-07-28", "Create API token with scopes"];
    vec![
        unexplained(row("revoked", State::Revoked, dead)),
        unexplained(row("bare-string", State::RevokedBareString, dead)),
        unexplained(row("no-reason", State::Custom(401, json!({})), dead)),
        unexplained(Refused { state: None, ..row("unknown", State::Good, dead) }),
        unexplained(Refused {
            values: json!({"email": "somebody@example.com", "token": token_of("wrong-email")}),
            ..row("wrong-email", State::Good, wrong_email)
        }),
        unexplained(row("bearer-only", State::BearerOnly, wrong_email)),
        row(
            "wrong-button",
            State::NoBitbucketScopes,
            &[
                "no Bitbucket scopes",
                "\"Create API token\" instead of \"Create API token with scopes\"",
                "wrong-button",
            ],
        ),
        row(
            "not-registered",
            State::NotRegisteredEmail,
            &["key email of Secret not-registered", "no registered Atlassian e-mail address", "user name"],
        ),
        row(
            "access-token",
            State::WrongMechanism,
            &["access token of a repository", "API token of an Atlassian account"],
        ),
        row("app-password", State::AppPassword(401), app_password),
        row("app-password-403", State::AppPassword(403), app_password),
        row("app-password-410", State::AppPassword(410), app_password),
    ]
}

async fn refuse(world: &World, row: &Refused) {
    if let Some(state) = &row.state {
        world.bitbucket.add(good(&token_of(row.name)).state(state.clone()));
    }
    world.secret_with(row.name, row.values.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_gets_a_diagnosis_and_never_reaches_the_kms() {
    let world = world().await;
    let rows = refused();
    join_all(rows.iter().map(async |row| {
        refuse(&world, row).await;
        apply(&world, row.name).await;
        let bbc = world.not_ready(row.name, "CredentialsRejected").await;
        assert_condition(&bbc, "CredentialsValid", "False", "CredentialsRejected", row.words);
        assert_condition(&bbc, "Ready", "False", "CredentialsRejected", row.words);
        assert_condition(&bbc, "ScopesSufficient", "Unknown", "NotEvaluated", &[]);
        assert_condition(&bbc, "Synced", "Unknown", "NotEvaluated", &[]);
        assert_eq!(kstatus(&bbc), Kstatus::Failed, "{}", row.name);
        let note = world.until_event(row.name, "CredentialsRejected").await;
        assert!(row.words.iter().all(|word| note.contains(word)), "{note}");
        let status = bbc.status.expect("a status");
        assert_eq!(status.token.and_then(|token| token.fingerprint), None, "{} could be a password", row.name);
        assert!(bbc.metadata.finalizers.is_none(), "{}: nothing is in the KMS", row.name);
    }))
    .await;
    assert_eq!(world.kms.connections(), []);
    assert_eq!(world.kms.writes(), 0);

    // Nobody asks again while nothing changes: neither labels nor a restart are a change.
    world.settled().await;
    let counts = || rows.iter().map(|row| world.bitbucket.count(&asked(&token_of(row.name)))).collect::<Vec<_>>();
    let written = || rows.iter().map(|row| status_writes(&world, row.name)).collect::<Vec<_>>();
    world.restart().await;
    world.settled().await;
    let asked_times = |times: usize| rows.iter().map(|row| row.questions * times).collect::<Vec<_>>();
    assert_eq!((counts(), written()), (asked_times(1), vec![1; rows.len()]));

    // Unless somebody wants it.
    join_all(rows.iter().map(async |row| {
        let bbc = world.request_reconcile(row.name).await;
        assert_condition(&bbc, "Ready", "False", "CredentialsRejected", row.words);
        assert_eq!(world.told(row.name).await, ["CredentialsRejected"], "told once");
    }))
    .await;
    assert_eq!(counts(), asked_times(2));
    // The answer to the request, whose line in the audit log may come a moment after it was seen.
    let before = vec![2; rows.len()];
    join_all(rows.iter().map(async |row| {
        let labels = json!({"metadata": {"labels": {"seen": "true"}}});
        world.patch_object::<Secret>(row.name, labels.clone()).await;
        world.patch(row.name, labels).await;
    }))
    .await;
    world.settled().await;
    assert_eq!((counts(), written()), (asked_times(2), before));

    // Half of them are cured at Bitbucket, half by another token.
    join_all(rows.iter().enumerate().map(async |(number, row)| {
        let next = token_of(&format!("{}-next", row.name));
        let cured = number % 2 == 0 && row.state.is_some() && row.name != "wrong-email";
        if cured {
            world.bitbucket.set(&token_of(row.name), State::Good);
            world.request_reconcile(row.name).await;
        } else {
            world.bitbucket.add(good(&next));
            world.secret_with(row.name, with(&next)).await;
        }
        assert_eq!(kstatus(&world.ready(row.name).await), Kstatus::Current, "{}", row.name);
        assert_eq!(world.told(row.name).await, ["ConnectionCreated", "CredentialsRejected", "Recovered"]);
        let expected = if cured { token_of(row.name) } else { next };
        assert_eq!(world.kms.connection(row.name).map(|row| row.api_token), Some(expected));
    }))
    .await;
    let tokens: Vec<_> = rows.iter().map(|row| token_of(row.name)).collect();
    world.assert_silent(&tokens.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_dies_is_told_and_stays_in_the_kms() {
    let world = world().await;
    let token = token_of("dying");
    world.bitbucket.add(good(&token));
    world.secret_with("dying", with(&token)).await;
    apply(&world, "dying").await;
    world.ready("dying").await;
    let before = world.kms.connections();

    world.bitbucket.set(&token, State::Revoked);
    let bbc = world.request_reconcile("dying").await;
    assert_condition(&bbc, "Ready", "False", "CredentialsRejected", &["revoked"]);
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    assert_eq!(world.kms.connections(), before);

    // To be refused after something else is news again.
    world.delete_secret("dying").await;
    world.not_ready("dying", "SecretNotFound").await;
    world.secret_with("dying", with(&token)).await;
    world.not_ready("dying", "CredentialsRejected").await;
    assert_eq!(world.told("dying").await, ["ConnectionCreated", "CredentialsRejected", "CredentialsRejected"]);
    assert_eq!(world.kms.connections(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_never_replaces_a_good_one() {
    let world = world().await;
    let rows = refused();
    join_all(rows.iter().map(async |row| {
        let old = token_of(&format!("{}-old", row.name));
        world.bitbucket.add(good(&old));
        world.secret_with(row.name, with(&old)).await;
        apply(&world, row.name).await;
        let before = world.ready(row.name).await;

        refuse(&world, row).await;
        let bbc = world.not_ready(row.name, "CredentialsRejected").await;
        assert_condition(&bbc, "CredentialsValid", "False", "CredentialsRejected", row.words);
        assert_condition(&bbc, "Synced", "False", "CredentialsNotPushed", &["not written to the KMS", "stays"]);
        assert_eq!(kstatus(&bbc), Kstatus::Failed, "{}", row.name);
        assert_eq!(world.kms.connection(row.name).map(|row| row.api_token).as_deref(), Some(old.as_str()));
        let fingerprint = |bbc: &bitbucket_connection_operator::api::BitbucketConnection| {
            let connection = bbc.status.as_ref().and_then(|status| status.connection.as_ref());
            connection.and_then(|connection| connection.token_fingerprint.clone())
        };
        assert_eq!(fingerprint(&bbc), fingerprint(&before), "the status knows which token is there");

        // Back to the old one: nothing has to be written.
        world.secret_with(row.name, with(&old)).await;
        assert_eq!(kstatus(&world.ready(row.name).await), Kstatus::Current);
        assert_eq!(world.told(row.name).await, ["ConnectionCreated", "CredentialsRejected", "Recovered"]);
    }))
    .await;
    assert_eq!(world.kms.writes(), rows.len(), "one for each, at the beginning");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_credentials_are_refused_once_for_all() {
    let world = world().await;
    let token = token_of("shared");
    world.bitbucket.add(Token::new(EMAIL, &token).state(State::Revoked));
    world.secret_with("shared", with(&token)).await;
    let names = ["one", "two", "three"];
    for name in names {
        world.connection(name).secret("shared").apply().await;
    }
    for name in names {
        world.not_ready(name, "CredentialsRejected").await;
    }
    assert_eq!(world.bitbucket.count(&asked(&token)), 2, "once with the e-mail, once without");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_to_the_second_question_both_causes_are_named() {
    let world = world().await;
    let rows = [("diagnosis-503", Fault::status(503)), ("diagnosis-429", Fault::RateLimited { retry_after: None })];
    join_all(rows.iter().map(async |(name, fault)| {
        let token = token_of(name);
        world.bitbucket.add(good(&token).state(State::Revoked));
        world.bitbucket.fail_when(asked(&token).skip(1), fault.clone());
        world.secret_with(name, with(&token)).await;
        apply(&world, name).await;
        let bbc = world.not_ready(name, "CredentialsRejected").await;
        let words = &["(401)", "revoked", "expired", "is not the e-mail address", "Check the address"];
        assert_condition(&bbc, "CredentialsValid", "False", "CredentialsRejected", words);
        assert_eq!(kstatus(&bbc), Kstatus::Failed, "{name}");
    }))
    .await;
    world.settled().await;
    for (name, _) in &rows {
        assert_eq!(world.bitbucket.count(&asked(&token_of(name))), 2, "{name}: refused is refused");
    }
    assert_eq!(world.kms.connections(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_email_past_the_declared_end_is_a_wrong_email() {
    let world = world().await;
    let token = token_of("alive");
    world.bitbucket.add(good(&token).account("ci-robot", "The Robot", "{2}"));
    let values = |email: &str| json!({"email": email, "token": token, "expiresAt": "2020-01-01"});
    world.secret_with("alive", values("somebody@example.com")).await;
    apply(&world, "alive").await;
    let bbc = world.not_ready("alive", "CredentialsRejected").await;
    let words = &["belongs to another account (see status.account)", "with which that account logs in"];
    assert_condition(&bbc, "CredentialsValid", "False", "CredentialsRejected", words);
    let account = bbc.status.and_then(|status| status.account).expect("whose it is");
    assert_eq!((account.username.as_deref(), account.display_name.as_deref()), (Some("ci-robot"), Some("The Robot")));

    world.secret_with("alive", values(EMAIL)).await;
    world.ready("alive").await;
    assert_eq!(world.bitbucket.count(&asked(&token)), 3, "a good token is asked about once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_kind_is_called_by_its_name() {
    let world = world().await;
    let row = |name: &'static str, kind: &str, state, email| {
        let token = token_of(name);
        world.bitbucket.add(good(&token).credential_type(kind).state(state));
        (name, json!({"email": email, "token": token}))
    };
    let refused = [
        row("of-repository", "repo_access_token", State::BearerOnly, EMAIL),
        row("of-project", "project_access_token", State::Good, "somebody@example.com"),
    ];
    let accepted = [row("of-workspace", "workspace_access_token", State::Good, EMAIL)];
    for (name, values) in refused.iter().chain(&accepted) {
        world.secret_with(name, values.clone()).await;
        apply(&world, name).await;
    }
    let bbc = world.not_ready("of-repository", "CredentialsRejected").await;
    let words = &["it is an access token of a repository (repo_access_token)", "needs an API token"];
    assert_condition(&bbc, "CredentialsValid", "False", "CredentialsRejected", words);
    let bbc = world.not_ready("of-project", "CredentialsRejected").await;
    let words = &["it is an access token of a project (project_access_token)", "needs an API token"];
    assert_condition(&bbc, "CredentialsValid", "False", "CredentialsRejected", words);
    let bbc = world.ready("of-workspace").await;
    let words = &["an access token of a workspace (workspace_access_token), not api_token"];
    assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", words);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_past_its_declared_end_has_probably_expired() {
    let world = world().await;
    let token = token_of("expired");
    world.bitbucket.add(good(&token).state(State::Revoked));
    world.secret_with("expired", json!({"email": EMAIL, "token": token, "expiresAt": "2020-01-01"})).await;
    apply(&world, "expired").await;
    let bbc = world.not_ready("expired", "TokenExpired").await;
    let words = &["declared end has passed", "probably expired", "Create API token with scopes", "Secret expired"];
    assert_condition(&bbc, "CredentialsValid", "False", "TokenExpired", words);
    assert_condition(&bbc, "Ready", "False", "TokenExpired", words);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    world.request_reconcile("expired").await;
    assert_eq!(world.told("expired").await, ["TokenExpired"], "told once, and not as rejected too");
    assert_eq!(world.kms.connections(), []);

    let next = token_of("renewed");
    world.bitbucket.add(good(&next));
    world.secret_with("expired", with(&next)).await;
    assert_eq!(kstatus(&world.ready("expired").await), Kstatus::Current);
    assert_eq!(world.told("expired").await, ["ConnectionCreated", "Recovered", "TokenExpired"]);
}
