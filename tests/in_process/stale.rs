//! What the operator sees late, in an older version, or not at all, changes nothing in the end.

use std::time::Duration;

use bitbucket_connection_operator::api::{BitbucketConnection, ClusterKmsInstance};
use k8s_openapi::api::core::v1::Namespace;
use memory_api::{Match, Verb};
use serde_json::json;

use crate::{
    crashes,
    ends::events,
    hands,
    process::Point,
    scenes::Scene,
    stage::{Job, Lag, Played, Trouble, places, play, scenes, wants_all},
    world::{Behind, World},
};

/// Ends that may differ: the scene, what comes in between, a word of each line that differs, and why.
const EXCEPTIONS: &[(&str, &str, &str, &str)] = &[
    (
        "the end of a token comes near, and passes",
        "Away",
        "lastNotifiedThreshold",
        "the time to warn began and passed while nobody looked",
    ),
    ("adopt after a conflict, and let go", "Away", "KMS: payments", "it was deleted before it was taken over"),
    (
        "a new name, description and token",
        "Missed",
        "CredentialsRotated",
        "the Secret and the object are watched apart; where it is seen first, the connection has its old name when it is told",
    ),
];

fn is_excepted(scene: &Scene, trouble: &Trouble, different: &[String]) -> bool {
    EXCEPTIONS.iter().any(|(name, kind, word, _)| {
        let is_meant = *name == scene.name && format!("{trouble:?}").starts_with(kind);
        is_meant && !different.is_empty() && different.iter().all(|line| line.contains(word))
    }) || matches!(trouble, Trouble::TakenOver(..)) && crashes::is_excepted(scene, different)
}

/// Plays all scenes with what may come in between, and compares the ends; how many there were.
fn all_end_alike(troubles: impl Fn(&Scene, &Played) -> Vec<Trouble>) -> usize {
    let scenes = scenes();
    let calm = play(&scenes.iter().map(|scene| (*scene, None)).collect::<Vec<_>>());
    let mut jobs: Vec<Job> = Vec::new();
    let mut calm_of: Vec<&Played> = Vec::new();
    for (scene, calm) in scenes.iter().zip(&calm) {
        for trouble in troubles(scene, calm) {
            jobs.push((scene, Some(trouble)));
            calm_of.push(calm);
        }
    }
    let mut failures: Vec<_> = scenes.iter().zip(&calm).flat_map(|(scene, calm)| scene.wrongs(calm)).collect();
    for (((scene, trouble), played), calm) in jobs.iter().zip(play(&jobs)).zip(calm_of) {
        if let Some(trouble) = trouble {
            failures.extend(failure(scene, trouble, &played, calm));
        }
    }
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), jobs.len(), failures.join("\n"));
    jobs.len()
}

/// Whether people can't go on before the operator let the first object go.
fn hangs_on_operator(scene: &Scene) -> bool {
    scene.name == "another project, by an object of the same name"
}

fn failure(scene: &Scene, trouble: &Trouble, played: &Played, calm: &Played) -> Option<String> {
    let mut wrong = played.wrongs.clone();
    if !played.came {
        wrong.push("it never came to that".to_owned());
    }
    let mut different = played.end.differs_from(&calm.end);
    if let Trouble::Away(..) = trouble {
        // Of what came and went while nobody looked, nobody tells.
        different.retain(|line| !["+ event", "- event"].iter().any(|begin| line.starts_with(begin)));
    }
    if !is_excepted(scene, trouble, &different) {
        wrong.extend(different);
    }
    (!wrong.is_empty()).then(|| format!("{}: {trouble:?}\n  {}", scene.name, wrong.join("\n  ")))
}

#[test]
fn watches_that_fall_behind_change_nothing() {
    let step = if wants_all() { 1 } else { 3 };
    let behind =
        |_: &Scene, calm: &Played| places(&calm.effects).into_iter().map(Trouble::Behind).step_by(step).collect();
    let count = all_end_alike(behind);
    println!("proof: caches that fall behind: scenario × effect | {count}");
}

#[test]
fn who_takes_over_with_caches_that_are_behind_ends_alike() {
    let step = if wants_all() { 1 } else { 3 };
    let taken_over = |scene: &Scene, calm: &Played| {
        let mut troubles = Vec::new();
        for place in places(&calm.effects) {
            troubles.extend([Lag::Scene, Lag::Deed].map(|lag| Trouble::TakenOver(place.clone(), lag)));
            // Of what came and went before the first status nobody could tell later.
            if place.effect.is_status_of_connection() && !hangs_on_operator(scene) {
                let lags = [Lag::Connections, Lag::LastWrite];
                troubles.extend(lags.map(|lag| Trouble::TakenOver(place.clone(), lag)));
            }
        }
        troubles.into_iter().step_by(step).collect()
    };
    let count = all_end_alike(taken_over);
    println!("proof: another takes over, with caches that are behind: scenario × effect × lag | {count}");
}

