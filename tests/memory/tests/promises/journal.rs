//! What was asked can be counted.

use kube::api::{ListParams, Patch, PatchParams, PostParams};
use memory_api::{Match, Outcome, Verb};
use serde_json::json;

use crate::{config, configs, refusal, server, waits};

#[tokio::test(start_paused = true)]
async fn requests_are_noted_in_their_order_with_what_became_of_them() {
    let (api, client) = server();
    let configs = configs(&client);
    let patch = Patch::Merge(json!({"data": {"value": "1"}}));
    configs.create(&PostParams::default(), &config("a", "0")).await.expect("a");
    assert_eq!(refusal(configs.create(&PostParams::default(), &config("a", "0")).await).0, 409);
    for _ in 0..2 {
        configs.patch("a", &PatchParams::default(), &patch).await.expect("a");
    }
    configs.list(&ListParams::default()).await.expect("a list");
    api.update("default", "a", |config: &mut k8s_openapi::api::core::v1::ConfigMap| config.data = None);

    let noted = api.journal();
    let noted: Vec<_> = noted.iter().map(|it| (it.verb, it.name.as_str(), it.outcome, it.changed)).collect();
    assert_eq!(
        noted,
        [
            (Verb::Create, "", Outcome::Answered(201), true),
            (Verb::Create, "", Outcome::Answered(409), false),
            (Verb::Patch, "a", Outcome::Answered(200), true),
            (Verb::Patch, "a", Outcome::Answered(200), false),
            (Verb::List, "", Outcome::Answered(200), false),
        ],
        "and not what the test did itself"
    );
    let counts = [
        (Match::any(), 5),
        (Match::writes(), 4),
        (Match::verb(Verb::Patch).resource("configmaps"), 2),
        (Match::verb(Verb::Patch).resource("configmaps").subresource("status"), 0),
        (Match::verb(Verb::Patch).resource("nothing of that name"), 0),
        (Match::writes().name("a"), 2),
        (Match::any().namespace("kube-system"), 0),
    ];
    for (what, count) in counts {
        assert_eq!(api.count(&what), count, "{what:?}");
    }
    api.clear_journal();
    assert_eq!((api.journal(), api.count(&Match::verb(Verb::Patch).resource("configmaps"))), (Vec::new(), 0));
}

#[tokio::test(start_paused = true)]
async fn what_ends_after_the_journal_was_cleared_changes_no_later_entry() {
    let (api, client) = server();
    let held = api.hold(Match::verb(Verb::Get));
    let asking = tokio::spawn({
        let client = client.clone();
        async move { configs(&client).get("nothing").await }
    });
    waits(&held).await;
    api.clear_journal();
    configs(&client).create(&PostParams::default(), &config("a", "0")).await.expect("a");
    held.release();
    assert_eq!(refusal(asking.await.expect("a task")).0, 404);
    assert_eq!(api.journal().len(), 1);
    assert_eq!(api.journal()[0].outcome, Outcome::Answered(201));
}
