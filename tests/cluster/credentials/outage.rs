//! When Bitbucket says nothing about a token: it is never called invalid, and what was Ready stays so.

use bitbucket_connection_operator::domain::scopes::UseCase;
use futures::future::join_all;
use serde_json::json;
use sim::{Fault, State, Token};

use super::{apply, asked, good, token_of, with, world};
use crate::harness::{Kstatus, World, assert_condition, condition, kstatus, needed_by};

/// How the answer about a token is withheld.
enum How {
    Fault(Fault),
    State(State),
}

struct Outage {
    name: &'static str,
    how: How,
    reason: &'static str,
    words: &'static [&'static str],
}

fn outages() -> Vec<Outage> {
    let row = |name, how, reason, words| Outage { name, how, reason, words };
    let unavailable = "BitbucketUnavailable";
    let limited = &["hourly limit", "shared by all tokens", "when Bitbucket allows"];
    let forbidden = &["(403)", "IP allow list", "workspace administrator"];
    let fault = |name, fault, words| row(name, How::Fault(fault), unavailable, words);
    vec![
        fault("html", Fault::Html, &["no JSON", "asked again by itself"]),
        fault(
            "page-401",
            Fault::Status(401, "<html>".to_owned(), vec![]).header("content-type", "text/html"),
            &["no JSON"],
        ),
        fault("status-500", Fault::status(500), &["HTTP 500"]),
        fault("status-502", Fault::status(502), &["HTTP 502"]),
        fault("status-503", Fault::status(503), &["HTTP 503", "asked again by itself", "incident"]),
        fault("status-404", Fault::status(404), &["HTTP 404"]),
        fault("no-user", Fault::json(200, &json!({})), &["describes no user"]),
        fault("truncated", Fault::TruncatedJson, &["no JSON"]),
        fault("cut", Fault::CutBody, &["gave no answer"]),
        fault("reset", Fault::Reset, &["gave no answer"]),
        fault("huge", Fault::Huge(2 << 20), &["gave no answer"]),
        fault("redirect", Fault::Redirect("http://127.0.0.1:9/".to_owned()), &["HTTP 307"]),
        row("limited", How::Fault(Fault::RateLimited { retry_after: None }), "RateLimited", limited),
        row("limited-until", How::Fault(Fault::RateLimited { retry_after: Some(1) }), "RateLimited", limited),
        row("gone", How::State(State::EndpointGone), unavailable, &["HTTP 410"]),
        row("ip-blocked", How::State(State::IpBlocked), "BitbucketForbidden", forbidden),
        row("forbidden", How::State(State::Forbidden), "BitbucketForbidden", forbidden),
    ]
}

impl Outage {
    fn begin(&self, world: &World) {
        match &self.how {
            How::Fault(fault) => world.bitbucket.fail_when(asked(&token_of(self.name)), fault.clone()),
            How::State(state) => world.bitbucket.set(&token_of(self.name), state.clone()),
        }
    }
}

fn end_all(world: &World, rows: &[Outage]) {
    world.bitbucket.heal();
    rows.iter().for_each(|row| world.bitbucket.set(&token_of(row.name), State::Good));
}

/// A token of an account of its own: a limit is one of the account.
async fn with_account(world: &World, name: &str) {
    let (email, token) = (format!("{name}@example.com"), token_of(name));
    world.bitbucket.add(Token::new(&email, &token).scopes(needed_by(&[UseCase::SecretScanning])));
    world.secret(name, &email, &token).await;
}

