//! Both stand-ins over real HTTP: what the operator relies on in them.

mod common;
mod crowd;
mod limits;
mod logins;
mod sight;

use std::time::Duration;

use common::*;
use serde_json::{Value, json};
use sim::{Bitbucket, Caller, Connection, Fault, Kms, Match, Operation, Outcome, State, Token};

#[tokio::test]
async fn bitbucket_tells_who_a_token_is_and_what_it_may_do() {
    let bitbucket = Bitbucket::start().await;
    bitbucket.add(Token::new(EMAIL, TOKEN).scopes(["read:user:bitbucket", "read:issue:bitbucket"]));

    let answer = user(&bitbucket, EMAIL, TOKEN).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["username"], "bot");
    assert_eq!(answer.header("x-oauth-scopes"), Some("read:user:bitbucket, read:issue:bitbucket"));
    assert_eq!(answer.header("x-credential-type"), Some("api_token"));

    bitbucket.set_scopes(TOKEN, ["read:issue:bitbucket"]);
    let answer = user(&bitbucket, EMAIL, TOKEN).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("x-oauth-scopes"), Some("read:issue:bitbucket"));
    assert_eq!(answer.json()["error"]["detail"]["required"], json!(["read:user:bitbucket"]));
    assert_eq!(bitbucket.calls_by(Caller::Operator), 2);
}

#[tokio::test]
async fn bitbucket_refuses_in_each_of_its_ways() {
    let bitbucket = Bitbucket::start().await;
    bitbucket.add(Token::new(EMAIL, TOKEN).scopes(["read:user:bitbucket"]));
    let url = format!("{}/user", bitbucket.url());
    let bearer = format!("Bearer {TOKEN}");

    assert_eq!(user(&bitbucket, "other@example.com", TOKEN).await.status, 401);
    assert_eq!(send("GET", &url, Some(&bearer), None).await.expect("an answer").status, 200);
    let answer = user(&bitbucket, "bot", TOKEN).await;
    assert!(answer.json()["error"]["message"].as_str().expect("text").contains("registered email"));

    for (state, status, words) in [
        (State::Revoked, 401, "Token is invalid, expired"),
        (State::RevokedBareString, 401, "\"error\":\"Token is invalid"),
        (State::NoBitbucketScopes, 401, "no Bitbucket scopes"),
        (State::IpBlocked, 403, "IP address"),
        (State::Forbidden, 403, "do not have access"),
        (State::WrongMechanism, 403, "authentication mechanism"),
        (State::AppPassword(410), 410, "CHANGE-3222"),
        (State::EndpointGone, 410, "CHANGE-2770"),
    ] {
        bitbucket.set(TOKEN, state.clone());
        let answer = user(&bitbucket, EMAIL, TOKEN).await;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{state:?}");
        assert!(body.contains(words), "{state:?}: {body}");
    }
}

#[tokio::test]
async fn bitbucket_pages_workspaces_and_counts_calls() {
    let bitbucket = Bitbucket::start().await;
    let token = Token::new(EMAIL, TOKEN).scopes(["read:workspace:bitbucket"]);
    bitbucket.add(token.workspaces(["one", "two", "three"]));
    let get = async |url: &str| send("GET", url, Some(&basic(EMAIL, TOKEN)), None).await.expect("an answer");

    let first = get(&format!("{}/user/workspaces?pagelen=2", bitbucket.url())).await.json();
    assert_eq!(first["values"][1]["workspace"]["slug"], "two");
    let last = get(first["next"].as_str().expect("a next page")).await.json();
    assert_eq!(last["values"][0]["workspace"]["slug"], "three");
    assert_eq!(last["next"], json!(null));
    assert_eq!(get(&format!("{}/workspaces", bitbucket.url())).await.status, 410);

    bitbucket.limit_per_hour(Some(1));
    assert_eq!(user(&bitbucket, EMAIL, TOKEN).await.status, 403);
    assert_eq!(user(&bitbucket, EMAIL, TOKEN).await.status, 429);
}

#[tokio::test]
async fn a_connection_lives_from_post_to_delete() {
    let (bitbucket, kms, session) = world().await;
    let created = call(&kms, &session, "POST", "", Some(create_body("payments"))).await.expect("it");
    assert_eq!(created.status, 200);
    let created = created.json()["appConnection"].clone();
    assert_eq!(created["description"], "a text");
    assert_eq!(created["credentials"], json!({"email": EMAIL}));
    assert_eq!(bitbucket.calls_by(Caller::Kms), 1);
    let stored = kms.connection("payments").expect("a row");
    assert_eq!((stored.email.as_str(), stored.api_token.as_str()), (EMAIL, TOKEN));

    let path = format!("/{}", stored.id);
    let body = json!({"description": null, "method": "other", "credentials": create_body("x")["credentials"]});
    let changed = call(&kms, &session, "PATCH", &path, Some(body)).await.expect("an answer").json();
    let changed = &changed["appConnection"];
    assert_eq!(changed["description"], json!(null));
    assert_eq!(changed["method"], "api-token");
    assert_ne!(changed["credentialsHash"], created["credentialsHash"]);
    let read = call(&kms, &session, "GET", &path, None).await.expect("an answer").json();
    assert_eq!(&read["appConnection"], changed);

    kms.attach(&stored.id);
    let refused = call(&kms, &session, "DELETE", &path, None).await.expect("an answer");
    assert_eq!(refused.status, 400);
    assert!(refused.message().starts_with("Cannot delete App Connection with existing"));
    kms.detach(&stored.id);
    assert_eq!(call(&kms, &session, "DELETE", &path, None).await.expect("an answer").status, 200);
    assert_eq!(call(&kms, &session, "GET", &path, None).await.expect("an answer").status, 404);
    assert_eq!((kms.logins(), kms.writes(), kms.gets(), kms.lists()), (1, 4, 2, 0));
}

