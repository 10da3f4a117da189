//! A real API server takes what the chart renders, under the strictest Pod Security, and so it does without Helm.

use std::{io::Write, process::Stdio};

use serde_json::{Value, json};

use crate::harness::{
    Plane,
    chart::{VALUES, objects, said, values},
    rights::{NAME, apply, make_namespace},
};

/// What `kubectl apply --server-side --dry-run=server` says of these objects.
async fn dry_run(plane: &Plane, objects: &[Value]) -> Result<String, String> {
    let mut file = tempfile(plane);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    file.1.write_all(list.to_string().as_bytes()).expect("a file");
    let mut kubectl = plane.control_plane.kubectl();
    kubectl.args(["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename"]).arg(&file.0);
    said(kubectl.stdout(Stdio::piped()).stderr(Stdio::piped())).await
}

fn tempfile(plane: &Plane) -> (std::path::PathBuf, std::fs::File) {
    let path = plane.control_plane.dir().join(format!("{}.json", uuid::Uuid::new_v4()));
    let file = std::fs::File::create(&path).expect("a file");
    (path, file)
}

/// Kinds that belong to the Prometheus Operator, which isn't here.
fn is_known(object: &Value) -> bool {
    object["apiVersion"] != "monitoring.coreos.com/v1"
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_every_manifest() {
    let plane = Plane::own().await;
    let client = plane.client().await;
    for namespace in [NAME, "team-a", "team-b"] {
        make_namespace(&client, namespace).await;
    }
    for name in VALUES {
        let mut rendered = objects(&["--values", &values(name)]).await;
        rendered.retain(is_known);
        let taken = dry_run(&plane, &rendered).await.unwrap_or_else(|complaint| panic!("{name}: {complaint}"));
        assert_eq!(taken.lines().count(), rendered.len(), "{name}: {taken}");
    }
    // It does look: a field that doesn't exist is refused.
    let mut wrong = objects(&["--values", &values("all-off")]).await;
    wrong[0]["spec"]["replica"] = json!(1);
    assert!(dry_run(&plane, &wrong).await.expect_err("a refusal").contains("replica"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_are_fit_for_the_strictest_namespace() {
    let plane = Plane::shared().await;
    let client = plane.client().await;
    let namespace = format!("t-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"});
    apply(&client, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}))
        .await;
    for name in VALUES {
        let rendered = objects(&["--values", &values(name)]).await;
        let template =
            rendered.iter().find(|object| object["kind"] == "Deployment").expect("one")["spec"]["template"].clone();
        // Nothing that must be there before: Pod Security is all that is asked.
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator", "namespace": namespace}, "spec": template["spec"]});
        pod["spec"]["serviceAccountName"] = json!("default");
        dry_run(&plane, &[pod.clone()]).await.unwrap_or_else(|complaint| panic!("{name}: {complaint}"));
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let complaint = dry_run(&plane, &[pod]).await.expect_err("a refusal");
        assert!(complaint.contains("violates PodSecurity"), "{complaint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kustomize_brings_the_same() {
    let plane = Plane::own().await;
    let client = plane.client().await;
    for namespace in [NAME, "team-a"] {
        make_namespace(&client, namespace).await;
    }
    for (mode, values) in [
        ("cluster-wide", vec![]),
        ("namespaced", vec!["--set", "watchNamespaces={team-a},ownerId=my-cluster,rbac.aggregate=false"]),
    ] {
        let folder = format!("{}/deploy/{mode}", env!("CARGO_MANIFEST_DIR"));
        let mut kubectl = plane.control_plane.kubectl();
        let built = said(kubectl.args(["kustomize", &folder]).stdout(Stdio::piped()).stderr(Stdio::piped())).await;
        let built: Vec<Value> = serde_saphyr::from_multiple(&built.expect("manifests")).expect("YAML");
        let what = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
        let mut of_kustomize: Vec<String> =
            built.iter().filter(|object| object["kind"] != "Namespace").map(what).collect();
        let mut of_helm: Vec<String> = objects(&values).await.iter().map(what).collect();
        of_kustomize.sort();
        of_helm.sort();
        assert_eq!(of_kustomize, of_helm, "{mode}");
        dry_run(&plane, &built).await.unwrap_or_else(|complaint| panic!("{mode}: {complaint}"));
    }
}
