//! Objects follow the same rules by hand as through a client, and equal runs have equal objects.

use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    core::v1::{ConfigMap, Namespace},
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use memory_api::MemoryApi;
use serde_json::json;

use crate::{config, configs, refusal, server, stored, value};

#[tokio::test(start_paused = true)]
async fn by_hand_and_through_a_client_it_is_one_server() {
    let (api, client) = server();
    let made = api.create(&config("a", "0"));
    assert_eq!(configs(&client).get("a").await.expect("a"), made);
    let changed = api.update("default", "a", |config: &mut ConfigMap| {
        config.data = Some([("value".to_owned(), "1".to_owned())].into());
    });
    assert_ne!(changed.resource_version(), made.resource_version());
    let merged: ConfigMap = api.merge("default", "a", json!({"metadata": {"finalizers": ["a/b"]}}));
    assert_eq!((value(&merged), merged.finalizers().len()), ("1", 1));
    assert!(api.delete::<ConfigMap>("default", "a"));
    assert!(stored(&api).is_some(), "its finalizer keeps it");
    configs(&client)
        .patch("a", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}})))
        .await
        .expect("a patch");
    assert!(stored(&api).is_none() && !api.delete::<ConfigMap>("default", "a"));
}

#[tokio::test(start_paused = true)]
async fn equal_runs_have_equal_objects() {
    let run = || async {
        let (api, client) = server();
        let mut unnamed = config("", "0");
        unnamed.metadata.name = None;
        unnamed.metadata.generate_name = Some("a-".to_owned());
        for _ in 0..3 {
            configs(&client).create(&PostParams::default(), &unnamed).await.expect("an object");
        }
        (api.list::<ConfigMap>(), api.revision())
    };
    let (first, second) = (run().await, run().await);
    assert_eq!(first, second);
    assert_eq!(first.0.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn times_are_those_of_the_clock() {
    let started = tokio::time::Instant::now();
    let api = MemoryApi::new(move || {
        let passed = jiff::SignedDuration::try_from(started.elapsed()).expect("a time that can be told");
        jiff::Timestamp::UNIX_EPOCH + passed
    });
    tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
    let made = api.create(&config("a", "0")).metadata.creation_timestamp.expect("a time");
    assert_eq!(made.0, "1970-01-02T00:00:00Z".parse().expect("a time"));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_takes_all_with_it_and_waits_for_finalizers() {
    let (api, client) = server();
    api.create_namespace("team-a");
    let in_team = |name: &str| {
        let mut config = config(name, "0");
        config.metadata.namespace = Some("team-a".to_owned());
        config
    };
    let mut kept = in_team("kept");
    kept.metadata.finalizers = Some(vec!["a/b".to_owned()]);
    api.create(&kept);
    api.create(&in_team("free"));
    assert!(api.delete::<Namespace>("", "team-a"));

    let left: Vec<_> = api.list::<ConfigMap>().iter().map(|config| config.name_any()).collect();
    assert_eq!(left, ["kept"]);
    let configs: Api<ConfigMap> = Api::namespaced(client.clone(), "team-a");
    assert_eq!(refusal(configs.create(&PostParams::default(), &in_team("late")).await).0, 403);
    let namespace: Namespace = api.get("", "team-a").expect("it waits");
    assert_eq!(namespace.status.and_then(|status| status.phase).as_deref(), Some("Terminating"));

    api.merge::<ConfigMap>("team-a", "kept", json!({"metadata": {"finalizers": []}}));
    assert!(api.get::<Namespace>("", "team-a").is_none() && api.count_of::<ConfigMap>() == 0);
    assert_eq!(refusal(configs.create(&PostParams::default(), &in_team("late")).await).0, 404);
}

#[tokio::test(start_paused = true)]
async fn who_asks_is_told_who_it_is() {
    let (_api, client) = server();
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.expect("a review");
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    assert_eq!(user.as_deref(), Some("operator"));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_objects_are_many_but_not_too_many() {
    let (api, client) = server();
    for number in 0..10_000 {
        api.create(&config(&format!("c-{number:05}"), "0"));
    }
    let configs = configs(&client);
    for number in 0..20_000 {
        let patch = Patch::Merge(json!({"data": {"value": number.to_string()}}));
        let name = format!("c-{:05}", number % 10_000);
        configs.patch(&name, &PatchParams::default(), &patch).await.expect("a patch");
    }
    let all = configs.list(&Default::default()).await.expect("a list").items;
    assert_eq!(all.len(), 10_000);
    assert!(all.iter().enumerate().all(|(number, config)| value(config) == (number + 10_000).to_string()));
}
