//! The cluster that the demo plays on: a control plane of its own, or, with `CONTEXT=name`, one that is there already.
//!
//! On a cluster of somebody's, all that is made is made in a namespace of the demo's own, but for the kinds and one
//! ClusterKmsInstance; it goes away at the end. A cluster on which an operator works already, or may have worked, is left
//! alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use controlplane::{ControlPlane, Kept, Printer, Program, Programs, Undertaker};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::cleaning::{Cleaning, kinds};
use crate::error::{Error, cannot};
use crate::stage::{json, run};

/// The demo's own namespace on a cluster of somebody's.
pub const NAMESPACE: &str = "bitbucket-connection-demo";
/// What the operator brings along.
pub const KINDS: [&str; 3] = ["bitbucketconnections", "kmsinstances", "clusterkmsinstances"];
/// Where they belong.
pub const GROUP: &str = "connections.kms.hanzo.ai";

/// Where the demo plays.
#[derive(Debug)]
pub enum Cluster {
    /// A control plane of its own, which ends with it.
    Own(Box<ControlPlane>, Programs),
    /// One that was there before, and will be there afterwards.
    There(There),
}

/// A cluster that was there before.
#[derive(Debug)]
pub struct There {
    /// The context by which it was chosen.
    context: String,
    dir: PathBuf,
    kubeconfig: PathBuf,
    cleaning: Cleaning,
    undertaker: Undertaker,
}

impl Cluster {
    /// Starts a control plane, or finds the cluster of a context.
    pub async fn of(context: Option<&str>) -> Result<Self, Error> {
        if let Some(context) = context {
            return There::find(context).await.map(Self::There);
        }
        let mut printer = Printer::stderr();
        let programs = Programs::find_or_build(|progress| printer.show(&progress)).await?;
        drop(printer);
        Ok(Self::Own(Box::new(ControlPlane::start(&programs).await?), programs))
    }

    /// A kubectl that asks this cluster.
    pub fn kubectl(&self) -> Command {
        let mut command = match self {
            Self::Own(control_plane, _) => control_plane.kubectl(),
            Self::There(there) => kubectl(&there.kubeconfig),
        };
        // In a group of its own: a Ctrl-C is the demo's, which then ends what it has begun.
        command.process_group(0);
        command
    }

    /// A kubeconfig that leads to it.
    pub fn kubeconfig(&self) -> &Path {
        match self {
            Self::Own(control_plane, _) => control_plane.kubeconfig(),
            Self::There(there) => &there.kubeconfig,
        }
    }

    /// The folder for what is written during the demo; it goes away at the end.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Own(control_plane, _) => control_plane.dir(),
            Self::There(there) => &there.dir,
        }
    }

    /// What ends everything with this process.
    pub fn undertaker(&self) -> &Undertaker {
        match self {
            Self::Own(control_plane, _) => control_plane.undertaker(),
            Self::There(there) => &there.undertaker,
        }
    }

    /// What it is, in a few words.
    pub fn described(&self, version: &str) -> String {
        match self {
            Self::Own(..) => format!("Kubernetes {version}: etcd, API server, controllers; no containers"),
            Self::There(there) => {
                format!("Kubernetes {version} of the context {}, namespace {NAMESPACE}", there.context)
            }
        }
    }

    /// What has to be replaced in the manifests so that they are about this cluster.
    pub fn replacements(&self) -> Vec<(String, String)> {
        match self {
            Self::Own(..) => Vec::new(),
            // Of objects, of the instance's references and of its grant.
            Self::There(_) => ["namespace: ", "metadata.name: "]
                .map(|field| (format!("{field}default"), format!("{field}{NAMESPACE}")))
                .to_vec(),
        }
    }

    /// The folder of a kubectl that isn't in PATH.
    pub fn kubectl_folder(&self) -> Option<&Path> {
        match self {
            Self::Own(_, programs) => programs.path(Program::Kubectl).parent(),
            Self::There(_) => None,
        }
    }

    /// Makes the demo's namespace on a cluster of somebody's: the first change there.
    pub async fn claim(&self) -> Result<(), Error> {
        let Self::There(_) = self else { return Ok(()) };
        run(self.kubectl(), "kubectl", &["create", "namespace", NAMESPACE], None).await.map(drop)
    }

    /// Takes away what the demo made, while the operator still runs: objects wait for it to let them go. Fails where
    /// something is left, and says by which commands it goes.
    pub async fn clean(&self) -> Result<(), Error> {
        let Self::There(there) = self else { return Ok(()) };
        let mut failure = None;
        for line in there.cleaning.commands("kubectl") {
            let mut shell = Command::new("sh");
            shell.env("KUBECONFIG", &there.kubeconfig).process_group(0);
            failure = failure.or(run(shell, "sh", &["-c", &line], None).await.err());
        }
        // What wasn't made yet can't be deleted; what matters is what is there.
        let mut left = there.ask(&["get", "namespace", NAMESPACE, "--ignore-not-found", "--output=name"]).await;
        if let (true, Ok(some)) = (there.cleaning.brought_kinds, &mut left) {
            let kinds = kinds();
            let names: Vec<&str> = kinds.iter().map(String::as_str).collect();
            let all = [&["get", "crd", "--ignore-not-found", "--output=name"][..], &names].concat();
            match there.ask(&all).await {
                Ok(more) => some.extend(more),
                Err(error) => left = Err(error),
            }
        }
        let (what, reason) = match (left, failure) {
            (Ok(left), _) if left.is_empty() => return Ok(()),
            (Ok(left), Some(failure)) => (left.join(", "), failure.to_string()),
            (Ok(left), None) => (left.join(", "), "it is still being deleted".to_owned()),
            (Err(error), _) => ("what the demo made, or a part of it,".to_owned(), error.to_string()),
        };
        let commands = there.cleaning.by_hand(&there.context);
        Err(Error::Left { context: there.context.clone(), what, reason, commands })
    }

    /// Ends the control plane, if it is the demo's own.
    pub async fn stop(self) {
        if let Self::Own(control_plane, _) = self {
            control_plane.stop().await;
        }
    }

    /// Leaves it as it is, with these processes, and says by which script all of that is ended.
    pub fn keep(self, also: &[u32]) -> Result<(PathBuf, PathBuf), Error> {
        match self {
            Self::Own(control_plane, _) => {
                let Kept { kubeconfig, stop, .. } = control_plane.keep(also)?;
                Ok((kubeconfig, stop))
            }
            Self::There(there) => there.keep(also),
        }
    }
}

