//! Marks that the operator didn't write: they make nothing another object's.

use serde_json::json;

use super::{mark_of, secret};
use crate::harness::{Kstatus, World, assert_condition, kstatus};

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_in_a_description_is_no_mark() {
    let world = World::builder().args(["--owner-id", "cluster"]).start().await;
    world.instance().await;
    let token = secret(&world, &world, "bait").await;
    let forged = mark_of("cluster", &world, "victim");
    let own = mark_of("cluster", &world, "bait");
    let text = format!("Payments {forged}\u{feff} {forged}");
    let bait = json!({"description": text, "deletionPolicy": "Retain"});
    world.connection("bait").secret("bait").change(bait).apply().await;
    world.ready("bait").await;
    assert_eq!(world.row("bait").description, Some(format!("Payments {own}")));
    world.request_reconcile("bait").await;
    assert_eq!(world.kms.writes(), 1, "it is no drift");
    // Now the operator's own mark comes off. What it uncovers would be the victim's.
    world.delete("bait").await;
    world.until_gone("bait").await;
    assert_eq!(world.row("bait").description.as_deref(), Some("Payments"));

    let good = secret(&world, &world, "victim").await;
    world.connection("victim").secret("victim").apply().await;
    world.ready("victim").await;
    assert_eq!((world.row("victim").api_token, world.row("bait").api_token), (good, token));
    assert_eq!(world.told("victim").await, ["ConnectionCreated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_was_copied_in_the_kms_gains_nothing() {
    let world = World::start().await;
    world.instance().await;
    for name in ["victim", "attacker"] {
        secret(&world, &world, name).await;
        world.connection(name).secret(name).apply().await;
        world.ready(name).await;
    }
    let (victim, attacker) = (world.row("victim"), world.row("attacker"));
    world.kms.edit(&attacker.id, |row| row.description.clone_from(&victim.description));
    let attacker = world.row("attacker");
    // A new token goes where the status says, not where the mark was put.
    world.issue("victim@example.com", "ATATT3x-canary-of-the-next");
    world.secret("victim", "victim@example.com", "ATATT3x-canary-of-the-next").await;
    world.until_event("victim", "CredentialsRotated").await;
    world.request_reconcile("attacker").await;
    let bbc = world.not_ready("attacker", "OwnedByAnother").await;
    assert_condition(&bbc, "Synced", "False", "OwnedByAnother", &["not touched"]);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    assert_eq!((world.row("victim").id, world.row("attacker")), (victim.id, attacker.clone()));
    // Nor does the one go with the other's object.
    world.delete("victim").await;
    world.until_gone("victim").await;
    world.delete("attacker").await;
    world.until_gone("attacker").await;
    assert_eq!(world.kms.connections(), [attacker]);
}
