//! Against an API server in memory, with two clocks in the test's hand: tokio's, paused, by which the process lives, and the
//! machine's, which goes on while the process doesn't.

use std::sync::{Arc, Mutex};

use memory_api::{Fault, Match, MemoryApi, Verb};
use serde_json::json;
use tokio::time::Instant;

use super::*;

const LEASE: &str = "operator";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A replica, and how long its machine slept.
struct Replica {
    election: Election,
    leadership: Leadership,
    slept: Arc<Mutex<Duration>>,
}

impl Replica {
    fn new(api: &MemoryApi, name: &str) -> Self {
        let (slept, began) = (Arc::new(Mutex::new(Duration::ZERO)), Instant::now());
        let sleeps = Arc::clone(&slept);
        let uptime = move || Moment::since_boot(seconds(100) + began.elapsed() + *sleeps.lock().expect("no panic"));
        let leadership = Leadership::among_others(Arc::new(uptime));
        let terms = Terms::new(seconds(30), seconds(10), seconds(2)).expect("good terms");
        let options = ElectionOptions { lease_name: LEASE.to_owned(), terms };
        let election = Election::new(api.client(), options, name, leadership.clone());
        Self { election, leadership, slept }
    }

    async fn win(&self) -> Held {
        self.election.win(|| {}).await
    }

    /// Keeps the Lease for so long.
    async fn keep_for(&self, held: &mut Held, time: Duration) -> Option<Lost> {
        timeout(time, self.election.keep(held)).await.ok()
    }

    fn machine_sleeps(&self, time: Duration) {
        *self.slept.lock().expect("no panic") += time;
    }
}

fn server() -> MemoryApi {
    MemoryApi::new(Timestamp::now)
}

/// A Lease that was let go.
fn free_lease(api: &MemoryApi) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE, "namespace": "default"},
        "spec": {"leaseDurationSeconds": 1},
    });
    api.create::<Lease>(&serde_json::from_value(lease).expect("a Lease"));
}

fn holder(api: &MemoryApi) -> Option<String> {
    api.get::<Lease>("default", LEASE)?.spec?.holder_identity
}