#[tokio::test]
async fn a_create_is_judged_in_the_order_of_the_kms() {
    let (bitbucket, kms, session) = world().await;
    kms.insert(Connection::new("payments").project(PROJECT).app("github"));
    let create = async |body| call(&kms, &session, "POST", "/", Some(body)).await.expect("an answer");

    // The name shows last, the permission first.
    let taken = create(create_body("payments")).await;
    assert_eq!(taken.message(), "An App Connection with the name \"payments\" already exists");
    bitbucket.set(TOKEN, State::Revoked);
    let refused = create(create_body("payments")).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.message(), "Failed to validate credentials: Request failed with status code 401");
    kms.remove_project(PROJECT);
    let unknown = create(create_body("payments")).await;
    assert_eq!(unknown.message(), format!("Could not find project with ID {PROJECT}"));
    kms.deny("create");
    let denied = create(create_body("payments")).await;
    assert_eq!((denied.status, denied.json()["error"].clone()), (403, json!("PermissionDenied")));
    assert_eq!(denied.message(), "You are not allowed to create on app-connections");
    assert_eq!(bitbucket.calls_by(Caller::Kms), 2);

    let mut body = create_body("Not-A-Slug");
    body["credentials"]["email"] = json!(" bot@example.com");
    let invalid = create(body).await.json();
    assert_eq!((&invalid["statusCode"], &invalid["error"]), (&json!(422), &json!("ValidationFailure")));
    assert_eq!(invalid["message"].as_array().expect("findings").len(), 2);
    assert_eq!(call(&kms, &session, "GET", "/nope", None).await.expect("an answer").status, 422);
}

#[tokio::test]
async fn an_outage_of_bitbucket_is_a_400_of_the_kms() {
    let (bitbucket, kms, session) = world().await;
    for (fault, reason) in [
        (Fault::Reset, "socket hang up"),
        (Fault::CutBody, "aborted"),
        (Fault::Hang, "timeout of 1ms exceeded"),
        (Fault::status(502), "Request failed with status code 502"),
    ] {
        // Only the one that hangs may run into the timeout.
        let patience = if fault == Fault::Hang { 1 } else { 60_000 };
        kms.set_bitbucket_timeout(Duration::from_millis(patience));
        bitbucket.fail(fault);
        let answer = call(&kms, &session, "POST", "", Some(create_body("a"))).await.expect("it");
        assert_eq!(answer.status, 400);
        assert_eq!(answer.message(), format!("Failed to validate credentials: {reason}"));
        bitbucket.heal();
    }
    assert!(kms.connections().is_empty());
}

#[tokio::test]
async fn lists_cover_every_scope_unless_a_project_is_named() {
    let (_, kms, session) = world().await;
    kms.insert(Connection::new("b"));
    let hidden = kms.insert(Connection::new("c"));
    kms.insert(Connection::new("a").project(PROJECT));
    kms.insert(Connection::new("d").app("github"));
    let names = async |path: &str| {
        let body = call(&kms, &session, "GET", path, None).await.expect("an answer").json();
        let rows = body["appConnections"].as_array().expect("rows").clone();
        rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect::<String>()
    };
    assert_eq!(names("").await, "abc");
    assert_eq!(names(&format!("/?projectId={PROJECT}")).await, "a");
    kms.hide(&hidden);
    assert_eq!(names("").await, "ab");
    let of_github = call(&kms, &session, "GET", "/connection-name/d", None).await.expect("it");
    assert_eq!(of_github.status, 400);
    let missing = call(&kms, &session, "GET", "/connection-name/a", None).await.expect("it");
    assert_eq!(missing.message(), "Could not find App Connection with name a in organization scope.");
}

