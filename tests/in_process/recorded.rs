//! A day of two hundred connections as the operator's metrics tell it: what the picture of the dashboard shows
//! (`tests/page/dashboard.rs`). `make dashboard` records it.

use std::{
    fmt::Write as _,
    fs::{File, create_dir_all},
    io::{BufWriter, Write as _},
    path::Path,
    time::Duration,
};

use bitbucket_connection_operator::{
    api::{BitbucketConnection, ClusterKmsInstance, RECONCILE_REQUESTED_AT},
    domain::scopes::{UseCase, required},
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use sim::{Caller, Connection, Fault, Limits, Match, State, Token};

use crate::{
    fleet::{Fleet, object, secret},
    world::{KMS, World},
};

const SECOND: Duration = Duration::from_secs(1);
/// How often the metrics are read, as `tests/page/dashboard.rs` knows. A series that is silent for five minutes is gone for Prometheus.
const SCRAPE: Duration = Duration::from_secs(120);
/// Before the day begins: all is verified twice, and rates are known.
const BEFORE: Duration = Duration::from_secs(2 * 3_600);
const CONNECTIONS: usize = 200;
/// So many come during the day.
const LATE: usize = 24;
const TEAMS: [&str; 8] = ["payments", "web", "platform", "data", "mobile", "search", "billing", "identity"];
const SYSTEMS: [&str; 25] = [
    "api",
    "checkout",
    "ledger",
    "reports",
    "gateway",
    "catalogue",
    "mailer",
    "webhooks",
    "importer",
    "console",
    "documents",
    "scheduler",
    "metrics",
    "archive",
    "invoices",
    "accounts",
    "storefront",
    "recommendations",
    "translation-memory",
    "fraud-detection",
    "audit",
    "exports",
    "feature-flags",
    "sessions",
    "tax",
];

fn project(team: usize) -> String {
    uuid::Uuid::from_u128(1 + team as u128).to_string()
}

fn names(number: usize) -> (&'static str, &'static str) {
    (TEAMS[number % TEAMS.len()], SYSTEMS[number / TEAMS.len()])
}

fn token(number: usize, version: usize) -> (String, String) {
    let (team, system) = names(number);
    (format!("{team}-bot@example.com"), format!("ATATT3x-{team}-{system}-{version}"))
}

/// What is put into the Secret of a connection: a token of this version, which Bitbucket knows from now on.
fn credentials(world: &World, number: usize, version: usize) -> Secret {
    let ((team, system), (email, token)) = (names(number), token(number, version));
    let scopes = required(&[UseCase::SecretScanning], &[]);
    let mut scopes: Vec<_> = scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    match number % 41 {
        11 => scopes.retain(|scope| !scope.contains("webhook")),
        3 | 25 => scopes.push("admin:repository:bitbucket".to_owned()),
        _ => {}
    }
    world.bitbucket.add(Token::new(&email, &token).scopes(scopes));
    // Over a year; two end in the night before and on the day itself, though Bitbucket goes on to take them.
    let days = if version > 0 { 364 } else { 365 * (number * 37 % CONNECTIONS) / CONNECTIONS };
    let days = i64::try_from(days).expect("few days") - 1;
    let ends = world.now() + SignedDuration::from_hours(24 * days + 5);
    let ends = ends.to_string();
    secret(team, &format!("{system}-token"), &[("email", &email), ("token", &token), ("expiresAt", &ends)])
}

/// A connection, with its Secret, if it isn't the one that somebody forgot.
fn apply(world: &World, number: usize) {
    let (team, system) = names(number);
    if number != 77 {
        world.api.create(&credentials(world, number, 0));
    }
    let mut manifest = json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
        "kind": "BitbucketConnection",
        "metadata": {"name": system, "namespace": team},
        "spec": {
            "projectId": project(number % TEAMS.len()),
            "connectionName": format!("{team}-{system}"),
            "secretRef": {"name": format!("{system}-token")},
            "scopes": {"useCases": ["SecretScanning"]},
            "contact": format!("#{team}-on-call"),
        },
    });
    match number {
        50 => manifest["spec"]["managementPolicy"] = json!("Observe"),
        90 => manifest["spec"]["projectId"] = json!(project(TEAMS.len())),
        _ => {}
    }
    world.api.create::<BitbucketConnection>(&object(manifest));
}

