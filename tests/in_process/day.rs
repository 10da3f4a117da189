//! A day in the life of many connections, at the limits that the services have by default.

use std::{fmt::Write as _, time::Duration};

use bitbucket_connection_operator::{
    api::{BitbucketConnection, ClusterKmsInstance},
    domain::scopes::{UseCase, required},
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;
use memory_api::{Match, Verb};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sim::{Caller, Operation, Tally, Token};

use crate::world::{KMS, World};

/// Credentials, each of an account of its own.
const CREDENTIALS: usize = 40;
/// Connections that share a project, and so a list.
const PROJECT: usize = 100;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// How many connections: as many as the full simulation is asked for, else enough to meet the limits.
fn connections() -> usize {
    std::env::var("CONNECTIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(500)
}

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn project(number: usize) -> String {
    uuid::Uuid::from_u128(1 + number as u128).to_string()
}

fn namespace(credential: usize) -> String {
    format!("team-{credential:02}")
}

fn secret(world: &World, credential: usize, name: &str, version: usize) -> Secret {
    let (email, token) = (format!("bot-{credential}@example.com"), format!("ATATT3x-{name}-{credential}-{version}"));
    let scopes = required(&[UseCase::SecretScanning], &[]);
    let scopes: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
    world.bitbucket.add(Token::new(&email, &token).scopes(scopes));
    let data = [("email", email), ("token", token), ("expiresAt", "2027-02-01".to_owned())];
    Secret {
        data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).collect()),
        ..object(json!({"metadata": {"name": name, "namespace": namespace(credential)}}))
    }
}

fn connection(number: usize, credential: usize, secret: &str) -> BitbucketConnection {
    object(json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
        "kind": "BitbucketConnection",
        "metadata": {"name": format!("connection-{number:05}"), "namespace": namespace(credential)},
        "spec": {
            "projectId": project(number / PROJECT),
            "secretRef": {"name": secret},
            "scopes": {"useCases": ["SecretScanning"]},
        },
    }))
}

/// The fleet, applied at once.
fn apply(world: &World, count: usize) {
    world.api.create_namespace("kms");
    let login = json!({"metadata": {"name": "kms", "namespace": "kms"}});
    let data = [("clientId", "client"), ("clientSecret", "client-secret")];
    world.api.create(&Secret {
        data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into()))).collect()),
        ..object(login)
    });
    world.kms.add_identity("client", "client-secret");
    world.api.create::<ClusterKmsInstance>(&object(json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
        "kind": "ClusterKmsInstance",
        "metadata": {"name": "default"},
        "spec": {
            "host": KMS,
            "namespace": "kms",
            "auth": {"universal": {"secretRef": {"name": "kms"}}},
            "grants": [{"namespaceSelector": {}, "projectIds": ["*"]}],
        },
    })));
    for credential in 0..CREDENTIALS {
        world.api.create_namespace(&namespace(credential));
        world.api.create(&secret(world, credential, "shared", 0));
    }
    (0..=count / PROJECT).for_each(|number| world.kms.add_project(&project(number)));
    for number in 0..count {
        world.api.create(&connection(number, number % CREDENTIALS, "shared"));
    }
}

