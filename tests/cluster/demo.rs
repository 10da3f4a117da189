//! `make demo CONTEXT=name`, also with `KEEP=1`: the demo on a cluster that is there already. `make demo-test` runs these; they are no part of
//! `make test`, as the demo has to be built.

use std::{ffi::OsString, path::PathBuf, process::Stdio};

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::harness::{
    Plane,
    rights::{apply, make_namespace},
};

/// A PATH with the kubectl of this control plane.
fn path(plane: &Plane) -> OsString {
    let kubectl: PathBuf = plane.control_plane.kubectl().as_std().get_program().into();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let folder = kubectl.parent().expect("a folder").to_owned();
    std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&others))).expect("a PATH")
}

/// The demo on this control plane, as if it were somebody's cluster.
fn command(plane: &Plane) -> Command {
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        // What cargo tells a test about its package would make some libraries be built again.
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command.args(["run", "--quiet", "--example", "demo"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("PATH", path(plane)).env("KUBECONFIG", plane.control_plane.kubeconfig());
    // What the kubeconfig of a control plane calls its context.
    command
        .env("CONTEXT", "controlplane")
        .env_remove("KEEP")
        .env("NO_COLOR", "1")
        .env("COLUMNS", "160")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a program to its end; whether it went well, and what was said.
async fn ended(mut command: Command) -> (bool, String) {
    let output = command.output().await.expect("a program");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

/// All that a demo might leave on a cluster: its namespace, its kinds.
async fn left(plane: &Plane) -> Vec<String> {
    let client = plane.client().await;
    let namespaces = Api::<Namespace>::all(client.clone()).list(&ListParams::default()).await.expect("namespaces");
    let kinds = Api::<CustomResourceDefinition>::all(client).list(&ListParams::default()).await.expect("kinds");
    let namespaces = namespaces.iter().map(|it| it.name_any()).filter(|name| name.contains("demo"));
    namespaces.chain(kinds.iter().map(|it| it.name_any())).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds the demo: make demo-test"]
async fn it_plays_on_a_cluster_that_is_there_and_leaves_nothing() {
    let plane = Plane::bare().await;
    let (well, said) = ended(command(&plane)).await;
    assert!(well, "{said}");
    for words in
        ["of the context controlplane", "namespace bitbucket-connection-demo", "diagnosed, corrected, warned about"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(left(&plane).await, [""; 0], "the kinds came with the demo, and go with it");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds the demo: make demo-test"]
async fn whoever_interrupts_it_finds_nothing_of_it() {
    let plane = Plane::bare().await;
    // As soon as it has found the cluster, while it makes things there; in the midst of the story.
    for (moment, later) in
        [("   cluster  ", "8  The connection is deleted"), ("3  The token", "8  The connection is deleted")]
    {
        let mut demo = command(&plane);
        let mut demo = demo.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("cargo");
        let mut lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines();
        let mut said = String::new();
        while let Some(line) = lines.next_line().await.expect("a text") {
            if line.starts_with(moment) {
                // `cargo run` becomes the program that it runs.
                let pid = demo.id().expect("a process").to_string();
                let sent = Command::new("kill").args(["-s", "INT", &pid]).status().await.expect("kill");
                assert!(sent.success());
            }
            said += &format!("{line}\n");
        }
        let status = demo.wait().await.expect("an end");
        assert_eq!(status.code(), Some(130), "{said}");
        assert!(said.contains("Interrupted") && !said.contains(later), "{said}");
        assert_eq!(left(&plane).await, [""; 0], "{moment}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds the demo: make demo-test"]
async fn what_is_kept_goes_by_its_script_even_without_the_operator() {
    let plane = Plane::bare().await;
    let mut demo = command(&plane);
    demo.env("KEEP", "1");
    let (well, said) = ended(demo).await;
    assert!(well, "{said}");
    let script = said.lines().last().expect("the script").trim();
    let kept = std::fs::read_to_string(script).unwrap_or_else(|error| panic!("{script}: {error}\n{said}"));
    let (well, refused) = ended(command(&plane)).await;
    assert!(!well && refused.contains("another demo plays there"), "{refused}");
    assert!(
        refused.contains("kubectl --context controlplane --namespace bitbucket-connection-demo delete"),
        "{refused}"
    );

    // A connection that only the operator would let go, and no operator.
    let (_, rest) = said.split_once("Things to try:").expect("things to try");
    let apply: String = rest.lines().skip(2).take(2).map(|line| format!("{line}\n")).collect();
    let kubeconfig =
        said.lines().find_map(|line| line.trim().strip_prefix("export KUBECONFIG=")).expect("a kubeconfig");
    let shell = |text: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", text]).current_dir(env!("CARGO_MANIFEST_DIR")).env("KUBECONFIG", kubeconfig);
        shell.env("PATH", path(&plane));
        shell
    };
    let wait = "kubectl wait bbc/payments --for=condition=Ready --timeout=60s";
    let (well, said) = ended(shell(&format!("{apply}\n{wait}"))).await;
    assert!(well, "{said}");
    let operator = kept.lines().find(|line| line.starts_with("kill ")).expect("the operator");
    assert!(ended(shell(operator)).await.0, "{operator}");

    let (_, said) = ended(shell(script)).await;
    assert_eq!(left(&plane).await, [""; 0], "{said}");
    assert!(!PathBuf::from(script).exists(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds the demo: make demo-test"]
async fn a_cluster_with_connections_is_left_alone() {
    let plane = Plane::own().await;
    let client = plane.client().await;
    make_namespace(&client, "team-a").await;
    let connection = json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnection",
        "metadata": {"name": "payments", "namespace": "team-a"},
        "spec": {
            "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78", "secretRef": {"name": "bitbucket-token"},
            "scopes": {"useCases": ["SecretScanning"]},
        },
    });
    let made = apply(&client, connection.clone()).await;
    let (well, said) = ended(command(&plane)).await;
    assert!(!well, "{said}");
    assert!(said.contains("has bitbucketconnection.connections.kms.hanzo.ai/payments already"), "{said}");
    let after = apply(&client, connection).await;
    assert_eq!(after.metadata.uid, made.metadata.uid);
    assert_eq!(after.data.get("status"), made.data.get("status"), "nobody has looked at it");
}
