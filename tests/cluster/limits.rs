//! The limits of the services, as they count themselves.

use std::sync::{Arc, Mutex};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use sim::{Caller, Limits, Match, Operation};

use crate::harness::{EMAIL, Kstatus, SECRET, TOKEN, World, assert_condition, in_time, kstatus};

/// A clock of both services that stands still until it is put forward.
#[derive(Clone)]
struct Hands(Arc<Mutex<Timestamp>>);

impl Hands {
    fn of(world: &World) -> Self {
        let hands = Self(Arc::new(Mutex::new(Timestamp::now())));
        for front in [&*world.kms as &sim::Front, &*world.bitbucket] {
            let hands = hands.clone();
            front.set_clock(move || *hands.0.lock().expect("no panic under the lock"));
        }
        hands
    }

    fn forward(&self, seconds: i64) {
        *self.0.lock().expect("no panic under the lock") += SignedDuration::from_secs(seconds);
    }
}

/// The operator shares its minute with others: it waits as long as it is told, then goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_comes_through_the_minutes_of_the_kms() {
    let world = World::start().await;
    let hands = Hands::of(&world);
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.kms.set_limits(Limits { writes: Some(3), ..Limits::USUAL });
    // The login is the first write.
    world.instance_in_use().await;
    in_time("the operator logs in", world.kms.answered(&Match::op(Operation::Login), 1)).await;
    // Near the end of the minute, so that a second is all that is asked of those who come too late.
    hands.forward(59);
    let names = ["c-1", "c-2", "c-3", "c-4"];
    join_all(names.map(|name| world.connection(name).apply())).await;
    for name in names {
        let tried = Match::op(Operation::Create).containing(&format!("\"name\":\"{name}\""));
        in_time("all have tried", world.kms.answered(&tried, 1)).await;
    }
    let creates = || world.kms.tally().of([Operation::Create]);
    assert_eq!(creates().ended(200), 2);
    assert!(creates().ended(429) >= 2, "those who are refused try again each second");
    for name in names.iter().filter(|name| world.kms.connection(name).is_none()) {
        let bbc = world.not_ready(name, "RateLimited").await;
        assert_condition(&bbc, "Synced", "Unknown", "RateLimited", &["no more requests", "when the KMS allows"]);
        assert_eq!(kstatus(&bbc), Kstatus::InProgress);
    }
    hands.forward(1);
    for name in names {
        world.ready(name).await;
        assert_eq!(world.told(name).await, ["ConnectionCreated"], "a limit is no news");
    }
    assert_eq!((world.kms.connections().len(), creates().ended(200)), (names.len(), names.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_ready_outlives_a_limit_of_reads() {
    let world = World::start().await;
    let hands = Hands::of(&world);
    world.ready_connection("payments").await;
    world.kms.set_limits(Limits { reads: Some(0), ..Limits::USUAL });
    let bbc = world.request_reconcile("payments").await;
    assert_condition(&bbc, "Synced", "Unknown", "RateLimited", &["when the KMS allows"]);
    assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
    assert_eq!(world.kms.tally().of([Operation::List]).ended(429), 1, "it was told to wait a minute");
    world.kms.set_limits(Limits::USUAL);
    hands.forward(60);
    assert_condition(&world.request_reconcile("payments").await, "Synced", "True", "InSync", &[]);
    assert_eq!(world.kms.writes(), 1);
}

/// What the KMS asks Bitbucket is on the account of the same user.
#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_bitbucket_is_shared_with_the_kms() {
    let world = World::start().await;
    let hands = Hands::of(&world);
    world.bitbucket.limit_per_hour(Some(1));
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("payments").apply().await;
    let bbc = world.not_ready("payments", "KmsUnavailable").await;
    assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
    let words = &["could not check the token with Bitbucket", "tried again by itself"];
    assert_condition(&bbc, "Synced", "Unknown", "KmsUnavailable", words);
    let asked = world.bitbucket.tally();
    assert_eq!(asked.clone().by(Caller::Operator).ended(200), 1);
    assert!(asked.by(Caller::Kms).ended(429) >= 1, "it is tried again every few seconds");
    assert_eq!(world.kms.connections(), []);

    // Nobody may ask any more; whoever asks first in the next hour gets the only answer.
    world.bitbucket.tell_retry_after(true);
    let bbc = world.request_reconcile("payments").await;
    assert_condition(&bbc, "CredentialsValid", "Unknown", "RateLimited", &["hourly limit"]);
    assert_eq!(kstatus(&bbc), Kstatus::InProgress);
    world.bitbucket.limit_per_hour(Some(2));
    hands.forward(3_600);
    world.request_reconcile("payments").await;
    world.ready("payments").await;
    assert_eq!(
        (world.told("payments").await, world.kms.connections().len()),
        (vec!["ConnectionCreated".to_owned()], 1)
    );
}
