//! What objects cost while there is nothing to do.

use std::time::Duration;

use histories::facts::{Facts, Object};
use k8s_openapi::api::events::v1::Event;
use memory_api::Match;
use sim::{Caller, Operation, Outcome};

use super::player::Player;

/// How long it is looked at.
const HOURS: u64 = 3;

/// Lets time pass, and says what cost more than it may.
pub async fn look(player: &mut Player, facts: &Facts) -> Vec<String> {
    let statuses = || Match::status_writes().resource("bitbucketconnections");
    let events = player.world.api.count_of::<Event>();
    player.world.api.clear_journal();
    player.world.kms.clear_journal();
    player.world.bitbucket.clear_journal();
    player.wait(Duration::from_secs(HOURS * 3_600)).await;

    let rounds: u64 = facts.objects.values().map(|object| HOURS * 60 / minutes(object) + 1).sum();
    let retried: u64 = facts.objects.values().map(|object| u64::from(is_retried(object)) * HOURS * 20).sum();
    let (api, kms, bitbucket) = (&player.world.api, &player.world.kms, &player.world.bitbucket);
    let wrote: Vec<_> = kms
        .matching(&sim::Match::writes())
        .into_iter()
        .filter(|entry| entry.outcome == Outcome::Answered(200))
        .map(|entry| format!("{:?} {} {:?}", entry.operation, entry.path, entry.json))
        .collect();
    let reads = kms.tally().of([Operation::List, Operation::Get, Operation::GetByName]).total() as u64;
    let asked = bitbucket.calls_by(Caller::Operator) as u64;
    let told = api.count_of::<Event>().saturating_sub(events);
    let mut found = Vec::new();
    if !wrote.is_empty() {
        found.push(format!("with nothing to do, the KMS was written to: {wrote:#?}"));
    }
    let budgets = [
        ("status writes", api.count(&statuses()), rounds),
        ("reads of the KMS", reads, 3 * rounds + 3 * retried),
        ("calls of Bitbucket", asked, 3 * rounds + 3 * retried),
        ("events", told as u64, 0),
    ];
    for (what, spent, budget) in budgets {
        if spent > budget {
            found.push(format!("with nothing to do, {spent} {what} instead of {budget}"));
        }
    }
    let after = player.facts().await;
    for (slot, object) in &facts.objects {
        let now = after.objects.get(slot).map(|object| object.condition("Ready"));
        if now != Some(object.condition("Ready")) && !is_retried(object) {
            found.push(format!("with nothing to do, {slot:?} changed: {object:?} is now {now:?}"));
        }
    }
    found
}

/// `spec.interval` in minutes.
fn minutes(object: &Object) -> u64 {
    if object.interval == "5m" { 5 } else { 60 }
}

/// Whether it is tried again sooner than its interval.
fn is_retried(object: &Object) -> bool {
    object.deleting
        || ["CredentialsValid", "ScopesSufficient", "Synced"].into_iter().any(|kind| {
            let said = object.condition(kind);
            said.is_some_and(|(status, reason)| status == "Unknown" && reason != "NotEvaluated")
        })
        || object.condition("Ready").is_some_and(|(_, reason)| reason == "KmsInstanceNotReady")
}
