//! Good manifests, which between them have every property of a kind.

use serde_json::{Value, json};
use sim::{Authority, Proof, Token};

use crate::harness::{CLIENT_ID, CLIENT_SECRET, EMAIL, PROJECT, SECRET, TOKEN, World};

/// The kinds, and where they are.
pub const KINDS: [(&str, &str); 3] = [
    ("BitbucketConnection", "bitbucketconnections"),
    ("KmsInstance", "kmsinstances"),
    ("ClusterKmsInstance", "clusterkmsinstances"),
];

/// A project that the KMS has too.
const OTHER_PROJECT: &str = "0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9";
/// An access token.
pub const ACCESS_TOKEN: &str = "canary-of-an-access-token";
/// A password.
pub const PASSWORD: &str = "canary-of-the-password";

/// Puts into a world what the manifests refer to: in it they are good.
pub async fn furnish(world: World) -> World {
    let all = ["repository", "pullrequest", "project", "workspace", "user", "pipeline", "webhook", "issue", "wiki"];
    let scopes =
        all.iter().flat_map(|what| ["read", "write", "admin", "delete"].map(|may| format!("{may}:{what}:bitbucket")));
    world.bitbucket.add(Token::new(EMAIL, TOKEN).scopes(scopes).workspaces(["hanzo", "hanzo-payments"]));
    world.kms.add_project(OTHER_PROJECT);
    // Whoever tries this much would be locked out soon.
    world.kms.set_lockout(100_000, 300);
    world.kms.add_access_token(ACCESS_TOKEN);
    let user = Proof::Password { username: "bot".to_owned(), password: PASSWORD.to_owned() };
    world.kms.add_identity_with("ldap-auth", "identity", user);
    world.kms.add_identity_with("jwt-auth", "identity", Proof::Jwt { audience: Some("kms".to_owned()), subject: None });
    let subject = format!("system:serviceaccount:{}:login", world.namespace());
    for method in ["kubernetes-auth", "oidc-auth"] {
        let proof = Proof::Jwt { audience: Some("kms".to_owned()), subject: Some(subject.clone()) };
        world.kms.add_identity_with(method, "identity", proof);
    }
    for name in [SECRET, "second"] {
        world.secret_with(name, everything()).await;
    }
    world.config_map("ca", json!({"ca.crt": Authority::new("a CA").pem(), "junk": "no certificate"})).await;
    world.secret_with("ca", json!({"ca.crt": Authority::new("a CA").pem()})).await;
    for account in ["login", "other-login"] {
        world.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})).await;
    }
    world.let_mint("login").await;
    world.instance_in_use().await;
    world
}

/// All that any manifest looks for in a Secret.
pub fn everything() -> Value {
    json!({
        "ca.crt": Authority::new("a CA").pem(),
        "email": EMAIL, "user.mail": EMAIL,
        "token": TOKEN, "API_TOKEN": TOKEN,
        "expiresAt": "2027-03-01", "valid-until": "2027-04-01",
        "clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET,
        "access": ACCESS_TOKEN,
        "username": "bot", "password": PASSWORD,
        // The stand-in checks no signature: {} and {"aud":"kms"}.
        "jwt": "e30.eyJhdWQiOiJrbXMifQ.canary-of-a-signature",
    })
}

/// Good manifests of a kind for an object of this name.
pub fn of_kind(world: &World, kind: &str, name: &str) -> Vec<Value> {
    let specs = match kind {
        "BitbucketConnection" => connections(name),
        "KmsInstance" => instances(world),
        _ => cluster_instances(world),
    };
    let manifest = |spec: Value| {
        json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        })
    };
    specs.into_iter().map(manifest).collect()
}

fn connections(name: &str) -> Vec<Value> {
    let everything = json!({
        "kmsRef": {"kind": "KmsInstance", "name": "kms"},
        "projectId": PROJECT,
        "connectionName": name,
        "description": "Text",
        "secretRef": {"name": SECRET, "emailKey": "email", "tokenKey": "token", "expiresAtKey": "expiresAt"},
        "scopes": {
            "useCases": ["SecretScanning"], "additional": ["read:issue:bitbucket"], "onMissing": "Block",
            "onExcess": "Warn",
        },
        "workspaces": ["hanzo"],
        "expiry": {"notAfter": "2027-03-01", "warnBefore": ["14d", "1d"]},
        "contact": "#team-a",
        "adoptionPolicy": "Never",
        "deletionPolicy": "Delete",
        "managementPolicy": "Full",
        "interval": "1h",
    });
    let organization = json!({
        "kmsRef": {"name": "kms"}, "organizationScope": true, "secretRef": {"name": SECRET},
        "scopes": {"useCases": ["SecretScanning"]},
    });
    vec![everything, organization]
}

/// One for each method of login.
fn instances(world: &World) -> Vec<Value> {
    let secret = |keys: Value| {
        let mut reference = json!({"name": SECRET});
        crate::harness::merge(&mut reference, keys);
        reference
    };
    let minted = json!({"identityId": "identity", "serviceAccountRef": {"name": "login"}, "audience": "kms"});
    let methods = [
        (
            "universal",
            json!({"secretRef": secret(json!({"clientIdKey": "clientId", "clientSecretKey": "clientSecret"}))}),
        ),
        ("token", json!({"secretRef": secret(json!({"key": "access"}))})),
        (
            "ldap",
            json!({
                "identityId": "identity",
                "secretRef": secret(json!({"usernameKey": "username", "passwordKey": "password"})),
            }),
        ),
        ("jwt", json!({"identityId": "identity", "secretRef": secret(json!({"key": "jwt"}))})),
        ("kubernetes", minted.clone()),
        ("oidc", minted),
    ];
    let spec = |(method, login): (&str, Value)| {
        json!({
            "host": world.kms.url(), "auth": {method: login}, "organizationSlug": "acme",
            "tls": {"caRef": {"kind": "ConfigMap", "name": "ca", "key": "ca.crt"}},
        })
    };
    methods.into_iter().map(spec).collect()
}

fn cluster_instances(world: &World) -> Vec<Value> {
    let mut specs = instances(world);
    for spec in &mut specs {
        spec["namespace"] = json!(world.namespace());
        spec["grants"] = json!([{
            "namespaceSelector": {
                "matchLabels": {"kubernetes.io/metadata.name": world.namespace()},
                "matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["b"]}],
            },
            "projectIds": [PROJECT],
            "organizationScope": true,
            "adoption": true,
        }]);
    }
    specs
}
