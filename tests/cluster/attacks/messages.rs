//! Conditions and events are read by whoever may read the object: they tell nothing of other namespaces and of the
//! people there.

use serde_json::json;

use super::{grant, overwrite_status, recorded, secret};
use crate::harness::{PROJECT, Tenant, World};

/// Fails if an object, or an event about it, holds one of these words.
async fn assert_says_nothing_of(tenant: &Tenant, name: &str, words: &[&str]) {
    let status = tenant.get(name).await.status;
    let conditions = serde_json::to_value(&status).expect("JSON")["conditions"].to_string();
    let told = format!("{conditions} {:?}", tenant.events(name).await);
    for word in words {
        assert!(!told.contains(word), "{name} says {word}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_a_project_learns_nothing_of_the_others() {
    let world = World::cluster_wide().await;
    let (a, b) = (world.tenant("team-a").await, world.tenant("team-b").await);
    let project = || json!({"projectIds": [PROJECT], "adoption": true});
    world.cluster_instance_with(json!({"grants": [grant(&a, project()), grant(&b, project())]})).await;
    secret(&world, &a, "bot-of-a").await;
    secret(&world, &b, "bot-of-b").await;
    let theirs = json!({"description": "Plans of a", "contact": "#people-of-a", "connectionName": "shared"});
    a.connection("payments").secret("bot-of-a").change(theirs).apply().await;
    let of_a = recorded(&a.ready("payments").await);
    let id = world.row("shared").id;
    let words = ["team-a", "bot-of-a", "people-of-a", "Plans of a", world.namespace(), "kms-credentials"];

    // The name is taken; that is all.
    let wanted = json!({"connectionName": "shared", "adoptionPolicy": "Adopt"});
    b.connection("wanting").secret("bot-of-b").change(wanted).apply().await;
    b.not_ready("wanting", "NameConflict").await;
    assert_says_nothing_of(&b, "wanting", &words).await;

    // A status that points to it; it is called otherwise by now.
    for name in ["deleting", "retaining"] {
        b.connection(name).secret("bot-of-b").apply().await;
        let mut pointing = recorded(&b.ready(name).await);
        pointing["id"] = of_a["id"].clone();
        a.patch("payments", json!({"spec": {"connectionName": "secret-name-of-a"}})).await;
        a.ready("payments").await;
        overwrite_status(&b, name, json!({"connection": pointing})).await;
        b.request_reconcile(name).await;
        b.not_ready(name, "OwnedByAnother").await;
        let words = [&words[..], &["secret-name-of-a"]].concat();
        assert_says_nothing_of(&b, name, &words).await;
        if name == "retaining" {
            b.patch(name, json!({"spec": {"deletionPolicy": "Retain"}})).await;
        }
        b.delete(name).await;
        b.until_gone(name).await;
        let told = format!("{:?}", b.events(name).await);
        assert!(told.contains(name) && !words.iter().any(|word| told.contains(word)), "{name}: {told}");
    }
    assert_eq!(world.row("secret-name-of-a").id, id);
}
