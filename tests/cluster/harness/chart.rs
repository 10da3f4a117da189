//! The Helm chart, and the real Helm.

use std::{process::Output, time::Instant};

use controlplane::{ControlPlane, Helm, Printer};
use serde_json::Value;
use tokio::{process::Command, sync::OnceCell};

use super::{PATIENCE, PAUSE};

/// The chart.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/bitbucket-connection-operator");
/// The value files that the chart is tested with.
pub const VALUES: [&str; 4] = ["cluster-wide", "namespaced", "all-on", "all-off"];

static HELM: OnceCell<Helm> = OnceCell::const_new();

/// Helm, built before where none is found.
pub async fn helm() -> &'static Helm {
    let find = || async {
        let mut printer = Printer::stderr();
        let found = Helm::find_or_build(|progress| printer.show(&progress)).await;
        found.unwrap_or_else(|error| panic!("no helm: {error}"))
    };
    HELM.get_or_init(find).await
}

/// The path of a value file of [`VALUES`].
pub fn values(name: &str) -> String {
    format!("{CHART}/ci/{name}-values.yaml")
}

/// What the chart renders, as release and in namespace `bitbucket-connection-operator`.
///
/// # Errors
/// What Helm complains about.
pub async fn render(more: &[&str]) -> Result<String, String> {
    let name = super::rights::NAME;
    let mut command = helm().await.command();
    said(command.args(["template", name, CHART, "--namespace", name]).args(more)).await
}

/// The same as objects.
pub async fn objects(more: &[&str]) -> Vec<Value> {
    let rendered = render(more).await.unwrap_or_else(|complaint| panic!("helm template {more:?}: {complaint}"));
    serde_saphyr::from_multiple(&rendered).expect("YAML")
}

/// `helm install` with these arguments, and what Helm told. Helm may ask for the instance before the API server serves
/// its kind, and then fails; what docs/install.md says is done then.
///
/// # Errors
/// What Helm complains about, except that.
pub async fn install(control_plane: &ControlPlane, args: &[&str]) -> Result<String, String> {
    let helm = helm().await;
    let begin = Instant::now();
    let mut told = said(helm.command_at(control_plane).arg("install").args(args)).await;
    while let Err(complaint) = &told
        && complaint.contains("no matches for kind")
        && begin.elapsed() < PATIENCE
    {
        tokio::time::sleep(PAUSE).await;
        told = said(helm.command_at(control_plane).args(["upgrade", "--install"]).args(args)).await;
    }
    told
}

/// Runs a command to its end: what it printed, or what it complained about.
///
/// # Errors
/// Its standard error, where it failed.
pub async fn said(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().await.expect("a process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if status.success() { Ok(text(&stdout)) } else { Err(text(&stderr)) }
}
