//! Tokens that Bitbucket refuses: a diagnosis, and no second question.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use sim::{State, Token};

use super::{apply, asked, good, status_writes, token_of, with, world};
use crate::harness::{EMAIL, Kstatus, World, assert_condition, kstatus};

/// A way to be refused, and the words of its diagnosis.
struct Refused {
    name: &'static str,
    values: Value,
    state: Option<State>,
    words: &'static [&'static str],
}

fn refused() -> Vec<Refused> {
    let row = |name, state, words| Refused { name, values: with(&token_of(name)), state: Some(state), words };
    let dead = &["(401)", "revoked", "expired", "not the e-mail address", "Create API token with scopes"];
    let app_password = &["app password", "2026-07-28", "Create API token with scopes"];
    vec![
        row("revoked", State::Revoked, dead),
        row("bare-string", State::RevokedBareString, dead),
        row("no-reason", State::Custom(401, json!({})), dead),
        Refused { state: None, ..row("unknown", State::Good, dead) },
        Refused {
            values: json!({"email": "somebody@example.com", "token": token_of("wrong-email")}),
            ..row("wrong-email", State::Good, &["(401)", "key email of Secret wrong-email is not the e-mail address"])
        },
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
    assert_eq!((counts(), written()), (vec![1; rows.len()], vec![1; rows.len()]));

    // Unless somebody wants it.
    join_all(rows.iter().map(async |row| {
        let bbc = world.request_reconcile(row.name).await;
        assert_condition(&bbc, "Ready", "False", "CredentialsRejected", row.words);
        assert_eq!(world.told(row.name).await, ["CredentialsRejected"], "told once");
    }))
    .await;
    assert_eq!(counts(), vec![2; rows.len()]);
    let before = written();
    join_all(rows.iter().map(async |row| {
        let labels = json!({"metadata": {"labels": {"seen": "true"}}});
        world.patch_object::<Secret>(row.name, labels.clone()).await;
        world.patch(row.name, labels).await;
    }))
    .await;
    world.settled().await;
    assert_eq!((counts(), written()), (vec![2; rows.len()], before));

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
    assert_eq!(world.bitbucket.count(&asked(&token)), 1);
}
