//! What kubectl makes of the kinds: names, columns, explanations.

use std::{path::Path, process::Output};

use crate::harness::{PAUSE, World, in_time};

async fn kubectl(world: &World, arguments: &[&str]) -> Output {
    let mut kubectl = world.plane().control_plane.kubectl();
    kubectl.args(["--namespace", world.namespace()]).args(arguments);
    kubectl.output().await.expect("kubectl")
}

async fn said(world: &World, arguments: &[&str]) -> String {
    let output = kubectl(world, arguments).await;
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "kubectl {arguments:?}: {error}");
    out.into_owned()
}

fn headers(table: &str) -> Vec<&str> {
    table.lines().next().unwrap_or_default().split_whitespace().collect()
}

/// As the documentation shows it.
const SMALLEST: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: bitbucket-token, namespace: team-a}
stringData: {email: bot@example.com, token: "<API token>", expiresAt: "2027-03-01"}
---
apiVersion: connections.kms.hanzo.ai/v1alpha1
kind: BitbucketConnection
metadata: {name: payments, namespace: team-a}
spec:
  projectId: 7ffbb072-2575-495a-b5b0-127f88caef78
  secretRef: {name: bitbucket-token}
  scopes: {useCases: [SecretScanning]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_manifest_is_taken_as_it_stands() {
    let world = World::builder().without_operator().start().await;
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.yaml", world.namespace()));
    std::fs::write(&file, SMALLEST.replace("team-a", world.namespace())).expect("a file");
    let path = file.to_str().expect("a plain path");
    let applied = said(&world, &["apply", "--filename", path]).await;
    assert_eq!(
        applied,
        "secret/bitbucket-token created\nbitbucketconnection.connections.kms.hanzo.ai/payments created\n"
    );
    // Again, it is no change. Of a Secret kubectl never knows, because of its stringData.
    let again = said(&world, &["apply", "--filename", path]).await;
    assert!(again.contains("/payments unchanged\n"), "{again}");
    std::fs::remove_file(file).expect("the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_columns() {
    let world = World::builder().without_operator().start().await;
    world.instance().await;
    world.connection("payments").apply().await;
    let columns = ["NAME", "READY", "REASON", "EXPIRES", "ACCOUNT", "AGE"];
    for name in ["bbc", "bitbucketconnection", "bitbucketconnections"] {
        assert_eq!(headers(&said(&world, &["get", name]).await), columns);
    }
    let wide = said(&world, &["get", "bbc", "--output=wide"]).await;
    let columns = ["NAME", "READY", "REASON", "EXPIRES", "ACCOUNT", "CONNECTION", "KMS", "MISSING", "AGE"];
    assert_eq!(headers(&wide), columns);
    let instances = said(&world, &["get", "kmsinstances"]).await;
    assert_eq!(headers(&instances), ["NAME", "READY", "REASON", "HOST", "CONNECTIONS", "AGE"]);
    // The category stands for all three kinds.
    let category = said(&world, &["get", "kms", "--output=name"]).await;
    let mut listed: Vec<&str> = category.lines().filter(|line| !line.starts_with("clusterkmsinstance")).collect();
    listed.sort_unstable();
    let expected =
        ["bitbucketconnection.connections.kms.hanzo.ai/payments", "kmsinstance.connections.kms.hanzo.ai/kms"];
    assert_eq!(listed, expected);
    let kinds = said(&world, &["api-resources", "--categories=kms", "--no-headers", "--output=name"]).await;
    let mut kinds: Vec<&str> = kinds.lines().collect();
    kinds.sort_unstable();
    let expected = ["bitbucketconnections", "clusterkmsinstances", "kmsinstances"];
    assert_eq!(kinds, expected.map(|kind| format!("{kind}.connections.kms.hanzo.ai")));
}

#[tokio::test(flavor = "multi_thread")]
async fn explanations_read_as_a_manual() {
    let world = World::builder().without_operator().start().await;
    // The API server explains kinds a moment after it serves them.
    let explained = async {
        while !kubectl(&world, &["explain", "clusterkmsinstance"]).await.status.success() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    in_time("the kinds are explained", explained).await;
    for kind in ["bitbucketconnection", "kmsinstance", "clusterkmsinstance"] {
        let tree = said(&world, &["explain", kind, "--recursive"]).await;
        assert!(tree.contains("spec\t") && !tree.contains("<no description>"), "{tree}");
    }
    for (field, words) in [
        ("bbc.spec.projectId", "Copy project ID"),
        ("bbc.spec.interval", "Defaults to 1h."),
        ("bbc.spec.scopes.onMissing", "Block (the default"),
        ("bbc.spec.expiry.warnBefore", "Defaults to 30d, 14d, 7d, 3d, 1d."),
        ("bbc.status.conditions", "Reconciling or Stalled"),
        ("kmsinstance.spec.host", "Defaults to https://app.kms.hanzo.ai."),
        ("clusterkmsinstance.spec.grants.namespaceSelector", "{} selects every namespace"),
    ] {
        // Lines are folded.
        let explained = said(&world, &["explain", field]).await.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(explained.contains(words), "{field}: {explained}");
    }
}
