//! Another token in the Secret: it is verified before it replaces the old one, and a bad one never does.

use bitbucket_connection_operator::api::BitbucketConnection;
use serde_json::json;
use sim::{Caller, Fault, Match, Operation, State};

use crate::harness::{EMAIL, Kstatus, SECRET, TOKEN, World, assert_condition, kstatus};

const NEXT: &str = "ATATT3xFfGF0-canary-of-the-next-token";
const BAD: &str = "ATATT3xFfGF0-canary-of-a-bad-token";

fn fingerprint_in_kms(bbc: &BitbucketConnection) -> Option<String> {
    bbc.status.as_ref()?.connection.as_ref()?.token_fingerprint.clone()
}

/// What is wrong, the Secret, which condition says so, its reason, its words, its event.
type BadToken = (&'static str, serde_json::Value, &'static str, &'static str, &'static [&'static str], &'static str);

/// Waits until the KMS holds other credentials than these, and the status says so.
async fn rotated(world: &World, before: &BitbucketConnection) -> BitbucketConnection {
    let hash = |bbc: &BitbucketConnection| bbc.status.as_ref()?.connection.as_ref()?.credentials_hash.clone();
    world.until("payments", "was rotated", |bbc| hash(bbc) != hash(before)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_new_token_is_verified_and_then_replaces_the_old_one() {
    let world = World::start().await;
    world.issue(EMAIL, NEXT);
    let mut bbc = world.ready_connection("payments").await;
    let id = world.row("payments").id;
    let fingerprints = [fingerprint_in_kms(&bbc)];
    for (turn, token) in [NEXT, TOKEN, NEXT].into_iter().enumerate() {
        world.bitbucket.clear_journal();
        world.kms.clear_journal();
        world.secret(SECRET, EMAIL, token).await;
        bbc = rotated(&world, &bbc).await;

        let verified = world.bitbucket.matching(&Match::op(Operation::User).caller(Caller::Operator).token(token));
        assert_eq!(verified.len(), 1, "turn {turn}: asked once");
        let writes = world.kms.matching(&Match::writes());
        assert_eq!(writes.len(), 1, "turn {turn}");
        assert_eq!(writes[0].json, Some(json!({"credentials": {"email": EMAIL, "apiToken": token}})));
        assert!(verified[0].seq < writes[0].seq, "verified before it is written");
        assert_eq!((world.row("payments").id, world.row("payments").api_token), (id.clone(), token.to_owned()));
        assert_eq!(fingerprint_in_kms(&bbc) == fingerprints[0], token == TOKEN);
        assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
        assert_eq!(world.count_events("payments", "CredentialsRotated").await, turn + 1);
    }
    let note = world.until_event("payments", "CredentialsRotated").await;
    assert!(note.contains("payments") && note.contains("revoked"), "{note}");
    let expected = ["ConnectionCreated", "CredentialsRotated", "CredentialsRotated", "CredentialsRotated"];
    assert_eq!(world.told("payments").await, expected);
    world.assert_silent(&[NEXT]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_never_replaces_a_good_one() {
    let world = World::start().await;
    world.issue(EMAIL, NEXT);
    world.issue(EMAIL, BAD);
    world.ready_connection("payments").await;
    let good = world.row("payments");
    let bad = |email: &str| json!({"email": email, "token": BAD});
    let scopes = |world: &World, scopes: &[&str]| {
        world.bitbucket.set(BAD, State::Good);
        world.bitbucket.set_scopes(BAD, scopes.iter().copied());
    };
    // What is wrong with the new token → which condition says so, with what words, and which event
    let narrow = ["read:user:bitbucket", "read:account"];
    let table: [BadToken; 4] = [
        ("revoked", bad(EMAIL), "CredentialsValid", "CredentialsRejected", &["401", SECRET], "CredentialsRejected"),
        ("narrow", bad(EMAIL), "ScopesSufficient", "ScopesMissing", &["write:webhook:bitbucket"], "ScopesMissing"),
        ("user name", bad("bot"), "CredentialsValid", "SecretInvalid", &["e-mail", "email"], ""),
        (
            "unreadable",
            json!({"email": EMAIL, "token": "two words"}),
            "CredentialsValid",
            "SecretInvalid",
            &["token"],
            "",
        ),
    ];
    for (what, data, kind, reason, words, event) in table {
        match what {
            "revoked" => world.bitbucket.set(BAD, State::Revoked),
            "narrow" => scopes(&world, &narrow),
            _ => {}
        }
        let told = world.count_events("payments", event).await;
        world.secret_with(SECRET, data).await;
        let bbc = world.not_ready("payments", reason).await;
        assert_condition(&bbc, kind, "False", reason, words);
        assert_condition(&bbc, "Synced", "False", "CredentialsNotPushed", &["stays until the Secret holds a good one"]);
        assert_eq!(kstatus(&bbc), Kstatus::Failed, "{what}");
        assert_eq!(world.row("payments"), good, "{what}: the old token stays");
        assert!(fingerprint_in_kms(&bbc).is_some(), "what is in the KMS is still told");
        if !event.is_empty() {
            assert_eq!(world.count_events("payments", event).await, told + 1, "{what}");
        }
        // Back to the one that is in the KMS: nothing has to be written.
        world.secret(SECRET, EMAIL, TOKEN).await;
        let bbc = world.ready("payments").await;
        assert_condition(&bbc, "Synced", "True", "InSync", &[]);
        assert!(world.count_events("payments", "Recovered").await > 0, "{what}");
        assert_eq!(world.row("payments"), good, "{what}");
    }
    assert_eq!(world.kms.writes(), 1);

    world.bitbucket.set(BAD, State::Revoked);
    world.secret(SECRET, EMAIL, BAD).await;
    world.not_ready("payments", "CredentialsRejected").await;
    world.secret(SECRET, EMAIL, NEXT).await;
    world.ready("payments").await;
    assert_eq!(world.row("payments").api_token, NEXT, "a good one replaces it");
    assert_eq!(world.count_events("payments", "CredentialsRotated").await, 1);
    assert_eq!(world.kms.count(&Match::any().token(BAD)), 0, "the KMS never saw the bad one");
    world.assert_silent(&[NEXT, BAD]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_bitbucket_delays_a_rotation_and_harms_nothing() {
    let world = World::start().await;
    world.issue(EMAIL, NEXT);
    let before = world.ready_connection("payments").await;
    let good = world.row("payments");
    world.bitbucket.down();
    world.secret(SECRET, EMAIL, NEXT).await;
    let bbc = world.until_reason("payments", "Synced", "CredentialsNotVerified").await;
    assert_condition(&bbc, "CredentialsValid", "Unknown", "BitbucketUnavailable", &["503", "by itself"]);
    assert_condition(&bbc, "Synced", "Unknown", "CredentialsNotVerified", &["stays until it has"]);
    assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
    assert_eq!(kstatus(&bbc), Kstatus::Current, "what is in the KMS works");
    assert_eq!(world.row("payments"), good);
    assert_eq!(world.told("payments").await, ["ConnectionCreated"], "an outage is no news");

    world.bitbucket.up();
    let bbc = rotated(&world, &before).await;
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);
    assert_eq!(world.row("payments").api_token, NEXT);
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "CredentialsRotated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_of_a_rotation_is_told_and_tried_again() {
    let world = World::start().await;
    world.issue(EMAIL, NEXT);
    let before = world.ready_connection("payments").await;
    // The KMS asks Bitbucket too, and that may fail where ours did not.
    world.bitbucket.fail_when(Match::op(Operation::User).caller(Caller::Kms), Fault::status(503));
    world.secret(SECRET, EMAIL, NEXT).await;
    let bbc = world.until_reason("payments", "Synced", "KmsUnavailable").await;
    assert_condition(&bbc, "Synced", "Unknown", "KmsUnavailable", &["Bitbucket", "by itself"]);
    assert_condition(&bbc, "Ready", "True", "Succeeded", &[]);
    assert_eq!(fingerprint_in_kms(&bbc), fingerprint_in_kms(&before), "the old one is still there");
    assert_eq!(world.row("payments").api_token, TOKEN);
    world.bitbucket.heal();
    rotated(&world, &before).await;
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "CredentialsRotated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_with_the_old_date_is_told() {
    let world = World::start().await;
    for token in [NEXT, BAD] {
        world.issue(EMAIL, token);
    }
    let date = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 200);
    // With fractions of a second, which the API server doesn't keep.
    let (old, new) = (date.to_string(), (date + jiff::SignedDuration::from_hours(24 * 100)).to_string());
    let secret = async |name: &str, token: &str, date: &str| {
        world.secret_with(name, json!({"email": EMAIL, "token": token, "expiresAt": date})).await;
    };
    world.instance().await;
    // object → is Bitbucket away at first, is the date changed with the token, is it told
    let table = [
        ("kept", false, false, 1),
        ("moved", false, true, 0),
        ("kept-away", true, false, 1),
        ("moved-away", true, true, 0),
    ];
    for (name, ..) in table {
        secret(name, TOKEN, &old).await;
        world.connection(name).secret(name).apply().await;
    }
    for (name, away, moved, told) in table {
        world.ready(name).await;
        if away {
            world.bitbucket.fail_when(Match::op(Operation::User).token(BAD).times(1), Fault::status(503));
        }
        // A token of its own for those who meet an outage: verdicts are shared.
        secret(name, if away { BAD } else { NEXT }, if moved { &new } else { &old }).await;
        world.until_event(name, "CredentialsRotated").await;
        // What comes with it comes in the same pass, maybe later: it is behind that of another.
        world.request_reconcile(name).await;
        assert_eq!(world.count_events(name, "ExpiryNotUpdated").await, told, "{name}");
    }
    let note = world.until_event("kept", "ExpiryNotUpdated").await;
    assert!(note.contains(&old[..10]) && note.contains("end of the new token"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_later_is_told_and_stays_where_it_is() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    let good = world.row("payments");
    world.bitbucket.set(TOKEN, State::Revoked);
    world.request_reconcile("payments").await;
    let bbc = world.not_ready("payments", "CredentialsRejected").await;
    assert_condition(
        &bbc,
        "CredentialsValid",
        "False",
        "CredentialsRejected",
        &["revoked", "id.atlassian.com", SECRET],
    );
    assert_condition(&bbc, "ScopesSufficient", "Unknown", "NotEvaluated", &[]);
    assert_condition(&bbc, "Synced", "True", "InSync", &[]);
    assert_eq!(kstatus(&bbc), Kstatus::Failed);
    assert_eq!(world.row("payments"), good);
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "CredentialsRejected"]);

    world.bitbucket.set(TOKEN, State::Good);
    world.request_reconcile("payments").await;
    let bbc = world.ready("payments").await;
    assert_eq!(kstatus(&bbc), Kstatus::Current);
    assert_eq!(world.told("payments").await, ["ConnectionCreated", "CredentialsRejected", "Recovered"]);
    assert_eq!(world.kms.writes(), 1);
}
