//! When the KMS gives no answer, or none that counts.

use futures::future::join_all;
use serde_json::json;
use sim::{Caller, Fault, Flavor, Match, Operation};

use super::{secret, token_of, world};
use crate::harness::{EMAIL, Kstatus, TOKEN, World, assert_condition, condition, kstatus};

/// An answer that doesn't count. Each row has its own project, so that it alone is concerned.
struct Outage {
    name: &'static str,
    fault: Fault,
    /// Of reads, or of writes alone.
    writes: bool,
    reason: &'static str,
    words: &'static [&'static str],
}

fn outages() -> Vec<Outage> {
    let row = |name, fault, reason, words| Outage { name, fault, writes: false, reason, words };
    let unavailable = "KmsUnavailable";
    let page = |status| Fault::Status(status, "<html>".to_owned(), vec![]).header("content-type", "text/html");
    let at_write = |row: Outage| Outage { writes: true, ..row };
    vec![
        row("status-500", Fault::status(500), unavailable, &["HTTP 500"]),
        row("status-502", page(502), unavailable, &["HTTP 502"]),
        row("status-503", Fault::status(503), unavailable, &["HTTP 503", "KmsInstance/kms", "tried again by itself"]),
        row("html", Fault::Html, unavailable, &["offers no app connections", "spec.host", "tried again by itself"]),
        row("page-404", page(404), unavailable, &["offers no app connections"]),
        row("page-403", page(403), unavailable, &["HTTP 403"]),
        row("json-but-other", Fault::json(200, &json!({"ok": true})), unavailable, &["offers no app connections"]),
        row("plain-text", Fault::WrongContentType, unavailable, &["offers no app connections"]),
        row("truncated", Fault::TruncatedJson, unavailable, &["can't be used"]),
        row("cut", Fault::CutBody, unavailable, &["can't be used"]),
        row("reset", Fault::Reset, unavailable, &["can't be used"]),
        row("huge", Fault::Huge(40 << 20), unavailable, &["can't be used"]),
        row("redirect", Fault::Redirect("http://127.0.0.1:9/".to_owned()), unavailable, &["HTTP 307"]),
        at_write(row("write-503", Fault::status(503), unavailable, &["HTTP 503"])),
        at_write(row("write-lost", Fault::LoseAnswer, unavailable, &["can't be used"])),
        at_write(row("write-truncated", Fault::TruncatedJson, unavailable, &["can't be used"])),
    ]
}

/// A limit is one of the host: each of these has a world to itself.
fn limits() -> [Outage; 3] {
    let row = |name, retry_after, writes| Outage {
        name,
        fault: Fault::RateLimited { retry_after },
        writes,
        reason: "RateLimited",
        words: &["no more requests", "when the KMS allows"],
    };
    [row("limited", None, false), row("limited-until", Some(1), false), row("write-limited", Some(1), true)]
}

impl Outage {
    /// The row's project, made of its name.
    fn project(&self) -> String {
        uuid::Uuid::from_u128(self.name.bytes().fold(1, |sum, byte| sum * 31 + u128::from(byte))).to_string()
    }