fn updates(api: &MemoryApi) -> u64 {
    api.count(&Match::verb(Verb::Update).resource("leases"))
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_let_go_is_taken_at_once_and_a_new_one_after_its_time() {
    for (free, expected) in [(true, 0..=0), (false, 30..=32)] {
        let api = server();
        if free {
            free_lease(&api);
        }
        let (replica, began) = (Replica::new(&api, "a"), Instant::now());
        assert!(!replica.leadership.may_write());
        replica.win().await;
        assert!(expected.contains(&began.elapsed().as_secs()), "{free}: {:?}", began.elapsed());
        assert!(replica.leadership.may_write());
        assert!(holder(&api).is_some_and(|holder| holder.starts_with("a_")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_leads_for_as_long_as_it_renews() {
    let api = server();
    free_lease(&api);
    let (first, second) = (Replica::new(&api, "a"), Replica::new(&api, "b"));
    let mut held = first.win().await;
    let following = timeout(seconds(600), second.win());
    let (kept, won) = tokio::join!(first.keep_for(&mut held, seconds(600)), following);
    assert!(kept.is_none() && won.is_err());
    assert!(first.leadership.may_write() && !second.leadership.may_write());
    assert!((290..=310).contains(&updates(&api)), "{}", updates(&api));
    // It is gone without a word.
    let began = Instant::now();
    second.win().await;
    assert!((28..=31).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(!first.leadership.may_write());
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_renewals_fail_ends_in_time_and_one_that_fails_for_a_moment_goes_on() {
    // For how many updates, and how, the API server fails; whether the leader goes on.
    let table = [
        (Some(3), Fault::Unreachable, true),
        (Some(3), Fault::Status(503), true),
        (Some(1), Fault::LoseAnswer, true),
        (None, Fault::Unreachable, false),
        (None, Fault::Status(403), false),
        (None, Fault::LoseAnswer, false),
    ];
    for (times, fault, goes_on) in table {
        let api = server();
        free_lease(&api);
        let replica = Replica::new(&api, "a");
        let (mut held, began) = (replica.win().await, Instant::now());
        let what = Match::any().resource("leases");
        api.fail_when(times.map_or(what.clone(), |times| what.times(times)), fault.clone());
        let lost = replica.keep_for(&mut held, seconds(60)).await;
        assert_eq!(lost.is_none(), goes_on, "{fault:?} {lost:?}");
        assert_eq!(replica.leadership.may_write(), goes_on, "{fault:?}");
        if let Some(lost) = lost {
            assert_eq!(began.elapsed().as_secs(), 10, "{fault:?}");
            assert!(matches!(lost, Lost::Unconfirmed { .. }), "{lost}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_given_up_in_time() {
    let api = server();
    free_lease(&api);
    let replica = Replica::new(&api, "a");
    let (mut held, began) = (replica.win().await, Instant::now());
    let hanging = api.hold(Match::any().resource("leases"));
    let lost = replica.keep_for(&mut held, seconds(60)).await;
    assert!(matches!(lost, Some(Lost::Unconfirmed { .. })));
    assert_eq!(began.elapsed().as_secs(), 10);
    assert!(!replica.leadership.may_write());
    drop(hanging);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_leads_no_more_and_writes_nothing_before_it_knows() {
    for (slept, goes_on) in [(7, true), (10, false), (3_600, false)] {
        let api = server();
        free_lease(&api);
        let replica = Replica::new(&api, "a");
        let mut held = replica.win().await;
        let before = updates(&api);
        replica.machine_sleeps(seconds(slept));
        assert_eq!(replica.leadership.may_write(), goes_on, "{slept}: known before anything ran");
        let lost = replica.keep_for(&mut held, seconds(60)).await;
        assert_eq!(lost.is_none(), goes_on, "{slept}");
        assert_eq!(updates(&api) == before, !goes_on, "{slept}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_done_to_the_lease_by_hand() {
    // What is written into its spec, and whether the leader goes on.
    let table = [
        (json!({"holderIdentity": "another"}), false),
        (json!({"holderIdentity": null}), false),
        (json!({"holderIdentity": ""}), false),
        (json!({"holderIdentity": null, "leaseDurationSeconds": 1}), false),
        (json!({"leaseDurationSeconds": 1}), true),
        (json!({"renewTime": "1999-01-01T00:00:00.000000Z"}), true),
    ];
    for (spec, goes_on) in table {
        let api = server();
        free_lease(&api);
        let replica = Replica::new(&api, "a");
        let mut held = replica.win().await;
        api.merge::<Lease>("default", LEASE, json!({"spec": spec}));
        let lost = replica.keep_for(&mut held, seconds(60)).await;
        assert_eq!(lost.is_none(), goes_on, "{spec}: {lost:?}");
        assert_eq!(replica.leadership.may_write(), goes_on, "{spec}");
        assert_eq!(goes_on, holder(&api).is_some_and(|holder| holder.starts_with("a_")), "{spec}");
    }

    let api = server();
    free_lease(&api);
    let replica = Replica::new(&api, "a");
    let mut held = replica.win().await;
    let before = holder(&api);
    api.delete::<Lease>("default", LEASE);
    assert!(replica.keep_for(&mut held, seconds(60)).await.is_none());
    assert_eq!(holder(&api), before, "it was made anew");
}

#[tokio::test(start_paused = true)]
async fn of_many_that_want_a_lease_one_has_it() {
    let api = server();
    free_lease(&api);
    let replicas: Vec<_> = (0..8).map(|n| Replica::new(&api, &n.to_string())).collect();
    let wins = replicas.iter().map(|replica| timeout(seconds(20), replica.win()));
    let won = future::join_all(wins).await;
    assert_eq!(won.iter().filter(|won| won.is_ok()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_take_whose_answer_is_lost_is_no_reason_to_wait() {
    let api = server();
    free_lease(&api);
    api.fail_when(Match::verb(Verb::Update).resource("leases").times(1), Fault::LoseAnswer);
    let (replica, began) = (Replica::new(&api, "a"), Instant::now());
    replica.win().await;
    assert!(began.elapsed() < seconds(3), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_ends_lets_go_of_what_is_still_its_own_and_of_nothing_else() {
    // What happened to the Lease meanwhile, and whether another can have it at once.
    let table = [
        (None, true),
        (Some(json!({"metadata": {"labels": {"a": "b"}}})), true),
        (Some(json!({"spec": {"holderIdentity": "another"}})), false),
    ];
    for (change, free) in table {
        let api = server();
        free_lease(&api);
        let (first, second) = (Replica::new(&api, "a"), Replica::new(&api, "b"));
        let held = first.win().await;
        if let Some(change) = &change {
            api.merge::<Lease>("default", LEASE, change.clone());
        }
        first.election.let_go(held).await;
        assert!(!first.leadership.may_write());
        let began = Instant::now();
        second.win().await;
        assert_eq!(began.elapsed() < seconds(2), free, "{change:?}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn it_says_when_the_lease_could_be_read() {
    let api = server();
    free_lease(&api);
    api.merge::<Lease>("default", LEASE, json!({"spec": {"holderIdentity": "another", "leaseDurationSeconds": 60}}));
    api.fail_when(Match::any().resource("leases").times(3), Fault::Status(403));
    let (replica, looked) = (Replica::new(&api, "a"), Mutex::new(Vec::new()));
    let began = Instant::now();
    let looks = || looked.lock().expect("no panic").push(began.elapsed().as_secs());
    let won = timeout(seconds(10), replica.election.win(looks)).await;
    assert!(won.is_err());
    assert_eq!(looked.lock().expect("no panic").first(), Some(&3));
}
