//! The API server in memory, by which other tests work, behaves like a real one: the same scenarios are played on both,
//! and what was said is compared word by word.

mod play;
mod scenarios;

use bitbucket_connection_operator::api::BitbucketConnection;
use memory_api::MemoryApi;
use serde_json::json;

use self::{play::Play, scenarios::SCENARIOS};
use crate::harness::Plane;

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_a_real_one_says() {
    let plane = Plane::shared().await;
    let mut differences = Vec::new();
    for (name, scenario) in SCENARIOS {
        let real = Play::on(plane.client().await).await.play(scenario).await;
        let memory = MemoryApi::new(jiff::Timestamp::now);
        let imitated = Play::on(memory.client()).await.play(scenario).await;
        assert_eq!(memory.unsupported(), Vec::<String>::new(), "{name}");
        for (real, imitated) in real.iter().zip(&imitated) {
            if real != imitated {
                differences.push(format!("{name}:\nreal      {real}\nin memory {imitated}\n"));
            }
        }
        assert_eq!(real.len(), imitated.len(), "{name}: the scenario itself differs");
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn by_hand_its_objects_follow_the_same_rules() {
    let memory = MemoryApi::new(jiff::Timestamp::now);
    let manifest = json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnection",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {"secretRef": {"name": "bitbucket-token"}, "scopes": {"useCases": ["SecretScanning"]}},
    });
    let made: BitbucketConnection = memory.create(&serde_json::from_value(manifest).expect("a connection"));
    let observed = |it: &BitbucketConnection| it.status.as_ref().and_then(|status| status.observed_generation);
    assert_eq!((made.metadata.generation, observed(&made)), (Some(1), Some(-1)));
    // A status is no matter of `update`, nor the rest one of `update_status`.
    let rewrite = |it: &mut BitbucketConnection| {
        it.spec.description = Some("new".to_owned());
        it.status.as_mut().expect("a status").observed_generation = Some(7);
    };
    let told = memory.update_status("default", "a", rewrite);
    assert_eq!((told.metadata.generation, observed(&told), told.spec.description), (Some(1), Some(7), None));
    let wiped: BitbucketConnection = memory.merge_status("default", "a", json!({"status": null}));
    assert_eq!(observed(&wiped), Some(-1));
    let changed = memory.update("default", "a", rewrite);
    assert_eq!((changed.metadata.generation, observed(&changed)), (Some(2), Some(-1)));
    assert_eq!(changed.spec.description.as_deref(), Some("new"));
    assert_eq!(memory.list::<BitbucketConnection>(), [changed]);
}