fn is_ready(object: &BitbucketConnection) -> bool {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn ready(world: &World) -> usize {
    world.api.list::<BitbucketConnection>().iter().filter(|object| is_ready(object)).count()
}

/// What an hour cost.
#[derive(Clone, Copy, Debug, Default)]
struct Hour {
    reads: usize,
    writes: usize,
    logins: usize,
    asked: usize,
    tried: usize,
    refused: usize,
    statuses: u64,
    others: u64,
}

impl Hour {
    /// What there was up to now.
    fn so_far(world: &World) -> Self {
        let (kms, bitbucket) = (world.kms.tally(), world.bitbucket.tally());
        let of = |tally: &Tally, operations: &[Operation]| tally.clone().of(operations.iter().copied()).total();
        let writes = [Verb::Create, Verb::Update, Verb::Patch, Verb::Delete];
        let all: u64 = writes.into_iter().map(|verb| world.api.count(&Match::verb(verb))).sum();
        let statuses = world.api.count(&Match::status_writes());
        Self {
            reads: of(&kms, &[Operation::List, Operation::Get, Operation::GetByName]),
            writes: of(&kms, &[Operation::Create, Operation::Update, Operation::Delete]),
            logins: of(&kms, &[Operation::Login]),
            asked: bitbucket.clone().by(Caller::Operator).total(),
            tried: bitbucket.clone().by(Caller::Kms).total(),
            refused: kms.ended(429) + bitbucket.ended(429),
            statuses,
            others: all - statuses,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
            logins: self.logins - before.logins,
            asked: self.asked - before.asked,
            tried: self.tried - before.tried,
            refused: self.refused - before.refused,
            statuses: self.statuses - before.statuses,
            others: self.others - before.others,
        }
    }
}

const HEAD: &str =
    "hour   ready | KMS reads writes logins | Bitbucket asked by the KMS | 429 | status writes others | not verified";

fn row(table: &mut String, number: usize, ready: usize, hour: Hour, late: usize) {
    let Hour { reads, writes, logins, asked, tried, refused, statuses, others } = hour;
    let _ = writeln!(
        table,
        "{number:4} {ready:7} | {reads:9} {writes:6} {logins:6} | {asked:15} {tried:10} | {refused:3} | {statuses:13} {others:6} | {late:12}"
    );
}

/// Objects that were not verified within their effective interval, with its tenth of jitter and a minute to do it in.
fn late(world: &World) -> usize {
    let now = world.now();
    let is_late = |object: &BitbucketConnection| {
        let status = object.status.clone().unwrap_or_default();
        status.next_verification_time.is_none_or(|next| next.0 + jiff::SignedDuration::from_mins(1) < now)
    };
    world.api.list::<BitbucketConnection>().iter().filter(|object| is_late(object)).count()
}

fn fingerprint(world: &World, namespace: &str, name: &str) -> Option<String> {
    let object: Option<BitbucketConnection> = world.api.get(namespace, name);
    object?.status?.connection?.token_fingerprint
}

#[tokio::test(start_paused = true)]
async fn a_day_at_the_limits_of_both_services() {
    let count = connections();
    let mut world = World::new();
    world.kms.set_limits(sim::Limits::USUAL);
    world.bitbucket.limit_per_hour(Some(1_000));
    for front in [&*world.bitbucket, &*world.kms] {
        front.keep_journal(false);
    }
    apply(&world, count);
    let mut table = format!("{HEAD}\n");
    let (mut before, mut statuses) = (Hour::so_far(&world), Vec::new());
    world.start();
    // Writing them all takes this long, at nine tenths of what is sent in turn.
    let onboarding = Duration::from_secs(count as u64 * 60 / 120);
    let hours = 24;
    for number in 1..=hours {
        tokio::time::sleep(HOUR).await;
        let now = Hour::so_far(&world);
        let (hour, late) = (now.since(before), late(&world));
        row(&mut table, number, ready(&world), hour, late);
        before = now;
        if HOUR * u32::try_from(number).unwrap_or(0) > onboarding + HOUR {
            assert_eq!((ready(&world), hour.refused, late), (count, 0, 0), "hour {number}\n{table}");
            statuses.push(hour.statuses);
        }
        if number == 12 {
            rotate(&world, &mut table).await;
        }
    }
    println!("{count} connections with {CREDENTIALS} credentials\n{table}");
    assert_eq!(before.refused, 0, "nobody has to refuse anything\n{table}");
    world.stop().await;
}

/// A person replaces a token that many connections share.
async fn rotate(world: &World, table: &mut String) {
    let (namespace, sharers) = (namespace(7), (0..connections()).filter(|number| number % CREDENTIALS == 7).count());
    let old = fingerprint(world, &namespace, "connection-00007");
    let new = secret(world, 7, "shared", 1);
    world.api.update::<Secret>(&namespace, "shared", |secret| secret.data = new.data);
    let rotated = |world: &World| {
        let all = world.api.list::<BitbucketConnection>();
        let of = |object: &&BitbucketConnection| object.namespace().as_deref() == Some(namespace.as_str());
        let current = |object: &BitbucketConnection| {
            object.status.clone().and_then(|status| status.connection?.token_fingerprint) != old
        };
        all.iter().filter(of).filter(|object| current(object)).count()
    };
    let first = world.until("the first has the new token", MINUTE, |world| rotated(world) > 0).await;
    let all = world.until("all have the new token", HOUR, |world| rotated(world) == sharers).await;
    let _ = writeln!(table, "     a rotated token: in the first connection after {first:?}, in all {sharers} after {:?}", first + all);
}
