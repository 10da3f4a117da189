//! What people put into Secrets, by mistake or by the wrong tool: bytes that are no text, several lines, far too much.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bitbucket_connection_operator::api::KmsInstance;
use futures::future::join_all;
use serde_json::{Value, json};

use super::bases::everything;
use crate::harness::{World, assert_condition, condition, is_settled};

/// In every value that is wrong.
pub const CANARY: &str = "canary-in-a-wrong-value";

/// One value of a Secret that is wrong, and what is said about it.
struct Row {
    /// The Secret, and what refers to it.
    name: &'static str,
    key: &'static str,
    value: Vec<u8>,
    /// Type, status and reason of a condition.
    says: (&'static str, &'static str, &'static str),
    words: &'static [&'static str],
}

fn row(
    name: &'static str,
    key: &'static str,
    value: impl AsRef<[u8]>,
    says: (&'static str, &'static str, &'static str),
    words: &'static [&'static str],
) -> Row {
    Row { name, key, value: value.as_ref().to_vec(), says, words }
}

/// No text, but for its beginning.
fn bytes() -> Vec<u8> {
    [CANARY.as_bytes(), &[0xff, 0xfe, 0x00]].concat()
}

/// As large as a Secret can be with the others beside it.
fn huge() -> Vec<u8> {
    CANARY.repeat(900_000 / CANARY.len()).into_bytes()
}

fn of_connections() -> Vec<Row> {
    let invalid = ("CredentialsValid", "False", "SecretInvalid");
    let missing = ("CredentialsValid", "False", "SecretKeyMissing");
    let unread = ("ExpiringSoon", "Unknown", "ExpiryInvalid");
    let date = |says| ("ExpiringSoon", says, if says == "True" { "Expired" } else { "OutsideWindow" });
    vec![
        row("email-of-bytes", "email", bytes(), invalid, &["Key email of Secret email-of-bytes", "e-mail address"]),
        row("email-huge", "email", huge(), invalid, &["Key email of Secret email-huge", "e-mail address"]),
        row(
            "email-of-two-lines",
            "email",
            format!("a@example.com\n{CANARY}@example.com"),
            invalid,
            &["Key email of Secret email-of-two-lines"],
        ),
        row("email-empty", "email", "", missing, &["Secret email-empty", "key email"]),
        row("token-of-bytes", "token", bytes(), invalid, &["Key token of Secret token-of-bytes", "one word"]),
        row("token-huge", "token", huge(), invalid, &["Key token of Secret token-huge", "255"]),
        row("token-of-lines", "token", format!("{CANARY}\n{CANARY}"), invalid, &["Key token of Secret token-of-lines"]),
        row("token-with-a-nul", "token", format!("{CANARY}\0"), invalid, &["Key token of Secret token-with-a-nul"]),
        row(
            "token-of-umlauts",
            "token",
            format!("{CANARY}-üö"),
            ("CredentialsValid", "False", "CredentialsRejected"),
            &["key token of Secret token-of-umlauts"],
        ),
        row("date-of-bytes", "expiresAt", bytes(), unread, &["key expiresAt of Secret date-of-bytes", "2027-03-01"]),
        row("date-huge", "expiresAt", huge(), unread, &["key expiresAt of Secret date-huge", "2027-03-01"]),
        row("date-soon", "expiresAt", CANARY, unread, &["key expiresAt of Secret date-soon", "2027-03-01"]),
        row("date-of-lines", "expiresAt", "2027-03-01\n2027-04-01", unread, &["key expiresAt of Secret date-of-lines"]),
        row("date-of-no-day", "expiresAt", "2027-02-30", unread, &["key expiresAt of Secret date-of-no-day"]),
        row("date-of-year-0", "expiresAt", "0000-01-01", date("True"), &["0000-01-01", "date-of-year-0"]),
        row("date-of-9999", "expiresAt", "9999-12-30", date("False"), &["9999-12-30", "date-of-9999"]),
    ]
}

