//! The program as a plugin of kubectl: under the name kubectl-bbc it is `kubectl bbc`.

use std::{env, fs, path::PathBuf};

use tokio::process::Command;

use super::{Said, clean, shared};
use crate::harness::Plane;

/// kubectl, with a PATH in which the plugin is, as an installation by hand or by krew leaves it.
fn kubectl(plane: &Plane) -> Command {
    let folder = plane.control_plane.dir().join(format!("plugins-{}", uuid::Uuid::new_v4()));
    fs::create_dir_all(&folder).expect("a folder");
    let program = env!("CARGO_BIN_EXE_bitbucket-connection-operator");
    std::os::unix::fs::symlink(program, folder.join("kubectl-bbc")).expect("a link");
    let others = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([folder].into_iter().chain(env::split_paths(&others))).expect("a PATH");
    let program: PathBuf = plane.control_plane.kubectl().as_std().get_program().into();
    let mut command = clean(program);
    command.env("PATH", path).env("KUBECONFIG", plane.control_plane.kubeconfig()).env("COLUMNS", "160");
    command.env("HOME", plane.control_plane.dir());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_finds_it_and_it_speaks_of_itself_as_kubectl_bbc() {
    let (plane, namespace) = shared().await;
    // It also complains of whatever is wrong with the PATH of this machine.
    let listed = Said::by(kubectl(&plane).args(["plugin", "list"])).await;
    assert!(listed.stdout.contains("/kubectl-bbc"), "{}", listed.stderr);
    let text = Said::by(kubectl(&plane).args(["bbc", "list", "-n", &namespace])).await.done();
    assert!(text.contains("payments") && text.contains("3 connections: "), "{text}");

    let help = Said::by(kubectl(&plane).args(["bbc", "list", "--help"])).await.done();
    assert!(help.contains("Usage: kubectl bbc list [OPTIONS]") && help.contains("    kubectl bbc list -A"), "{help}");
    assert!(!help.contains("bitbucket-connection-operator"), "{help}");
    let wrong = Said::by(kubectl(&plane).args(["bbc", "lst"])).await;
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("Usage: kubectl bbc <COMMAND>") && wrong.stderr.contains("'list'"),
        "{}",
        wrong.stderr
    );
    let no_token = Said::by(kubectl(&plane).args(["bbc", "check", "--email", "bot@example.com"])).await;
    assert_eq!(no_token.code, Some(64), "exit codes pass through kubectl");
    assert!(no_token.stderr.contains("| kubectl bbc check …"), "{}", no_token.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_advice_names_what_was_typed() {
    let plane = Plane::bare().await;
    let said = Said::by(kubectl(&plane).args(["bbc", "list"])).await;
    said.refused(&["kubectl bbc crds | kubectl apply --server-side -f -"]);
}
