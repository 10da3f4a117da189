//! Workspaces that a token must reach: scopes are not reach.

use serde_json::json;
use sim::{Caller, Fault, Match, Operation, Token};

use crate::harness::{EMAIL, Kstatus, World, assert_condition, condition, kstatus, needed_by};
use bitbucket_connection_operator::{
    api::{BitbucketConnection, WorkspacesStatus},
    domain::scopes::UseCase,
};

fn token_of(row: &str) -> String {
    format!("ATATT3xFfGF0-canary-of-{row}")
}

fn good(token: &str) -> Token {
    Token::new(EMAIL, token).scopes(needed_by(&[UseCase::SecretScanning]))
}

/// The operator's questions about what a token reaches.
fn asked(token: &str) -> Match {
    Match::op(Operation::Workspaces).caller(Caller::Operator).token(token)
}

fn asked_who(world: &World, token: &str) -> usize {
    world.bitbucket.count(&Match::op(Operation::User).caller(Caller::Operator).token(token))
}

fn reach(bbc: &BitbucketConnection) -> WorkspacesStatus {
    bbc.status.as_ref().and_then(|status| status.workspaces.clone()).expect("workspaces in the status")
}

async fn world() -> World {
    let world = World::start().await;
    world.instance().await;
    world.until_instance("kms", "is Ready", |instance| condition(instance, "Ready").0 == "True").await;
    world
}