/// Of instances; the key says by which method they log in.
fn of_instances() -> Vec<Row> {
    let refused = ("Ready", "False", "AuthenticationFailed");
    let missing = ("Ready", "False", "SecretKeyMissing");
    let bad_ca = ("Ready", "False", "CaInvalid");
    vec![
        row("id-of-bytes", "clientId", bytes(), refused, &["Key clientId of Secret id-of-bytes", "no text"]),
        row("id-huge", "clientId", huge(), refused, &["client id"]),
        row("id-empty", "clientId", "", missing, &["Secret id-empty", "key clientId"]),
        row(
            "secret-of-bytes",
            "clientSecret",
            bytes(),
            refused,
            &["Key clientSecret of Secret secret-of-bytes", "no text"],
        ),
        row(
            "secret-of-lines",
            "clientSecret",
            format!("{CANARY}\n{CANARY}"),
            refused,
            &["Key clientSecret of", "several lines"],
        ),
        row("access-of-bytes", "access", bytes(), refused, &["Key access of Secret access-of-bytes", "no text"]),
        row(
            "access-of-lines",
            "access",
            format!("{CANARY}\r\nHost: {CANARY}"),
            refused,
            &["Key access of", "several lines"],
        ),
        row("access-of-umlauts", "access", format!("{CANARY}-ü"), refused, &["access token"]),
        row("access-blank", "access", " \n\t", missing, &["Secret access-blank", "key access"]),
        row("ca-of-bytes", "ca.crt", bytes(), bad_ca, &["key ca.crt of Secret ca-of-bytes", "PEM"]),
        row("ca-huge", "ca.crt", huge(), bad_ca, &["key ca.crt of Secret ca-huge", "PEM"]),
        row("ca-empty", "ca.crt", "", bad_ca, &["Secret ca-empty", "key ca.crt"]),
    ]
}

/// Plays all of them, and returns how many there are.
pub async fn play(world: &World) -> usize {
    let (connections, instances) = (of_connections(), of_instances());
    join_all(connections.iter().map(async |row| {
        apply(world, row.name, Some((row.key, &row.value))).await;
        let change = json!({"kmsRef": {"name": "kms"}, "scopes": {"onExcess": "Warn"}});
        world.connection(row.name).secret(row.name).change(change).apply().await;
        let (kind, status, reason) = row.says;
        let told = world.until_reason(row.name, kind, reason).await;
        assert_condition(&told, kind, status, reason, row.words);
        // What is said of the date alone is no reason to wait for it.
        if kind == "ExpiringSoon" {
            world.ready(row.name).await;
        }

        apply(world, row.name, None).await;
        world.ready(row.name).await;
        world.until(row.name, "warns in time again", |bbc| condition(bbc, "ExpiringSoon").1 == "OutsideWindow").await;
    }))
    .await;
    join_all(instances.iter().map(async |row| {
        apply(world, row.name, Some((row.key, &row.value))).await;
        world.apply(instance(world, row)).await;
        let (kind, status, reason) = row.says;
        let says = |instance: &KmsInstance| is_settled(instance) && condition(instance, kind).1 == reason;
        let told = world.until_instance(row.name, &format!("says {reason}"), says).await;
        assert_condition(&told, kind, status, reason, row.words);

        apply(world, row.name, None).await;
        world.until_instance_says(row.name, "Authenticated").await;
    }))
    .await;
    connections.len() + instances.len()
}

/// Applies a Secret with good values, but for one.
async fn apply(world: &World, name: &str, wrong: Option<(&str, &[u8])>) {
    let mut data = everything();
    for value in data.as_object_mut().expect("keys and texts").values_mut() {
        *value = json!(STANDARD.encode(value.as_str().expect("a text")));
    }
    if let Some((key, value)) = wrong {
        data[key] = json!(STANDARD.encode(value));
    }
    world.apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})).await;
}

fn instance(world: &World, row: &Row) -> Value {
    let auth = match row.key {
        "access" => json!({"token": {"secretRef": {"name": row.name, "key": "access"}}}),
        _ => json!({"universal": {"secretRef": {"name": row.name}}}),
    };
    let mut spec = json!({"host": world.kms.url(), "auth": auth});
    if row.key == "ca.crt" {
        spec["tls"] = json!({"caRef": {"kind": "Secret", "name": row.name}});
    }
    json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "KmsInstance", "metadata": {"name": row.name},
        "spec": spec,
    })
}
