//! How far the operator goes: Observe verifies and writes nothing to the KMS, Suspended asks nobody; what was pending is
//! done once it may be, and told as what it is.

use bitbucket_connection_operator::api::{BitbucketConnection, KmsInstance, RECONCILE_REQUESTED_AT};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sim::{Entry, Fault, Match, Operation, State};

use crate::harness::{EMAIL, Kstatus, SECRET, TOKEN, World, assert_condition, condition, conditions, kstatus};

const NEXT: &str = "ATATT3x-the-next-token";

type Change = for<'a> fn(&'a World, &'a str) -> BoxFuture<'a, ()>;

/// Another policy; waits until the operator took note.
async fn set(world: &World, name: &str, policy: &str) -> BitbucketConnection {
    change(world, name, json!({"managementPolicy": policy})).await
}

/// Another spec; waits until the operator took note.
async fn change(world: &World, name: &str, spec: Value) -> BitbucketConnection {
    let generation = world.patch(name, json!({"spec": spec})).await.metadata.generation;
    let noted = |bbc: &BitbucketConnection| bbc.status.as_ref().and_then(|it| it.observed_generation) >= generation;
    world.until(name, "was seen in its new generation", noted).await
}

fn plan(bbc: &BitbucketConnection) -> Vec<String> {
    bbc.status.as_ref().map(|status| status.plan.clone()).unwrap_or_default()
}

fn finalizers(bbc: &BitbucketConnection) -> usize {
    bbc.metadata.finalizers.as_ref().map_or(0, Vec::len)
}

/// What the stand-ins were asked for connections; that an instance logs in is its own business.
fn asked(world: &World) -> Vec<Entry> {
    let mut asked = [world.bitbucket.journal(), world.kms.journal()].concat();
    asked.retain(|entry| !matches!(entry.operation, Operation::Login | Operation::Status));
    asked
}

