//! Everything that runs: the control plane, the stand-ins, the operator; and how it is reached.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use controlplane::{Printer, Progress};
use serde_json::Value;
use sim::seed;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::cluster::Cluster;
use crate::error::{Error, cannot};
use crate::screen::{Screen, quote};
use crate::standins::StandIns;

/// The operator's program, a sibling of the folder with the demo's.
const OPERATOR: &str = "bitbucket-connection-operator";
/// The root of the repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// How long kinds that were installed may take until they are served.
const SERVED: Duration = Duration::from_secs(60);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// Variables that would change what the operator does, or send its calls elsewhere.
const PROXIES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// What runs. All of it ends with this value or with this process, unless it is [kept](Self::keep).
#[derive(Debug)]
pub struct Stage {
    /// Bitbucket and the KMS.
    pub stand_ins: StandIns,
    program: PathBuf,
    operator: Mutex<Child>,
    operator_log: PathBuf,
    cluster: Cluster,
}

/// What is there before anything is changed on the cluster.
#[derive(Debug)]
pub struct Prepared {
    started: Instant,
    demo: PathBuf,
    program: PathBuf,
    cluster: Cluster,
}

impl Prepared {
    /// Builds the operator, and starts a control plane or finds the cluster of this context. It may be ended anywhere.
    pub async fn new(screen: &Screen, context: Option<&str>) -> Result<Self, Error> {
        let started = Instant::now();
        // Asked before anything is built: afterwards it might be another file.
        let demo = std::env::current_exe().map_err(cannot("find the demo's own program"))?;
        let program = build_operator(&demo).await?;
        screen.done("program", &format!("{OPERATOR}, built"), started.elapsed());

        let started = Instant::now();
        Ok(Self { started, demo, program, cluster: Cluster::of(context).await? })
    }
}

impl Stage {
    /// Starts everything, and says so. It must not be ended before it is done, or what it made is left there.
    pub async fn set(screen: &Screen, prepared: Prepared) -> Result<Self, Error> {
        let Prepared { started, demo, program, cluster } = prepared;
        cluster.claim().await?;
        match Self::equip(screen, &cluster, started, &demo, &program).await {
            Ok((stand_ins, operator, operator_log)) => {
                Ok(Self { stand_ins, program, operator: Mutex::new(operator), operator_log, cluster })
            }
            Err(error) => match cluster.clean().await {
                Ok(()) => Err(error),
                Err(left) => Err(Error::Both(Box::new(error), Box::new(left))),
            },
        }
    }

