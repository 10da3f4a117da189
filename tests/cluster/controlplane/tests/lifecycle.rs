//! A control plane's whole life. Where no programs are found they are built first, which takes minutes, once.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use controlplane::{ControlPlane, Printer, Program, Programs, TENANT};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

async fn start() -> Result<ControlPlane> {
    let mut printer = Printer::stderr();
    let programs = Programs::find_or_build(|progress| printer.show(&progress)).await?;
    Ok(ControlPlane::start(&programs).await?)
}

/// What kubectl prints; its complaint is the error.
async fn kubectl(cluster: &ControlPlane, arguments: &[&str]) -> Result<String> {
    let output = cluster.kubectl().args(arguments).output().await?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn kubectl_as(cluster: &ControlPlane, user: &str, arguments: &[&str]) -> Result<String> {
    let kubeconfig = cluster.kubeconfig_for(user)?;
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    kubectl(cluster, &[&[kubeconfig.as_str()], arguments].concat()).await
}

fn refused<T>(result: Result<T>) -> bool {
    result.is_err_and(|error| error.to_string().contains("is forbidden"))
}

#[tokio::test]
async fn namespaces_vanish_and_rbac_holds() -> Result<()> {
    let cluster = start().await?;
    kubectl(&cluster, &["create", "namespace", "passing"]).await?;
    kubectl(&cluster, &["delete", "namespace", "passing", "--timeout=5m"]).await?;

    let account = "system:serviceaccount:default:reader";
    let list = ["get", "secrets", "--namespace=default"];
    assert!(refused(kubectl_as(&cluster, TENANT, &list).await));
    assert!(refused(kubectl_as(&cluster, account, &list).await));
    let grant = ["create", "rolebinding", "reader", "--clusterrole=admin", "--namespace=default"];
    kubectl(&cluster, &[&grant[..], &["--serviceaccount=default:reader"]].concat()).await?;
    // The API server takes note of a grant a moment after it was made.
    let granted = async { while kubectl_as(&cluster, account, &list).await.is_err() {} };
    tokio::time::timeout(Duration::from_mins(5), granted).await?;
    assert!(refused(kubectl_as(&cluster, TENANT, &list).await));

    kubectl(&cluster, &["create", "serviceaccount", "reader"]).await?;
    let token = kubectl(&cluster, &["create", "token", "reader"]).await?;
    assert_eq!(token.split('.').count(), 3);
    cluster.stop().await;
    cluster.stop().await;
    assert!(!cluster.dir().exists());
    assert!(cluster.restart_apiserver().await.is_err());
    Ok(())
}

#[tokio::test]
async fn data_outlives_killed_programs() -> Result<()> {
    let cluster = start().await?;
    kubectl(&cluster, &["create", "namespace", "lasting"]).await?;
    cluster.restart_apiserver().await?;
    kubectl(&cluster, &["get", "namespace", "lasting"]).await?;
    cluster.kill_program(Program::Etcd).await?;
    assert!(kubectl(&cluster, &["get", "namespace", "lasting", "--request-timeout=1s"]).await.is_err());
    cluster.start_program(Program::Etcd).await?;
    cluster.start_program(Program::ApiServer).await?;
    kubectl(&cluster, &["get", "namespace", "lasting"]).await?;
    kubectl(&cluster, &["delete", "namespace", "lasting", "--timeout=5m"]).await?;
    let dir = cluster.dir().to_owned();
    drop(cluster);
    assert!(!dir.exists());
    Ok(())
}

#[tokio::test]
async fn a_kept_one_lives_until_its_script_is_run() -> Result<()> {
    let mut other = std::process::Command::new("sleep").arg("600").spawn()?;
    let cluster = start().await?;
    cluster.undertaker().adopt(other.id())?;
    let mut kubectl = cluster.kubectl();
    let kept = cluster.keep(&[other.id()])?;
    assert_eq!(kept.pids.len(), 4);
    assert!(kubectl.args(["get", "--raw", "/readyz"]).output().await?.status.success());
    assert!(other.try_wait()?.is_none());
    assert!(tokio::process::Command::new(&kept.stop).status().await?.success());
    assert!(!other.wait()?.success());
    assert!(!Path::new(&kept.dir).exists());
    Ok(())
}
