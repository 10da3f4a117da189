//! What the operator may do, and nothing beyond: a missing right shows up as a failing test.

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    core::v1::Namespace,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{PATIENCE, PAUSE, dynamic};

const ROLE: &str = "bitbucket-connection-operator";
const LEASES: &str = "bitbucket-connection-operator-leases";

/// Lets a user be the operator of one namespace, or of all.
pub async fn grant(client: &Client, user: &str, namespace: Option<&str>) {
    let kinds = ["bitbucketconnections", "kmsinstances", "clusterkmsinstances"];
    let of_kinds = |part: &str| kinds.map(|kind| format!("{kind}/{part}"));
    let role = |name: &str, rules: Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
        })
    };
    let group = bitbucket_connection_operator::api::GROUP;
    let rules = json!([
        {"apiGroups": [""], "resources": ["secrets", "configmaps", "namespaces"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [group], "resources": kinds, "verbs": ["get", "list", "watch", "patch", "update"]},
        {"apiGroups": [group], "resources": of_kinds("status"), "verbs": ["get", "patch", "update"]},
        {"apiGroups": [group], "resources": of_kinds("finalizers"), "verbs": ["update"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    ]);
    let leases = json!([
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    ]);
    let bind = |role: &str, namespace: Option<&str>| {
        let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": format!("{user}-{role}"), "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        })
    };
    for object in [role(ROLE, rules), role(LEASES, leases), bind(ROLE, namespace), bind(LEASES, Some("default"))] {
        let (api, object) = dynamic(client, None, object);
        let name = object.metadata.name.clone().unwrap_or_default();
        let applied = api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&object)).await;
        applied.unwrap_or_else(|error| panic!("cannot apply {name}: {error}"));
    }
    granted(client, user, namespace).await;
}

/// Asks until the API server has taken note of the grant, a moment after it was made; nothing else tells when.
async fn granted(client: &Client, user: &str, namespace: Option<&str>) {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let attributes = ResourceAttributes {
        namespace: namespace.map(str::to_owned),
        verb: Some("list".to_owned()),
        resource: Some("secrets".to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let allowed = async || {
        let answer = reviews.create(&PostParams::default(), &review).await.expect("a review of access");
        answer.status.is_some_and(|status| status.allowed)
    };
    let granted = async {
        while !allowed().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, granted).await.expect("the rights of the operator in force");
}

/// Makes a namespace. A generated name never meets a namespace that is still going away.
pub async fn make_namespace(client: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": name, "labels": {"tests": "cluster"}}}));
    let made = namespaces.create(&PostParams::default(), &namespace.expect("a namespace")).await;
    made.unwrap_or_else(|error| panic!("cannot make the namespace {name}: {error}"));
}

/// Lets a user mint tokens for one ServiceAccount, and for no other.
pub async fn let_mint(client: &Client, user: &str, namespace: &str, service_account: &str) {
    let group = "rbac.authorization.k8s.io";
    let rules = json!([{
        "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [service_account], "verbs": ["create"],
    }]);
    let metadata = json!({"name": format!("mint-{service_account}"), "namespace": namespace});
    let api_version = format!("{group}/v1");
    let role = json!({"apiVersion": api_version, "kind": "Role", "metadata": metadata, "rules": rules});
    let binding = json!({
        "apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": format!("mint-{service_account}")},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    });
    for object in [role, binding] {
        let (api, object) = dynamic(client, Some(namespace), object);
        let name = object.metadata.name.clone().unwrap_or_default();
        let applied = api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&object)).await;
        applied.unwrap_or_else(|error| panic!("cannot apply {name}: {error}"));
    }
}