    /// Starts on the cluster what the story needs.
    async fn equip(
        screen: &Screen,
        cluster: &Cluster,
        started: Instant,
        demo: &Path,
        program: &Path,
    ) -> Result<(StandIns, Child, PathBuf), Error> {
        let version = json("kubectl", &run(cluster.kubectl(), "kubectl", &["version", "-o", "json"], None).await?)?;
        let version = version["serverVersion"]["gitVersion"].as_str().unwrap_or_default().to_owned();
        screen.done("cluster", &cluster.described(&version), started.elapsed());

        let started = Instant::now();
        let stand_ins = StandIns::start(demo, cluster.undertaker()).await?;
        let at = &stand_ins.addresses;
        screen.done("stand-ins", &format!("Bitbucket {}, KMS {}", at.bitbucket, at.kms), started.elapsed());

        let started = Instant::now();
        let crds = run(Command::new(program), OPERATOR, &["crds"], None).await?;
        run(cluster.kubectl(), "kubectl", &["apply", "--server-side", "-f", "-"], Some(&crds)).await?;
        // That kinds are established is told a moment before they are served; and of those without conditions yet
        // `kubectl wait` complains.
        let served = ["get", "bitbucketconnections,kmsinstances,clusterkmsinstances", "--output=name"];
        while let Err(error) = run(cluster.kubectl(), "kubectl", &served, None).await {
            if started.elapsed() > SERVED {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
        let details = format!("{OPERATOR} crds | kubectl apply --server-side -f -");
        screen.done("CRDs", &details, started.elapsed());

        let started = Instant::now();
        let operator_log = cluster.dir().join("operator.log");
        let operator = start_operator(program, cluster, &stand_ins, &operator_log)?;
        let details = format!("{OPERATOR} {} …", run_arguments(&stand_ins).join(" "));
        screen.done("operator", &details, started.elapsed());
        Ok((stand_ins, operator, operator_log))
    }

    /// Runs kubectl in the root of the repository and returns what it prints.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        run(self.cluster.kubectl(), "kubectl", arguments, None).await
    }

    /// Runs kubectl for an object in JSON; `None` if there is none.
    pub async fn get(&self, arguments: &[&str]) -> Result<Option<Value>, Error> {
        let text = self.kubectl(&[&["get", "-o", "json", "--ignore-not-found"], arguments].concat()).await?;
        if text.trim().is_empty() { Ok(None) } else { json("kubectl", &text).map(Some) }
    }

    /// What has to be replaced in the manifests: where the KMS listens this time, and what the cluster asks for.
    fn replacements(&self) -> Vec<(String, String)> {
        let (usual, here) = (format!("http://127.0.0.1:{}", seed::KMS_PORT), self.stand_ins.addresses.kms.clone());
        let address = (usual != here).then_some((usual, here));
        address.into_iter().chain(self.cluster.replacements()).collect()
    }

    /// Applies the manifests with these replacements. Returns the command and what it prints.
    async fn apply_with(&self, replacements: &[(String, String)]) -> Result<(String, String), Error> {
        let replaced = |text: String, (from, to): &(String, String)| text.replace(from, to);
        let manifests = replacements.iter().fold(examples()?, replaced);
        let output = run(self.cluster.kubectl(), "kubectl", &["apply", "-f", "-"], Some(&manifests)).await?;
        Ok((sed(replacements), output))
    }

    /// Applies the manifests as they are, or as this stage needs them. Returns the command and what it prints.
    pub async fn apply_examples(&self) -> Result<(String, String), Error> {
        let replacements = self.replacements();
        if replacements.is_empty() {
            let arguments = ["apply", "-f", "examples/"];
            return Ok((shown("kubectl", &arguments), self.kubectl(&arguments).await?));
        }
        self.apply_with(&replacements).await
    }

    /// Applies the manifests with a connection that is only to be observed. Returns the command and what it prints.
    pub async fn apply_observing(&self) -> Result<(String, String), Error> {
        let mut replacements = self.replacements();
        let (field, policy) = ("  description:", "  managementPolicy: Observe\n  description:");
        replacements.push((field.to_owned(), policy.to_owned()));
        self.apply_with(&replacements).await
    }

    /// Checks the token in the Secret with this e-mail address. Returns the command and what it prints.
    pub async fn check(&self, screen: &Screen, email: &str, use_case: &str) -> Result<(String, String), Error> {
        let get = ["get", "secret", "bitbucket-token", "-o", "jsonpath={.data.token}"];
        let encoded = self.kubectl(&get).await?;
        let unreadable =
            |error: &dyn std::error::Error| Error::Answer { from: "kubectl".to_owned(), reason: error.to_string() };
        let token = STANDARD.decode(&encoded).map_err(|error| unreadable(&error))?;
        let token = String::from_utf8(token).map_err(|error| unreadable(&error))?;
        let url = self.stand_ins.addresses.bitbucket.as_str();
        let check = ["check", "--email", email, "--use-case", use_case, "--bitbucket-url", url];
        let mut command = Command::new(&self.program);
        command.env("COLUMNS", screen.room().to_string()).env("NO_COLOR", "1");
        let output = run(command, OPERATOR, &check, Some(&token)).await?;
        let typed = format!(
            "{} | base64 -d |\n{}",
            shown("kubectl", &get),
            shown(OPERATOR, &check).replace(" --bitbucket-url", " \\\n  --bitbucket-url")
        );
        Ok((typed, output))
    }

    /// Whether the operator still runs.
    pub fn operator_runs(&self) -> bool {
        let mut operator = self.operator.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(operator.try_wait(), Ok(None))
    }

    /// The last lines of the operator's log.
    pub fn operator_log(&self, lines: usize) -> String {
        let log = fs::read(&self.operator_log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Ends everything and removes what it wrote. Fails where something can't be taken away from the cluster.
    pub async fn strike(mut self) -> Result<(), Error> {
        let cleaned = self.cluster.clean().await;
        let operator = self.operator.get_mut().unwrap_or_else(PoisonError::into_inner);
        for child in [operator, &mut self.stand_ins.child] {
            // What can't be ended here, the undertaker ends.
            let ended = child.kill().and_then(|()| child.wait());
            if ended.is_ok() {
                let _ = self.cluster.undertaker().forget(child.id());
            }
        }
        self.cluster.stop().await;
        cleaned
    }

    /// Leaves everything running, and says how to use and how to stop it.
    #[expect(clippy::zombie_processes, reason = "they outlive this process")]
    pub fn keep(self, screen: &Screen) -> Result<(), Error> {
        let folder = self.cluster.kubectl_folder().filter(|folder| !in_path(folder)).map(Path::to_owned);
        let replacements = self.replacements();
        let operator = self.operator.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (kubeconfig, stop) = self.cluster.keep(&[operator.id(), self.stand_ins.child.id()])?;
        let at = &self.stand_ins.addresses;
        screen.line("");
        screen.line("Everything goes on running. To use it:");
        screen.line("");
        screen.line(&format!("  export KUBECONFIG={}", kubeconfig.display()));
        if let Some(folder) = folder {
            screen.line(&format!("  export PATH={}:$PATH", folder.display()));
        }
        screen.line("");
        screen.line("Things to try:");
        screen.line("");
        if replacements.is_empty() {
            screen.line("  kubectl apply -f examples/");
        } else {
            screen.line(&format!("  {}", sed(&replacements).replace('\n', "\n  ")));
        }
        screen.line("  kubectl get bbc,clusterkmsinstances");
        screen.line("  kubectl explain bbc.spec");
        screen.line(&format!("  curl {}    # what the KMS holds", at.back_door));
        for (token, what) in seed::TOKENS {
            if [seed::BROAD, seed::NO_SCOPES, seed::BLOCKED].contains(&token) {
                let patch = format!(r#"{{"stringData":{{"token":"{token}"}}}}"#);
                screen.line(&format!("  kubectl patch secret bitbucket-token -p '{patch}'    # it {what}"));
            }
        }
        screen.line(&format!("  less {}", self.operator_log.display()));
        screen.line("");
        screen.line("To stop it all:");
        screen.line("");
        screen.line(&format!("  {}", stop.display()));
        Ok(())
    }
}

/// The command that applies the manifests with these replacements, in two lines.
fn sed(replacements: &[(String, String)]) -> String {
    let line = |text: &str| text.replace('\n', "\\n");
    let orders = replacements.iter().map(|(from, to)| format!("s|{}|{}|", line(from), line(to)));
    format!("sed '{}' examples/*.yaml |\n  kubectl apply -f -", orders.collect::<Vec<_>>().join("; "))
}

/// A command in one line, as it would be typed.
fn shown(program: &str, arguments: &[&str]) -> String {
    arguments.iter().fold(program.to_owned(), |command, argument| command + " " + &quote(argument))
}

/// Reads an answer in JSON.
pub fn json(from: &str, text: &str) -> Result<Value, Error> {
    serde_json::from_str(text)
        .map_err(|error| Error::Answer { from: from.to_owned(), reason: format!("{error}, in: {text}") })
}

pub async fn run(mut command: Command, name: &str, arguments: &[&str], input: Option<&str>) -> Result<String, Error> {
    command.args(arguments).current_dir(ROOT).kill_on_drop(true);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = || cannot(format!("run {name}"));
    let mut child = command.spawn().map_err(running())?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // A program that ends before it has read everything says itself why.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let Output { status, stdout, stderr } = child.wait_with_output().await.map_err(running())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !status.success() {
        return Err(Error::Command { command: shown(name, arguments), output: text(&stderr) });
    }
    // kubectl says "No resources found" on standard error.
    Ok(if stdout.is_empty() { text(&stderr) } else { text(&stdout) })
}

/// Has cargo build the operator as the demo was built, and tells where it is.
async fn build_operator(demo: &Path) -> Result<PathBuf, Error> {
    let missing = || io::Error::other("the demo must be in target/<profile>/examples, where `cargo run` puts it");
    let folder = demo.parent().and_then(Path::parent);
    let (Some(folder), Some(target)) = (folder, folder.and_then(Path::parent)) else {
        return Err(cannot("find the operator's program")(missing()));
    };
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        // What `cargo run` tells a program about its own package would make some libraries be built again.
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command.arg("build").args(["--quiet", "--bin", OPERATOR]);
    // With the demo: for the operator alone cargo would choose other features of some libraries, and build them again.
    command.args(["--example", "demo", "--profile", profile]).arg("--target-dir").arg(target);
    let mut printer = Printer::stderr();
    let started = Instant::now();
    let building = run(command, "cargo build", &[], None);
    tokio::pin!(building);
    loop {
        tokio::select! {
            result = &mut building => {
                result?;
                return Ok(folder.join(OPERATOR));
            }
            () = tokio::time::sleep(Duration::from_secs(2)) => {
                let what = "building the operator".to_owned();
                printer.show(&Progress::Working { what, elapsed: started.elapsed() });
            }
        }
    }
}

/// What lets the operator talk to the stand-ins.
fn run_arguments(stand_ins: &StandIns) -> [&str; 6] {
    let bitbucket = stand_ins.addresses.bitbucket.as_str();
    ["run", "--bitbucket-url", bitbucket, "--allowed-kms-hosts", "127.0.0.1", "--allow-insecure-kms"]
}

fn start_operator(program: &Path, cluster: &Cluster, stand_ins: &StandIns, log: &Path) -> Result<Child, Error> {
    let logging = || cannot(format!("write {}", log.display()));
    let output = File::create(log).map_err(logging())?;
    let mut command = cluster.undertaker().command(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("BCO_") || PROXIES.contains(&name)) {
            command.env_remove(name);
        }
    }
    command
        .args(run_arguments(stand_ins))
        .args(["--metrics-addr", "127.0.0.1:0", "--health-addr", "127.0.0.1:0"])
        .env("KUBECONFIG", cluster.kubeconfig())
        .current_dir("/")
        .stdout(output.try_clone().map_err(logging())?)
        .stderr(output);
    cluster.undertaker().spawn(&mut command).map_err(cannot("start the operator"))
}

/// All manifests in one stream.
fn examples() -> Result<String, Error> {
    let folder = Path::new(ROOT).join("examples");
    let reading = || cannot("read examples/");
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(reading())?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).map_err(reading())).collect()
}

fn in_path(folder: &Path) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|known| known == folder))
}
