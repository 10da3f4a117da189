//! Where credentials go: to the one place where they are checked, and nowhere else, whatever the services do.

use bitbucket_connection_operator::{api::BitbucketConnection, domain::scopes::UseCase};
use serde_json::{Value, json};
use sim::{Auth, Bitbucket, Entry, Fault, Kms, Match, Operation, State, Token};

use crate::harness::{
    CLIENT_ID, CLIENT_SECRET, EMAIL, Kstatus, PROJECT, SECRET, TOKEN, World, condition, kstatus, needed_by,
};

/// Another loopback address: what is sent there went astray.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

/// The access tokens that a KMS gave out.
fn sessions(kms: &Kms) -> Vec<String> {
    let bearer = |entry: &Entry| match &entry.auth {
        Auth::Bearer(token) => Some(token.clone()),
        Auth::None | Auth::Basic { .. } | Auth::Other(_) => None,
    };
    let mut sessions: Vec<String> = kms.journal().iter().filter_map(bearer).collect();
    sessions.sort();
    sessions.dedup();
    sessions
}

/// A request without the places where it may hold a credential.
fn beyond_credentials(entry: &Entry) -> String {
    let headers = entry.headers.iter().filter(|(name, _)| name != "authorization");
    let mut body = entry.json.clone().unwrap_or_else(|| json!(String::from_utf8_lossy(&entry.body)));
    match (entry.operation, body.as_object_mut()) {
        (Operation::Login, Some(fields)) => drop(fields.remove("clientSecret")),
        (Operation::Create | Operation::Update, Some(fields)) => drop(fields.remove("credentials")),
        _ => {}
    }
    format!("{} {:?} {:?} {body}", entry.path, entry.query, headers.collect::<Vec<_>>())
}

/// Fails if one of these texts is where none may be: see [`World::assert_silent`]; and answers of the health server, and
/// requests beyond their credentials.
async fn assert_silent_everywhere(world: &World, more: &[&Kms], canaries: &[String]) {
    let mut canaries = [canaries, &sessions(&world.kms)].concat();
    canaries.extend(more.iter().flat_map(|kms| sessions(kms)));
    let texts: Vec<&str> = canaries.iter().map(String::as_str).collect();
    world.assert_silent(&texts).await;
    let known = [&texts[..], &[TOKEN, CLIENT_SECRET]].concat();
    for path in ["/livez", "/readyz"] {
        let (_, body) = world.operator.get("health", path).await.expect("an answer");
        assert!(!known.iter().any(|canary| body.contains(canary)), "{path}: {body}");
    }
    let mut journal = [world.bitbucket.journal(), world.kms.journal()].concat();
    journal.extend(more.iter().flat_map(|kms| kms.journal()));
    for entry in &journal {
        let text = beyond_credentials(entry);
        assert!(!known.iter().any(|canary| text.contains(canary)), "{text}");
    }
}

/// A Secret and a connection of one name, with a token of its own that Bitbucket knows.
async fn connection_with_token(world: &World, name: &str, change: Value) -> String {
    let token = format!("ATATT3x-canary-of-{name}");
    let email = format!("{name}@example.com");
    world.bitbucket.add(Token::new(&email, &token).scopes(needed_by(&[UseCase::SecretScanning])));
    world.secret(name, &email, &token).await;
    world.connection(name).secret(name).change(change).apply().await;
    token
}

/// A KmsInstance of this name at a KMS of its own.
async fn instance_with_kms(world: &World, name: &str, prepare: impl FnOnce(&Kms)) -> Kms {
    let kms = Kms::start(&world.bitbucket).await;
    prepare(&kms);
    kms.add_identity(CLIENT_ID, CLIENT_SECRET);
    kms.add_project(PROJECT);
    world.instance_secret().await;
    let auth = json!({"universal": {"secretRef": {"name": "kms-credentials"}}});
    world
        .apply(json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "KmsInstance", "metadata": {"name": name},
            "spec": {"host": kms.url(), "auth": auth},
        }))
        .await;
    kms
}

/// Where something goes wrong: at Bitbucket, or at the KMS when it is asked for this.
const PLACES: [&str; 4] = ["bitbucket", "login", "list", "create"];

