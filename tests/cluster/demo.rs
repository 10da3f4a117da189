//! `make demo CONTEXT=name`: the demo on a cluster that is there already. `make demo-test` runs these; they are no part of
//! `make test`, as the demo has to be built.

use std::path::PathBuf;

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;
use tokio::process::Command;

use crate::harness::{
    Plane,
    rights::{apply, make_namespace},
};

/// Plays the demo on this control plane, as if it were somebody's cluster; whether it went well, and what was said.
async fn demo(plane: &Plane) -> (bool, String) {
    let kubectl: PathBuf = plane.control_plane.kubectl().as_std().get_program().into();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let folder = kubectl.parent().expect("a folder").to_owned();
    let path = std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&others))).expect("a PATH");
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        // What cargo tells a test about its package would make some libraries be built again.
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command.args(["run", "--quiet", "--example", "demo"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("PATH", path).env("KUBECONFIG", plane.control_plane.kubeconfig());
    // What the kubeconfig of a control plane calls its context.
    command
        .env("CONTEXT", "controlplane")
        .env_remove("KEEP")
        .env("NO_COLOR", "1")
        .env("COLUMNS", "160")
        .kill_on_drop(true);
    let output = command.output().await.expect("cargo");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds the demo: make demo-test"]
async fn it_plays_on_a_cluster_that_is_there_and_leaves_nothing() {
    let plane = Plane::bare().await;
    let (client, before) = (plane.client().await, std::time::Instant::now());
    let namespaces = async || {
        let all = Api::<Namespace>::all(client.clone()).list(&ListParams::default()).await.expect("namespaces");
        all.iter().map(|namespace| namespace.name_any()).collect::<Vec<_>>()
    };
    let there = namespaces().await;
    let (well, said) = demo(&plane).await;
    assert!(well, "{said}");
    for words in
        ["of the context controlplane", "namespace bitbucket-connection-demo", "diagnosed, corrected, warned about"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(namespaces().await, there, "after {:?}", before.elapsed());
    let kinds = Api::<CustomResourceDefinition>::all(client.clone()).list(&ListParams::default()).await.expect("kinds");
    assert!(kinds.items.is_empty(), "the kinds came with the demo, and go with it");
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
    let (well, said) = demo(&plane).await;
    assert!(!well, "{said}");
    assert!(said.contains("has bitbucketconnection.connections.kms.hanzo.ai/payments already"), "{said}");
    let after = apply(&client, connection).await;
    assert_eq!(after.metadata.uid, made.metadata.uid);
    assert_eq!(after.data.get("status"), made.data.get("status"), "nobody has looked at it");
}
