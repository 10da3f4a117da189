//! How an instance logs in: each method, what becomes of it when the KMS refuses, and where its proof goes.

use bitbucket_connection_operator::api::KmsInstance;
use serde_json::{Value, json};
use sim::{Auth, Match, Operation, Proof};

use crate::harness::{EMAIL, Kstatus, SECRET, TOKEN, World, condition, kstatus};

/// Puts an unused method of login into the spec of the instance, and takes the usual one out.
fn by(method: &str, spec: Value) -> Value {
    json!({"auth": {"universal": null, method: spec}})
}

/// Waits until the instance has this reason in its present generation.
async fn until_says(world: &World, name: &str, reason: &str) -> KmsInstance {
    let holds = |instance: &KmsInstance| {
        let observed = instance.status.as_ref().and_then(|status| status.observed_generation);
        observed == instance.metadata.generation && condition(instance, "Ready").1 == reason
    };
    world.until_instance(name, &format!("says {reason}"), holds).await
}

/// Bodies of the logins so far.
fn logins(world: &World) -> Vec<(String, Value)> {
    let mut logins = world.kms.journal();
    logins.retain(|entry| entry.operation == Operation::Login);
    logins.into_iter().map(|entry| (entry.path, entry.json.unwrap_or_default())).collect()
}

/// A JWT of these claims; the stand-in checks no signature.
fn jwt(claims: &Value, signature: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn user_name_and_password_or_a_jwt_from_a_secret() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let (password, signature) = ("canary-of-the-password", "canary-of-a-signature");
    let user = Proof::Password { username: "bot".to_owned(), password: password.to_owned() };
    world.kms.add_identity_with("ldap-auth", "identity-ldap", user);
    let audience = Proof::Jwt { audience: Some("kms".to_owned()), subject: None };
    world.kms.add_identity_with("jwt-auth", "identity-jwt", audience);
    let good = jwt(&json!({"aud": "kms"}), signature);
    let bad = jwt(&json!({"aud": "another"}), signature);
    let reference = json!({"name": "proof"});
    // Method, its spec, a Secret without a key, a refused one and a good one; what the instance says of each.
    let table = [
        (
            "ldap",
            json!({"identityId": "identity-ldap", "secretRef": reference}),
            (json!({"username": "bot"}), ["no key password", "Put the password there", "spec.auth.ldap.secretRef"]),
            (
                json!({"username": "bot", "password": "canary-of-a-wrong-one"}),
                ["refuses user name and password (LDAP Auth)", "with the directory", "spec.auth.ldap.identityId"],
            ),
            json!({"username": "bot", "password": password}),
            json!({"identityId": "identity-ldap", "username": "bot", "password": password}),
        ),
        (
            "jwt",
            json!({"identityId": "identity-jwt", "secretRef": {"name": "proof", "key": "assertion"}}),
            (json!({"jwt": good}), ["no key assertion", "Put the JWT there", "spec.auth.jwt.secretRef"]),
            (
                json!({"assertion": bad}),
                [
                    "refuses the JWT (JWT Auth): Access denied: audience not allowed. ",
                    "issuer",
                    "spec.auth.jwt.identityId",
                ],
            ),
            json!({"assertion": good}),
            json!({"identityId": "identity-jwt", "jwt": good}),
        ),
    ];
    world.connection("payments").apply().await;
    for (method, spec, (incomplete, missing), (refused, told), proof, body) in table {
        world.secret_with("proof", incomplete).await;
        world.instance_with(by(method, spec)).await;
        let message = condition(&until_says(&world, "kms", "SecretKeyMissing").await, "Ready").2;
        assert!(missing.iter().all(|word| message.contains(word)), "{method}: {message}");

        world.secret_with("proof", refused).await;
        let instance = until_says(&world, "kms", "AuthenticationFailed").await;
        let message = condition(&instance, "Ready").2;
        assert!(told.iter().all(|word| message.contains(word)), "{method}: {message}");
        assert_eq!(kstatus(&instance), Kstatus::Failed, "{method}");
        let tried = world.kms.logins();
        let connection = world.not_ready("payments", "KmsInstanceNotReady").await;
        assert!(condition(&connection, "Ready").2.contains(&message), "{method}");
        world.patch("payments", json!({"spec": {"description": method}})).await;
        world.not_ready("payments", "KmsInstanceNotReady").await;
        assert_eq!(world.kms.logins(), tried, "{method} is not tried again by itself");

        world.secret_with("proof", proof).await;
        until_says(&world, "kms", "Authenticated").await;
        world.ready("payments").await;
        let (path, sent) = logins(&world).pop().expect("a login");
        assert_eq!((path, sent), (format!("/api/v1/auth/{method}-auth/login"), body));
        assert_eq!(world.kms.logins(), tried + 1, "{method}");
    }
    world.assert_silent(&[password, "canary-of-a-wrong-one", signature]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_needs_no_login() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let tokens = ["canary-of-an-access-token", "canary-of-a-second-access-token", "canary-of-a-third-access-token"];
    world.kms.add_access_token(tokens[0]);
    world.secret_with("access", json!({"token": format!(" {}\n", tokens[0])})).await;
    world.instance_with(by("token", json!({"secretRef": {"name": "access"}}))).await;
    for name in ["a", "b"] {
        world.connection(name).apply().await;
        world.ready(name).await;
    }
    let instance = until_says(&world, "kms", "Authenticated").await;
    assert_eq!(kstatus(&instance), Kstatus::Current);

    // It is revoked, on a server of either kind: each time the refusal is met, and then not asked for again.
    for (status, next) in [(403, tokens[1]), (401, tokens[2])] {
        world.kms.set_expired_status(status);
        world.kms.expire_sessions();
        world.request_reconcile("a").await;
        let instance = until_says(&world, "kms", "AuthenticationFailed").await;
        let (standing, _, message) = condition(&instance, "Ready");
        assert_eq!((standing.as_str(), kstatus(&instance)), ("False", Kstatus::Failed));
        for word in ["refuses the access token (Token Auth)", "Create a new access token", "into the Secret"] {
            assert!(message.contains(word), "{message}");
        }
        for name in ["a", "b"] {
            let connection = world.until_reason(name, "Synced", "KmsInstanceNotReady").await;
            assert!(condition(&connection, "Synced").2.contains(&message));
        }
        let asked = world.kms.journal().len();
        world.patch("b", json!({"spec": {"description": format!("Another one {status}.")}})).await;
        world.not_ready("b", "KmsInstanceNotReady").await;
        assert_eq!(world.kms.journal().len(), asked, "after {status}");

        world.kms.add_access_token(next);
        world.secret_with("access", json!({"token": next})).await;
        until_says(&world, "kms", "Authenticated").await;
        for name in ["a", "b"] {
            world.ready(name).await;
        }
    }
    assert_eq!(world.kms.logins(), 0);
    let sent: Vec<_> = world.kms.journal().into_iter().map(|entry| entry.auth).collect();
    let known = |auth: &Auth| matches!(auth, Auth::Bearer(token) if tokens.contains(&token.as_str()));
    assert!(sent.len() > 6 && sent.iter().all(known), "{sent:?}");

    // Another method in its place.
    world.instance_with(json!({})).await;
    world.kms.answered(&Match::op(Operation::Login), 1).await;
    world.assert_silent(&tokens).await;
}
