//! What people do: with kubectl in the cluster, in the KMS, at Bitbucket.
//!
//! All of it is about one namespace and, mostly, one connection, so that scenes read as what happens.

use bitbucket_connection_operator::{
    api::{BitbucketConnection, ClusterKmsInstance, KmsInstance, RECONCILE_REQUESTED_AT},
    domain::{
        ownership::{Owner, OwnerId},
        scopes::{UseCase, required},
    },
};
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use serde_json::{Value, json};
use sim::{Connection, Proof, State, Token};

use crate::{
    fleet::{object, secret},
    world::{KMS, OWNER_ID, World},
};

/// The namespace.
pub const TEAM: &str = "team-a";
/// The namespace of what the ClusterKmsInstance refers to.
pub const HOME: &str = "kms";
/// The connection.
pub const NAME: &str = "payments";
/// Another one, with the same credentials.
pub const OTHER: &str = "billing";
/// Its project.
pub const PROJECT: &str = "7ffbb072-2575-495a-b5b0-127f88caef78";
/// Another project.
pub const PROJECT_B: &str = "0b0d3c5e-5d0c-4a43-9c6a-9f1f2f3a4b5c";
/// The e-mail of the tokens.
pub const EMAIL: &str = "bot@example.com";
/// The first token.
pub const TOKEN: &str = "ATATT3x-first";
/// The token that comes after it.
pub const NEXT: &str = "ATATT3x-next";

const SECRET: &str = "bitbucket-token";

/// Bitbucket knows a token that can do what the connection is for.
pub fn issue(world: &World, email: &str, token: &str) {
    let scopes = required(&[UseCase::SecretScanning], &[]);
    world.bitbucket.add(Token::new(email, token).scopes(scopes.iter().map(|scope| scope.as_str())));
}

fn token_secret(email: &str, token: &str, ends: &str) -> Secret {
    secret(TEAM, SECRET, &[("email", email), ("token", token), ("expiresAt", ends)])
}

/// The Secret of the connections, with the first token.
pub fn apply_secret(world: &World) {
    issue(world, EMAIL, TOKEN);
    world.api.create(&token_secret(EMAIL, TOKEN, "2027-02-01"));
}

/// Another content of that Secret.
pub fn put_token(world: &World, email: &str, token: &str, ends: &str) {
    let new = token_secret(email, token, ends);
    world.api.update::<Secret>(TEAM, SECRET, |secret| secret.data = new.data);
}

/// A new token, with its date.
pub fn rotate(world: &World) {
    issue(world, EMAIL, NEXT);
    put_token(world, EMAIL, NEXT, "2027-02-20");
}

/// A new token that Bitbucket refuses.
pub fn rotate_badly(world: &World) {
    issue(world, EMAIL, "ATATT3x-revoked");
    world.bitbucket.set("ATATT3x-revoked", State::Revoked);
    put_token(world, EMAIL, "ATATT3x-revoked", "2027-02-10");
}

fn client_secret(namespace: &str, secret_: &str) -> Secret {
    secret(namespace, "kms-credentials", &[("clientId", "client"), ("clientSecret", secret_)])
}

/// The ClusterKmsInstance, with its Secret.
pub fn apply_instance(world: &World) {
    world.api.create(&client_secret(HOME, "client-secret"));
    world.kms.add_identity("client", "client-secret");
    apply_instance_by(world, json!({"universal": {"secretRef": {"name": "kms-credentials"}}}));
}

fn apply_instance_by(world: &World, auth: Value) {
    world.api.create::<ClusterKmsInstance>(&object(json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
        "kind": "ClusterKmsInstance",
        "metadata": {"name": "default"},
        "spec": {"host": KMS, "namespace": HOME, "auth": auth, "grants": [grant()]},
    })));
}

/// A grant of everything.
pub fn grant() -> Value {
    json!({"namespaceSelector": {}, "projectIds": ["*"], "adoption": true})
}

/// A change of the instance's spec.
pub fn instance_spec(world: &World, change: Value) {
    world.api.merge::<ClusterKmsInstance>("", "default", json!({"spec": change}));
}

/// The instance with a login by a ServiceAccount's token.
pub fn apply_instance_of_account(world: &World) {
    let subject = format!("system:serviceaccount:{HOME}:login");
    let proof = Proof::Jwt { audience: Some("kms".to_owned()), subject: Some(subject) };
    world.kms.add_identity_with("kubernetes-auth", "identity", proof);
    world.api.create::<ServiceAccount>(&object(json!({"metadata": {"name": "login", "namespace": HOME}})));
    let reference = json!({"name": "login"});
    let auth = json!({"identityId": "identity", "serviceAccountRef": reference, "audience": "kms"});
    apply_instance_by(world, json!({"kubernetes": auth}));
}

