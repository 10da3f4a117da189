//! The operator's process: started, killed, asked to end, listened to.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tokio::sync::watch;

use super::{
    PATIENCE, PAUSE,
    plane::{Plane, install_crypto},
    pod::Pod,
};

/// The operator of a world. A handle: clones mean the same process, which is killed with the last of them. Its log goes
/// on over all its starts.
#[derive(Clone)]
pub struct Operator(Arc<Inner>);

/// How the operator is started.
#[derive(Clone)]
pub enum Launch {
    /// As a program on this machine, which finds the cluster by this kubeconfig.
    Program(PathBuf),
    /// As in a pod.
    Pod(Pod),
}

struct Inner {
    // Dropped before the control plane, to which it still talks.
    process: Mutex<Option<Child>>,
    plane: Arc<Plane>,
    launch: Launch,
    args: Vec<String>,
    envs: BTreeMap<String, String>,
    output: watch::Sender<Output>,
}

#[derive(Default)]
struct Output {
    lines: Vec<String>,
    /// The first line of the latest start.
    start: usize,
    /// Pipes that the process still holds open: none once it has ended.
    open: usize,
    ended: Option<ExitStatus>,
}

impl Operator {
    /// One that isn't started yet.
    pub fn new(plane: &Arc<Plane>, launch: Launch, args: Vec<String>, envs: BTreeMap<String, String>) -> Self {
        let (process, plane) = (Mutex::new(None), Arc::clone(plane));
        Self(Arc::new(Inner { process, plane, launch, args, envs, output: watch::Sender::default() }))
    }

    /// Starts the process; it may end at once, or never get ready.
    pub fn spawn(&self) {
        let mut process = self.process();
        assert!(process.is_none(), "the operator runs already");
        let undertaker = self.0.plane.control_plane.undertaker();
        let (program, before) = match &self.0.launch {
            Launch::Program(_) => (env!("CARGO_BIN_EXE_bitbucket-connection-operator"), Vec::new()),
            Launch::Pod(pod) => pod.entrypoint(),
        };
        let mut command = undertaker.command(program);
        command.args(before).arg("run").args(&self.0.args).current_dir(self.0.plane.control_plane.dir());
        // Nothing of the developer's own environment.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("RUST_BACKTRACE", "1");
        match &self.0.launch {
            Launch::Program(kubeconfig) => command.env("KUBECONFIG", kubeconfig),
            Launch::Pod(pod) => command.envs(pod.envs()),
        };
        command.envs(&self.0.envs);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = undertaker.spawn(&mut command).expect("a process");
        self.0.output.send_modify(|output| {
            output.start = output.lines.len();
            output.open = 2;
            output.ended = None;
        });
        self.collect(child.stdout.take().expect("a pipe"));
        self.collect(child.stderr.take().expect("a pipe"));
        *process = Some(child);
    }

    /// Starts the process and waits until it says that it is ready.
    pub async fn start(&self) {
        self.spawn();
        self.until_ready().await;
    }

    /// Asks for `/readyz` until it answers 200; nothing else tells when. Fails at once if the process ends instead.
    pub async fn until_ready(&self) {
        let ready = async {
            while self.get("health", "/readyz").await.is_none_or(|(status, _)| status != 200) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let ended = self.wait_for(|output| output.open == 0);
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(PATIENCE, ready) => outcome.map_err(|_| "isn't ready in time"),
            () = ended => Err("ended before it was ready"),
        };
        outcome.unwrap_or_else(|what| panic!("the operator {what}\n{}", self.tail()));
    }

    /// Ends it without a warning (SIGKILL), and waits until it is gone.
    pub async fn kill(&self) -> ExitStatus {
        self.signal("KILL");
        self.ended().await
    }

    /// Asks it to end (SIGTERM), waits until it did, and returns how: `code()` if by itself, `signal()` if it was killed.
    pub async fn terminate(&self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Sends a signal by its name, such as STOP and CONT.
    pub fn signal(&self, name: &str) {
        let process = self.process();
        let pid = process.as_ref().expect("an operator that runs").id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, "--", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send SIG{name} to {pid}");
    }

    /// Waits until the process has ended, and returns how.
    pub async fn ended(&self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.wait_for(|output| output.open == 0)).await;
        ended.unwrap_or_else(|_| panic!("the operator doesn't end\n{}", self.tail()));
        let mut child = self.process().take().expect("an operator that was started");
        // Its pipes are closed: it is gone, or will be in a moment.
        let (child_id, status) = (child.id(), tokio::task::spawn_blocking(move || child.wait()).await);
        let status = status.expect("a thread to wait in").expect("an exit status");
        let _ = self.0.plane.control_plane.undertaker().forget(child_id);
        self.0.output.send_modify(|output| output.ended = Some(status));
        status
    }

    /// Whether a process was started and not waited for.
    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    /// The process id of the running operator.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Child::id)
    }

    /// Where one of its servers (`health`, `metrics`) listens, once it said so in the log.
    pub fn address(&self, server: &str) -> Option<String> {
        let output = self.0.output.borrow();
        output.lines[output.start..].iter().find_map(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let fields = event.get("fields").unwrap_or(&event);
            (fields["server"] == server).then(|| fields["address"].as_str().map(str::to_owned)).flatten()
        })
    }

    /// Asks one of its servers; nothing if that doesn't answer.
    pub async fn get(&self, server: &str, path: &str) -> Option<(u16, String)> {
        install_crypto();
        let url = format!("http://{}{path}", self.address(server)?);
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("an HTTP client");
        let answer = client.get(url).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// All that it wrote, over all its starts: standard error and standard output.
    pub fn log(&self) -> String {
        self.0.output.borrow().lines.join("\n")
    }

    /// Waits until a line of its log since its last start holds all of these texts, and returns it.
    pub async fn says(&self, texts: &[&str]) -> String {
        let is_meant = |line: &&String| texts.iter().all(|text| line.contains(text));
        let find = |output: &Output| output.lines[output.start..].iter().find(is_meant).cloned();
        let found = tokio::time::timeout(PATIENCE, self.wait_for(|output| find(output).is_some())).await;
        found.unwrap_or_else(|_| panic!("the operator doesn't say {texts:?}\n{}", self.tail()));
        find(&self.0.output.borrow()).unwrap_or_default()
    }

    /// The end of its log, and whether it runs, for people.
    pub fn tail(&self) -> String {
        const LINES: usize = 40;
        let output = self.0.output.borrow();
        let state = match (&output.ended, output.open) {
            (Some(status), _) => format!("ended with {status}"),
            (None, 0) => "isn't running".to_owned(),
            (None, _) => "is running".to_owned(),
        };
        let from = output.lines.len().saturating_sub(LINES);
        format!("The operator {state}; the end of its log:\n  {}", output.lines[from..].join("\n  "))
    }

    async fn wait_for(&self, holds: impl Fn(&Output) -> bool) {
        let mut output = self.0.output.subscribe();
        // The sender is part of `self`: it can't be gone.
        let _ = output.wait_for(|output| holds(output)).await;
    }

    /// Takes lines in a thread until the pipe is closed. The thread holds no handle: it must not keep the process.
    fn collect(&self, pipe: impl Read + Send + 'static) {
        let output = self.0.output.clone();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                output.send_modify(|output| output.lines.push(text));
                line.clear();
            }
            output.send_modify(|output| output.open -= 1);
        });
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.0.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = process.take() {
            // Fails only for a process that is gone.
            let _ = child.kill();
            let _ = child.wait();
            let _ = self.plane.control_plane.undertaker().forget(child.id());
        }
    }
}
