//! What is wrong with a spec and passes the schema.

use serde_json::json;

use super::{secret, world};
use crate::harness::{Kstatus, assert_condition, kstatus};

#[tokio::test(flavor = "multi_thread")]
async fn a_description_is_measured_as_the_kms_does() {
    let world = world().await;
    secret(&world, "new").await;
    secret(&world, "old").await;
    let apply = async |name: &str, emoji: usize| {
        let description = json!({"description": "😀".repeat(emoji)});
        world.connection(name).secret(name).change(description).apply().await;
    };
    let words = &["spec.description", "UTF-16", "at most 200"];

    apply("new", 101).await;
    let bbc = world.not_ready("new", "DescriptionTooLong").await;
    assert_condition(&bbc, "Synced", "False", "DescriptionTooLong", words);
    assert_condition(&bbc, "Ready", "False", "DescriptionTooLong", words);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    assert_eq!(world.told("new").await, [""; 0], "its condition tells it");
    assert_eq!((world.bitbucket.calls(), world.kms.lists(), world.kms.writes()), (0, 0, 0), "nobody was asked");
    apply("new", 100).await;
    assert_eq!(kstatus(&world.ready("new").await), Kstatus::Current);
    assert_eq!(world.told("new").await, ["ConnectionCreated", "Recovered"]);

    // What is in the KMS already stays as it is.
    apply("old", 1).await;
    let before = world.ready("old").await.status.and_then(|status| status.connection);
    let stored = world.kms.connection("old");
    apply("old", 101).await;
    let bbc = world.not_ready("old", "DescriptionTooLong").await;
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
    assert_eq!(bbc.status.and_then(|status| status.connection), before);
    assert_eq!(world.kms.connection("old"), stored);
    apply("old", 100).await;
    world.ready("old").await;
    assert_eq!(world.told("old").await, ["ConnectionCreated", "ConnectionUpdated", "Recovered"]);
    let description = world.kms.connection("old").and_then(|row| row.description).expect("a description");
    assert!(description.starts_with(&"😀".repeat(100)) && description.encode_utf16().count() <= 256, "{description}");
}
