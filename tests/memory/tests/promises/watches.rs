//! Watches tell everything in its order, and fail as a test wants.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use memory_api::{Fault, Match, MemoryApi, Verb};
use serde_json::json;

use crate::{config, configs, server, value};

type Events = Pin<Box<dyn Stream<Item = watcher::Result<Event<ConfigMap>>>>>;

fn events(client: &Client, config: watcher::Config) -> Events {
    Box::pin(watcher(configs(client), config))
}

/// What is told next, in a few words.
async fn next(events: &mut Events) -> String {
    let event = tokio::time::timeout(Duration::from_secs(3600), events.next()).await;
    match event.expect("something is told within an hour").expect("a watch has no end") {
        Ok(Event::Init) => "init".to_owned(),
        Ok(Event::InitDone) => "done".to_owned(),
        Ok(Event::InitApply(it)) => format!("there {}={}", it.name_any(), value(&it)),
        Ok(Event::Apply(it)) => format!("{}={}", it.name_any(), value(&it)),
        Ok(Event::Delete(it)) => format!("-{}", it.name_any()),
        Err(_) => "error".to_owned(),
    }
}

async fn told(events: &mut Events, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..count {
        told.push(next(events).await);
    }
    told
}

/// Whether nothing more is told for two minutes; before they are over, the watch has begun.
async fn is_silent(events: &mut Events) -> bool {
    tokio::time::timeout(Duration::from_secs(120), events.next()).await.is_err()
}

fn set(api: &MemoryApi, name: &str, value: &str) {
    api.merge::<ConfigMap>("default", name, json!({"data": {"value": value}}));
}

#[tokio::test(start_paused = true)]
async fn both_ways_of_listing_see_everything_once_and_in_order() {
    for config_of in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let (api, client) = server();
        api.create(&config("b", "0"));
        api.create(&config("a", "0"));
        let mut events = events(&client, config_of);
        assert_eq!(told(&mut events, 4).await, ["init", "there a=0", "there b=0", "done"]);
        api.create(&config("c", "0"));
        set(&api, "a", "1");
        set(&api, "a", "1");
        set(&api, "a", "2");
        api.delete::<ConfigMap>("default", "b");
        assert_eq!(told(&mut events, 4).await, ["c=0", "a=1", "a=2", "-b"]);
        assert!(is_silent(&mut events).await);
    }
}

#[tokio::test(start_paused = true)]
async fn more_changes_than_are_told_at_once_are_all_told() {
    let (api, client) = server();
    api.create(&config("a", "0"));
    let mut events = events(&client, watcher::Config::default());
    told(&mut events, 3).await;
    let values: Vec<_> = (1..=200).map(|number| number.to_string()).collect();
    values.iter().for_each(|value| set(&api, "a", value));
    let expected: Vec<_> = values.iter().map(|value| format!("a={value}")).collect();
    assert_eq!(told(&mut events, 200).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_goes_on_where_it_was() {
    let (api, client) = server();
    api.create(&config("a", "0"));
    let mut events = events(&client, watcher::Config::default());
    told(&mut events, 3).await;
    assert!(is_silent(&mut events).await);
    api.break_watches();
    set(&api, "a", "1");
    assert_eq!(told(&mut events, 2).await, ["error", "a=1"]);
    assert_eq!(api.count(&Match::verb(Verb::List).resource("configmaps")), 1, "without another list");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_comes_too_late_lists_again() {
    type Cut = fn(&MemoryApi);
    let rows: [(&str, Cut); 3] = [
        ("all is forgotten", MemoryApi::forget_history),
        ("there is little room", |api| api.keep_history(1)),
        ("a test wants it", |api| api.fail_when(Match::verb(Verb::Watch).times(1), Fault::Gone)),
    ];
    for (what, cut) in rows {
        let (api, client) = server();
        api.create(&config("a", "0"));
        let mut events = events(&client, watcher::Config::default());
        told(&mut events, 3).await;
        assert!(is_silent(&mut events).await);
        api.break_watches();
        for value in ["1", "2", "3"] {
            set(&api, "a", value);
        }
        cut(&api);
        assert_eq!(told(&mut events, 5).await, ["error", "error", "init", "there a=3", "done"], "{what}");
        assert_eq!(api.count(&Match::verb(Verb::List).resource("configmaps")), 2, "{what}");
        assert!(is_silent(&mut events).await, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_is_told_later() {
    let (api, client) = server();
    api.create(&config("a", "0"));
    let mut events = events(&client, watcher::Config::default());
    told(&mut events, 3).await;
    api.hold_watches();
    set(&api, "a", "1");
    set(&api, "a", "2");
    assert!(is_silent(&mut events).await);
    assert_eq!(value(&configs(&client).get("a").await.expect("a")), "2", "who asks is told");
    api.release_watches();
    assert_eq!(told(&mut events, 2).await, ["a=1", "a=2"]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_passes_without_a_change_being_missed() {
    let (api, client) = server();
    api.create(&config("a", "0"));
    let mut events: Events = Box::pin(watcher(configs(&client), watcher::Config::default()).default_backoff());
    told(&mut events, 3).await;
    api.go_down();
    set(&api, "a", "1");
    assert_eq!(told(&mut events, 3).await, ["error", "error", "error"]);
    api.heal();
    let mut seen = next(&mut events).await;
    while seen == "error" {
        seen = next(&mut events).await;
    }
    assert_eq!(seen, "a=1");
}

#[tokio::test(start_paused = true)]
async fn watches_end_when_their_time_is_over_unless_a_test_wants_them_to_last() {
    for (last, watches) in [(false, 10..20), (true, 1..2)] {
        let (api, client) = server();
        api.create(&config("a", "0"));
        if last {
            api.let_watches_last();
        }
        // The client's own patience is longer than that of the server.
        let mut events = events(&client, watcher::Config::default().timeout(if last { 0 } else { 290 }));
        told(&mut events, 3).await;
        assert!(tokio::time::timeout(Duration::from_secs(4000), events.next()).await.is_err(), "nothing is told");
        let count = api.count(&Match::verb(Verb::Watch).resource("configmaps"));
        assert!(watches.contains(&count), "{count} watches in 4,000 s");
        set(&api, "a", "1");
        assert_eq!(next(&mut events).await, "a=1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_is_kept_young_by_bookmarks() {
    let (api, client) = server();
    api.create(&config("a", "0"));
    let mut events = events(&client, watcher::Config::default());
    told(&mut events, 3).await;
    let elsewhere = || {
        let namespaces = api.count_of::<k8s_openapi::api::core::v1::Namespace>();
        api.create_namespace(&format!("n-{namespaces}"));
    };
    elsewhere();
    // One watch ends, and the next begins at its bookmark.
    assert!(tokio::time::timeout(Duration::from_secs(400), events.next()).await.is_err());
    api.forget_history();
    api.break_watches();
    set(&api, "a", "1");
    assert_eq!(told(&mut events, 2).await, ["error", "a=1"]);
}

#[tokio::test(start_paused = true)]
async fn of_one_name_only_that_is_told() {
    let (api, client) = server();
    let found = watcher::watch_object(configs(&client), "a");
    let mut found = Box::pin(found);
    assert!(found.try_next().await.expect("an answer").expect("a watch").is_none());
    api.create(&config("b", "0"));
    api.create(&config("a", "1"));
    let seen = found.try_next().await.expect("an answer").expect("a watch");
    assert_eq!(seen.as_ref().map(value), Some("1"));
}