#[test]
fn what_is_seen_late_or_missed_ends_alike() {
    let count = all_end_alike(|_, _| vec![Trouble::Late, Trouble::Missed]);
    println!("proof: watches that tell late, or break off and miss it: scenario × way | {count}");
}

#[test]
fn an_older_version_served_once_changes_nothing() {
    let count = all_end_alike(|_, calm| {
        let mut troubles = Vec::new();
        for (number, (resource, name)) in calm.reads.iter().enumerate() {
            let before = calm.reads[..number].iter().filter(|read| **read == (*resource, name.clone())).count();
            troubles.push(Trouble::Stale { resource, name: name.clone(), before });
        }
        troubles
    });
    println!("proof: an older version served once: scenario × read | {count}");
}

#[test]
fn what_people_do_while_no_process_runs_leads_to_the_same() {
    let points = if wants_all() { &Point::ALL[..] } else { &[Point::AnswerLost] };
    let away = |scene: &Scene, calm: &Played| {
        let count = if hangs_on_operator(scene) { 0 } else { calm.before_last };
        let places = places(&calm.effects).into_iter().take(count);
        places.flat_map(|place| points.iter().map(move |point| Trouble::Away(place.clone(), *point))).collect()
    };
    let count = all_end_alike(away);
    println!("proof: people go on while no process runs: scenario × effect × point | {count}");
}

/// Its connection was deleted by hand, and then itself, by force: nothing is left to be made again for it.
#[tokio::test(start_paused = true)]
async fn nothing_is_made_for_an_object_that_is_gone_but_still_cached() {
    let mut world = World::new();
    hands::base(&world);
    hands::apply(&world);
    world.start();
    world.pass(Duration::from_secs(60)).await;
    let id = hands::row(&world, hands::NAME).id;
    world.api.hold_watches();
    hands::force_away(&world);
    assert!(world.kms.remove(&id));
    // Its interval passes, and the cache still has it.
    world.pass(Duration::from_secs(2 * 3_600)).await;
    assert!(world.kms.connection(hands::NAME).is_none(), "{:?}", world.kms.connections());
    world.api.release_watches();
    world.pass(Duration::from_secs(2 * 3_600)).await;
    assert!(world.kms.connection(hands::NAME).is_none(), "{:?}", world.kms.connections());
}

/// Namespaces and what is in them come by watches of their own: of what is applied in one go, the connection may be seen first.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_seen_yet_is_refused_nothing() {
    let mut world = World::new();
    hands::surroundings(&world);
    assert!(world.api.delete::<Namespace>("", hands::TEAM));
    hands::apply_instance(&world);
    let granted = json!({"namespaceSelector": {"matchLabels": {"team": "a"}}, "projectIds": ["*"]});
    hands::instance_spec(&world, json!({"grants": [granted]}));
    world.start();
    world.pass(Duration::from_secs(60)).await;
    let held = world.api.hold(Match::verb(Verb::Watch).resource("namespaces"));
    world.api.break_watches();
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(held.waiting(), 1, "the watch begins anew");

    world.api.create_labelled_namespace(hands::TEAM, &[("team", "a")]);
    hands::apply_secret(&world);
    hands::apply(&world);
    world.pass(Duration::from_secs(60)).await;
    let status = world.api.get::<BitbucketConnection>(hands::TEAM, hands::NAME).expect("the connection").status;
    assert!(status.is_none_or(|status| status.conditions.iter().all(|it| it.status == "Unknown")));
    held.release();
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(hands::row(&world, hands::NAME).api_token, hands::TOKEN);
    let told: Vec<_> = events(&world).into_iter().map(|(_, reason, _)| reason).collect();
    assert_eq!(told, ["ConnectionCreated"]);
}