async fn with_token(world: &World, row: &Outage) {
    with_account(world, row.name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_verdict_a_new_connection_is_in_progress_and_goes_on_by_itself() {
    let world = world().await;
    let rows = outages();
    join_all(rows.iter().map(async |row| {
        with_token(&world, row).await;
        row.begin(&world);
        apply(&world, row.name).await;
        let bbc = world.not_ready_saying(row.name, row.reason, row.words).await;
        assert_condition(&bbc, "CredentialsValid", "Unknown", row.reason, row.words);
        assert_condition(&bbc, "ScopesSufficient", "Unknown", "NotEvaluated", &[]);
        assert_condition(&bbc, "Synced", "Unknown", "NotEvaluated", &[]);
        assert_condition(&bbc, "Ready", "Unknown", row.reason, row.words);
        assert_eq!(kstatus(&bbc), Kstatus::InProgress, "{}", row.name);
        assert_eq!(world.told(row.name).await, [""; 0], "an outage is no news");
    }))
    .await;
    assert_eq!(world.kms.connections(), []);

    end_all(&world, &rows);
    join_all(rows.iter().map(async |row| {
        assert_eq!(kstatus(&world.ready(row.name).await), Kstatus::Current, "{}", row.name);
        assert_eq!(world.told(row.name).await, ["ConnectionCreated"]);
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_verdict_what_was_ready_stays_ready() {
    let world = world().await;
    let rows = outages();
    join_all(rows.iter().map(async |row| {
        with_token(&world, row).await;
        apply(&world, row.name).await;
        let before = world.ready(row.name).await;

        row.begin(&world);
        let bbc = world.request_reconcile(row.name).await;
        assert_condition(&bbc, "CredentialsValid", "Unknown", row.reason, row.words);
        assert_condition(&bbc, "Synced", "True", "InSync", &[]);
        assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
        assert_eq!(condition(&bbc, "Reconciling").0, "", "{}", row.name);
        assert_eq!(kstatus(&bbc), Kstatus::Current, "{}", row.name);
        let (before, now) = (before.status.expect("a status"), bbc.status.expect("a status"));
        assert_eq!(now.last_verified_time, before.last_verified_time, "{}: nothing was verified", row.name);
        assert_eq!((now.account, now.scopes), (before.account, before.scopes), "{}: as far as is known", row.name);
    }))
    .await;

    end_all(&world, &rows);
    join_all(rows.iter().map(async |row| {
        let bbc = world.until_reason(row.name, "CredentialsValid", "Authenticated").await;
        assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
        assert_eq!(world.told(row.name).await, ["ConnectionCreated"], "nobody had to do anything");
    }))
    .await;
    assert_eq!(world.kms.writes(), rows.len(), "one for each, at the beginning");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_waits_for_its_verdict_while_the_old_one_stays() {
    let world = world().await;
    let (old, new) = (token_of("old"), token_of("new"));
    world.bitbucket.add(good(&old));
    world.bitbucket.add(good(&new));
    world.secret_with("payments", with(&old)).await;
    apply(&world, "payments").await;
    world.ready("payments").await;

    world.bitbucket.fail_when(asked(&new), Fault::status(503));
    world.secret_with("payments", with(&new)).await;
    let bbc = world.until_reason("payments", "Synced", "CredentialsNotVerified").await;
    assert_condition(&bbc, "CredentialsValid", "Unknown", "BitbucketUnavailable", &["HTTP 503"]);
    assert_condition(&bbc, "Synced", "Unknown", "CredentialsNotVerified", &["has not judged them yet", "stays"]);
    assert_eq!(kstatus(&bbc), Kstatus::Current, "what is in the KMS works");
    assert_eq!(world.kms.connection("payments").map(|row| row.api_token), Some(old));

    world.bitbucket.heal();
    world.until_reason("payments", "Synced", "InSync").await;
    assert_eq!(world.kms.connection("payments").map(|row| row.api_token), Some(new));
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "CredentialsRotated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bitbucket_says_when_to_come_back_and_a_person_may_ask_before() {
    let world = world().await;
    let token = token_of("later");
    world.bitbucket.fail_when(asked(&token).times(1), Fault::RateLimited { retry_after: Some(3_600) });
    with_account(&world, "later").await;
    apply(&world, "later").await;
    world.not_ready("later", "RateLimited").await;

    // Another account, which was not told when, is tried again and succeeds; this one isn't tried.
    let other = token_of("soon");
    world.bitbucket.fail_when(asked(&other).times(1), Fault::RateLimited { retry_after: None });
    with_account(&world, "soon").await;
    apply(&world, "soon").await;
    world.ready("soon").await;
    assert_eq!(world.bitbucket.count(&asked(&token)), 1);

    // Nor is another token of that account.
    let (email, sibling) = ("later@example.com", token_of("sibling"));
    world.bitbucket.add(Token::new(email, &sibling).scopes(needed_by(&[UseCase::SecretScanning])));
    world.secret("sibling", email, &sibling).await;
    apply(&world, "sibling").await;
    let bbc = world.not_ready("sibling", "RateLimited").await;
    let words = &["keeps Bitbucket's hourly limit", "comes by itself", "--bitbucket-requests-per-hour"];
    assert_condition(&bbc, "CredentialsValid", "Unknown", "RateLimited", words);
    assert_eq!(world.bitbucket.count(&asked(&sibling)), 0);

    world.request_reconcile("later").await;
    world.ready("later").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_given_up() {
    let world = world().await;
    let token = token_of("hang");
    world.bitbucket.add(good(&token));
    world.bitbucket.fail_when(asked(&token).times(1), Fault::Hang);
    world.secret_with("hang", with(&token)).await;
    apply(&world, "hang").await;
    let bbc = world.not_ready("hang", "BitbucketUnavailable").await;
    assert_condition(&bbc, "CredentialsValid", "Unknown", "BitbucketUnavailable", &["no answer in time"]);
    assert_eq!(kstatus(&bbc), Kstatus::InProgress);
    world.ready("hang").await;
}
