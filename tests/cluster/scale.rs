//! What many objects cost: the services are shared with production, and their quotas don't grow with the fleet.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use bitbucket_connection_operator::domain::scopes::UseCase;
use futures::{StreamExt, stream};
use sim::{Caller, Fault, Match, Token};

use crate::harness::{World, Write, condition, needed_by};

const OBJECTS: usize = 200;
const CREDENTIALS: usize = 4;
/// Objects that share one Secret.
const SHARE: usize = OBJECTS / CREDENTIALS;
/// How many requests of the tests are under way at once.
const AT_ONCE: usize = 16;

fn name(index: usize) -> String {
    format!("fleet-{index:03}")
}

/// The objects that use a Secret.
fn users_of(secret: usize) -> impl Iterator<Item = String> {
    (0..OBJECTS).filter(move |index| index % CREDENTIALS == secret).map(name)
}

/// Puts a token that Bitbucket accepts into a Secret.
async fn rotate(world: &World, secret: usize, version: usize) {
    let (email, token) = (format!("bot-{secret}@example.com"), format!("ATATT3x-{secret}-{version}"));
    world.bitbucket.add(Token::new(&email, &token).scopes(needed_by(&[UseCase::SecretScanning])));
    world.secret(&format!("token-{secret}"), &email, &token).await;
}

/// [`OBJECTS`] connections with [`CREDENTIALS`] Secrets, applied at once, and all of them Ready.
async fn fleet() -> World {
    let world = World::start().await;
    world.instance_in_use().await;
    for secret in 0..CREDENTIALS {
        rotate(&world, secret, 0).await;
    }
    let applied = (0..OBJECTS).map(|index| {
        let secret = format!("token-{}", index % CREDENTIALS);
        let connection = world.connection(&name(index)).secret(&secret);
        async { connection.apply().await }
    });
    stream::iter(applied).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    for index in 0..OBJECTS {
        world.ready(&name(index)).await;
    }
    world
}

/// The operator's writes to the API server about connections and their events, by connection.
async fn writes_by_object(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut by_object: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // The status comes last; with it all is noted.
    let statuses = |writes: &[Write]| {
        writes.iter().filter(|write| write.resource == "bitbucketconnections/status").count() >= OBJECTS
    };
    for Write { verb, resource, name, .. } in world.api_writes_until(statuses).await {
        let object = name.split('.').next().unwrap_or_default().to_owned();
        if resource == "events" || resource.starts_with("bitbucketconnections") {
            by_object.entry(object).or_default().push(format!("{verb} {resource}"));
        }
    }
    by_object
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_costs_what_it_must_and_a_restart_costs_nothing() {
    let world = fleet().await;
    let by_object = writes_by_object(&world).await;
    assert_eq!(by_object.len(), OBJECTS);
    for (object, mut writes) in by_object {
        writes.sort();
        let finalizer_event_status =
            ["create events", "patch bitbucketconnections", "patch bitbucketconnections/status"];
        assert_eq!(writes, finalizer_event_status, "{object}");
    }
    assert_eq!(world.bitbucket.calls_by(Caller::Operator), CREDENTIALS, "one call for each credential");
    assert_eq!((world.kms.logins(), world.kms.writes(), world.kms.gets()), (1, OBJECTS, 0));
    assert!(world.kms.lists() <= 5, "{} lists", world.kms.lists());
    assert_eq!(world.kms.connections().len(), OBJECTS);
    let counted = |instance: &bitbucket_connection_operator::api::KmsInstance| {
        instance.status.as_ref().and_then(|status| status.connections) == Some(200)
    };
    world.until_instance("kms", "counts its connections", counted).await;

    world.bitbucket.clear_journal();
    world.kms.clear_journal();
    // All that it was answered was noted before.
    world.operator.terminate().await;
    let before = world.api_writes().len();
    world.restart().await;
    let passes = "bitbucket_connection_operator_reconciles_total";
    world.until_metrics("tell of a pass over each", |metrics| metrics.value(passes, &[]) >= Some(200.0)).await;
    assert!(world.bitbucket.journal().is_empty() && world.kms.journal().is_empty(), "{}", world.report("").await);
    assert_eq!(world.api_writes()[before..], []);
    assert!(world.metrics().await.value(passes, &[("result", "error")]).unwrap_or_default() < 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_token_is_verified_once_when_it_rotates_and_in_an_outage_as_seldom_as_one() {
    let world = fleet().await;
    world.bitbucket.clear_journal();
    world.kms.clear_journal();
    rotate(&world, 0, 1).await;
    for object in users_of(0) {
        world.until_event(&object, "CredentialsRotated").await;
        world.ready(&object).await;
    }
    assert_eq!(world.bitbucket.calls_by(Caller::Operator), 1);
    let written: BTreeSet<_> = world.kms.matching(&Match::writes()).into_iter().map(|write| write.path).collect();
    assert_eq!((world.kms.writes(), written.len()), (SHARE, SHARE), "each object's connection, once");
    assert_eq!(world.kms.logins(), 0);

    world.bitbucket.fail_when(Match::any().caller(Caller::Operator), Fault::status(503));
    world.bitbucket.clear_journal();
    world.kms.clear_journal();
    let began = Instant::now();
    rotate(&world, 1, 1).await;
    for object in users_of(1) {
        let found = world.until_reason(&object, "CredentialsValid", "BitbucketUnavailable").await;
        assert_eq!(condition(&found, "Ready").0, "True", "{object}: the old token is in use");
    }
    // One of them tries again for all, five seconds later or more.
    let most = || 2 + usize::try_from(began.elapsed().as_secs() / 5).expect("few");
    let (calls, most_calls) = (world.bitbucket.calls(), most());
    assert!(calls <= most_calls, "{calls} calls of {SHARE} objects in the first attempts");
    assert_eq!(world.kms.writes(), 0);
    world.bitbucket.heal();
    for object in users_of(1) {
        world.until_event(&object, "CredentialsRotated").await;
    }
    let (calls, most_calls) = (world.bitbucket.calls_by(Caller::Operator), most() + 2);
    assert!(calls <= most_calls, "{calls} calls of {SHARE} objects until they recovered");
    assert_eq!(world.kms.writes(), SHARE);
}
