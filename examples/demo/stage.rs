//! Everything that runs: the control plane, the stand-ins, the operator; and how it is reached.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use controlplane::{ControlPlane, Kept, Printer, Program, Programs, Progress};
use serde_json::Value;
use sim::seed;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::error::{Error, cannot};
use crate::screen::{Screen, quote};
use crate::standins::StandIns;

/// The operator's program, a sibling of the folder with the demo's.
const OPERATOR: &str = "bitbucket-connection-operator";
/// The root of the repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Variables that would change what the operator does, or send its calls elsewhere.
const PROXIES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// What runs. All of it ends with this value or with this process, unless it is [kept](Self::keep).
#[derive(Debug)]
pub struct Stage {
    /// Bitbucket and the KMS.
    pub stand_ins: StandIns,
    programs: Programs,
    program: PathBuf,
    operator: Mutex<Child>,
    operator_log: PathBuf,
    cluster: ControlPlane,
}

impl Stage {
    /// Builds, finds and starts everything, and says so.
    pub async fn set(screen: &Screen) -> Result<Self, Error> {
        let started = Instant::now();
        // Asked before anything is built: afterwards it might be another file.
        let demo = std::env::current_exe().map_err(cannot("find the demo's own program"))?;
        let program = build_operator(&demo).await?;
        screen.done("program", &format!("{OPERATOR}, built"), started.elapsed());

        let started = Instant::now();
        let mut printer = Printer::stderr();
        let programs = Programs::find_or_build(|progress| printer.show(&progress)).await?;
        drop(printer);
        let cluster = ControlPlane::start(&programs).await?;
        let version = json("kubectl", &run(cluster.kubectl(), "kubectl", &["version", "-o", "json"], None).await?)?;
        let version = version["serverVersion"]["gitVersion"].as_str().unwrap_or_default().to_owned();
        let details = format!("Kubernetes {version}: etcd, API server, controllers; no containers");
        screen.done("control plane", &details, started.elapsed());

        let started = Instant::now();
        let stand_ins = StandIns::start(&demo, cluster.undertaker()).await?;
        let at = &stand_ins.addresses;
        screen.done("stand-ins", &format!("Bitbucket {}, KMS {}", at.bitbucket, at.kms), started.elapsed());

        let started = Instant::now();
        let crds = run(Command::new(&program), OPERATOR, &["crds"], None).await?;
        run(cluster.kubectl(), "kubectl", &["apply", "--server-side", "-f", "-"], Some(&crds)).await?;
        let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        run(cluster.kubectl(), "kubectl", &wait, None).await?;
        let details = format!("{OPERATOR} crds | kubectl apply --server-side -f -");
        screen.done("CRDs", &details, started.elapsed());

        let started = Instant::now();
        let operator_log = cluster.dir().join("operator.log");
        let operator = start_operator(&program, &cluster, &stand_ins, &operator_log)?;
        let details = format!("{OPERATOR} {} …", run_arguments(&stand_ins).join(" "));
        screen.done("operator", &details, started.elapsed());
        Ok(Self { stand_ins, programs, program, operator: Mutex::new(operator), operator_log, cluster })
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

    /// Applies the manifests as they are, or with the address at which the KMS listens this time. Returns the command
    /// and what it prints.
    pub async fn apply_examples(&self) -> Result<(String, String), Error> {
        if self.stand_ins.at_usual_port() {
            let arguments = ["apply", "-f", "examples/"];
            return Ok((shown("kubectl", &arguments), self.kubectl(&arguments).await?));
        }
        let usual = format!("http://127.0.0.1:{}", seed::KMS_PORT);
        let here = self.stand_ins.addresses.kms.as_str();
        let manifests = examples()?.replace(&usual, here);
        let output = run(self.cluster.kubectl(), "kubectl", &["apply", "-f", "-"], Some(&manifests)).await?;
        let command = format!("sed 's|{usual}|{here}|' examples/*.yaml | kubectl apply -f -");
        Ok((command, output))
    }

    /// Applies the manifests with a connection that is only to be observed. Returns the command and what it prints.
    pub async fn apply_observing(&self) -> Result<(String, String), Error> {
        let (line, policy) = ("\n  description:", "\n  managementPolicy: Observe");
        let usual = format!("http://127.0.0.1:{}", seed::KMS_PORT);
        let here = self.stand_ins.addresses.kms.as_str();
        let manifests = examples()?.replace(&usual, here).replace(line, &format!("{policy}{line}"));
        let output = run(self.cluster.kubectl(), "kubectl", &["apply", "-f", "-"], Some(&manifests)).await?;
        let address = if usual == here { String::new() } else { format!("s|{usual}|{here}|; ") };
        let policy = r"s|^  description:|  managementPolicy: Observe\n&|";
        Ok((format!("sed '{address}{policy}' examples/*.yaml | kubectl apply -f -"), output))
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

    /// Ends everything and removes what it wrote.
    pub async fn strike(mut self) {
        let operator = self.operator.get_mut().unwrap_or_else(PoisonError::into_inner);
        for child in [operator, &mut self.stand_ins.child] {
            // What can't be ended here, the undertaker ends.
            let ended = child.kill().and_then(|()| child.wait());
            if ended.is_ok() {
                let _ = self.cluster.undertaker().forget(child.id());
            }
        }
        self.cluster.stop().await;
    }

    /// Leaves everything running, and says how to use and how to stop it.
    #[expect(clippy::zombie_processes, reason = "they outlive this process")]
    pub fn keep(self, screen: &Screen) -> Result<(), Error> {
        let operator = self.operator.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Kept { kubeconfig, stop, .. } = self.cluster.keep(&[operator.id(), self.stand_ins.child.id()])?;
        let at = &self.stand_ins.addresses;
        screen.line("");
        screen.line("Everything goes on running. To use it:");
        screen.line("");
        screen.line(&format!("  export KUBECONFIG={}", kubeconfig.display()));
        if let Some(folder) = self.programs.path(Program::Kubectl).parent().filter(|folder| !in_path(folder)) {
            screen.line(&format!("  export PATH={}:$PATH", folder.display()));
        }
        screen.line("");
        screen.line("Things to try:");
        screen.line("");
        if self.stand_ins.at_usual_port() {
            screen.line("  kubectl apply -f examples/");
        } else {
            let usual = format!("http://127.0.0.1:{}", seed::KMS_PORT);
            screen.line(&format!("  sed 's|{usual}|{}|' examples/*.yaml | kubectl apply -f -", at.kms));
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

/// A command in one line, as it would be typed.
fn shown(program: &str, arguments: &[&str]) -> String {
    arguments.iter().fold(program.to_owned(), |command, argument| command + " " + &quote(argument))
}

/// Reads an answer in JSON.
pub fn json(from: &str, text: &str) -> Result<Value, Error> {
    serde_json::from_str(text)
        .map_err(|error| Error::Answer { from: from.to_owned(), reason: format!("{error}, in: {text}") })
}

async fn run(mut command: Command, name: &str, arguments: &[&str], input: Option<&str>) -> Result<String, Error> {
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

fn start_operator(program: &Path, cluster: &ControlPlane, stand_ins: &StandIns, log: &Path) -> Result<Child, Error> {
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
