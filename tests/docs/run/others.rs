//! Kinds of other projects, so that manifests for them are judged by the real schemas: their CRDs, as each project publishes
//! them in its Go module.

use std::{path::PathBuf, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

/// What is published where.
struct Published {
    group: &'static str,
    module: &'static str,
    file: &'static str,
}

/// helm-controller's module is not on every proxy: HelmRelease is not among them.
const PUBLISHED: [Published; 5] = [
    Published {
        group: "kustomize.toolkit.fluxcd.io",
        module: "github.com/fluxcd/kustomize-controller@v1.7.3",
        file: "config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",
    },
    Published {
        group: "source.toolkit.fluxcd.io",
        module: "github.com/fluxcd/source-controller@v1.8.5",
        file: "config/crd/bases/source.toolkit.fluxcd.io_ocirepositories.yaml",
    },
    Published {
        group: "argoproj.io",
        module: "github.com/argoproj/argo-cd/v3@v3.3.0",
        file: "manifests/crds/application-crd.yaml",
    },
    Published {
        group: "external-secrets.io",
        module: "github.com/external-secrets/external-secrets@v1.3.2",
        file: "config/crds/bases/external-secrets.io_externalsecrets.yaml",
    },
    Published {
        group: "bitnami.com",
        module: "github.com/bitnami-labs/sealed-secrets@v0.40.0",
        file: "helm/sealed-secrets/crds/bitnami.com_sealedsecrets.yaml",
    },
];

/// The groups of manifests that need somebody else's kinds.
pub fn groups(manifests: &str) -> Vec<&'static str> {
    let needs = |group: &str| manifests.lines().any(|line| line.starts_with(&format!("apiVersion: {group}/")));
    PUBLISHED.iter().map(|published| published.group).filter(|group| needs(group)).collect()
}

/// The CRDs of a group, or why they can't be had here: no Go, or no way to its proxy.
pub async fn crds(group: &str) -> Result<PathBuf, String> {
    let published = PUBLISHED.iter().find(|it| it.group == group).ok_or("nobody publishes it")?;
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", published.module]).current_dir(env!("CARGO_TARGET_TMPDIR"));
    go.env("GOTOOLCHAIN", "local").env("GOWORK", "off").stdin(Stdio::null()).kill_on_drop(true);
    let output = go.output().await.map_err(|error| format!("go: {error}"))?;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let dir = told["Dir"].as_str().ok_or_else(|| told["Error"].as_str().unwrap_or("go told nothing").to_owned())?;
    Ok(PathBuf::from(dir).join(published.file))
}
