//! What people may do by the cluster's own roles, once the chart is there.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use crate::harness::{
    PAUSE, Plane,
    chart::objects,
    in_time,
    rights::{apply, make_namespace},
};

const NAMESPACE: &str = "team-a";

/// May the user with this role of the cluster, bound in the namespace, do this there?
async fn may(client: &Client, role: &str, verb: &str, resource: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = ResourceAttributes {
        group: Some("connections.kms.hanzo.ai".to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        verb: Some(verb.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()).filter(|it| !it.is_empty()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(format!("one-with-{role}")),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await.expect("a review of access");
    answer.status.is_some_and(|status| status.allowed)
}

#[tokio::test(flavor = "multi_thread")]
async fn view_sees_edit_writes_and_admin_says_where_secrets_go() {
    let plane = Plane::own().await;
    let client = plane.client().await;
    make_namespace(&client, NAMESPACE).await;
    let group = "rbac.authorization.k8s.io";
    for role in ["view", "edit", "admin"] {
        apply(&client, json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": role, "namespace": NAMESPACE},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, "kind": "User", "name": format!("one-with-{role}")}],
        }))
        .await;
    }
    let rendered = objects(&["--show-only", "templates/people.yaml"]).await;
    assert_eq!(rendered.len(), 3);
    for role in rendered {
        apply(&client, role).await;
    }
    // The controller adds them to the cluster's roles a moment later, one role after the other: admin has what edit has, and
    // that what view has. Nothing else tells when.
    in_time("everybody got the rights", async {
        for (role, verb, resource) in [
            ("view", "list", "bitbucketconnections"),
            ("edit", "list", "bitbucketconnections"),
            ("edit", "create", "bitbucketconnections"),
            ("admin", "list", "bitbucketconnections"),
            ("admin", "create", "bitbucketconnections"),
            ("admin", "create", "kmsinstances"),
        ] {
            while !may(&client, role, verb, resource).await {
                tokio::time::sleep(PAUSE).await;
            }
        }
    })
    .await;
    let reads = ["get", "list", "watch"];
    let writes = ["create", "update", "patch", "delete", "deletecollection"];
    let table = [
        ("bitbucketconnections", &reads[..], [true, true, true]),
        ("bitbucketconnections", &writes[..], [false, true, true]),
        ("kmsinstances", &reads[..], [false, false, true]),
        ("kmsinstances", &writes[..], [false, false, true]),
        ("clusterkmsinstances", &[&reads[..], &writes[..]].concat()[..], [false, false, false]),
        ("bitbucketconnections/status", &["update", "patch"][..], [false, false, false]),
        ("kmsinstances/status", &["update", "patch"][..], [false, false, false]),
    ];
    for (resource, verbs, expected) in table {
        for verb in verbs {
            let mut allowed = Vec::new();
            for role in ["view", "edit", "admin"] {
                allowed.push(may(&client, role, verb, resource).await);
            }
            assert_eq!(allowed, expected, "{verb} {resource} by view, edit, admin");
        }
    }
}
