//! What runs besides the operator: a control plane of its own for each measurement, and the stand-ins.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use controlplane::{ControlPlane, Programs};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use sim::{Bitbucket, Fault, Kms, Token, seed};

use crate::{Result, process::Operator};

/// Where the Secret of the KMS's identity is.
const HOME: &str = "kms-system";

/// A control plane with our kinds, and both stand-ins, which are threads of this program.
pub struct Stage {
    /// The stand-in Bitbucket.
    pub bitbucket: Bitbucket,
    /// The stand-in KMS.
    pub kms: Kms,
    /// An admin's way to the API server.
    pub client: Client,
    cluster: ControlPlane,
    program: PathBuf,
    starts: std::cell::Cell<usize>,
}

impl Stage {
    /// Starts everything; each answer of the stand-ins takes `latency`.
    pub async fn set(programs: &Programs, program: &std::path::Path, latency: Duration) -> Result<Self> {
        let cluster = ControlPlane::start(programs).await?;
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let bitbucket = Bitbucket::start().await;
        let kms = Kms::start(&bitbucket).await;
        seed::seed(&bitbucket, &kms);
        if !latency.is_zero() {
            bitbucket.fail(Fault::Delay(latency));
            kms.fail(Fault::Delay(latency));
        }
        let starts = std::cell::Cell::default();
        let stage = Self { bitbucket, kms, client, cluster, program: program.to_owned(), starts };
        stage.forget_calls();
        stage.install_kinds().await?;
        stage.namespace(HOME).await?;
        Ok(stage)
    }

    async fn install_kinds(&self) -> Result<()> {
        let crds = Command::new(&self.program).arg("crds").stderr(Stdio::inherit()).output()?;
        let file = self.cluster.dir().join("crds.yaml");
        std::fs::write(&file, crds.stdout)?;
        let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        for arguments in [&["apply", "--server-side", "-f", &file.to_string_lossy()][..], &wait[..]] {
            let output = self.cluster.kubectl().args(arguments).output().await?;
            if !output.status.success() {
                return Err(format!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
            }
        }
        Ok(())
    }

    /// The operator, without limits of its own, as admin: rights cost the API server the same for everybody.
    pub async fn operator(&self, more: &[&str]) -> Result<Operator> {
        let mut command = self.cluster.undertaker().command(&self.program);
        command.args(["run", "--allow-insecure-kms", "--allowed-kms-hosts", "127.0.0.1"]);
        command.args(["--bitbucket-url", &self.bitbucket.url(), "--log-format", "json"]);
        command.args(["--health-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"]);
        let limits = ["--kms-reads-per-minute", "--kms-writes-per-minute", "--bitbucket-requests-per-hour"];
        command.args(limits.iter().flat_map(|limit| [limit, "0"])).args(more);
        // Nothing of the caller's own environment.
        command.env_clear().env("KUBECONFIG", self.cluster.kubeconfig()).current_dir(self.cluster.dir());
        // What people try out by variables: of the allocator, and how much is logged.
        let tried = ["MALLOC_", "MIMALLOC_", "RUST_LOG", "TOKIO_"];
        command.envs(
            std::env::vars_os().filter(|(name, _)| {
                name.to_str().is_some_and(|name| tried.iter().any(|tried| name.starts_with(tried)))
            }),
        );
        let start = self.starts.replace(self.starts.get() + 1);
        let log = self.cluster.dir().join(format!("operator-{start}.log"));
        Operator::start(self.cluster.undertaker(), command, log).await
    }

    /// Forgets the calls to the stand-ins so far.
    pub fn forget_calls(&self) {
        // Counts are enough, and journals would take this program's time.
        self.bitbucket.keep_journal(false);
        self.kms.keep_journal(false);
        self.bitbucket.clear_journal();
        self.kms.clear_journal();
    }

    /// Ends everything.
    pub async fn strike(self) {
        self.cluster.stop().await;
    }

    /// Makes a namespace.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        self.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await
    }

    /// Makes the instance that all connections use, and its Secret.
    pub async fn instance(&self) -> Result<()> {
        let metadata = json!({"name": "kms-credentials", "namespace": HOME});
        let login = json!({"clientId": seed::CLIENT_ID, "clientSecret": seed::CLIENT_SECRET});
        self.create(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": login})).await?;
        let spec = json!({
            "namespace": HOME,
            "host": self.kms.url(),
            "auth": {"universal": {"secretRef": {"name": "kms-credentials"}}},
            "grants": [{"namespaceSelector": {}, "projectIds": ["*"]}],
        });
        let (version, kind) = (crate::fleet::API_VERSION, "ClusterKmsInstance");
        self.create(&json!({"apiVersion": version, "kind": kind, "metadata": {"name": "default"}, "spec": spec})).await
    }

    /// Makes a namespace with a Secret `bitbucket-token`, whose token is no other's.
    pub async fn team(&self, name: &str) -> Result<()> {
        let (email, token) = (format!("{name}@example.com"), format!("ATATT3x-{name}"));
        self.bitbucket.add(Token::new(&email, &token).scopes(seed::SCANNING));
        self.namespace(name).await?;
        let metadata = json!({"name": "bitbucket-token", "namespace": name});
        let data = json!({"email": email, "token": token, "expiresAt": "2027-09-01"});
        self.create(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})).await
    }

    /// The API of an object's kind.
    pub fn api(&self, object: &Value) -> Result<Api<DynamicObject>> {
        let types = serde_json::from_value(object.clone())?;
        let kind = GroupVersionKind::try_from(&types)?;
        let resource = ApiResource::from_gvk(&kind);
        Ok(match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        })
    }

    /// Creates an object.
    pub async fn create(&self, object: &Value) -> Result<()> {
        let parsed: DynamicObject = serde_json::from_value(object.clone())?;
        self.api(object)?.create(&PostParams::default(), &parsed).await?;
        Ok(())
    }
}
