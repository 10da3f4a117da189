//! A day in the life of many connections, at the limits that the services have by default.

use std::{fmt::Write as _, time::Duration};

use bitbucket_connection_operator::api::BitbucketConnection;
use jiff::SignedDuration;
use memory_api::{Match, Verb};
use sim::{Caller, Limits, Operation};

use crate::{
    fleet::{Fleet, fingerprint},
    world::World,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// Which credential is rotated, and at the end of which hour.
const ROTATED: (usize, usize) = (7, 12);

/// As many connections as the whole simulation is asked for, else enough to meet the limits.
fn fleet() -> Fleet {
    let connections = std::env::var("CONNECTIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(300);
    Fleet { connections, credentials: 40, sharing_a_project: 100, interval: "1h" }
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
        let writes = [Verb::Create, Verb::Update, Verb::Patch, Verb::Delete];
        let all: u64 = writes.into_iter().map(|verb| world.api.count(&Match::verb(verb))).sum();
        let statuses = world.api.count(&Match::status_writes());
        Self {
            reads: kms.clone().of(READS).total(),
            writes: kms.clone().of(WRITES).total(),
            logins: kms.clone().of([Operation::Login]).total(),
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

const READS: [Operation; 3] = [Operation::List, Operation::Get, Operation::GetByName];
const WRITES: [Operation; 3] = [Operation::Create, Operation::Update, Operation::Delete];

const HEAD: &str = concat!(
    "            |        KMS             |  Bitbucket called by    |     |  API server\n",
    "hour  ready |  reads  writes  logins | the operator  the KMS   | 429 | status writes  others | overdue\n",
);

fn row(table: &mut String, number: usize, ready: usize, hour: Hour, overdue: usize) {
    let Hour { reads, writes, logins, asked, tried, refused, statuses, others } = hour;
    let _ = writeln!(
        table,
        "{number:4} {ready:6} | {reads:6} {writes:7} {logins:7} | {asked:12} {tried:8}   | {refused:3} | {statuses:13} {others:7} | {overdue:7}"
    );
}

/// Objects whose verification is due for more than five minutes (those who look at one moment wait for one another), or
/// of which nobody knows when it is.
fn overdue(world: &World) -> usize {
    let latest = world.now() - SignedDuration::from_mins(5);
    let next = |object: &BitbucketConnection| Some(object.status.as_ref()?.next_verification_time.as_ref()?.0);
    world.api.list().iter().filter(|object| next(object).is_none_or(|next| next < latest)).count()
}

#[tokio::test(start_paused = true)]
async fn a_day_at_the_limits_of_both_services() {
    let fleet = fleet();
    let mut world = World::new();
    world.kms.set_limits(Limits::USUAL);
    world.bitbucket.limit_per_hour(Some(1_000));
    world.bitbucket.keep_journal(false);
    world.kms.keep_journal(false);
    fleet.apply(&world);
    let mut table = HEAD.to_owned();
    let mut before = Hour::so_far(&world);
    world.start();
    // Of 150 writes a minute nine tenths are sent evenly.
    let count = u32::try_from(fleet.connections).expect("not too many");
    let onboarding = MINUTE * count / 135 + HOUR;
    let mut quiet = (0, 0);
    let mut rotating = Duration::ZERO;
    for number in 1..=24 {
        tokio::time::sleep(HOUR.saturating_sub(std::mem::take(&mut rotating))).await;
        let now = Hour::so_far(&world);
        let (ready, hour, overdue) = (Fleet::ready(&world), now.since(before), overdue(&world));
        row(&mut table, number, ready, hour, overdue);
        before = now;
        if HOUR * u32::try_from(number).unwrap_or(u32::MAX) > onboarding {
            let told = format!("hour {number}\n{table}");
            assert_eq!((ready, hour.refused, overdue), (fleet.connections, 0, 0), "{told}");
            assert!(hour.asked <= fleet.credentials + 1, "Bitbucket is asked once for each credential: {told}");
            if number != ROTATED.1 + 1 {
                assert!(hour.statuses <= u64::from(count), "one write for each object: {told}");
                assert_eq!((hour.writes, hour.others), (0, 0), "{told}");
                quiet = (quiet.0 + 1, quiet.1 + hour.statuses);
            }
        }
        if number == ROTATED.1 {
            rotating = rotate(&world, fleet, &mut table).await;
        }
    }
    println!("{} connections with {} credentials\n{table}", fleet.connections, fleet.credentials);
    assert!(quiet.1 * 10 >= quiet.0 * u64::from(count) * 9, "an interval is an hour, and a tenth at most: {table}");
    assert_eq!(before.refused, 0, "nobody ever had to refuse anything: {table}");
    let busiest = |operations: [Operation; 3]| world.kms.tally().of(operations).busiest_minute();
    assert!(busiest(READS) <= 50 && busiest(WRITES) <= 150, "{} {}", busiest(READS), busiest(WRITES));
    assert_eq!(world.kms.connections().len(), fleet.connections, "one for each");
    world.stop().await;
}

/// A person replaces a token that many connections share.
async fn rotate(world: &World, fleet: Fleet, table: &mut String) -> Duration {
    let (credential, _) = ROTATED;
    let (namespace, name) = fleet.name(credential);
    let object = world.api.get::<BitbucketConnection>(&namespace, &name).expect("an object");
    let old = fingerprint(&object).expect("a fingerprint").to_owned();
    Fleet::rotate(world, credential, 1);
    let new = |world: &World| fleet.with_fingerprint(world, credential, |fingerprint| fingerprint != old);
    let first = world.until("one has the new token", MINUTE, |world| new(world) > 0).await;
    let sharers = fleet.sharers(credential);
    // More than 150 a minute nobody may write.
    let limit = MINUTE * u32::try_from(sharers / 100 + 1).unwrap_or(u32::MAX);
    let all = first + world.until("all have the new token", limit, |world| new(world) == sharers).await;
    let _ = writeln!(
        table,
        "     a token is rotated: the first connection has it after {first:?}, all {sharers} after {all:?}"
    );
    all
}
