//! Where `list` finds its cluster, as who it asks there, and what it says where that doesn't work.

use std::{fs, path::Path, process::Stdio};

use serde_json::{Value, json};

use super::{Said, clean, connections, list, program, shared, three};
use crate::harness::{
    Plane, in_time,
    rights::{apply, token},
};

/// A copy of the kubeconfig in which something else holds, in the folder that ends with the control plane.
fn changed(plane: &Plane, change: impl FnOnce(&mut Value)) -> std::path::PathBuf {
    let text = fs::read_to_string(plane.control_plane.kubeconfig()).expect("a kubeconfig");
    let mut kubeconfig: Value = serde_json::from_str(&text).expect("JSON");
    change(&mut kubeconfig);
    let file = plane.control_plane.dir().join(format!("list-{}.json", uuid::Uuid::new_v4()));
    fs::write(&file, kubeconfig.to_string()).expect("a file");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_says_which_cluster_and_which_namespace() {
    let (plane, namespace) = shared().await;
    let here = changed(&plane, |config| {
        config["contexts"][0]["context"]["namespace"] = json!(namespace);
        let mut elsewhere = config["contexts"][0].clone();
        elsewhere["name"] = json!("elsewhere");
        elsewhere["context"]["namespace"] = json!("kube-public");
        config["contexts"].as_array_mut().expect("contexts").push(elsewhere);
    });
    assert!(list(&here, &[]).await.done().contains("3 connections: "));
    let said = list(&here, &["--context", "elsewhere"]).await.done();
    assert_eq!(said, "There are no connections in the namespace kube-public. -A looks into all namespaces.\n");
    let said = list(&here, &["--context", "nowhere"]).await;
    said.refused(&["error: no Kubernetes cluster to ask: ", "nowhere", "--context"]);
    // A flag wins over the variable.
    let file = here.to_str().expect("UTF-8");
    let said = list(Path::new("/nonexistent"), &["--kubeconfig", file]).await.done();
    assert!(said.contains("3 connections: "), "{said}");
    let said = Said::by(program().args(["list", "--kubeconfig", "/nonexistent"])).await;
    said.refused(&["/nonexistent", "No such file", "--kubeconfig"]);
    let said = Said::by(program().arg("list").env("HOME", "/nonexistent")).await;
    said.refused(&["no Kubernetes cluster to ask: ", "/nonexistent/.kube/config", "ServiceAccount"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_found_it_says_where_it_looked() {
    let plane = Plane::shared().await;
    let namespace = connections(&plane, &[]).await;
    let kubeconfig = plane.control_plane.kubeconfig();
    let of = ["-n", namespace.as_str()];
    let said = list(kubeconfig, &of).await.done();
    assert_eq!(said, format!("There are no connections in the namespace {namespace}. -A looks into all namespaces.\n"));
    let said = list(kubeconfig, &[&of[..], &["--ends-within", "14d"]].concat()).await.done();
    assert!(said.starts_with("No token of a connection in the namespace "), "{said}");
    let json = list(kubeconfig, &[&of[..], &["-o", "json"]].concat()).await.done();
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), json!({"items": []}));
    let ics = list(kubeconfig, &[&of[..], &["-o", "ics"]].concat()).await.done();
    assert!(ics.starts_with("BEGIN:VCALENDAR\r\n") && ics.ends_with("END:VCALENDAR\r\n"), "{ics}");
    let html = list(kubeconfig, &[&of[..], &["-o", "html"]].concat()).await.done();
    assert!(html.contains("There are no connections."), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_what_would_help() {
    let (plane, namespace) = shared().await;
    let ada = plane.control_plane.kubeconfig_for("ada@example.com").expect("a kubeconfig");
    let said = list(&ada, &["-n", &namespace]).await;
    let words = ["forbidden: User \"ada@example.com\" cannot list", "the role view"];
    let said = said.refused(&words);
    let command = format!(
        "kubectl create rolebinding view-bitbucketconnections --clusterrole=view --user=ada@example.com --namespace={namespace}\n"
    );
    assert!(said.ends_with(&command), "{said}");
    let said = list(&ada, &["-A"]).await;
    said.refused(&["kubectl create clusterrolebinding ", "--user=ada@example.com\n"]);

    // The command is true: with what it binds, the list is there.
    let client = plane.client().await;
    let group = "rbac.authorization.k8s.io";
    apply(&client, json!({
        "apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": {"name": format!("view-{namespace}")},
        "rules": [{"apiGroups": ["connections.kms.hanzo.ai"], "resources": ["bitbucketconnections"], "verbs": ["list"]}],
    }))
    .await;
    apply(&client, json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": "ada", "namespace": namespace},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": format!("view-{namespace}")},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "ada@example.com"}],
    }))
    .await;
    in_time("the right is in force", async {
        while list(&ada, &["-n", &namespace]).await.code != Some(0) {
            tokio::time::sleep(crate::harness::PAUSE).await;
        }
    })
    .await;

    let stranger = changed(&plane, |config| config["users"][0]["user"] = json!({"token": "ended"}));
    list(&stranger, &["-A"]).await.refused(&["doesn't accept these credentials", "log in", "kubectl auth whoami"]);
    let nowhere = changed(&plane, |config| config["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1"));
    list(&nowhere, &["-A"]).await.refused(&["https://127.0.0.1:1/ can't be reached", "kubectl get --raw /version"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_the_kinds_says_how_to_install_them() {
    let plane = Plane::bare().await;
    let said = list(plane.control_plane.kubeconfig(), &["-A"]).await;
    said.refused(&[
        "the operator isn't installed",
        "bitbucket-connection-operator crds | kubectl apply --server-side -f -",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_pod_it_asks_as_the_pods_service_account() {
    let plane = Plane::shared().await;
    let client = plane.client().await;
    let namespace = three(&plane).await;
    let group = "rbac.authorization.k8s.io";
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "calendar", "namespace": namespace}});
    apply(&client, account).await;
    let token = token(&client, &namespace, "calendar").await;

    // What a kubelet gives to a container, where it gives it: seen by this one process, in a mount namespace of its own.
    let folder = plane.control_plane.dir().join(format!("pod-of-{namespace}"));
    fs::create_dir_all(&folder).expect("a folder");
    let certificate = plane.control_plane.dir().join("certificates/apiserver.crt");
    fs::copy(certificate, folder.join("ca.crt")).expect("the API server's certificate");
    fs::write(folder.join("token"), &token).expect("a token");
    fs::write(folder.join("namespace"), &namespace).expect("a namespace");
    let script = "mount -t tmpfs pod /var/run && mkdir -p /var/run/secrets/kubernetes.io && \
        cp -r \"$0\" /var/run/secrets/kubernetes.io/serviceaccount && exec \"$@\"";
    let server = plane.control_plane.server();
    let (host, port) = server.trim_start_matches("https://").rsplit_once(':').expect("host and port");
    let in_pod = |what: &[&str]| {
        let mut command = clean("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(&folder).args(what);
        command.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port).env("HOME", "/nonexistent");
        command.stdin(Stdio::null());
        command
    };
    let possible = in_pod(&["true"]).output().await;
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: this machine gives nobody a mount namespace of its own, so there is no pod to be in");
        return;
    }
    let binary = env!("CARGO_BIN_EXE_bitbucket-connection-operator");
    let said = Said::by(&mut in_pod(&[binary, "list"])).await;
    let who = format!("--serviceaccount={namespace}:calendar --namespace={namespace}\n");
    let said = said.refused(&["forbidden", &who]);
    assert!(!said.contains(&token), "a token in an error");
    apply(&client, json!({
        "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": "calendar", "namespace": namespace},
        "rules": [{"apiGroups": ["connections.kms.hanzo.ai"], "resources": ["bitbucketconnections"], "verbs": ["list"]}],
    }))
    .await;
    apply(&client, json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": "calendar", "namespace": namespace},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "calendar"},
        "subjects": [{"kind": "ServiceAccount", "name": "calendar", "namespace": namespace}],
    }))
    .await;
    in_time("the right is in force", async {
        loop {
            let said = Said::by(&mut in_pod(&[binary, "list"])).await;
            if said.code == Some(0) {
                // The pod's own namespace, without being told.
                return assert!(said.stdout.contains("3 connections: "), "{}", said.stdout);
            }
            tokio::time::sleep(crate::harness::PAUSE).await;
        }
    })
    .await;
}
