//! What is made from the chart: its README, `deploy/` for those who don't use Helm, and what it renders where more is set
//! than there, so that a change of any line is seen by who looks at the difference. `make chart` writes them anew.

use std::path::Path;

use crate::harness::chart::{CHART, VALUES, helm, render, said, values};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Compares a file with what it should hold, or writes it.
fn keep(path: &str, wanted: &str) {
    let file = Path::new(ROOT).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, wanted).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == wanted, "{path} is stale; run `make chart`");
}

#[tokio::test]
async fn the_readme_is_what_helm_docs_makes_of_the_values() {
    let mut docs = helm().await.docs();
    docs.args(["--dry-run", "--sort-values-order", "file", "--log-level", "error"]);
    docs.args(["--chart-search-root", CHART]);
    let readme = said(docs.current_dir(CHART)).await.expect("helm-docs");
    let undescribed: Vec<&str> =
        readme.lines().filter(|line| line.starts_with("| ") && line.ends_with("|  |")).collect();
    assert!(undescribed.is_empty(), "values without a comment that begins with \"# --\": {undescribed:#?}");
    keep("charts/bitbucket-connection-operator/README.md", &format!("{}\n", readme.trim_end()));
}

#[tokio::test]
async fn the_plain_manifests_are_what_the_chart_renders() {
    let namespaced = ["watchNamespaces={team-a}", "ownerId=my-cluster", "rbac.aggregate=false"];
    for (mode, values) in [("cluster-wide", &[][..]), ("namespaced", &namespaced)] {
        let mut more = vec!["--set", "crds.install=false"];
        more.extend(values.iter().flat_map(|value| ["--set", value]));
        let rendered = render(&more).await.expect("manifests");
        // Labels by which Helm knows what is its own.
        let is_of_helm = |line: &&str| line.contains("managed-by: Helm") || line.contains("helm.sh/chart:");
        let lines: Vec<&str> = rendered.lines().filter(|line| !is_of_helm(line)).collect();
        let header = "# Rendered from charts/bitbucket-connection-operator by `make chart`; do not edit.";
        keep(&format!("deploy/{mode}/operator.yaml"), &format!("{header}\n{}\n", lines.join("\n").trim_end()));
    }
}

#[tokio::test]
async fn what_each_value_file_renders_was_looked_at() {
    // Kinds, alerts and dashboard are files of their own, with tests of their own.
    let elsewhere = ["crds.install=false", "prometheusRule.create=false", "dashboard.create=false"];
    for name in VALUES {
        let values = values(name);
        let mut more = vec!["--values", &values];
        more.extend(elsewhere.iter().flat_map(|value| ["--set", value]));
        let rendered = render(&more).await.expect("manifests");
        let header = format!("# Rendered with {name}-values.yaml by `make chart`; do not edit.");
        keep(&format!("tests/cluster/chart/rendered/{name}.yaml"), &format!("{header}\n{}\n", rendered.trim_end()));
    }
}