/// A connection with a token that reaches some workspaces and must reach others. Its account is its own, as are limits.
async fn apply(world: &World, name: &str, reached: &[&str], wanted: &[&str]) {
    let (email, token) = (format!("{name}@example.com"), token_of(name));
    let issued = Token::new(&email, &token).scopes(needed_by(&[UseCase::SecretScanning]));
    world.bitbucket.add(issued.workspaces(reached.iter().copied()));
    world.secret(name, &email, &token).await;
    world.connection(name).secret(name).change(json!({"workspaces": wanted})).apply().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_reach_a_workspace_never_reaches_the_kms() {
    let world = world().await;
    apply(&world, "blind", &[], &["payments"]).await;
    apply(&world, "elsewhere", &["sandbox", "web"], &["payments", "shop", "web"]).await;
    let blind = world.not_ready("blind", "WorkspacesMissing").await;
    let words = &["the workspace payments", "reaches no workspace at all", "invited there", "spec.workspaces"];
    assert_condition(&blind, "ScopesSufficient", "False", "WorkspacesMissing", words);
    assert_condition(&blind, "CredentialsValid", "True", "Authenticated", &[]);
    assert_condition(&blind, "Ready", "False", "WorkspacesMissing", words);
    assert_eq!((reach(&blind).reachable, reach(&blind).missing), (vec![], vec!["payments".to_owned()]));
    let elsewhere = world.not_ready("elsewhere", "WorkspacesMissing").await;
    let words = &["the workspaces payments, shop", "reaches only sandbox, web", "invited to each"];
    assert_condition(&elsewhere, "Ready", "False", "WorkspacesMissing", words);
    assert_eq!((reach(&elsewhere).reachable.len(), reach(&elsewhere).missing.len()), (2, 2));
    for (name, bbc) in [("blind", &blind), ("elsewhere", &elsewhere)] {
        assert_eq!(kstatus(bbc), Kstatus::Failed, "{name}");
        assert_eq!(world.told(name).await, ["WorkspacesMissing"], "{name}");
        assert!(bbc.metadata.finalizers.is_none(), "{name}: nothing is in the KMS");
    }
    assert_eq!(world.kms.writes(), 0);

    // Cured by an invitation, and by wanting less.
    world.bitbucket.set_workspaces(&token_of("blind"), ["payments"]);
    world.request_reconcile("blind").await;
    world.connection("elsewhere").secret("elsewhere").change(json!({"workspaces": ["web"]})).apply().await;
    for name in ["blind", "elsewhere"] {
        let bbc = world.ready(name).await;
        assert_condition(&bbc, "ScopesSufficient", "True", "AllGranted", &[]);
        assert_eq!(reach(&bbc).missing, [""; 0]);
        assert_eq!(world.told(name).await, ["ConnectionCreated", "Recovered", "WorkspacesMissing"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_to_a_token_without_reach_leaves_the_old_one_in_the_kms() {
    let world = world().await;
    apply(&world, "payments", &["payments"], &["payments"]).await;
    world.ready("payments").await;
    let next = token_of("next");
    world.bitbucket.add(good(&next));
    world.secret("payments", EMAIL, &next).await;
    let bbc = world.not_ready("payments", "WorkspacesMissing").await;
    assert_condition(&bbc, "Synced", "False", "CredentialsNotPushed", &["stays"]);
    assert_eq!(world.kms.connection("payments").map(|row| row.api_token), Some(token_of("payments")));
    world.bitbucket.set_workspaces(&next, ["payments"]);
    world.request_reconcile("payments").await;
    world.ready("payments").await;
    assert_eq!(world.kms.connection("payments").map(|row| row.api_token), Some(next));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_chose_to_be_warned_is_warned() {
    let world = world().await;
    let warn = |scopes: serde_json::Value| json!({"workspaces": ["payments"], "scopes": scopes});
    for (name, granted) in [("unreached", true), ("untold", false)] {
        let mut token = good(&token_of(name));
        token.scopes.retain(|scope| granted || scope != "read:workspace:bitbucket");
        world.bitbucket.add(token);
        world.secret(name, EMAIL, &token_of(name)).await;
        world.connection(name).secret(name).change(warn(json!({"onMissing": "Warn"}))).apply().await;
    }
    let bbc = world.ready("unreached").await;
    let words = &["onMissing is Warn", "the workspace payments", "no workspace at all"];
    assert_condition(&bbc, "ScopesSufficient", "True", "WarnOnly", words);
    assert_eq!(reach(&bbc).missing, ["payments"]);
    assert_eq!(world.told("unreached").await, ["ConnectionCreated"]);
    let bbc = world.ready("untold").await;
    let words = &["Missing: read:workspace:bitbucket", "nobody can tell whether it reaches the workspaces"];
    assert_condition(&bbc, "ScopesSufficient", "True", "WarnOnly", words);
    assert_eq!(world.bitbucket.count(&asked(&token_of("untold"))), 0, "it may not be asked");

    world.connection("untold").secret("untold").change(warn(json!({"onMissing": "Block"}))).apply().await;
    let bbc = world.not_ready("untold", "ScopesMissing").await;
    assert_condition(&bbc, "Ready", "False", "ScopesMissing", &["read:workspace:bitbucket (to list workspaces"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_asked_once_for_all_and_only_for_who_wants_to_know() {
    let world = world().await;
    let token = token_of("shared");
    let many: Vec<String> = (0..250).map(|number| format!("w{number}")).collect();
    world.bitbucket.add(good(&token).workspaces(many));
    world.secret("shared", EMAIL, &token).await;
    world.connection("indifferent").secret("shared").apply().await;
    let bbc = world.ready("indifferent").await;
    assert_eq!(bbc.status.and_then(|status| status.workspaces), None);
    assert_eq!((asked_who(&world, &token), world.bitbucket.count(&asked(&token))), (1, 0));

    // Three pages, once.
    for name in ["one", "two", "three"] {
        world.connection(name).secret("shared").change(json!({"workspaces": ["w0", "w249"]})).apply().await;
    }
    for name in ["one", "two", "three"] {
        let bbc = world.ready(name).await;
        assert_eq!(reach(&bbc).reachable.len(), 100, "more would make the status too large");
        assert!(reach(&bbc).reachable.contains(&"w249".to_owned()), "what is wanted is shown");
    }
    assert_eq!((asked_who(&world, &token), world.bitbucket.count(&asked(&token))), (1, 3));

    // A changed spec is judged by what is asked after it.
    world.connection("one").secret("shared").change(json!({"workspaces": ["w250"]})).apply().await;
    world.not_ready("one", "WorkspacesMissing").await;
    assert_eq!((asked_who(&world, &token), world.bitbucket.count(&asked(&token))), (2, 6));
    world.connection("one").secret("shared").change(json!({"workspaces": null})).apply().await;
    assert_eq!(world.ready("one").await.status.and_then(|status| status.workspaces), None);
    assert_eq!(world.bitbucket.count(&asked(&token)), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_nothing_new_is_pushed_and_what_was_ready_stays_so() {
    let world = world().await;
    apply(&world, "before", &["payments"], &["payments"]).await;
    world.ready("before").await;
    let faults = [
        ("status-503", Fault::status(503), "HTTP 503"),
        ("forbidden", Fault::status(403), "HTTP 403"),
        ("html", Fault::Html, "no JSON"),
        ("limited", Fault::RateLimited { retry_after: None }, "hourly limit"),
        ("no-list", Fault::json(200, &json!({})), "lists no workspaces"),
    ];
    for (name, fault, _) in &faults {
        world.bitbucket.fail_when(asked(&token_of(name)), fault.clone());
        apply(&world, name, &["payments"], &["payments"]).await;
    }
    for (name, _, words) in &faults {
        let bbc = world.not_ready(name, "ScopesNotReported").await;
        let words = &["did not say which workspaces it reaches", words, "Nothing new is written"];
        assert_condition(&bbc, "ScopesSufficient", "Unknown", "ScopesNotReported", words);
        assert_eq!(kstatus(&bbc), Kstatus::InProgress, "{name}");
    }
    assert_eq!(world.kms.connections().len(), 1);
    world.bitbucket.fail_when(asked(&token_of("before")), Fault::status(503));
    let bbc = world.request_reconcile("before").await;
    assert_condition(&bbc, "ScopesSufficient", "Unknown", "ScopesNotReported", &["HTTP 503"]);
    assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
    assert_eq!(reach(&bbc).reachable, ["payments"], "as far as is known");

    world.bitbucket.heal();
    for (name, _, _) in &faults {
        world.ready(name).await;
        assert_eq!(world.told(name).await, ["ConnectionCreated"], "{name}: an outage is no news");
    }
    world.until_reason("before", "ScopesSufficient", "AllGranted").await;
}