impl There {
    async fn find(context: &str) -> Result<Self, Error> {
        let undertaker = Undertaker::start().map_err(cannot("prepare the end of the demo"))?;
        let dir = std::env::temp_dir().join(format!("bitbucket-connection-demo-{}", uuid::Uuid::new_v4().simple()));
        DirBuilder::new().mode(0o700).create(&dir).map_err(cannot(format!("create {}", dir.display())))?;
        undertaker.remove_dir(&dir).map_err(cannot("prepare the end of the demo"))?;
        // A copy, in which the namespace is the demo's: the operator and kubectl need no more flags.
        let view = ["config", "view", "--raw", "--minify", "--flatten", "--output=json", "--context", context];
        let mut config: Value = json("kubectl", &run(Command::new("kubectl"), "kubectl", &view, None).await?)?;
        config["contexts"][0]["context"]["namespace"] = json!(NAMESPACE);
        let kubeconfig = dir.join("kubeconfig");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&kubeconfig)
            .and_then(|mut file| file.write_all(config.to_string().as_bytes()))
            .map_err(cannot(format!("write {}", kubeconfig.display())))?;
        let cleaning = Cleaning { brought_kinds: false };
        let there = Self { context: context.to_owned(), dir, kubeconfig, cleaning, undertaker };
        let cleaning = Cleaning { brought_kinds: there.is_free().await? };
        Ok(Self { cleaning, ..there })
    }

    /// Asks kubectl for names of objects.
    async fn ask(&self, arguments: &[&str]) -> Result<Vec<String>, Error> {
        let output = run(kubectl(&self.kubeconfig), "kubectl", arguments, None).await?;
        Ok(output.lines().filter(|line| line.contains('/')).map(str::to_owned).collect())
    }

    /// Fails where an operator works or may have worked already; tells whether the kinds have to be brought along.
    async fn is_free(&self) -> Result<bool, Error> {
        let kinds = kinds();
        let names: Vec<&str> = kinds.iter().map(String::as_str).collect();
        let there = self.ask(&[&["get", "crd", "--ignore-not-found", "--output=name"][..], &names].concat()).await?;
        let own = ["get", "namespace", NAMESPACE, "--ignore-not-found", "--output=name"];
        if !self.ask(&own).await?.is_empty() {
            let context = self.context.clone();
            return Err(Error::LeftBefore { commands: self.cleaning.by_hand(&context), context, namespace: NAMESPACE });
        }
        let mut in_use = Vec::new();
        let label = "--selector=app.kubernetes.io/name=bitbucket-connection-operator";
        in_use.extend(self.ask(&["get", "deployments", "--all-namespaces", label, "--output=name"]).await?);
        for kind in there.iter().filter_map(|name| name.split_once('/')).map(|(_, kind)| kind) {
            in_use.extend(self.ask(&["get", kind, "--all-namespaces", "--output=name"]).await?);
        }
        match in_use.first() {
            Some(first) => Err(Error::InUse { context: self.context.clone(), what: first.clone() }),
            None => Ok(there.is_empty()),
        }
    }

    fn keep(self, also: &[u32]) -> Result<(PathBuf, PathBuf), Error> {
        let (stop, dir) = (self.dir.join("stop.sh"), self.dir.display());
        let mut script =
            format!("#!/bin/sh\n# Takes away what the demo made.\nexport KUBECONFIG={}\n", self.kubeconfig.display());
        for line in self.cleaning.commands("kubectl") {
            script += &format!("{line}\n");
        }
        script += &format!(
            "if kubectl get namespace {NAMESPACE} >/dev/null 2>&1; then\n  \
             echo 'error: namespace {NAMESPACE} is left. Look above for why, then run this once more.' >&2\n  exit 1\nfi\n"
        );
        for pid in also {
            script += &format!("kill -s KILL {pid}\n");
        }
        script += &format!("rm -rf -- {dir}\n");
        let writing = || cannot(format!("write {}", stop.display()));
        fs::write(&stop, script).map_err(writing())?;
        fs::set_permissions(&stop, fs::Permissions::from_mode(0o700)).map_err(writing())?;
        self.undertaker.release_all().map_err(cannot("keep what runs"))?;
        Ok((self.kubeconfig, stop))
    }
}

fn kubectl(kubeconfig: &Path) -> Command {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(kubeconfig).stdin(Stdio::null()).kill_on_drop(true);
    command
}