/// The KMS gives the identity a new secret, and the old one is good no more.
pub fn replace_client_secret(world: &World) {
    world.kms.add_identity("client", "next-client-secret");
    world.kms.expire_sessions();
}

/// The new one is put into the Secret.
pub fn put_client_secret(world: &World) {
    let new = client_secret(HOME, "next-client-secret");
    world.api.update::<Secret>(HOME, "kms-credentials", |secret| secret.data = new.data);
}

/// A KmsInstance in the namespace itself, with its Secret.
pub fn apply_own_instance(world: &World) {
    world.api.create(&client_secret(TEAM, "client-secret"));
    world.kms.add_identity("client", "client-secret");
    world.api.create::<KmsInstance>(&object(json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
        "kind": "KmsInstance",
        "metadata": {"name": "kms", "namespace": TEAM},
        "spec": {"host": KMS, "auth": {"universal": {"secretRef": {"name": "kms-credentials"}}}},
    })));
}

/// A connection, with this more in its spec.
pub fn apply_named(world: &World, name: &str, more: Value) {
    let mut manifest = json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
        "kind": "BitbucketConnection",
        "metadata": {"name": name, "namespace": TEAM},
        "spec": {
            "projectId": PROJECT,
            "secretRef": {"name": SECRET},
            "scopes": {"useCases": ["SecretScanning"]},
        },
    });
    if let (Some(spec), Value::Object(more)) = (manifest["spec"].as_object_mut(), more) {
        spec.extend(more);
    }
    world.api.create::<BitbucketConnection>(&object(manifest));
}

/// The connection.
pub fn apply(world: &World) {
    apply_named(world, NAME, json!({}));
}

/// Namespaces, and what the KMS has before: projects, and connections that are nobody's business here.
pub fn surroundings(world: &World) {
    world.api.create_namespace(HOME);
    world.api.create_namespace(TEAM);
    [PROJECT, PROJECT_B].iter().for_each(|project| world.kms.add_project(project));
    let text = [("by-hand", "Made by hand"), ("of-another-cluster", "[k8s:0123456789abcdef:c]")];
    for (name, description) in text {
        world.kms.insert(Connection::new(name).project(PROJECT).description(description));
    }
}

/// All that a connection needs.
pub fn base(world: &World) {
    surroundings(world);
    apply_secret(world);
    apply_instance(world);
}

/// All that a connection needs, with the instance in its namespace.
pub fn base_with_own_instance(world: &World) {
    surroundings(world);
    apply_secret(world);
    apply_own_instance(world);
}

/// A change of the connection's spec.
pub fn spec(world: &World, change: Value) {
    world.api.merge::<BitbucketConnection>(TEAM, NAME, json!({"spec": change}));
}

/// Asks for a look by annotation.
pub fn ask(world: &World) {
    let object = world.api.get::<BitbucketConnection>(TEAM, NAME).expect("the connection");
    let again = object.reconcile_requested_at().map_or("now".to_owned(), |before| format!("{before}, and again"));
    let annotations = json!({RECONCILE_REQUESTED_AT: again});
    world.api.merge::<BitbucketConnection>(TEAM, NAME, json!({"metadata": {"annotations": annotations}}));
}

/// Whose the connection of this name is in the KMS.
pub fn owner(name: &str) -> Owner {
    Owner::of(&OwnerId::new(OWNER_ID).expect("a good id"), TEAM, name)
}

/// Deletes the connection.
pub fn delete(world: &World) {
    assert!(world.api.delete::<BitbucketConnection>(TEAM, NAME), "there is one");
}

/// Takes the connection away without asking the operator.
pub fn force_away(world: &World) {
    world.api.merge::<BitbucketConnection>(TEAM, NAME, json!({"metadata": {"finalizers": null}}));
    delete(world);
}

/// Deletes the Secret.
pub fn delete_secret(world: &World) {
    assert!(world.api.delete::<Secret>(TEAM, SECRET), "there is one");
}

/// Deletes the namespace, with all that is in it.
pub fn delete_namespace(world: &World) {
    assert!(world.api.delete::<Namespace>("", TEAM), "there is one");
}

/// Deletes the instance that is in the namespace.
pub fn delete_own_instance(world: &World) {
    assert!(world.api.delete::<KmsInstance>(TEAM, "kms"), "there is one");
}

/// The connection in the KMS, by the name that it has there.
pub fn row(world: &World, name: &str) -> Connection {
    world.kms.connection(name).unwrap_or_else(|| panic!("there is a connection {name} in the KMS"))
}

/// Somebody changes it in the KMS, and asks for a look.
pub fn edit(world: &World, change: impl FnOnce(&mut Connection)) {
    world.kms.edit(&row(world, NAME).id, change);
    ask(world);
}
