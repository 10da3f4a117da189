//! How an instance logs in: each method, what becomes of it when the KMS refuses, and where its proof goes.

use bitbucket_connection_operator::api::{ClusterKmsInstance, KmsInstance};
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
        world.until("payments", "repeats its instance", |bbc| condition(bbc, "Ready").2.contains(&message)).await;
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

/// The claims of a JWT.
fn claims(jwt: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = jwt.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON")
}

/// Runs commands of kubectl as a message gives them.
async fn run(world: &World, commands: &str) {
    for command in commands.split(" && ") {
        let words = command.strip_prefix("kubectl ").expect("a command of kubectl").split(' ');
        let words = words.map(|word| word.replace('\'', ""));
        let output = world.plane().control_plane.kubectl().args(words).output().await.expect("kubectl");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_service_account_is_minted_for_each_login() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let subject = format!("system:serviceaccount:{}:login", world.namespace());
    for method in ["kubernetes", "oidc"] {
        let proof = Proof::Jwt { audience: Some("kms".to_owned()), subject: Some(subject.clone()) };
        world.kms.add_identity_with(&format!("{method}-auth"), &format!("identity-{method}"), proof);
    }
    let spec = |method: &str, audience: &str| {
        let id = format!("identity-{method}");
        by(method, json!({"identityId": id, "serviceAccountRef": {"name": "login"}, "audience": audience}))
    };
    world.instance_with(spec("kubernetes", "another")).await;
    world.connection("payments").apply().await;

    // The operator may not; the message lets it.
    let instance = until_says(&world, "kms", "AuthenticationFailed").await;
    let message = condition(&instance, "Ready").2;
    assert_eq!(kstatus(&instance), Kstatus::Failed);
    assert!(message.contains("may not mint tokens for ServiceAccount login in namespace"), "{message}");
    let connection = world.not_ready("payments", "KmsInstanceNotReady").await;
    assert!(condition(&connection, "Ready").2.contains(&message));
    let account = world.user().strip_prefix("system:serviceaccount:").expect("a ServiceAccount");
    assert!(message.contains(&format!("--serviceaccount={account}")), "{message}");
    run(&world, message.split_once(": ").expect("commands").1).await;

    // There is no such ServiceAccount, which may still come.
    let instance = until_says(&world, "kms", "SecretNotFound").await;
    assert_eq!(kstatus(&instance), Kstatus::InProgress);
    let message = condition(&instance, "Ready").2;
    assert!(message.contains("no ServiceAccount login in namespace") && message.contains("Create it"), "{message}");
    assert_eq!(world.kms.journal().len(), 0, "there was nothing to log in with");
    world.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "login"}})).await;

    // The KMS expects another audience.
    let instance = until_says(&world, "kms", "AuthenticationFailed").await;
    let message = condition(&instance, "Ready").2;
    for word in ["(Kubernetes Auth): Access denied: K8s audience not allowed. ", "spec.auth.kubernetes", "audience"] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(world.kms.logins(), 1);

    for method in ["kubernetes", "oidc"] {
        let before = world.kms.logins();
        world.instance_with(spec(method, "kms")).await;
        world.kms.answered(&Match::op(Operation::Login), before + 1).await;
        until_says(&world, "kms", "Authenticated").await;
        world.ready("payments").await;
        world.kms.expire_sessions();
        world.request_reconcile("payments").await;
        until_says(&world, "kms", "Authenticated").await;
        let all = logins(&world);
        let both = &all[before..];
        assert_eq!(both.len(), 2, "{method}");
        for (path, body) in both {
            assert_eq!(*path, format!("/api/v1/auth/{method}-auth/login"));
            assert_eq!(body["identityId"], format!("identity-{method}"));
            assert_eq!(body.as_object().expect("an object").len(), 2);
            let claims = claims(body["jwt"].as_str().expect("a JWT"));
            assert_eq!((&claims["aud"], &claims["sub"]), (&json!(["kms"]), &json!(subject)));
            let time = |name: &str| claims[name].as_i64().expect("a time");
            assert_eq!(time("exp") - time("iat"), 600);
        }
        assert_ne!(both[0].1["jwt"], both[1].1["jwt"], "minted afresh");
    }
    let minted = logins(&world).into_iter().map(|(_, body)| body["jwt"].as_str().expect("a JWT").to_owned());
    let parts: Vec<String> =
        minted.flat_map(|jwt| jwt.split('.').skip(1).map(str::to_owned).collect::<Vec<_>>()).collect();
    assert_eq!(parts.len(), 10);
    world.assert_silent(&parts.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_instance_mints_in_its_namespace_alone() {
    let world = World::cluster_wide().await;
    let tenant = world.tenant("team-a").await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "login"}});
    for place in [&*world, &tenant] {
        place.apply(account.clone()).await;
    }
    world.let_mint("login").await;
    let subject = format!("system:serviceaccount:{}:login", world.namespace());
    let proof = Proof::Jwt { audience: Some("kms".to_owned()), subject: Some(subject) };
    world.kms.add_identity_with("kubernetes-auth", "identity", proof);
    let manifest = |account: &str| {
        let auth = json!({"identityId": "identity", "serviceAccountRef": {"name": account}, "audience": "kms"});
        json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "ClusterKmsInstance",
            "metadata": {"name": "default"},
            "spec": {
                "host": world.kms.url(), "namespace": world.namespace(), "auth": {"kubernetes": auth},
                "grants": [{"namespaceSelector": {}, "projectIds": ["*"]}],
            },
        })
    };
    world.apply(manifest("login")).await;
    tenant.secret(SECRET, EMAIL, TOKEN).await;
    tenant.connection("payments").apply().await;
    tenant.ready("payments").await;

    // The right is for one ServiceAccount. A tenant learns nothing of that namespace.
    world.apply(manifest("other")).await;
    let denied = |instance: &ClusterKmsInstance| {
        let message = condition(instance, "Ready").2;
        message.contains("--resource-name=other ") && message.contains(&format!("kubectl -n {} ", world.namespace()))
    };
    world.until_cluster_instance("default", "may not mint", denied).await;
    let connection = tenant.until_reason("payments", "Synced", "KmsInstanceNotReady").await;
    let message = condition(&connection, "Synced").2;
    assert!(!message.contains("other") && !message.contains(world.namespace()), "{message}");
}
