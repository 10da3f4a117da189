//! When the token ends: who says so, who is told, and when.

use bitbucket_connection_operator::{
    api::{BitbucketConnection, EXPIRES_AT},
    domain::scopes::UseCase,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use sim::{Operation, State, Token};

use crate::harness::{EMAIL, Kstatus, SECRET, TOKEN, World, condition, kstatus, needed_by};

/// So far from now, as it is written into a Secret.
fn from_now(span: SignedDuration) -> String {
    Timestamp::now().checked_add(span).expect("a time").to_string()
}

fn days_from_now(days: i64) -> String {
    from_now(SignedDuration::from_hours(24 * days))
}

/// The end of the token and where it is known from.
fn expiry(bbc: &BitbucketConnection) -> (String, String) {
    let token = bbc.status.as_ref().and_then(|status| status.token.clone()).unwrap_or_default();
    let at = token.expires_at.map(|at| at.0.to_string()).unwrap_or_default();
    (at, token.expiry_source.unwrap_or_default())
}

/// The good token in a Secret, with a date if there is one.
async fn secret(world: &World, name: &str, date: Option<&str>, annotation: Option<&str>) {
    let mut data = json!({"email": EMAIL, "token": TOKEN});
    if let Some(date) = date {
        data["expiresAt"] = json!(date);
    }
    let metadata = annotation.map_or(json!({}), |date| json!({"annotations": {EXPIRES_AT: date}}));
    world.secret_as(name, data, metadata).await;
}

async fn annotate(world: &World, date: &str) {
    let change = json!({"metadata": {"annotations": {EXPIRES_AT: date}}});
    world.patch_object::<Secret>(SECRET, change).await;
}

/// Types and notes of the events of a reason.
async fn told(world: &World, name: &str, reason: &str) -> Vec<(String, String)> {
    let events = world.events(name).await.into_iter().filter(|(_, found, _)| found == reason);
    events.map(|(kind, _, note)| (kind, note)).collect()
}

/// How many events the operator sent, also such as the API server had already.
fn told_or_tried(world: &World) -> usize {
    world.api_writes().iter().filter(|write| write.resource == "events").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_source_that_is_there_counts() {
    let world = World::start().await;
    world.instance().await;
    let not_after = json!({"expiry": {"notAfter": "2099-03-01"}});
    // Name, the Secret's key, its annotation, the spec; the end and its source.
    let table = [
        ("all", Some("2099-01-01"), Some("2099-02-01"), not_after.clone(), "2099-01-01T00:00:00Z", "Secret"),
        ("time", Some(" 2099-01-01T12:00:00+02:00\n"), None, json!({}), "2099-01-01T10:00:00Z", "Secret"),
        ("annotation", None, Some("2099-02-01"), not_after.clone(), "2099-02-01T00:00:00Z", "Annotation"),
        ("spec", None, None, not_after.clone(), "2099-03-01T00:00:00Z", "Spec"),
    ];
    for (name, date, annotation, change, ..) in &table {
        secret(&world, name, *date, *annotation).await;
        world.connection(name).secret(name).change(change.clone()).apply().await;
    }
    for (name, _, _, _, at, source) in &table {
        let found = expiry(&world.ready(name).await);
        assert_eq!((found.0.as_str(), found.1.as_str()), (*at, *source), "{name}");
    }
    secret(&world, "inferred", None, None).await;
    world.connection("inferred").secret("inferred").apply().await;
    let inferred = world.ready("inferred").await;
    let token = inferred.status.as_ref().and_then(|status| status.token.clone()).unwrap_or_default();
    let year = SignedDuration::from_hours(365 * 24);
    let seen = token.first_seen_time.expect("a time").0;
    assert_eq!(expiry(&inferred), (seen.checked_add(year).expect("a time").to_string(), "Inferred".to_owned()));
    let (status, reason, message) = condition(&inferred, "ExpiringSoon");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "OutsideWindow"));
    assert!(message.contains("at the latest") && message.contains("Declare the real date"), "{message}");

    // What came first goes, and the next one counts.
    secret(&world, "all", None, Some("2099-02-01")).await;
    world.until("all", "reads the annotation", |bbc| expiry(bbc).1 == "Annotation").await;
    secret(&world, "all", None, None).await;
    world.until("all", "reads the spec", |bbc| expiry(bbc).1 == "Spec").await;
    world.patch("all", json!({"spec": {"expiry": {"notAfter": null}}})).await;
    world.until("all", "infers the end", |bbc| expiry(bbc).1 == "Inferred").await;
    assert_eq!(world.kms.writes(), table.len() + 1, "a date is none of the KMS's business");

    let listed = world.plane().control_plane.kubectl().args(["get", "bbc", "-n", world.namespace()]).output();
    let listed = String::from_utf8(listed.await.expect("kubectl").stdout).expect("text");
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].contains("EXPIRES"), "{listed}");
    assert!(lines.iter().any(|line| line.starts_with("time ") && line.contains("2099-01-01")), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_annotation_is_noticed_at_once_and_costs_no_call() {
    let world = World::start().await;
    world.instance().await;
    secret(&world, SECRET, None, None).await;
    let change = json!({"contact": "#team-a", "expiry": {"notAfter": "2099-03-01"}});
    world.connection("payments").change(change).apply().await;
    world.ready("payments").await;
    world.bitbucket.clear_journal();
    world.kms.clear_journal();

    let soon = days_from_now(5);
    annotate(&world, &soon).await;
    let warned = world.until_reason("payments", "ExpiringSoon", "WarningWindow").await;
    let (status, _, message) = condition(&warned, "ExpiringSoon");
    assert_eq!((status.as_str(), kstatus(&warned)), ("True", Kstatus::Current));
    for word in ["#team-a", SECRET, &soon[..10], "Create API token with scopes", "annotation"] {
        assert!(message.contains(word), "no {word}: {message}");
    }
    assert_eq!(told(&world, "payments", "TokenExpiring").await, [("Warning".to_owned(), message)]);

    annotate(&world, "next spring").await;
    let invalid = world.until_reason("payments", "ExpiringSoon", "ExpiryInvalid").await;
    let (status, _, message) = condition(&invalid, "ExpiringSoon");
    assert_eq!(status, "Unknown");
    assert!(message.contains(EXPIRES_AT) && message.contains("2027-03-01"), "place and example: {message}");
    assert_eq!(expiry(&invalid), (String::new(), "Annotation".to_owned()), "no silent fallback");
    assert_eq!(condition(&invalid, "Ready").0, "True");
    assert_eq!(told(&world, "payments", "ExpiryInvalid").await, [("Warning".to_owned(), message)]);

    annotate(&world, "2099-01-01").await;
    world.until_reason("payments", "ExpiringSoon", "OutsideWindow").await;
    let (bitbucket, mut kms) = (world.bitbucket.journal(), world.kms.journal());
    // A list of the KMS serves for 30 s, and a machine may be slow.
    kms.retain(|entry| entry.operation != Operation::List);
    assert!(bitbucket.is_empty() && kms.is_empty(), "{} calls", bitbucket.len() + kms.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_draws_near_by_itself() {
    let world = World::start().await;
    world.instance().await;
    secret(&world, SECRET, None, None).await;
    let change = json!({"contact": "ops@example.com", "expiry": {"warnBefore": ["15s", "30s"]}});
    world.connection("payments").change(change).apply().await;
    world.ready("payments").await;
    // Of all that follows only this is a change.
    secret(&world, SECRET, Some(&from_now(SignedDuration::from_secs(45))), None).await;
    world.until("payments", "knows the end", |bbc| expiry(bbc).1 == "Secret").await;
    world.bitbucket.clear_journal();
    world.kms.clear_journal();
    let expired = world.until_reason("payments", "ExpiringSoon", "Expired").await;
    let (status, _, message) = condition(&expired, "ExpiringSoon");
    assert_eq!((status.as_str(), kstatus(&expired)), ("True", Kstatus::Current), "what is observed outranks a date");
    assert_eq!(condition(&expired, "Ready").0, "True");
    assert!(message.contains("correct the date if the token still works"), "{message}");

    let expiring = told(&world, "payments", "TokenExpiring").await;
    assert_eq!(expiring.len(), 2, "one for each threshold: {expiring:?}");
    let ended = told(&world, "payments", "TokenExpired").await;
    assert_eq!(ended, [("Warning".to_owned(), message)]);
    for (kind, note) in expiring.iter().chain(&ended) {
        assert!(kind == "Warning" && note.contains("ops@example.com"), "{note}");
    }
    assert!(world.bitbucket.journal().is_empty() && world.kms.journal().is_empty(), "time alone asks nobody");

    let before = told_or_tried(&world);
    world.restart().await;
    world.request_reconcile("payments").await;
    assert_eq!(told_or_tried(&world), before, "a restart repeats nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_passed_at_once_is_told_once() {
    let world = World::start().await;
    world.instance().await;
    // Days left; the condition's reason; type and number of events about the end to come, and about the end.
    let table = [
        ("month", 29, "WarningWindow", "Normal", 1, 0),
        ("fortnight", 13, "WarningWindow", "Warning", 1, 0),
        ("days", 2, "WarningWindow", "Warning", 1, 0),
        ("over", -1, "Expired", "Warning", 0, 1),
        ("far", 200, "OutsideWindow", "", 0, 0),
    ];
    for (name, days, ..) in table {
        secret(&world, name, Some(&days_from_now(days)), None).await;
        world.connection(name).secret(name).apply().await;
    }
    let check = async |when: &str| {
        for (name, _, reason, kind, expiring, expired) in table {
            let found = world.ready(name).await;
            assert_eq!(condition(&found, "ExpiringSoon").1, reason, "{name} {when}");
            let events = told(&world, name, "TokenExpiring").await;
            assert_eq!(events.len(), expiring, "{name} {when}: {events:?}");
            assert!(events.iter().all(|(found, _)| found == kind), "{name} {when}: {events:?}");
            assert_eq!(told(&world, name, "TokenExpired").await.len(), expired, "{name} {when}");
        }
    };
    check("at first").await;
    let before = told_or_tried(&world);
    world.restart().await;
    for (name, ..) in table {
        world.request_reconcile(name).await;
    }
    check("after a restart").await;
    assert_eq!(told_or_tried(&world), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_that_bitbucket_refuses_is_called_so() {
    let world = World::start().await;
    world.instance().await;
    let rows = [
        ("declared", json!({"expiresAt": days_from_now(-1)}), "TokenExpired"),
        ("inferred", json!({}), "CredentialsRejected"),
    ];
    for (name, date, _) in &rows {
        let token = format!("ATATT3x-{name}");
        world.bitbucket.add(Token::new(EMAIL, &token).scopes(needed_by(&[UseCase::SecretScanning])));
        let mut data = json!({"email": EMAIL, "token": token});
        crate::harness::merge(&mut data, date.clone());
        world.secret_with(name, data).await;
        world.connection(name).secret(name).apply().await;
        world.ready(name).await;
        world.bitbucket.set(&token, State::Revoked);
        world.request_reconcile(name).await;
    }
    for (name, _, reason) in &rows {
        let refused = world.not_ready(name, reason).await;
        assert_eq!((condition(&refused, "CredentialsValid").1.as_str(), kstatus(&refused)), (*reason, Kstatus::Failed));
    }
    let message = condition(&world.get("declared").await, "Ready").2;
    assert!(message.contains("declared end has passed") && message.contains("Secret declared"), "{message}");
    assert_eq!(told(&world, "declared", "TokenExpired").await.len(), 1, "told when the day came");
    assert_eq!(told(&world, "declared", "CredentialsRejected").await, []);
    assert_eq!(told(&world, "inferred", "TokenExpired").await, []);
    assert_eq!(told(&world, "inferred", "CredentialsRejected").await.len(), 1);
    assert_eq!(world.kms.connections().len(), 2, "what is in the KMS stays");

    world.bitbucket.add(Token::new(EMAIL, "ATATT3x-renewed").scopes(needed_by(&[UseCase::SecretScanning])));
    let renewed = json!({"email": EMAIL, "token": "ATATT3x-renewed", "expiresAt": days_from_now(300)});
    world.secret_with("declared", renewed).await;
    world.until_event("declared", "CredentialsRotated").await;
    let found = world.ready("declared").await;
    assert_eq!(condition(&found, "ExpiringSoon").1, "OutsideWindow");
    world.until_event("declared", "Recovered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_that_cannot_be_true_are_doubted() {
    let world = World::start().await;
    world.instance().await;
    let renew = async |name: &str, version: usize, date: Value| {
        let token = format!("ATATT3x-{name}-{version}");
        world.bitbucket.add(Token::new(EMAIL, &token).scopes(needed_by(&[UseCase::SecretScanning])));
        let mut data = json!({"email": EMAIL, "token": token});
        crate::harness::merge(&mut data, date);
        world.secret_with(name, data).await;
    };
    let date = days_from_now(300);
    renew("kept", 1, json!({"expiresAt": date})).await;
    renew("moved", 1, json!({"expiresAt": date})).await;
    renew("inferred", 1, json!({})).await;
    renew("far", 1, json!({"expiresAt": "2098-01-01"})).await;
    for name in ["kept", "moved", "inferred", "far"] {
        world.connection(name).secret(name).apply().await;
        world.ready(name).await;
    }
    let note = world.until_event("far", "ExpiryImplausible").await;
    assert!(note.contains("2098-01-01") && note.contains("more than a year"), "{note}");
    assert_eq!(told(&world, "kept", "ExpiryImplausible").await, []);

    renew("kept", 2, json!({"expiresAt": date})).await;
    renew("moved", 2, json!({"expiresAt": days_from_now(310)})).await;
    renew("inferred", 2, json!({})).await;
    renew("far", 2, json!({"expiresAt": days_from_now(310)})).await;
    for name in ["kept", "moved", "inferred", "far"] {
        world.until_event(name, "CredentialsRotated").await;
        world.ready(name).await;
    }
    let note = world.until_event("kept", "ExpiryNotUpdated").await;
    assert!(note.contains(&date[..10]) && note.contains("Declare the end of the new token"), "{note}");
    for name in ["moved", "inferred", "far"] {
        assert_eq!(told(&world, name, "ExpiryNotUpdated").await, [], "{name}");
    }
    assert_eq!(told(&world, "far", "ExpiryImplausible").await.len(), 1);
}