/// Of a Secret that wasn't read nothing is told, whether a watch told of it before or after.
#[tokio::test(start_paused = true)]
async fn an_instance_tells_of_no_version_that_it_was_not_judged_by() {
    let host = json!({"host": "https://elsewhere.test"});
    let ca = json!({"tls": {"caRef": {"kind": "ConfigMap", "name": "missing"}}});
    for (change, reason) in [(host, "HostNotAllowed"), (ca, "SecretNotFound")] {
        let mut world = World::new();
        hands::surroundings(&world);
        hands::apply_instance(&world);
        hands::instance_spec(&world, change);
        world.start();
        for _ in 0..2 {
            world.pass(Duration::from_secs(60)).await;
            let instance = world.api.get::<ClusterKmsInstance>("", "default").expect("the instance");
            let status = instance.status.expect("a status");
            let ready = status.conditions.iter().find(|it| it.type_ == "Ready").expect("a condition");
            assert_eq!((ready.reason.as_str(), status.secret_version, status.ca_version), (reason, None, None));
            hands::put_client_secret(&world);
        }
    }
}

/// Its own look changes nothing but the status: there, too, what the leader before it wrote stays.
#[tokio::test(start_paused = true)]
async fn who_takes_over_puts_no_older_status_over_a_newer_one() {
    let mut world = World::new();
    hands::base(&world);
    hands::apply(&world);
    world.start();
    assert!(world.settle().await);
    world.follower = Some(Behind::Connections(world.api.revision()));
    hands::ask(&world);
    assert!(world.settle().await);
    let status =
        |world: &World| world.api.get::<BitbucketConnection>(hands::TEAM, hands::NAME).and_then(|it| it.status);
    let before = status(&world).expect("a status");
    assert!(before.last_handled_reconcile_at.is_some());

    world.restart().await;
    world.pass(Duration::from_secs(2 * 3_600)).await;
    let after = status(&world).expect("a status");
    assert!(after.last_verified_time > before.last_verified_time, "it was looked at");
    assert_eq!(after.last_handled_reconcile_at, before.last_handled_reconcile_at);
}

/// What that costs: nothing for a new object, whose finalizer is written to the version that was seen.
#[tokio::test(start_paused = true)]
async fn an_object_is_read_once_for_a_pass_that_does_something() {
    let mut world = World::new();
    hands::base(&world);
    hands::apply(&world);
    world.start();
    let reads = |world: &World| world.api.count(&Match::verb(Verb::Get).resource("bitbucketconnections"));
    assert!(world.settle().await);
    assert_eq!(reads(&world), 0);
    hands::rotate(&world);
    assert!(world.settle().await);
    assert_eq!(hands::row(&world, hands::NAME).api_token, hands::NEXT);
    assert_eq!(reads(&world), 1);
    world.pass(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(reads(&world), 1, "it was looked at, and nothing was to be done");
}

/// To who knows no status of it, what is wrong has always been so.
#[tokio::test(start_paused = true)]
async fn who_takes_over_tells_nothing_twice() {
    let mut world = World::new();
    hands::base(&world);
    hands::apply(&world);
    world.follower = Some(Behind::Connections(world.api.revision()));
    world.start();
    assert!(world.settle().await);
    world.restart().await;
    hands::rotate_badly(&world);
    world.pass(Duration::from_secs(60)).await;
    let mut told: Vec<_> = events(&world).into_iter().map(|(_, reason, _)| reason).collect();
    told.sort();
    assert_eq!(told, ["ConnectionCreated", "CredentialsRejected"]);
}

/// The spec counts that is there, not the one that a watch has told of.
#[tokio::test(start_paused = true)]
async fn who_takes_over_writes_nothing_that_the_spec_forbids_by_now() {
    let mut world = World::new();
    hands::base(&world);
    hands::apply(&world);
    world.start();
    assert!(world.settle().await);
    world.kill().await;
    world.api.hold_caches_of::<BitbucketConnection>(world.api.revision());
    hands::spec(&world, json!({"managementPolicy": "Suspended"}));
    hands::rotate(&world);
    world.start();
    world.pass(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(hands::row(&world, hands::NAME).api_token, hands::TOKEN);
    world.api.release_watches();
    hands::spec(&world, json!({"managementPolicy": "Full"}));
    assert!(world.settle().await);
    assert_eq!(hands::row(&world, hands::NAME).api_token, hands::NEXT);
}

/// That a Secret isn't there is known by its list, too.
#[tokio::test(start_paused = true)]
async fn a_restart_asks_nobody_about_a_secret_that_is_missing() {
    let mut world = World::new();
    hands::surroundings(&world);
    hands::apply_instance(&world);
    hands::apply(&world);
    world.start();
    assert!(world.settle().await);
    let before = world.api.revision();
    world.api.clear_journal();
    world.restart().await;
    world.pass(Duration::from_secs(60)).await;
    assert_eq!((world.process().effects(), world.api.revision()), (vec![], before));
    assert_eq!(world.api.count(&Match::verb(Verb::Get).resource("secrets").namespace(hands::TEAM)), 0);
}