#[tokio::test]
async fn sessions_expire_and_identities_are_locked() {
    let (_, kms, session) = world().await;
    let list = async || call(&kms, &session, "GET", "", None).await.expect("an answer");
    kms.expire_sessions();
    let expired = list().await;
    assert_eq!((expired.status, expired.json()["error"].clone()), (403, json!("TokenError")));
    kms.set_expired_status(401);
    assert_eq!(list().await.status, 401);
    let url = format!("{}/api/v1/app-connections/bitbucket", kms.url());
    assert_eq!(send("GET", &url, None, None).await.expect("it").message(), "Token missing");

    for _ in 0..3 {
        assert_eq!(login(&kms, "wrong").await.message(), "Invalid credentials");
    }
    assert!(login(&kms, "secret").await.message().contains("temporarily locked"));
    // Five minutes later.
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(301);
    kms.set_clock(move || later);
    assert_eq!(login(&kms, "secret").await.status, 200);
    kms.limit_client_secret("client", Some(0));
    assert!(login(&kms, "secret").await.message().contains("usage limit"));
}

#[tokio::test]
async fn faults_come_as_ordered() {
    let (bitbucket, kms, session) = world().await;
    let list = async || call(&kms, &session, "GET", "", None).await;
    kms.fail(Fault::status(500));
    kms.fail_next(1, Fault::RateLimited { retry_after: Some(7) });
    let limited = list().await.expect("an answer");
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("7")));
    assert_eq!(list().await.expect("an answer").message(), "Something went wrong");
    kms.heal();
    assert_eq!(list().await.expect("an answer").status, 200);

    kms.fail_when(Match::op(Operation::List).skip(1).times(1), Fault::Reset);
    assert!(list().await.is_ok());
    assert!(list().await.is_err());
    assert!(list().await.is_ok());

    kms.fail_next(1, Fault::Huge(1_000_000));
    assert!(list().await.expect("an answer").body.len() > 1_000_000);
    kms.fail_next(1, Fault::TruncatedJson);
    assert!(serde_json::from_slice::<Value>(&list().await.expect("it").body).is_err());
    kms.fail_next(1, Fault::CutBody);
    let cut = list().await.expect("a head");
    assert_ne!(cut.header("content-length"), Some(cut.body.len().to_string().as_str()));
    kms.fail_next(1, Fault::Echo(400));
    assert!(list().await.expect("an answer").message().contains(&session));
    bitbucket.fail_next(1, Fault::Echo(500));
    let echo = user(&bitbucket, EMAIL, TOKEN).await;
    assert!(echo.header("x-echo").expect("an echo").contains(&basic(EMAIL, TOKEN)));
    kms.down();
    assert_eq!(list().await.expect("an answer").status, 503);
    kms.refuse();
    assert!(list().await.is_err());
    kms.up();
    assert!(list().await.is_ok());
}

#[tokio::test]
async fn a_lost_answer_has_an_effect_and_a_hung_request_has_none() {
    let (_, kms, session) = world().await;
    let create = async |name| call(&kms, &session, "POST", "", Some(create_body(name))).await;
    kms.fail_next(1, Fault::LoseAnswer);
    assert!(create("lost").await.is_err());
    assert!(kms.connection("lost").is_some());

    kms.fail_next(1, Fault::Hang);
    let creates = Match::op(Operation::Create);
    let (answer, entries) = tokio::join!(create("hung"), async {
        let entries = kms.answered(&creates, 2).await;
        kms.heal();
        entries
    });
    assert!(answer.is_err());
    assert!(kms.connection("hung").is_none());
    assert_eq!([entries[0].outcome, entries[1].outcome], [Outcome::Lost(200), Outcome::Hung]);
}

#[tokio::test]
async fn a_held_request_takes_effect_though_its_sender_is_gone() {
    let (_, kms, session) = world().await;
    let creates = Match::op(Operation::Create);
    kms.fail_when(creates.clone(), Fault::Hold);
    let sender = {
        let (kms, session) = (kms.clone(), session.clone());
        tokio::spawn(async move { drop(call(&kms, &session, "POST", "", Some(create_body("held"))).await) })
    };
    kms.seen(&creates, 1).await;
    sender.abort();
    assert!(sender.await.is_err_and(|end| end.is_cancelled()));
    assert!(kms.connection("held").is_none());
    kms.heal();
    kms.answered(&creates, 1).await;
    assert!(kms.connection("held").is_some());
}

#[tokio::test]
async fn the_journal_holds_every_byte() {
    let (bitbucket, kms, session) = world().await;
    call(&kms, &session, "POST", "", Some(create_body("payments"))).await.expect("an answer");
    let entry = kms.matching(&Match::op(Operation::Create).token(&format!(" {TOKEN} "))).remove(0);
    assert_eq!(entry.json.as_ref().expect("JSON")["name"], "payments");
    assert_eq!(entry.status(), Some(200));
    assert!(entry.contains(TOKEN) && entry.contains(&session));
    // The KMS asked Bitbucket after it was asked itself.
    let asked = bitbucket.matching(&Match::any().caller(Caller::Kms)).remove(0);
    assert!(asked.seq > entry.seq);
    assert!(asked.contains(TOKEN));
    assert!(!String::from_utf8_lossy(&asked.bytes()).contains(TOKEN));
    kms.clear_journal();
    assert!(kms.journal().is_empty());
    let _: Kms = kms.clone();
}
