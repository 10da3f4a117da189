//! Where pages are played: a cluster that has what their readers have, and their shell.
//!
//! What differs from a reader's, and nothing else: instances without a host get that of the stand-in; `helm` takes the chart
//! of this repository for the released one, and instead of `--wait`, for pods that never come here, an installation waits until
//! the kinds are served; what prints nothing yet, or isn't allowed yet, is asked again for a while; `check` asks the stand-in of Bitbucket; `make` prints what it would run; and
//! the end of a token is in the future whenever the test runs. There are no nodes: the operator runs as a process.

use std::{
    collections::BTreeMap,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use serde_json::{Value, json};
use sim::{Bitbucket, Connection, Kms, seed};
use tokio::process::Command;

use super::others;
use crate::harness::{
    Launch, Operator, PATIENCE, PAUSE, Plane,
    chart::{CHART, helm, said},
    rights::NAME,
};

/// How long a block may take.
const SECONDS: &str = "120";
/// How long something may take to get Ready, as kubectl is told.
const READY: &str = "60s";
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Where the pages say that the chart is.
const RELEASED_CHART: &str = "oci://ghcr.io/hanzoai/charts/bitbucket-connection-operator";
/// Our kinds.
const KINDS: &str = "bitbucketconnections.connections.kms.hanzo.ai kmsinstances.connections.kms.hanzo.ai \
                     clusterkmsinstances.connections.kms.hanzo.ai";
/// The fingerprint of a token in the pages.
const FINGERPRINT: &str = "0123456789abcdef";
/// The namespaces of the pages.
const NAMESPACES: [&str; 6] = ["team-a", "team-b", "kms-system", "argocd", "flux-system", NAME];

/// The cluster, the services, and the folder in which the reader works.
pub struct Stage {
    plane: Arc<Plane>,
    client: Client,
    _bitbucket: Bitbucket,
    kms: Kms,
    operator: Operator,
    desk: PathBuf,
}

impl Stage {
    /// Builds it, once for all pages.
    pub async fn build() -> Self {
        let plane = Plane::own().await;
        let client = plane.client().await;
        let bitbucket = Bitbucket::start().await;
        let kms = Kms::start(&bitbucket).await;
        seed::seed(&bitbucket, &kms);
        bitbucket.set_workspaces(seed::GOOD, ["example", "hanzo-payments"]);
        let url = bitbucket.url();
        let args = ["--allow-insecure-kms", "--allowed-kms-hosts=127.0.0.1", "--log-format=json"];
        let mut args: Vec<String> = args.map(str::to_owned).to_vec();
        args.extend(["--health-addr", "--metrics-addr"].map(|flag| format!("{flag}=127.0.0.1:0")));
        args.extend(
            ["kms-reads-per-minute", "kms-writes-per-minute", "bitbucket-requests-per-hour"]
                .map(|it| format!("--{it}=0")),
        );
        args.push(format!("--bitbucket-url={url}"));
        let launch = Launch::Program(plane.control_plane.kubeconfig().to_owned());
        let operator = Operator::new(&plane, launch, args, BTreeMap::new());
        let desk = plane.control_plane.dir().join("desk");
        let stage = Self { plane, client, _bitbucket: bitbucket, kms, operator, desk };
        stage.furnish(&url).await;
        stage
    }

    /// The files that pages speak of, and the programs.
    async fn furnish(&self, bitbucket: &str) {
        let bin = self.desk.join("bin");
        std::fs::create_dir_all(&bin).expect("a folder");
        for name in ["charts", "crds", "deploy"] {
            symlink(Path::new(ROOT).join(name), self.desk.join(name)).expect("a link");
        }
        std::fs::create_dir(self.desk.join("examples")).expect("a folder");
        for file in std::fs::read_dir(Path::new(ROOT).join("examples")).expect("a folder") {
            let file = file.expect("a file");
            if file.path().extension().is_some_and(|it| it == "yaml") {
                let text = std::fs::read_to_string(file.path()).expect("a text");
                let text = text.replace("http://127.0.0.1:7991", &self.kms.url());
                std::fs::write(self.desk.join("examples").join(file.file_name()), text).expect("a file");
            }
        }
        symlink(Path::new(ROOT).join("examples/gitops"), self.desk.join("examples/gitops")).expect("a link");
        let certificate = self.plane.control_plane.dir().join("certificates/apiserver.crt");
        std::fs::copy(certificate, self.desk.join("ca.crt")).expect("a certificate");
        // As a kubeconfig of somebody who works in team-a.
        let kubeconfig = self.desk.join("kubeconfig");
        std::fs::copy(self.plane.control_plane.kubeconfig(), &kubeconfig).expect("a kubeconfig");
        let kubectl = self.plane.control_plane.kubectl();
        let kubectl = kubectl.as_std().get_program().to_string_lossy().into_owned();
        let program = |name: &str, script: String| {
            let path = bin.join(name);
            std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).expect("a file");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("rights");
        };
        program("kubectl", format!("exec {kubectl} \"$@\""));
        let helm = helm().await.path().display();
        // Pods that `--wait` would wait for never come here, only kinds that are served.
        let served = format!("{kubectl} get bitbucketconnections,kmsinstances,clusterkmsinstances --all-namespaces");
        let released = RELEASED_CHART.replace('/', "\\/");
        program(
            "helm",
            format!(
                "arguments=(); for it in \"${{@/#{released}/{CHART}}}\"; do [ \"$it\" = --wait ] || arguments+=(\"$it\"); done
                 {helm} \"${{arguments[@]}}\" || exit
                 [ \"$1\" != install ] || until {served}; do sleep 0.1; done &>/dev/null"
            ),
        );
        let operator = env!("CARGO_BIN_EXE_bitbucket-connection-operator");
        program(
            NAME,
            format!(
                "if [ \"$1\" = check ]; then set -- \"$@\" --bitbucket-url {bitbucket}; fi\nexec {operator} \"$@\""
            ),
        );
        // What the pages make a link to.
        let local = self.desk.join(".local/bin");
        std::fs::create_dir_all(&local).expect("a folder");
        symlink(operator, bin.join("kubectl-bbc")).expect("a link");
        program("make", format!("exec /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin make -n -C {ROOT} \"$@\""));
        // What decrypts a Secret for the hook of check.md.
        let good = seed::GOOD;
        let end = end_of_token(100);
        let value = format!(
            "case \"$3\" in *token*) printf %s {good};; *email*) printf %s {};; *) printf %s {end};; esac",
            seed::EMAIL
        );
        program("sops", value);
        self.shell("kubectl config set-context --current --namespace=team-a").await.expect("a context");
    }

    /// Somebody else's kinds, for manifests that need them; or why they can't be had.
    pub async fn learn(&self, manifests: &str) -> Result<(), String> {
        for group in others::groups(manifests) {
            let file =
                others::crds(group).await.map_err(|why| format!("the kinds of {group} can't be had here ({why})"))?;
            let file = file.display();
            // Right after it is applied one has no conditions yet, which `kubectl wait` takes for an error.
            let established = "{.status.conditions[?(@.type==\"Established\")].status}";
            let plural = "{.spec.names.plural}";
            let install = format!(
                "kubectl apply --server-side -f {file}
                 until kubectl get -f {file} -o jsonpath='{established}' | grep -q True; do sleep 0.1; done
                 plural=$(kubectl get -f {file} -o jsonpath='{plural}')
                 until kubectl get \"$plural.{group}\" --all-namespaces; do sleep 0.1; done"
            );
            self.shell(&install).await.unwrap_or_else(|complaint| panic!("{file}: {complaint}"));
        }
        Ok(())
    }

    /// What there is when a page begins: the kinds, an instance that serves everybody, and a connection that is Ready.
    pub async fn set(&self) {
        self.clear().await;
        self.plane.install_kinds().await;
        self.mind().await;
        let grant = json!({"namespaceSelector": {}, "projectIds": ["*"], "organizationScope": true, "adoption": true});
        let instance = json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "ClusterKmsInstance",
            "metadata": {"name": "default"},
            "spec": {
                "namespace": "kms-system",
                "auth": {"universal": {"secretRef": {"name": "kms-identity"}}},
                "grants": [grant],
            },
        });
        let connection = json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnection",
            "metadata": {"name": "payments", "namespace": "team-a"},
            "spec": {
                "projectId": seed::PROJECT,
                "secretRef": {"name": "bitbucket-token"},
                "scopes": {"useCases": ["SecretScanning"]},
            },
        });
        let manifests = format!("{instance}\n---\n{connection}");
        self.apply(&manifests).await.unwrap_or_else(|complaint| panic!("the stage: {complaint}"));
    }

    /// Takes everything away that a page may have left.
    async fn clear(&self) {
        if self.has_release().await {
            self.shell(&format!("helm -n {NAME} uninstall {NAME}")).await.expect("no release");
        }
        if self.has_kinds().await {
            self.mind().await;
            let kinds = "kubectl delete bbc,kmsinstances,clusterkmsinstances --all --all-namespaces --timeout=60s";
            self.shell(kinds).await.unwrap_or_else(|complaint| panic!("{complaint}\n{}", self.operator.tail()));
        }
        // Without a release: what was applied from deploy/.
        let deployed = self.shell(&format!("kubectl get clusterrole {NAME} --ignore-not-found -o name")).await;
        if deployed.is_ok_and(|name| !name.is_empty()) {
            let manifests = "kubectl delete -k deploy/cluster-wide --ignore-not-found --timeout=60s";
            self.shell(manifests).await.expect("nothing that was applied");
        }
        for row in self.kms.connections() {
            self.kms.remove(&row.id);
        }
        std::fs::write(self.desk.join("token.txt"), format!("{}\n", seed::GOOD)).expect("a file");
        let mut secrets = Vec::new();
        for namespace in NAMESPACES {
            let it = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            secrets.push(it);
            let identity = json!({"clientId": seed::CLIENT_ID, "clientSecret": seed::CLIENT_SECRET});
            secrets.push(secret("kms-identity", namespace, &identity));
        }
        let token = json!({"email": seed::EMAIL, "token": seed::GOOD, "expiresAt": end_of_token(100)});
        secrets.push(secret("bitbucket-token", "team-a", &token));
        self.pipe(&list(&secrets), "kubectl apply --server-side --force-conflicts -f -").await.expect("Secrets");
    }

    async fn has_release(&self) -> bool {
        self.shell(&format!("helm -n {NAME} status {NAME}")).await.is_ok()
    }

    async fn has_kinds(&self) -> bool {
        let kinds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let kind = kinds.get_opt("bitbucketconnections.connections.kms.hanzo.ai").await.expect("an answer");
        kind.is_some_and(|kind| kind.metadata.deletion_timestamp.is_none())
    }

    /// The operator runs while its kinds are there.
    async fn mind(&self) {
        match (self.has_kinds().await, self.operator.is_running()) {
            (true, false) => self.operator.start().await,
            (false, true) => drop(self.operator.kill().await),
            (true, true) | (false, false) => {}
        }
    }

    /// Commands, as they are pasted into a shell.
    pub async fn run(&self, commands: &str) -> Result<(), String> {
        if commands.contains("helm uninstall ") && !self.has_release().await {
            // One that was uninstalled before left the kinds.
            let release = format!("helm -n {NAME} install {NAME} {RELEASED_CHART} --take-ownership");
            self.shell(&release).await?;
        }
        if commands.contains("helm install ") || commands.contains("kubectl apply --server-side -k ") {
            // It brings the kinds.
            self.clear().await;
            if self.operator.is_running() {
                self.operator.kill().await;
            }
            self.shell(&format!("kubectl delete crd {KINDS} --ignore-not-found --timeout=60s")).await?;
        }
        if let Some((_, name)) = commands.split_once("kubectl create namespace ") {
            let name = name.split_whitespace().next().unwrap_or_default();
            self.shell(&format!("kubectl delete namespace {name} --ignore-not-found --timeout=60s")).await?;
        }
        let commands = in_time_to_come(commands).replace(FINGERPRINT, &self.fingerprint().await);
        let mut done = self.shell(&commands).await;
        // A field that isn't there prints nothing, and is no error.
        let prints_nothing = |done: &Result<String, String>| {
            commands.contains("-o jsonpath") && done.as_deref().is_ok_and(|said| said.trim().is_empty())
        };
        let is_not_allowed = |done: &Result<String, String>| done.is_err() && commands.contains(" auth can-i ");
        // What was granted, and what the operator makes of a change, shows a moment later.
        let begin = Instant::now();
        while (prints_nothing(&done) || is_not_allowed(&done)) && begin.elapsed() < PATIENCE {
            tokio::time::sleep(PAUSE).await;
            done = self.shell(&commands).await;
        }
        self.mind().await;
        if prints_nothing(&done) {
            return Err("it prints nothing".to_owned());
        }
        done.map(drop)
    }

    /// That of the token of the connection, if there is one.
    async fn fingerprint(&self) -> String {
        let command = "kubectl -n team-a get bbc payments -o jsonpath='{.status.token.fingerprint}'";
        self.shell(command).await.unwrap_or_default()
    }

    /// Manifests, as they are applied from a file; and what they lead to.
    pub async fn apply(&self, text: &str) -> Result<(), String> {
        let text = in_time_to_come(text);
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| error.to_string())?;
        match &documents[..] {
            [values] if values["kind"].is_null() && values["spec"].is_null() => return self.render(&text).await,
            [it] if it["apiVersion"] == "kustomize.config.k8s.io/v1beta1" => return self.customize(&text).await,
            _ => {}
        }
        let documents: Vec<Value> = documents.into_iter().map(|it| self.at_home(it)).collect();
        for it in documents.iter().filter(|it| it["kind"] == "BitbucketConnection") {
            // Some fields of one that is there can't be changed.
            let name = it["metadata"]["name"].as_str().unwrap_or_default();
            self.shell(&format!("kubectl -n team-a delete bbc {name} --ignore-not-found --timeout=60s")).await?;
            if it["spec"]["adoptionPolicy"] == "Adopt" {
                self.kms.insert(Connection::new(name).project(seed::PROJECT).description("Made by hand"));
            }
        }
        let text = list(&documents);
        let command = "kubectl apply --server-side --force-conflicts --validate=strict -f -";
        self.pipe(&text, command).await?;
        for it in &documents {
            self.until_ready(it).await?;
        }
        Ok(())
    }

    /// A manifest with the gaps filled in.
    fn at_home(&self, mut it: Value) -> Value {
        if it["kind"].is_null() {
            // A part of one: of the smallest there is.
            let smallest = json!({"projectId": seed::PROJECT, "secretRef": {"name": "bitbucket-token"}, "scopes": {"useCases": ["SecretScanning"]}});
            let mut spec = smallest.as_object().cloned().unwrap_or_default();
            spec.extend(it["spec"].as_object().cloned().unwrap_or_default());
            it = json!({
                "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnection",
                "metadata": {"name": "payments", "namespace": "team-a"}, "spec": spec,
            });
        }
        match it["kind"].as_str() {
            Some("KmsInstance" | "ClusterKmsInstance") if it["spec"]["host"].is_null() => {
                it["spec"]["host"] = json!(self.kms.url());
            }
            Some("Secret") => {
                let fillings =
                    [("token", seed::GOOD), ("clientId", seed::CLIENT_ID), ("clientSecret", seed::CLIENT_SECRET)];
                for (key, value) in fillings {
                    if it["stringData"][key].as_str().is_some_and(|gap| gap.starts_with('<')) {
                        it["stringData"][key] = json!(value);
                    }
                }
            }
            _ => {}
        }
        it
    }

    /// An instance logs in; a connection is Ready, or, under Observe, tells what it would do.
    async fn until_ready(&self, it: &Value) -> Result<(), String> {
        let kind = it["kind"].as_str().unwrap_or_default();
        if !["BitbucketConnection", "KmsInstance", "ClusterKmsInstance"].contains(&kind) {
            return Ok(());
        }
        let name = it["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = it["metadata"]["namespace"].as_str().unwrap_or("team-a");
        let wanted = if it["spec"]["managementPolicy"] == "Observe" {
            "jsonpath='{.status.conditions[?(@.type==\"Synced\")].reason}'=ChangesPending"
        } else {
            "condition=Ready"
        };
        let wait = format!("kubectl -n {namespace} wait --for={wanted} {kind}/{name} --timeout={READY}");
        let waited = self.shell(&wait).await.map(drop);
        let Err(complaint) = waited else { return Ok(()) };
        let status = self.shell(&format!("kubectl -n {namespace} get {kind} {name} -o jsonpath='{{.status}}'")).await;
        Err(format!("{complaint}{}\n{}", status.unwrap_or_default(), self.operator.tail()))
    }

    /// Values of the chart: they are checked by its schema, and render.
    async fn render(&self, values: &str) -> Result<(), String> {
        std::fs::write(self.desk.join("values.yaml"), values).map_err(|error| error.to_string())?;
        self.shell(&format!("helm template {NAME} {RELEASED_CHART} -f values.yaml")).await.map(drop)
    }

    /// A kustomization of what is released, here of what is in this repository.
    async fn customize(&self, text: &str) -> Result<(), String> {
        let folder = self.desk.join("customized");
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        std::fs::write(folder.join("kustomization.yaml"), here(text, "../deploy"))
            .map_err(|error| error.to_string())?;
        self.shell("kubectl kustomize --load-restrictor=LoadRestrictionsNone customized | kubectl apply --server-side --dry-run=server -f -").await.map(drop)
    }

    async fn shell(&self, commands: &str) -> Result<String, String> {
        self.pipe("", commands).await
    }

    /// A shell with this on its standard input.
    async fn pipe(&self, input: &str, commands: &str) -> Result<String, String> {
        let file = self.desk.join("input");
        std::fs::write(&file, input).map_err(|error| error.to_string())?;
        let mut command = Command::new("timeout");
        command.args([
            SECONDS,
            "bash",
            "-euo",
            "pipefail",
            "-c",
            &here(commands, "deploy"),
            "shell",
            "bitbucket-token.sops.yaml",
        ]);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env_clear().env("PATH", format!("{}:{path}", self.desk.join("bin").display()));
        command.env("HOME", &self.desk).env("KUBECONFIG", self.desk.join("kubeconfig")).env("COLUMNS", "100");
        command.env("BITBUCKET_TOKEN", seed::GOOD).env("BITBUCKET_EMAIL", seed::EMAIL);
        command.env("BITBUCKET_TOKEN_ENDS", end_of_token(100));
        command.current_dir(&self.desk).kill_on_drop(true);
        command.stdin(std::fs::File::open(&file).map_err(|error| error.to_string())?);
        said(&mut command).await
    }
}

fn secret(name: &str, namespace: &str, values: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": values,
    })
}

/// Several objects as one, in JSON.
fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

/// What is released in Git, where it is here.
fn here(text: &str, deploy: &str) -> String {
    let released = "https://github.com/hanzoai/bitbucket-connection-operator//deploy/cluster-wide?ref=v0.1.0";
    text.replace(released, &format!("{deploy}/cluster-wide"))
}

/// A day that is so many days from today.
fn end_of_token(days: i64) -> String {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    today.saturating_add(days.days()).to_string()
}

/// Pages name days, which pass.
fn in_time_to_come(text: &str) -> String {
    text.replace("2027-03-01", &end_of_token(100)).replace("2028-03-01", &end_of_token(200))
}
