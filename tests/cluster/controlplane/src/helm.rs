//! Helm, for what is tested with the chart, and helm-docs, which writes the chart's README.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::building::{self, Module, Tool};
use crate::error::Error;
use crate::programs::{Cache, find_outside, required};
use crate::progress::Progress;
use crate::start::ControlPlane;

/// The module file says what is built; the version of Helm is the key of the cache.
const GO_MOD: &str = include_str!("../../helm/go.mod");

const HELM: Tool = Tool { name: "helm", package: "helm.sh/helm/v4/cmd/helm", built_as: "helm" };
const DOCS: Tool =
    Tool { name: "helm-docs", package: "github.com/norwoodj/helm-docs/cmd/helm-docs", built_as: "helm-docs" };

/// Helm and helm-docs, each at a place where it can be run.
#[derive(Clone, Debug)]
pub struct Helm {
    helm: PathBuf,
    docs: PathBuf,
}

impl Helm {
    /// Looks for Helm 4 in `PATH` and in the cache of this user, and builds what is missing into that cache; the first
    /// time this takes minutes. helm-docs is always the one of the module, whose version decides what it writes.
    pub async fn find_or_build(mut progress: impl FnMut(Progress) + Send) -> Result<Self, Error> {
        let outside = find_outside(HELM.name, (4, 0), &["version", "--short"], &mut progress).await;
        let cache = Cache::of_user("helm", required(GO_MOD, "helm.sh/helm/v4").unwrap_or("unknown"))?;
        let wanted = if outside.is_some() { &[DOCS][..] } else { &[HELM, DOCS] };
        building::build_missing(&module(cache.version()), &cache, wanted, &mut progress).await?;
        Ok(Self { helm: outside.unwrap_or_else(|| cache.path(HELM.name)), docs: cache.path(DOCS.name) })
    }

    /// Where Helm is.
    pub fn path(&self) -> &Path {
        &self.helm
    }

    /// Helm without a cluster. Nothing of the developer's own settings counts. It is killed if its future is dropped.
    pub fn command(&self) -> Command {
        quiet(&self.helm)
    }

    /// Helm as admin of a control plane, with a home of its own.
    pub fn command_at(&self, control_plane: &ControlPlane) -> Command {
        let home = control_plane.dir().join("home");
        let mut command = quiet(&self.helm);
        command.env("HELM_CACHE_HOME", home.join("helm")).env("HELM_CONFIG_HOME", home.join("helm"));
        command.env("HELM_DATA_HOME", home.join("helm")).env("HOME", home);
        command.arg("--kubeconfig").arg(control_plane.kubeconfig());
        command
    }

    /// helm-docs.
    pub fn docs(&self) -> Command {
        quiet(&self.docs)
    }
}

fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/nonexistent");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn module(version: &str) -> Module {
    Module {
        dir: concat!(env!("CARGO_MANIFEST_DIR"), "/../helm"),
        go: required(GO_MOD, "go").unwrap_or("unknown"),
        ldflags: format!("-s -w -X helm.sh/helm/v4/internal/version.version={version}"),
        takes: "about 5 minutes",
        instead: "put helm 4 into PATH",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_names_its_versions_and_tools() {
        assert!(required(GO_MOD, "helm.sh/helm/v4").is_some_and(|version| version.starts_with("v4.")));
        assert!(required(GO_MOD, "go").is_some());
        for tool in [HELM, DOCS] {
            assert!(GO_MOD.contains(&format!("\t{}\n", tool.package)), "{}", tool.package);
        }
    }
}