fn forget(world: &World) {
    world.bitbucket.clear_journal();
    world.kms.clear_journal();
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_shows_what_would_be_made_until_it_may_be() {
    let world = World::start().await;
    let observe = json!({"managementPolicy": "Observe"});
    world.connection("payments").change(observe.clone()).apply().await;
    // It waits for what is missing as ever.
    assert_eq!(kstatus(&world.not_ready("payments", "SecretNotFound").await), Kstatus::InProgress);
    assert_condition(&world.get("payments").await, "Synced", "False", "KmsRefNotFound", &["KmsInstance/kms"]);
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    let bbc = world.not_ready("payments", "ChangesPending").await;
    let words = ["create connection", "spec.managementPolicy: Full"];
    assert_condition(&bbc, "Synced", "False", "ChangesPending", &words);
    assert_condition(&bbc, "CredentialsValid", "True", "Authenticated", &[]);
    assert_condition(&bbc, "ScopesSufficient", "True", "AllGranted", &[]);
    assert_eq!((kstatus(&bbc), plan(&bbc)), (Kstatus::Failed, vec!["create connection".to_owned()]));
    let again = world.request_reconcile("payments").await;
    assert_eq!((plan(&again), conditions(&again)), (plan(&bbc), conditions(&bbc)));
    assert_eq!((finalizers(&again), world.kms.writes(), world.kms.connections().len()), (0, 0, 0));
    assert_eq!(world.told("payments").await, Vec::<String>::new());
    // What never reached the KMS is gone at once.
    world.connection("billing").change(observe).apply().await;
    world.not_ready("billing", "ChangesPending").await;
    world.delete("billing").await;
    world.until_gone("billing").await;
    assert_eq!(world.told("billing").await, Vec::<String>::new());

    set(&world, "payments", "Full").await;
    let bbc = world.ready("payments").await;
    assert_eq!((plan(&bbc), finalizers(&bbc), world.kms.writes()), (vec![], 1, 1));
    assert_eq!(world.row("payments").api_token, TOKEN);
    assert_eq!(world.told("payments").await, ["ConnectionCreated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_under_observe_is_done_and_told_under_full() {
    let world = World::start().await;
    world.instance().await;
    // What happens, the plan, the event once it may be carried out.
    let table: [(&str, Change, &[&str], &[&str]); 8] = [
        ("nothing", |_, _| Box::pin(async {}), &[], &[]),
        (
            "describe",
            |world, name| Box::pin(async { drop(change(world, name, json!({"description": "New"})).await) }),
            &["update description"],
            &["ConnectionUpdated"],
        ),
        (
            "rename",
            |world, name| Box::pin(async { drop(change(world, name, json!({"connectionName": "renamed"})).await) }),
            &["update name"],
            &["ConnectionUpdated"],
        ),
        (
            "rotate",
            |world, name| Box::pin(world.secret(name, "rotate@example.com", NEXT)),
            &["update credentials"],
            &["CredentialsRotated"],
        ),
        (
            "drift-name",
            |world, name| {
                world.kms.edit(&world.row(name).id, |row| row.name = "other".to_owned());
                Box::pin(async {})
            },
            &["update name"],
            &["DriftCorrected"],
        ),
        (
            "drift-token",
            |world, name| {
                world.kms.edit(&world.row(name).id, |row| row.write_credentials(EMAIL, TOKEN));
                Box::pin(async {})
            },
            &["update credentials"],
            &["DriftCorrected"],
        ),
        (
            "deleted",
            |world, name| {
                world.kms.remove(&world.row(name).id);
                Box::pin(async {})
            },
            &["create connection"],
            &["DriftCorrected"],
        ),
        (
            "both",
            |world, name| {
                world.kms.edit(&world.row(name).id, |row| row.name = "another".to_owned());
                Box::pin(world.secret(name, "both@example.com", "ATATT3x-the-next-of-both"))
            },
            &["update credentials", "update name"],
            &["CredentialsRotated", "DriftCorrected"],
        ),
    ];
    for (name, ..) in table {
        let (email, token) = (format!("{name}@example.com"), format!("ATATT3x-of-{name}"));
        world.issue(&email, &token);
        world.secret(name, &email, &token).await;
        world.connection(name).secret(name).apply().await;
    }
    world.issue("rotate@example.com", NEXT);
    world.issue("both@example.com", "ATATT3x-the-next-of-both");
    // All of them: what is counted below is what the KMS was asked for by whomever.
    for (name, ..) in table {
        world.ready(name).await;
    }
    for (name, happens, expected, events) in table {
        let bbc = set(&world, name, "Observe").await;
        assert_condition(&bbc, "Synced", "True", "InSync", &[]);
        assert_eq!(kstatus(&bbc), Kstatus::Current, "{name}");
        world.kms.clear_journal();
        happens(&world, name).await;
        let rows = world.kms.connections();
        // A second look changes nothing.
        world.request_reconcile(name).await;
        let bbc = world.request_reconcile(name).await;
        assert_eq!(plan(&bbc), expected, "{name}");
        let reason = if expected.is_empty() { "InSync" } else { "ChangesPending" };
        assert_condition(&bbc, "Synced", if expected.is_empty() { "True" } else { "False" }, reason, expected);
        assert_eq!((world.kms.writes(), world.kms.connections()), (0, rows), "{name}");
        assert_eq!(world.told(name).await, ["ConnectionCreated"], "{name}");

        set(&world, name, "Full").await;
        let bbc = world.ready(name).await;
        assert_eq!((plan(&bbc).len(), world.kms.writes()), (0, expected.len()), "{name}");
        let told: Vec<String> = world.told(name).await.into_iter().filter(|it| it != "ConnectionCreated").collect();
        assert_eq!(told, events, "{name}");
        let wanted = if name == "rename" { "renamed" } else { name };
        let row = world.row(wanted);
        assert_eq!(
            bbc.status.and_then(|status| status.connection).map(|it| (it.id, it.name)),
            Some((row.id, row.name))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_judges_and_warns_as_ever() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    set(&world, "payments", "Observe").await;
    let soon = Timestamp::now().checked_add(SignedDuration::from_hours(5 * 24)).expect("a time").to_string();
    world.secret_with(SECRET, json!({"email": EMAIL, "token": TOKEN, "expiresAt": soon})).await;
    let bbc = world.until_reason("payments", "ExpiringSoon", "WarningWindow").await;
    assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
    world.issue(EMAIL, NEXT);
    world.bitbucket.set(NEXT, State::Revoked);
    world.secret(SECRET, EMAIL, NEXT).await;
    let bbc = world.not_ready("payments", "CredentialsRejected").await;
    assert_condition(&bbc, "Synced", "False", "CredentialsNotPushed", &[]);
    // What else is pending is in the plan, though a reason that comes first is told.
    change(&world, "payments", json!({"connectionName": "renamed"})).await;
    let bbc = world.until_reason("payments", "Synced", "CredentialsNotPushed").await;
    assert_eq!(plan(&bbc), ["update name"]);
    world.bitbucket.set(NEXT, State::Good);
    let bbc = world.request_reconcile("payments").await;
    assert_eq!(plan(&bbc), ["update credentials", "update name"]);
    let told = ["ConnectionCreated", "CredentialsRejected", "TokenExpiring"];
    assert_eq!((world.told("payments").await, world.kms.writes()), (told.map(str::to_owned).to_vec(), 1));
    assert_eq!(world.row("payments").api_token, TOKEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_is_told_when_writing_is_allowed_again() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    // The pass that writes asks for a list before; whoever tries again meets an outage.
    world.kms.fail_when(Match::op(Operation::List).skip(1), Fault::status(503));
    world.kms.fail_when(Match::op(Operation::Update).times(1), Fault::LoseAnswer);
    change(&world, "payments", json!({"description": "New"})).await;
    world.until_reason("payments", "Synced", "KmsUnavailable").await;
    set(&world, "payments", "Observe").await;
    world.kms.heal();
    let bbc = world.request_reconcile("payments").await;
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);
    assert!(world.row("payments").description.is_some_and(|text| text.starts_with("New ")), "it took effect");
    assert_eq!(world.told("payments").await, ["ConnectionCreated"]);
    set(&world, "payments", "Full").await;
    world.ready("payments").await;
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "ConnectionUpdated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_needs_a_grant_too() {
    let world = World::cluster_wide().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.cluster_instance_with(json!({"grants": []})).await;
    world.connection("payments").change(json!({"managementPolicy": "Observe"})).apply().await;
    let bbc = world.not_ready("payments", "KmsRefNotAllowed").await;
    assert_eq!(plan(&bbc), Vec::<String>::new());
    assert!(asked(&world).iter().all(|entry| entry.operation == Operation::User), "the KMS was asked");
    world.cluster_instance().await;
    assert_eq!(plan(&world.not_ready("payments", "ChangesPending").await), ["create connection"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_about_a_suspended_object_whatever_changes() {
    let world = World::start().await;
    let before = world.ready_connection("payments").await;
    let row = world.row("payments");
    let bbc = set(&world, "payments", "Suspended").await;
    assert_eq!(conditions(&bbc), conditions(&before));
    assert_eq!(kstatus(&bbc), Kstatus::Current);
    assert!(bbc.status.is_some_and(|status| status.next_verification_time.is_none()));
    forget(&world);

    world.issue(EMAIL, NEXT);
    world.secret(SECRET, EMAIL, NEXT).await;
    world.patch("payments", json!({"metadata": {"annotations": {RECONCILE_REQUESTED_AT: "now"}}})).await;
    world.kms.edit(&row.id, |row| row.name = "other".to_owned());
    change(&world, "payments", json!({"description": "New"})).await;
    world.restart().await;
    let bbc = change(&world, "payments", json!({"contact": "#team-a"})).await;
    let told = |bbc: &BitbucketConnection| bbc.status.clone().and_then(|status| status.last_handled_reconcile_at);
    assert_eq!((conditions(&bbc), told(&bbc)), (conditions(&before), None), "a request waits");
    assert!(asked(&world).is_empty(), "{:#?}", asked(&world));
    assert_eq!(world.told("payments").await, ["ConnectionCreated"]);

    set(&world, "payments", "Full").await;
    let bbc = world.ready("payments").await;
    assert_eq!(told(&bbc).as_deref(), Some("now"));
    let now = world.row("payments");
    assert_eq!((now.id, now.api_token.as_str()), (row.id, NEXT));
    assert!(now.description.is_some_and(|text| text.starts_with("New ")));
    let events = ["ConnectionCreated", "ConnectionUpdated", "CredentialsRotated", "DriftCorrected"];
    assert_eq!(world.told("payments").await, events);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_was_ready_says_that_it_is_suspended() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("payments").change(json!({"managementPolicy": "Suspended"})).apply().await;
    let bbc = world.not_ready("payments", "Suspended").await;
    assert_condition(&bbc, "Ready", "Unknown", "Suspended", &["spec.managementPolicy", "Full"]);
    assert_condition(&bbc, "Synced", "Unknown", "NotEvaluated", &[]);
    for kind in ["Reconciling", "Stalled"] {
        assert_eq!(condition(&bbc, kind).0, "", "{kind}");
    }
    assert!(asked(&world).is_empty(), "{:#?}", asked(&world));
    assert_eq!((finalizers(&bbc), world.told("payments").await.len()), (0, 0));
    set(&world, "payments", "Observe").await;
    assert_eq!(plan(&world.not_ready("payments", "ChangesPending").await), ["create connection"]);
    set(&world, "payments", "Suspended").await;
    world.not_ready("payments", "Suspended").await;
    set(&world, "payments", "Full").await;
    world.ready("payments").await;

    // Once it was Ready it stays so, until too long ago.
    let bbc = set(&world, "payments", "Suspended").await;
    assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
    let long_ago = json!({"status": {"lastVerifiedTime": "2026-01-01T00:00:00Z"}});
    let api = world.api::<BitbucketConnection>();
    let patched = api.patch_status("payments", &PatchParams::default(), &Patch::Merge(long_ago)).await;
    patched.expect("a status of long ago");
    change(&world, "payments", json!({"contact": "#team-a"})).await;
    let bbc = world.not_ready("payments", "Suspended").await;
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);
    set(&world, "payments", "Observe").await;
    world.ready("payments").await;
    assert_eq!((world.told("payments").await, world.kms.writes()), (vec!["ConnectionCreated".to_owned()], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_token_draws_near_without_a_call() {
    let world = World::start().await;
    world.instance_in_use().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.connection("payments").change(json!({"expiry": {"warnBefore": ["20s"]}})).apply().await;
    world.ready("payments").await;
    let end = Timestamp::now().checked_add(SignedDuration::from_secs(40)).expect("a time").to_string();
    world.secret_with(SECRET, json!({"email": EMAIL, "token": TOKEN, "expiresAt": end})).await;
    let known = |bbc: &BitbucketConnection| {
        let token = bbc.status.as_ref().and_then(|status| status.token.as_ref());
        token.and_then(|token| token.expiry_source.as_deref()) == Some("Secret")
    };
    world.until("payments", "knows the end", known).await;
    set(&world, "payments", "Suspended").await;
    forget(&world);
    let bbc = world.until_reason("payments", "ExpiringSoon", "Expired").await;
    assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
    assert!(asked(&world).is_empty(), "{:#?}", asked(&world));
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "TokenExpired", "TokenExpiring"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_may_not_write_is_let_go_without_a_call() {
    let world = World::start().await;
    world.ready_connection("blocked").await;
    for policy in ["Observe", "Suspended"] {
        let name = policy.to_lowercase();
        world.connection(&name).apply().await;
        world.ready(&name).await;
        set(&world, &name, policy).await;
    }
    let rows = world.kms.connections();
    // The way out of a deletion that can't go on.
    world.kms.down();
    world.delete("blocked").await;
    world.until_reason("blocked", "Synced", "KmsUnavailable").await;
    world.patch("blocked", json!({"spec": {"managementPolicy": "Suspended"}})).await;
    world.until_gone("blocked").await;
    world.kms.up();
    forget(&world);
    // Nor is an instance needed.
    world.delete_object::<KmsInstance>("kms").await;
    for (name, policy) in [("observe", "Observe"), ("suspended", "Suspended"), ("blocked", "Suspended")] {
        if name != "blocked" {
            world.delete(name).await;
            world.until_gone(name).await;
        }
        let note = world.until_event(name, "ConnectionRetained").await;
        for word in [name, "still bears the mark", &format!("spec.managementPolicy was {policy}")] {
            assert!(note.contains(word), "{name}: {note}");
        }
        assert_eq!(world.told(name).await, ["ConnectionCreated", "ConnectionRetained"]);
    }
    assert!(asked(&world).is_empty(), "{:#?}", asked(&world));
    assert_eq!(world.kms.connections(), rows, "connections and marks stay");
}