    fn begin(&self, world: &World) {
        // What is written again after a lost answer no longer names the project, but has the token.
        let requests = if self.writes {
            Match::writes().token(&token_of(self.name))
        } else {
            Match::any().containing(&self.project())
        };
        world.kms.fail_when(requests, self.fault.clone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_is_in_progress_and_goes_on_by_itself() {
    new_connections(&outages()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_waited_for() {
    join_all(limits().iter().map(async |row| new_connections(std::slice::from_ref(row)).await)).await;
}

async fn new_connections(rows: &[Outage]) {
    let world = world().await;
    join_all(rows.iter().map(async |row| {
        secret(&world, row.name).await;
        world.kms.add_project(&row.project());
        row.begin(&world);
        world.connection(row.name).project(&row.project()).secret(row.name).apply().await;
        let bbc = world.not_ready_saying(row.name, row.reason, row.words).await;
        assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
        assert_condition(&bbc, "Synced", "Unknown", row.reason, row.words);
        assert_condition(&bbc, "Ready", "Unknown", row.reason, row.words);
        assert_eq!(kstatus(&bbc), Kstatus::InProgress, "{}", row.name);
        assert_eq!(world.told(row.name).await, [""; 0], "{}: an outage is no news", row.name);
    }))
    .await;

    world.kms.heal();
    join_all(rows.iter().map(async |row| {
        assert_eq!(kstatus(&world.ready(row.name).await), Kstatus::Current, "{}", row.name);
        assert_eq!(world.told(row.name).await, ["ConnectionCreated"], "{}", row.name);
        let made = world.kms.connections();
        let made: Vec<_> = made.iter().filter(|made| made.project_id == Some(row.project())).collect();
        assert_eq!(made.len(), 1, "{}", row.name);
        assert_eq!(made[0].api_token, token_of(row.name));
    }))
    .await;
    let instance = world.until_instance("kms", "is there", |_| true).await;
    assert_eq!(condition(&instance, "Ready").0, "True", "one connection's trouble is not the instance's");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_ready_stays_ready() {
    let limited = limits().into_iter().filter(|row| !row.writes).map(async |row| ready_ones(vec![row]).await);
    let others = ready_ones(outages().into_iter().filter(|row| !row.writes).collect());
    futures::join!(others, join_all(limited));
}

async fn ready_ones(rows: Vec<Outage>) {
    let world = world().await;
    join_all(rows.iter().map(async |row| {
        secret(&world, row.name).await;
        world.kms.add_project(&row.project());
        world.connection(row.name).project(&row.project()).secret(row.name).apply().await;
        let before = world.ready(row.name).await;
        row.begin(&world);
        let bbc = world.request_reconcile(row.name).await;
        assert_condition(&bbc, "Synced", "Unknown", row.reason, row.words);
        assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
        assert_eq!(kstatus(&bbc), Kstatus::Current, "{}", row.name);
        let (before, now) = (before.status.expect("a status"), bbc.status.expect("a status"));
        assert_eq!(now.connection, before.connection, "{}", row.name);
        assert_eq!(now.last_verified_time, before.last_verified_time, "{}: nothing was verified", row.name);
    }))
    .await;

    world.kms.heal();
    join_all(rows.iter().map(async |row| {
        world.until_reason(row.name, "Synced", "InSync").await;
        assert_eq!(world.told(row.name).await, ["ConnectionCreated"], "{}: nobody had to do anything", row.name);
    }))
    .await;
    assert_eq!(world.kms.writes(), rows.len(), "one for each, at the beginning");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kms_cannot_ask_bitbucket() {
    let world = world().await;
    let rows = [
        ("asked-503", Fault::status(503)),
        ("asked-429", Fault::RateLimited { retry_after: None }),
        ("asked-reset", Fault::Reset),
    ];
    let words = &["could not check the token with Bitbucket", "tried again by itself", "KMS reaches Bitbucket"];
    let from_kms = |name: &str| Match::any().caller(Caller::Kms).token(&token_of(name));
    join_all(rows.iter().map(async |(name, fault)| {
        secret(&world, name).await;
        world.bitbucket.fail_when(from_kms(name), fault.clone());
        world.connection(name).secret(name).apply().await;
        let bbc = world.not_ready(name, "KmsUnavailable").await;
        assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
        assert_condition(&bbc, "Ready", "Unknown", "KmsUnavailable", words);
        assert_eq!(kstatus(&bbc), Kstatus::InProgress, "{name}");
        assert_eq!(world.told(name).await, [""; 0], "{name}");
    }))
    .await;
    assert_eq!(world.kms.connections(), []);
    world.bitbucket.heal();
    for (name, _) in &rows {
        world.ready(name).await;
        assert_eq!(world.told(name).await, ["ConnectionCreated"]);
    }

    // A rotation that the KMS can't check leaves the old token where it is, and the object Ready.
    let old = token_of("asked-503");
    let new = token_of("rotated");
    world.bitbucket.add(
        sim::Token::new(EMAIL, &new).scopes(crate::harness::needed_by(&[
            bitbucket_connection_operator::domain::scopes::UseCase::SecretScanning,
        ])),
    );
    world.bitbucket.fail_when(from_kms("rotated"), Fault::status(503));
    world.secret("asked-503", EMAIL, &new).await;
    let bbc = world.until_reason("asked-503", "Synced", "KmsUnavailable").await;
    assert_eq!(kstatus(&bbc), Kstatus::Current);
    assert_eq!(world.kms.connection("asked-503").map(|row| row.api_token), Some(old));
    world.bitbucket.heal();
    world.until_reason("asked-503", "Synced", "InSync").await;
    assert_eq!(world.kms.connection("asked-503").map(|row| row.api_token), Some(new));
    assert_eq!(world.told("asked-503").await, ["ConnectionCreated", "CredentialsRotated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kms_that_is_away_from_the_start_is_waited_for() {
    for away in [|world: &World| world.kms.down(), |world: &World| world.kms.refuse()] {
        let world = World::start().await;
        away(&world);
        world.instance().await;
        world.secret("bitbucket-token", EMAIL, TOKEN).await;
        world.connection("payments").apply().await;
        let bbc = world.not_ready("payments", "KmsUnavailable").await;
        assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
        assert_condition(&bbc, "Ready", "Unknown", "KmsUnavailable", &["KmsInstance/kms can't be used (Unreachable)"]);
        assert_eq!(kstatus(&bbc), Kstatus::InProgress);
        let unreachable = |instance: &bitbucket_connection_operator::api::KmsInstance| {
            condition(instance, "Ready").1 == "Unreachable"
        };
        let instance = world.until_instance("kms", "is Unreachable", unreachable).await;
        assert_condition(&instance, "Ready", "Unknown", "Unreachable", &["can't be reached", "tried again by itself"]);
        assert_eq!(kstatus(&instance), Kstatus::InProgress);

        world.kms.up();
        assert_eq!(kstatus(&world.ready("payments").await), Kstatus::Current);
        assert_eq!(world.told("payments").await, ["ConnectionCreated"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_had_to_wait_is_nobody_elses() {
    let world = world().await;
    secret(&world, "payments").await;
    world.connection("payments").secret("payments").apply().await;
    world.ready("payments").await;
    world.kms.down();
    let change = json!({"description": "new"});
    world.connection("payments").secret("payments").change(change).apply().await;
    let bbc = world.not_ready("payments", "KmsUnavailable").await;
    assert_eq!(kstatus(&bbc), Kstatus::InProgress, "what it is now was never Ready");
    world.kms.up();
    world.ready("payments").await;
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "ConnectionUpdated"]);
    let description = world.kms.connection("payments").and_then(|row| row.description).expect("a description");
    assert!(description.starts_with("new [k8s:"), "{description}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_behind_the_url_is_told_from_a_kms() {
    let world = world().await;
    secret(&world, "payments").await;
    world.connection("payments").secret("payments").apply().await;
    world.ready("payments").await;
    world.kms.set_flavor(Flavor::Go);
    let bbc = world.request_reconcile("payments").await;
    assert_condition(&bbc, "Synced", "Unknown", "KmsUnavailable", &["offers no app connections"]);
    assert_eq!(kstatus(&bbc), Kstatus::Current, "a page with status 200 says nothing about the connection");
    world.kms.set_flavor(Flavor::Current);
    world.until_reason("payments", "Synced", "InSync").await;
    assert_eq!(world.kms.writes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kms_says_when_to_come_back_and_a_person_may_ask_before() {
    let world = world().await;
    let row = |name, retry_after| Outage {
        name,
        fault: Fault::RateLimited { retry_after },
        writes: false,
        reason: "RateLimited",
        words: &[],
    };
    let (told, other) = (row("told", Some(3_600)), row("other", None));
    let asked = |row: &Outage| world.kms.count(&Match::any().containing(&row.project()));
    for row in [&told, &other] {
        secret(&world, row.name).await;
        world.kms.add_project(&row.project());
    }
    told.begin(&world);
    world.connection(told.name).project(&told.project()).secret(told.name).apply().await;
    world.not_ready(told.name, told.reason).await;
    world.kms.heal();
    // What one was told holds for all at that host.
    world.connection(other.name).project(&other.project()).secret(other.name).apply().await;
    let bbc = world.not_ready(other.name, other.reason).await;
    let words = &["keeps within the limits", "comes by itself", "--kms-reads-per-minute"];
    assert_condition(&bbc, "Synced", "Unknown", "RateLimited", words);
    assert_eq!((asked(&told), asked(&other)), (1, 0));
    world.request_reconcile(told.name).await;
    world.ready(told.name).await;
    assert_eq!(asked(&other), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kms_that_hangs_is_given_up() {
    let world = world().await;
    let rows = [("list", Match::op(Operation::List).times(1)), ("create", Match::op(Operation::Create).times(1))];
    // One after the other: both read the same list.
    for (name, requests) in rows {
        secret(&world, name).await;
        world.kms.fail_when(requests, if name == "list" { Fault::Hang } else { Fault::HangAnswer });
        world.connection(name).secret(name).apply().await;
        let bbc = world.not_ready(name, "KmsUnavailable").await;
        assert_condition(&bbc, "Synced", "Unknown", "KmsUnavailable", &["no answer in time"]);
        assert_eq!(kstatus(&bbc), Kstatus::InProgress);
        world.ready(name).await;
        assert_eq!(world.told(name).await, ["ConnectionCreated"]);
    }
    assert_eq!(world.kms.connections().len(), 2, "what was done without an answer isn't done twice");
}
