//! What the operator may do: the chart's roles, and nothing beyond. A missing right shows up as a failing test.

use std::path::Path;

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{PAUSE, chart, dynamic, in_time};

/// The name of the chart's objects, and of the namespace that `deploy/` is rendered for.
pub const NAME: &str = "bitbucket-connection-operator";
/// The namespace that `deploy/namespaced` serves.
const SERVED: &str = "team-a";
/// Tests don't take longer, and the API server gives no token for less than ten minutes.
const TOKEN_LIFE: i64 = 6 * 3600;

/// Lets a ServiceAccount be the operator of one namespace, or of all; returns the user that it is, and its token.
pub async fn grant(client: &Client, home: &str, namespace: Option<&str>) -> (String, String) {
    for object in of_chart(home, namespace) {
        apply(client, object).await;
    }
    let user = format!("system:serviceaccount:{home}:{NAME}");
    granted(client, &user, namespace).await;
    (user, token(client, home, NAME).await)
}

/// Another ServiceAccount with the same rights, as a second replica that can be told from the first.
pub async fn grant_another(client: &Client, home: &str, namespace: Option<&str>) -> (String, String) {
    let name = format!("{NAME}-second");
    for mut object in of_chart(home, namespace) {
        if object["kind"] == "ServiceAccount" {
            object["metadata"]["name"] = json!(name);
        } else if object["subjects"].is_array() {
            let binding = object["metadata"]["name"].as_str().unwrap_or_default();
            object["metadata"]["name"] = json!(format!("{binding}-second"));
            object["subjects"][0]["name"] = json!(name);
        } else {
            continue;
        }
        apply(client, object).await;
    }
    let user = format!("system:serviceaccount:{home}:{name}");
    granted(client, &user, namespace).await;
    (user, token(client, home, &name).await)
}

/// The ServiceAccount and the roles of the operator, as the chart renders them.
pub fn of_chart(home: &str, namespace: Option<&str>) -> Vec<Value> {
    let mode = if namespace.is_some() { "namespaced" } else { "cluster-wide" };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(mode).join("operator.yaml");
    let rendered = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    moved(serde_saphyr::from_multiple(&rendered).expect("YAML of the chart"), home, namespace)
}

/// One right: a verb on a resource, and the role that gives it.
pub struct Right {
    /// The verb.
    pub verb: String,
    /// The resource, its subresource after a slash.
    pub resource: String,
    /// The role.
    pub role: Value,
    /// The role without it.
    pub without: Value,
}

/// Every right that the operator has in this mode.
pub fn each(home: &str, namespace: Option<&str>) -> Vec<Right> {
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().into_iter().flatten().map(|it| it.as_str().unwrap_or_default().to_owned()).collect()
    };
    let mut rights = Vec::new();
    for role in of_chart(home, namespace) {
        for (index, rule) in role["rules"].as_array().into_iter().flatten().enumerate() {
            for resource in texts(rule, "resources") {
                for verb in texts(rule, "verbs") {
                    let (mut others, mut rest) = (rule.clone(), rule.clone());
                    others["resources"] =
                        json!(texts(rule, "resources").into_iter().filter(|it| *it != resource).collect::<Vec<_>>());
                    rest["resources"] = json!([resource]);
                    rest["verbs"] =
                        json!(texts(rule, "verbs").into_iter().filter(|it| *it != verb).collect::<Vec<_>>());
                    let mut without = role.clone();
                    let rules = without["rules"].as_array_mut().expect("rules");
                    rules.splice(index..=index, [others, rest]);
                    let some = |rule: &Value, field: &str| rule[field].as_array().is_some_and(|all| !all.is_empty());
                    rules.retain(|rule| some(rule, "resources") && some(rule, "verbs"));
                    rights.push(Right { verb: verb.clone(), resource: resource.clone(), role: role.clone(), without });
                }
            }
        }
    }
    rights
}

/// Of rendered objects the ServiceAccount and the roles of the operator, for other namespaces than those that they were
/// rendered for.
pub fn moved(mut objects: Vec<Value>, home: &str, namespace: Option<&str>) -> Vec<Value> {
    let kinds = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
    objects.retain(|object| kinds.iter().any(|kind| object["kind"] == *kind) && !is_for_people(object));
    for object in &mut objects {
        if let Some(place) = object["metadata"].get_mut("namespace") {
            move_to(place, home, namespace);
        }
        for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
            move_to(&mut subject["namespace"], home, namespace);
        }
    }
    objects
}

/// Roles that people get by those of the cluster.
fn is_for_people(object: &Value) -> bool {
    let labels = object["metadata"]["labels"].as_object();
    labels.is_some_and(|labels| labels.keys().any(|label| label.contains("/aggregate-to-")))
}

fn move_to(namespace: &mut Value, home: &str, served: Option<&str>) {
    if *namespace == NAME {
        *namespace = json!(home);
    } else if *namespace == SERVED {
        *namespace = json!(served);
    }
}

/// Applies an object that says its namespace, if it has one.
pub async fn apply(client: &Client, object: Value) -> DynamicObject {
    let (api, object) = dynamic(client, None, object);
    let name = object.metadata.name.clone().unwrap_or_default();
    let applied = api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&object)).await;
    applied.unwrap_or_else(|error| panic!("cannot apply {name}: {error}"))
}

/// A token such as the operator's pod gets.
pub async fn token(client: &Client, home: &str, account: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), home);
    let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_LIFE), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let minted = accounts.create_token_request(account, &PostParams::default(), &request).await.expect("a token");
    minted.status.and_then(|status| status.token).expect("a token")
}

/// Asks until the API server has taken note of the grant.
async fn granted(client: &Client, user: &str, namespace: Option<&str>) {
    in_force(client, user, namespace, ("list", "secrets"), true).await;
}

/// Asks until the API server lets a user do this (a verb and a resource), or no longer: a moment after a role or a binding was
/// changed. Nothing else tells when.
pub async fn in_force(client: &Client, user: &str, namespace: Option<&str>, right: (&str, &str), allowed: bool) {
    let (resource, subresource) = right.1.split_once('/').unwrap_or((right.1, ""));
    let group = match resource {
        "secrets" | "configmaps" => "",
        "events" => "events.k8s.io",
        "leases" => "coordination.k8s.io",
        _ => "connections.kms.hanzo.ai",
    };
    let attributes = ResourceAttributes {
        namespace: namespace.map(str::to_owned),
        verb: Some(right.0.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(user.to_owned()),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let noted = async {
        loop {
            let answer = reviews.create(&PostParams::default(), &review).await.expect("a review of access");
            if answer.status.is_some_and(|status| status.allowed == allowed) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    in_time("the API server has taken note of who may do what", noted).await;
}

/// Makes a namespace. A generated name never meets a namespace that is still going away.
pub async fn make_namespace(client: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": name, "labels": {"tests": "cluster"}}}));
    let made = namespaces.create(&PostParams::default(), &namespace.expect("a namespace")).await;
    made.unwrap_or_else(|error| panic!("cannot make the namespace {name}: {error}"));
}

/// Lets the operator mint tokens for one ServiceAccount, and for no other, as the chart does.
pub async fn let_mint(client: &Client, home: &str, namespace: &str, service_account: &str) {
    let item = "serviceAccountTokens[0]";
    let values = format!("{item}.namespace={namespace},{item}.names[0]={service_account}");
    let mut rendered = chart::objects(&["--set", &values]).await;
    rendered.retain(|object| object["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-tokens")));
    assert_eq!(rendered.len(), 2, "a role and its binding");
    for object in moved(rendered, home, Some(namespace)) {
        apply(client, object).await;
    }
}