/// An error in the words of both services, which begin with what was sent.
fn in_words(status: u16, secret: &str) -> Fault {
    let words = format!("{secret} can't be used: {secret}");
    let body = json!({"statusCode": status, "error": "BadRequest", "message": words, "type": "error"});
    Fault::json(status, &body)
}

/// What the KMS is asked for at a place of a table.
fn operation(place: &str) -> Operation {
    match place {
        "login" => Operation::Login,
        "list" => Operation::List,
        _ => Operation::Create,
    }
}

/// Waits until something keeps an object from being Ready.
async fn until_refused(world: &World, name: &str) -> BitbucketConnection {
    let refused = |bbc: &BitbucketConnection| !matches!(condition(bbc, "Ready").0.as_str(), "" | "True");
    world.until(name, "isn't Ready", refused).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life_leaves_no_credential_behind() {
    let world = World::builder().env("RUST_LOG", "trace").start().await;
    let refused = "ATATT3x-canary-of-a-refused-token";
    let second = "ATATT3x-canary-of-the-second-token";
    let wrong = "canary-of-a-wrong-client-secret";
    world.instance().await;
    world.secret_with("kms-credentials", json!({"clientId": CLIENT_ID, "clientSecret": wrong})).await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.connection("payments").apply().await;
    world.not_ready("payments", "KmsInstanceNotReady").await;
    world.instance_secret().await;
    world.ready("payments").await;

    world.bitbucket.add(Token::new(EMAIL, refused).state(State::Revoked));
    world.secret(SECRET, EMAIL, refused).await;
    world.not_ready("payments", "CredentialsRejected").await;
    world.bitbucket.add(Token::new(EMAIL, second).scopes(needed_by(&[UseCase::SecretScanning])));
    world.secret(SECRET, EMAIL, second).await;
    world.until_event("payments", "CredentialsRotated").await;
    // A token where the e-mail should be, and a password with a line break.
    world.secret(SECRET, "ATATT3x-canary-in-the-wrong-key", "canary-of-a\nbroken-password").await;
    world.not_ready("payments", "SecretInvalid").await;
    world.delete("payments").await;
    world.until_gone("payments").await;

    let canaries = [refused, second, wrong, "ATATT3x-canary-in-the-wrong-key", "canary-of-a", "broken-password"];
    assert_silent_everywhere(&world, &[], &canaries.map(str::to_owned)).await;
    assert!(world.log().contains("TRACE"), "the log was asked for everything");
    assert!(!sessions(&world.kms).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_repeats_is_not_passed_on() {
    let world = World::builder().env("RUST_LOG", "debug").start().await;
    world.instance().await;
    let mut canaries = Vec::new();
    let mut stand_ins = Vec::new();
    let mut names = Vec::new();
    for status in [400, 401, 403, 404, 409, 422, 429, 500] {
        for (place, words) in PLACES.iter().flat_map(|place| [(place, ""), (place, "in-words-")]) {
            let name = format!("{place}-{words}{status}");
            let token = format!("ATATT3x-canary-of-{name}");
            let secret = if *place == "login" { CLIENT_SECRET } else { &token };
            let fault = if words.is_empty() { Fault::Echo(status) } else { in_words(status, secret) };
            let mut change = json!({});
            if *place == "bitbucket" {
                world.bitbucket.fail_when(Match::any().token(&token), fault);
            } else {
                let kms =
                    instance_with_kms(&world, &name, |kms| kms.fail_when(Match::op(operation(place)), fault)).await;
                stand_ins.push(kms);
                change = json!({"kmsRef": {"name": name}});
            }
            canaries.push(connection_with_token(&world, &name, change).await);
            names.push(name);
        }
    }
    for name in &names {
        let refused = until_refused(&world, name).await;
        let (_, reason, message) = condition(&refused, "Ready");
        assert!(!reason.is_empty() && !message.is_empty(), "{name}");
    }
    assert!(stand_ins.iter().all(|kms| kms.connections().is_empty()));
    assert_silent_everywhere(&world, &stand_ins.iter().collect::<Vec<_>>(), &canaries).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed_and_bad_bodies_are_told_apart() {
    let world = World::start().await;
    world.instance().await;
    let bitbucket = Bitbucket::start_at((ELSEWHERE, 0).into()).await.expect("another loopback address");
    let kms = Kms::start_at((ELSEWHERE, 0).into(), &bitbucket).await.expect("another loopback address");
    let (to_bitbucket, to_kms) = (Fault::Redirect(bitbucket.url() + "/user"), Fault::Redirect(kms.url()));
    let large = || Fault::Huge(64 << 20);
    let (down, unusable) = ("BitbucketUnavailable", "KmsUnavailable");
    let moved = |status: u16, url: String| Fault::status(status).header("location", &url);
    // Where it happens, what happens, the reason of the connection and a word of its message.
    let table = [
        ("bitbucket", "moved", moved(301, bitbucket.url() + "/user"), down, "HTTP 301"),
        ("bitbucket", "found", moved(302, bitbucket.url() + "/user"), down, "HTTP 302"),
        ("login", "moved", moved(301, kms.url()), unusable, "HTTP 301"),
        ("login", "moved-for-good", moved(308, kms.url()), unusable, "HTTP 308"),
        ("list", "found", moved(302, kms.url()), unusable, "HTTP 302"),
        ("list", "without-scheme", moved(307, kms.url().replace("http:", "")), unusable, "HTTP 307"),
        ("create", "see-other", moved(303, kms.url()), unusable, "HTTP 303"),
        ("create", "moved-for-good", moved(308, kms.url()), unusable, "HTTP 308"),
        ("bitbucket", "redirect", to_bitbucket, down, "HTTP 307"),
        ("bitbucket", "huge", large(), down, "too large"),
        ("bitbucket", "truncated", Fault::TruncatedJson, down, "no JSON"),
        ("login", "redirect", to_kms.clone(), unusable, "HTTP 307"),
        ("login", "huge", large(), unusable, "too large"),
        ("login", "truncated", Fault::TruncatedJson, unusable, "can't be read"),
        ("list", "redirect", to_kms.clone(), unusable, "HTTP 307"),
        ("list", "huge", large(), unusable, "too large"),
        ("list", "truncated", Fault::TruncatedJson, unusable, "can't be read"),
        ("create", "redirect", to_kms, unusable, "HTTP 307"),
        ("create", "huge", large(), unusable, "too large"),
        ("create", "truncated", Fault::TruncatedJson, unusable, "can't be read"),
    ];
    let mut stand_ins = Vec::new();
    let mut canaries = Vec::new();
    for (place, what, fault, ..) in &table {
        let name = format!("{place}-{what}");
        let mut change = json!({});
        if *place == "bitbucket" {
            let token = format!("ATATT3x-canary-of-{name}");
            world.bitbucket.fail_when(Match::any().token(&token), fault.clone());
        } else {
            let fail = |kms: &Kms| kms.fail_when(Match::op(operation(place)), fault.clone());
            let kms = instance_with_kms(&world, &name, fail).await;
            stand_ins.push(kms);
            change = json!({"kmsRef": {"name": name}});
        }
        canaries.push(connection_with_token(&world, &name, change).await);
    }
    // The last come first: one that took effect is found by the next attempt.
    for (place, what, _, reason, words) in table.iter().rev() {
        let name = format!("{place}-{what}");
        let refused = world.not_ready(&name, reason).await;
        assert_eq!(kstatus(&refused), Kstatus::InProgress, "{name}");
        let message = condition(&refused, "Ready").2;
        assert!(message.contains(words), "{name}: {message}");
    }
    assert!(bitbucket.journal().is_empty() && kms.journal().is_empty(), "a redirect was followed");
    world.bitbucket.heal();
    stand_ins.iter().for_each(|kms| kms.heal());
    for (place, what, ..) in &table {
        world.ready(&format!("{place}-{what}")).await;
    }
    let rows = world.kms.connections().len() + stand_ins.iter().map(|kms| kms.connections().len()).sum::<usize>();
    assert_eq!(rows, table.len(), "one connection each");
    assert!(bitbucket.journal().is_empty() && kms.journal().is_empty(), "a redirect was followed");
    assert_silent_everywhere(&world, &stand_ins.iter().collect::<Vec<_>>(), &canaries).await;
}
