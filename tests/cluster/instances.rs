//! The way to the KMS: what an instance says of itself, what its connections say because of it, and what it costs.

use std::time::Instant;

use bitbucket_connection_operator::api::KmsInstance;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use sim::{Fault, Flavor, Kms, Match, Operation};

use crate::harness::{
    CLIENT_ID, CLIENT_SECRET, EMAIL, Kstatus, PATIENCE, PROJECT, SECRET, TOKEN, World, condition, conditions, kstatus,
};

/// Waits until an instance has this reason in its present generation.
async fn until_says(world: &World, name: &str, reason: &str) -> KmsInstance {
    let holds = |instance: &KmsInstance| {
        let observed = instance.status.as_ref().and_then(|status| status.observed_generation);
        observed == instance.metadata.generation && condition(instance, "Ready").1 == reason
    };
    world.until_instance(name, &format!("says {reason}"), holds).await
}

/// Status of Ready and kstatus.
fn standing(instance: &KmsInstance) -> (String, Kstatus) {
    (condition(instance, "Ready").0, kstatus(instance))
}

async fn until_connections(world: &World, count: i64) {
    let holds = |instance: &KmsInstance| instance.status.as_ref().and_then(|status| status.connections) == Some(count);
    world.until_instance("kms", &format!("counts {count} connections"), holds).await;
}

