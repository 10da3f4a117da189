//! Who goes when: outages, starts, hosts that allow little, and what can't wait.

use std::time::Duration;

use bitbucket_connection_operator::api::BitbucketConnection;
use memory_api::Match;
use sim::{Caller, Limits, Operation};

use crate::{
    fleet::{Fleet, fingerprint, is_ready},
    world::World,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const FLEET: Fleet = Fleet { connections: 200, credentials: 10, sharing_a_project: 50, interval: "1h" };

/// A fleet that is Ready.
async fn ready(fleet: Fleet, change: impl FnOnce(&mut World)) -> World {
    let mut world = World::new();
    change(&mut world);
    fleet.apply(&world);
    world.start();
    world.until("all are Ready", HOUR, |world| Fleet::ready(world) == fleet.connections).await;
    world
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_kms_is_met_by_few_and_ends_for_all() {
    let mut world = ready(FLEET, |_| {}).await;
    world.kms.clear_journal();
    world.kms.down();
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(Fleet::ready(&world), FLEET.connections, "what was Ready stays so for three intervals");
    // Four projects, each asked again after 5 minutes at most.
    let asked = world.kms.count(&sim::Match::any());
    assert!((8..=4 * 30).contains(&asked), "{asked} requests in two hours");
    tokio::time::sleep(3 * HOUR).await;
    assert_eq!(Fleet::ready(&world), 0, "then nobody knows");
    world.kms.up();
    let took = world.until("all are Ready", HOUR, |world| Fleet::ready(world) == FLEET.connections).await;
    assert!(took <= 7 * MINUTE, "{took:?}");
    assert_eq!(world.kms.writes(), 0, "nothing had changed");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_fell_due_while_nobody_ran_is_spread() {
    let mut world = ready(FLEET, |_| {}).await;
    world.stop().await;
    tokio::time::sleep(5 * HOUR).await;
    world.api.clear_journal();
    let statuses = |world: &World| world.api.count(&Match::status_writes());
    world.start();
    tokio::time::sleep(MINUTE).await;
    let at_once = statuses(&world);
    assert!(at_once <= 70, "{at_once} in the first minute");
    tokio::time::sleep(6 * MINUTE).await;
    let all = u64::try_from(FLEET.connections).expect("not too many");
    assert!(statuses(&world) >= all, "a tenth of the interval is enough for all");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_allows_little_makes_the_interval_longer() {
    let alone = Fleet { connections: 100, credentials: 5, sharing_a_project: 1, interval: "5m" };
    let little = |world: &mut World| {
        world.options.kms_reads_per_minute = std::num::NonZeroU32::new(10);
        world.kms.set_limits(Limits { reads: Some(12), ..Limits::USUAL });
    };
    let mut world = ready(alone, little).await;
    let asked = |world: &World| world.bitbucket.calls_by(Caller::Operator);
    let before = asked(&world);
    tokio::time::sleep(3 * HOUR).await;
    // 100 lists at 9 a minute take 667 s, and a quarter is left to others: every 889 s, and a tenth at most.
    let until_next = world.api.list::<BitbucketConnection>().into_iter().map(|object| {
        let next = object.status.and_then(|status| status.next_verification_time).expect("a time");
        next.0.duration_since(world.now()).as_secs()
    });
    let until_next: Vec<_> = until_next.collect();
    assert!(until_next.iter().all(|seconds| (-120..=979).contains(seconds)), "{until_next:?}");
    assert!(until_next.iter().any(|seconds| *seconds > 800), "{until_next:?}");
    let rounds = (asked(&world) - before) / alone.credentials;
    assert!((10..=12).contains(&rounds), "credentials are verified as often: {rounds} times in three hours");
    assert_eq!(Fleet::ready(&world), alone.connections);
    assert_eq!(world.kms.tally().ended(429), 0);
    let reads = world.kms.tally().of([Operation::List, Operation::Get, Operation::GetByName]);
    assert!(reads.busiest_minute() <= 10, "{}", reads.busiest_minute());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn deletions_and_rotations_overtake_the_crowd() {
    let crowd = Fleet { connections: 1_500, ..FLEET };
    let mut world = World::new();
    world.kms.set_limits(Limits::USUAL);
    world.start();
    crowd.apply(&world);
    let early: Vec<_> = {
        world.until("some are Ready", HOUR, |world| Fleet::ready(world) >= 20).await;
        world.api.list::<BitbucketConnection>().into_iter().filter(is_ready).take(5).collect()
    };
    assert!(Fleet::ready(&world) < 500, "there is a crowd");
    for object in &early {
        let metadata = &object.metadata;
        let [namespace, name] = [&metadata.namespace, &metadata.name].map(|text| text.clone().unwrap_or_default());
        world.api.delete::<BitbucketConnection>(&namespace, &name);
    }
    let gone = crowd.connections - early.len();
    let all = |world: &World| world.api.count_of::<BitbucketConnection>();
    world.until("the deleted ones are gone", MINUTE, |world| all(world) == gone).await;

    let rotated = world.api.list::<BitbucketConnection>().into_iter().find(is_ready).expect("one that is Ready");
    let namespace = rotated.metadata.namespace.clone().unwrap_or_default();
    let credential = (0..crowd.credentials).find(|at| Fleet::namespace(*at) == namespace).expect("its credential");
    let old = fingerprint(&rotated).expect("a fingerprint").to_owned();
    Fleet::rotate(&world, credential, 1);
    let name = rotated.metadata.name.clone().unwrap_or_default();
    world
        .until("the new token is in the KMS", MINUTE, |world| {
            let object = world.api.get::<BitbucketConnection>(&namespace, &name);
            object.is_some_and(|object| fingerprint(&object).is_some_and(|now| now != old))
        })
        .await;
    assert!(Fleet::ready(&world) < crowd.connections, "the crowd is still waiting");
    assert_eq!(world.kms.tally().ended(429), 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_at_both_services_is_not_sent_from_one_to_the_other() {
    let crowd = Fleet { connections: 800, credentials: 4, sharing_a_project: 100, interval: "1h" };
    let mut world = World::new();
    world.kms.set_limits(Limits::USUAL);
    crowd.apply(&world);
    world.start();
    // An account has 200 of them: 50 at once, and 450 an hour. The KMS could take all of them in six minutes.
    let took = world.until("all are Ready", HOUR, |world| Fleet::ready(world) == crowd.connections).await;
    assert!(took <= 22 * MINUTE, "{took:?}");
    world.stop().await;
}