/// All that there is when the day begins.
fn begin(world: &World) {
    world.api.create_namespace("kms");
    world.api.create(&secret("kms", "kms", &[("clientId", "client"), ("clientSecret", "client-secret")]));
    world.kms.add_identity("client", "client-secret");
    // Another project is granted to nobody.
    let projects: Vec<_> = (0..TEAMS.len()).map(project).collect();
    world.api.create::<ClusterKmsInstance>(&object(json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
        "kind": "ClusterKmsInstance",
        "metadata": {"name": "default"},
        "spec": {
            "host": KMS,
            "namespace": "kms",
            "auth": {"universal": {"secretRef": {"name": "kms"}}},
            "grants": [{"namespaceSelector": {}, "projectIds": projects}],
        },
    })));
    TEAMS.iter().for_each(|team| world.api.create_namespace(team));
    projects.iter().for_each(|project| world.kms.add_project(project));
    // Made by hand, under a name that an object wants.
    let (team, system) = names(120);
    world.kms.insert(Connection::new(&format!("{team}-{system}")).project(&project(120 % TEAMS.len())));
    (0..CONNECTIONS - LATE).for_each(|number| apply(world, number));
}

/// A person changes some connections in the KMS.
fn meddle(world: &World) {
    for number in [8, 16, 33, 41, 64, 102, 110] {
        let (team, system) = names(number);
        let row = world.kms.connection(&format!("{team}-{system}")).expect("a connection");
        world.kms.edit(&row.id, |row| row.write_credentials("kim@example.com", "ATATT3x-of-kim"));
    }
}

fn revoke(world: &World) {
    [5, 21, 61].iter().for_each(|number| world.bitbucket.set(&token(*number, 0).1, State::Revoked));
}

/// A new token, with the whole year before it.
fn rotate(world: &World, numbers: &[usize]) {
    for number in numbers {
        let new = credentials(world, *number, 1);
        let (team, system) = names(*number);
        world.api.update::<Secret>(team, &format!("{system}-token"), |secret| secret.data = new.data);
    }
}

/// Somebody wants all to be looked at.
fn ask_all(world: &World) {
    for number in 0..CONNECTIONS {
        let (team, system) = names(number);
        let annotations = json!({RECONCILE_REQUESTED_AT: "now"});
        world.api.merge::<BitbucketConnection>(team, system, json!({"metadata": {"annotations": annotations}}));
    }
}

/// Something that happens.
type Deed = fn(&World);

/// What happens at which minute of the day. docs/metrics.md tells it, by a clock that stands at 2:00 in the beginning.
const DAY: [(u32, Deed); 12] = [
    (150, |world| world.kms.fail(Fault::status(503))),
    (190, |world| world.kms.heal()),
    (400, meddle),
    (520, |world| (CONNECTIONS - LATE..CONNECTIONS).for_each(|number| apply(world, number))),
    (600, revoke),
    (700, |world| rotate(world, &[5])),
    (760, |world| {
        world.bitbucket.fail_when(Match::any().caller(Caller::Operator), Fault::RateLimited { retry_after: Some(900) });
    }),
    (800, |world| world.bitbucket.heal()),
    (900, |world| rotate(world, &[60, 65, 70, 75, 80, 85, 135, 140, 145, 150, 155, 160])),
    (1_020, |world| world.kms.fail(Fault::Delay(Duration::from_secs(2)))),
    (1_110, |world| world.kms.heal()),
    (1_300, ask_all),
];

/// A scrape, each sample with its time; without exemplars, whose time is that of the machine.
fn record(world: &World, file: &mut impl std::io::Write) {
    let (text, seconds) = (world.metrics(), world.now().as_second());
    let mut told = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let sample = line.split(" # {").next().unwrap_or_default();
        let _ = writeln!(told, "{sample} {seconds}");
    }
    file.write_all(told.as_bytes()).expect("a file");
}

#[tokio::test(start_paused = true)]
#[ignore = "for `make dashboard`"]
async fn a_day_for_the_picture_of_the_dashboard() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
    create_dir_all(&folder).expect("a folder");
    let mut world = World::new();
    world.kms.set_limits(Limits::USUAL);
    world.bitbucket.limit_per_hour(Some(1_000));
    world.bitbucket.keep_journal(false);
    world.kms.keep_journal(false);
    begin(&world);
    world.start();
    tokio::time::sleep(BEFORE).await;
    assert_eq!(Fleet::ready(&world), CONNECTIONS - LATE - 9, "but those that are in trouble from the beginning");
    let mut file = BufWriter::new(File::create(folder.join("day.txt")).expect("a file"));
    let mut deeds = DAY.into_iter().peekable();
    for minute in (0..=24 * 60).step_by(2) {
        tokio::time::sleep(SCRAPE.saturating_sub(SECOND)).await;
        while let Some((_, deed)) = deeds.next_if(|(at, _)| *at <= minute) {
            deed(&world);
        }
        tokio::time::sleep(SECOND).await;
        record(&world, &mut file);
    }
    assert_eq!(Fleet::ready(&world), CONNECTIONS - 11, "but those, and two whose tokens were revoked");
    file.write_all(b"# EOF\n").expect("a file");
    world.stop().await;
}