/// A KmsInstance of this name, with a Secret of the same name, and a connection of the same name that uses it.
async fn instance_and_connection(world: &World, name: &str, host: &str) {
    world
        .apply(json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "KmsInstance", "metadata": {"name": name},
            "spec": {"host": host, "auth": {"universal": {"secretRef": {"name": name}}}},
        }))
        .await;
    world.connection(name).change(json!({"kmsRef": {"name": name}})).apply().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_login_serves_all_connections_and_they_are_counted() {
    let world = World::builder().without_operator().start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    let fresh = world.api::<KmsInstance>().get("kms").await.expect("the instance");
    assert_eq!(fresh.status.as_ref().and_then(|status| status.observed_generation), Some(-1));
    assert_eq!(kstatus(&fresh), Kstatus::InProgress, "nobody has looked at it");

    for name in ["a", "b", "c"] {
        world.connection(name).apply().await;
    }
    world.operator.start().await;
    for name in ["a", "b", "c"] {
        world.ready(name).await;
    }
    let instance = until_says(&world, "kms", "Authenticated").await;
    assert_eq!(standing(&instance), ("True".to_owned(), Kstatus::Current));
    assert_eq!(conditions(&instance).len(), 1, "neither Reconciling nor Stalled");
    assert_eq!(world.kms.logins(), 1);
    until_connections(&world, 3).await;
    world.delete("b").await;
    world.until_gone("b").await;
    until_connections(&world, 2).await;
    world.connection("d").apply().await;
    until_connections(&world, 3).await;
    assert_eq!(world.kms.logins(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_credentials_is_told_and_mended() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let good = |name: &str| json!({"clientId": name, "clientSecret": CLIENT_SECRET});
    let wrong = |name: &str| json!({"clientId": name, "clientSecret": "canary-of-a-wrong-secret"});
    let stalled = ("False", Kstatus::Failed, "KmsInstanceNotReady");
    let waiting = ("False", Kstatus::InProgress, "KmsInstanceNotReady");
    let outage = ("Unknown", Kstatus::InProgress, "KmsUnavailable");
    // Name of the identity, the instance, its Secret and the connection; what the Secret holds; what the instance and
    // its connection say.
    let table: [(&str, Option<Value>, &str, &[&str], _); 7] = [
        ("wrong", Some(wrong("wrong")), "AuthenticationFailed", &["refuses client id and client secret"], stalled),
        ("expired", Some(good("expired")), "AuthenticationFailed", &["has expired", "Create a new one"], stalled),
        ("used-up", Some(good("used-up")), "AuthenticationFailed", &["as often as it may", "Create one"], stalled),
        ("locked", Some(good("locked")), "IdentityLocked", &["locked the machine identity"], outage),
        ("absent", None, "SecretNotFound", &["no Secret absent in namespace", "Create it"], waiting),
        ("no-id", Some(json!({"clientSecret": "x"})), "SecretKeyMissing", &["Secret no-id", "key clientId"], stalled),
        (
            "no-secret",
            Some(json!({"clientId": "no-secret", "clientSecret": " \n"})),
            "SecretKeyMissing",
            &["Secret no-secret", "key clientSecret"],
            stalled,
        ),
    ];
    for (name, data, ..) in &table {
        world.kms.add_identity(name, CLIENT_SECRET);
        match *name {
            "expired" => world.kms.expire_client_secret(name, true),
            "used-up" => world.kms.limit_client_secret(name, Some(0)),
            "locked" => world.kms.lock_identity(name),
            _ => {}
        }
        if let Some(data) = data {
            world.secret_with(name, data.clone()).await;
        }
        instance_and_connection(&world, name, &world.kms.url()).await;
    }
    for (name, _, reason, words, (status, class, of_connection)) in &table {
        let instance = until_says(&world, name, reason).await;
        assert_eq!(standing(&instance), ((*status).to_owned(), *class), "{name}");
        let message = condition(&instance, "Ready").2;
        assert!(words.iter().all(|word| message.contains(word)), "{name}: {message}");
        let connection = world.until_reason(name, "Synced", of_connection).await;
        let (_, found, told) = condition(&connection, "Ready");
        assert_eq!((found.as_str(), kstatus(&connection)), (*of_connection, Kstatus::InProgress), "{name}");
        assert!(told.contains(&format!("KmsInstance/{name}")) && told.contains(&message), "{name}: {told}");
    }
    let logins = |name: &str| world.kms.count(&Match::op(Operation::Login).containing(&format!("\"{name}\"")));
    for name in ["wrong", "expired", "used-up"] {
        assert_eq!(logins(name), 1, "{name} is not tried again by itself");
    }

    for (name, ..) in &table {
        match *name {
            // The cure is outside the cluster: a person tells.
            "expired" => world.kms.expire_client_secret(name, false),
            "used-up" => world.kms.limit_client_secret(name, None),
            "locked" => world.kms.unlock_identity(name),
            _ => world.secret_with(name, good(name)).await,
        }
        if matches!(*name, "expired" | "used-up") {
            world.request_reconcile(name).await;
        }
    }
    for (name, ..) in &table {
        world.ready(name).await;
        assert_eq!(standing(&until_says(&world, name, "Authenticated").await).1, Kstatus::Current, "{name}");
    }
    world.assert_silent(&["canary-of-a-wrong-secret"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_tried_once_for_each_change_or_request() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.kms.set_lockout(100, 300);
    world.instance().await;
    world.secret_with("kms-credentials", json!({"clientId": CLIENT_ID, "clientSecret": "not-the-secret"})).await;
    until_says(&world, "kms", "AuthenticationFailed").await;
    let tried = world.kms.logins();
    for name in ["a", "b", "c"] {
        world.connection(name).apply().await;
        world.not_ready(name, "KmsInstanceNotReady").await;
    }
    world.patch("a", json!({"spec": {"description": "Another one."}})).await;
    world.not_ready("a", "KmsInstanceNotReady").await;

    let version = |instance: &KmsInstance| instance.status.as_ref().and_then(|status| status.secret_version.clone());
    let before = version(&until_says(&world, "kms", "AuthenticationFailed").await);
    world.patch_object::<Secret>("kms-credentials", json!({"metadata": {"labels": {"some": "label"}}})).await;
    world.until_instance("kms", "saw the label", |instance| version(instance) != before).await;
    assert_eq!(world.kms.logins(), tried, "nothing of that is a reason to try again");

    world.request_reconcile("b").await;
    world.kms.answered(&Match::op(Operation::Login), tried + 1).await;
    world.secret_with("kms-credentials", json!({"clientId": CLIENT_ID, "clientSecret": "nor-is-this"})).await;
    world.kms.answered(&Match::op(Operation::Login), tried + 2).await;
    world.instance_secret().await;
    for name in ["a", "b", "c"] {
        world.ready(name).await;
    }
    assert_eq!(world.kms.logins(), tried + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kms_that_is_away_or_none_is_waited_for() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    // Each has a KMS of its own.
    let table = [
        ("refuses", "Unreachable", "can't be reached"),
        ("down", "Unreachable", "HTTP 503"),
        ("cut", "Unreachable", "an answer that breaks off"),
        ("busy", "Unreachable", "no more logins for now"),
        ("page", "ApiNotOffered", "is no KMS with this login"),
        ("go", "ApiNotOffered", "is no KMS with this login"),
    ];
    let mut stand_ins = Vec::new();
    for (name, ..) in table {
        let kms = Kms::start(&world.bitbucket).await;
        kms.add_identity(name, CLIENT_SECRET);
        kms.add_project(PROJECT);
        match name {
            "refuses" => kms.refuse(),
            "down" => kms.down(),
            "cut" => kms.fail(Fault::CutBody),
            "busy" => kms.fail(Fault::RateLimited { retry_after: Some(1) }),
            "page" => kms.fail(Fault::Html),
            _ => kms.set_flavor(Flavor::Go),
        }
        world.secret_with(name, json!({"clientId": name, "clientSecret": CLIENT_SECRET})).await;
        instance_and_connection(&world, name, &kms.url()).await;
        stand_ins.push(kms);
    }
    for (name, reason, words) in table {
        let instance = until_says(&world, name, reason).await;
        assert_eq!(standing(&instance), ("Unknown".to_owned(), Kstatus::InProgress), "{name}");
        let message = condition(&instance, "Ready").2;
        assert!(message.contains(words) && message.contains("tried again"), "{name}: {message}");
        let connection = world.not_ready(name, "KmsUnavailable").await;
        let (status, _, told) = condition(&connection, "Ready");
        assert_eq!((status.as_str(), kstatus(&connection)), ("Unknown", Kstatus::InProgress), "{name}");
        assert!(told.contains(words), "{name}: {told}");
    }
    for kms in &stand_ins {
        kms.heal();
        kms.set_flavor(Flavor::Current);
    }
    for ((name, ..), kms) in table.iter().zip(&stand_ins) {
        world.ready(name).await;
        until_says(&world, name, "Authenticated").await;
        assert_eq!(kms.connections().len(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_allowed_never_sees_a_byte() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let elsewhere =
        Kms::start_at(([127, 0, 0, 2], 0).into(), &world.bitbucket).await.expect("another loopback address");
    // The Secret of the first isn't even there: the host comes before it.
    world.secret_with("other", json!({"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET})).await;
    for name in ["first", "other"] {
        instance_and_connection(&world, name, &elsewhere.url()).await;
        let instance = until_says(&world, name, "HostNotAllowed").await;
        assert_eq!(standing(&instance), ("False".to_owned(), Kstatus::Failed));
        let message = condition(&instance, "Ready").2;
        assert!(message.contains("--allowed-kms-hosts") && message.contains("Nothing was sent"), "{message}");
        let connection = world.not_ready(name, "KmsInstanceNotReady").await;
        assert!(condition(&connection, "Ready").2.contains("--allowed-kms-hosts"));
    }
    world.instance_with(json!({"host": null})).await;
    until_says(&world, "kms", "HostNotAllowed").await;
    assert!(elsewhere.journal().is_empty());

    let change = json!({"spec": {"host": world.kms.url()}});
    world.patch_object::<KmsInstance>("other", change).await;
    world.ready("other").await;
    assert!(elsewhere.journal().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_takes_a_flag() {
    let world = World::builder().without_arg("--allow-insecure-kms").start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("payments").apply().await;
    let instance = until_says(&world, "kms", "InsecureHost").await;
    assert_eq!(standing(&instance), ("False".to_owned(), Kstatus::Failed));
    let message = condition(&instance, "Ready").2;
    assert!(message.contains("https") && message.contains("--allow-insecure-kms"), "{message}");
    world.not_ready("payments", "KmsInstanceNotReady").await;
    assert!(world.kms.journal().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_kms_ends_is_replaced_once_for_all() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    let names = ["a", "b", "c", "d"];
    for name in names {
        world.connection(name).apply().await;
        world.ready(name).await;
    }
    for (ended, status) in [403, 401].into_iter().enumerate() {
        world.kms.set_expired_status(status);
        world.kms.expire_sessions();
        futures::future::join_all(names.map(|name| world.request_reconcile(name))).await;
        for name in names {
            let connection = world.get(name).await;
            assert_eq!(condition(&connection, "Synced").1, "InSync", "{name} after {status}");
        }
        assert_eq!(world.kms.logins(), 2 + ended, "after {status}");
    }
    assert_eq!(standing(&until_says(&world, "kms", "Authenticated").await).1, Kstatus::Current);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_replaced_before_it_ends() {
    let world = World::start().await;
    // The stand-in's time stands still: no session ever ends there.
    let now = jiff::Timestamp::now();
    world.kms.set_clock(move || now);
    world.kms.set_access_token_ttl(2);
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("payments").apply().await;
    world.ready("payments").await;
    let renewed = async {
        while world.kms.logins() < 3 {
            world.request_reconcile("payments").await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("another login");
    let refused = world.kms.journal().into_iter().filter(|entry| entry.status() != Some(200)).count();
    assert_eq!(refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_takes_up_another_secret_and_another_host() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("payments").apply().await;
    world.ready("payments").await;

    world.kms.add_identity("second", "the-second-secret");
    world.secret_with("second", json!({"id": "second", "key": "the-second-secret"})).await;
    let reference = json!({"name": "second", "clientIdKey": "id", "clientSecretKey": "key"});
    world.instance_with(json!({"auth": {"universal": {"secretRef": reference}}})).await;
    let logins = world.kms.answered(&Match::op(Operation::Login), 2).await;
    let sent = logins[1].json.clone().unwrap_or_default();
    assert_eq!(sent["clientId"], "second");
    let instance = until_says(&world, "kms", "Authenticated").await;
    let status = instance.status.as_ref().expect("a status");
    assert_eq!((status.observed_generation, instance.metadata.generation), (Some(2), Some(2)));
    world.request_reconcile("payments").await;
    world.ready("payments").await;
    assert_eq!((world.kms.logins(), world.kms.writes()), (2, 1));

    world.instance_with(json!({"organizationSlug": "acme"})).await;
    let logins = world.kms.answered(&Match::op(Operation::Login), 3).await;
    let sent = logins[2].json.clone().unwrap_or_default();
    assert_eq!((&sent["organizationSlug"], &sent["clientId"]), (&json!("acme"), &json!(CLIENT_ID)));
    world.assert_silent(&["the-second-secret"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kms_that_takes_no_session_of_its_own_is_not_asked_hot() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    until_says(&world, "kms", "Authenticated").await;
    let refusal = json!({"statusCode": 401, "error": "TokenError", "message": "This address is not trusted"});
    world.kms.fail_when(Match::op(Operation::List), Fault::json(401, &refusal));
    let began = Instant::now();
    for name in ["a", "b", "c"] {
        world.connection(name).apply().await;
    }
    for name in ["a", "b", "c"] {
        let refused = world.not_ready(name, "KmsUnavailable").await;
        let message = condition(&refused, "Ready").2;
        assert!(message.contains("This address is not trusted"), "{message}");
    }
    assert_eq!(standing(&until_says(&world, "kms", "Unreachable").await).0, "Unknown");
    let logins = world.kms.logins();
    // Each attempt of the instance, which come five seconds apart or more, costs two.
    let most = 3 + 2 * usize::try_from(began.elapsed().as_secs() / 5).expect("few");
    assert!(logins <= most, "{logins} logins");
    world.kms.heal();
    for name in ["a", "b", "c"] {
        world.request_reconcile(name).await;
    }
    for name in ["a", "b", "c"] {
        world.ready(name).await;
    }
}
