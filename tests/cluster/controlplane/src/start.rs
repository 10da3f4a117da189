//! Starts, restarts and stops a control plane.

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::Instant;

use crate::access::{ADMIN, Access};
use crate::audit;
use crate::error::{Error, cannot};
use crate::processes::{Killed, Ports, Processes, arguments, create_dir, log_tail};
use crate::programs::{Program, Programs};
use crate::undertaker::Undertaker;

/// A start that takes longer has failed.
const START_TIMEOUT: Duration = Duration::from_mins(5);

/// How long a single question may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two questions.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// How often other ports are tried when somebody else took one in between.
const ATTEMPTS: usize = 3;

/// A running control plane: etcd, the API server, and the controllers for namespaces, garbage collection and aggregated
/// cluster roles. No nodes, and no service accounts that nobody creates.
///
/// It ends with [`stop`](Self::stop), when it is dropped, and when this process ends in any way, unless it is
/// [kept](Self::keep). Methods take `&self`, and none depends on the async runtime that it was started in: tests can
/// share one.
#[derive(Debug)]
pub struct ControlPlane {
    pub(crate) dir: PathBuf,
    pub(crate) kubeconfig: PathBuf,
    access: Access,
    ports: Ports,
    programs: Programs,
    /// Whether the API server keeps a journal.
    audited: bool,
    /// `None` once it was stopped or kept.
    pub(crate) processes: Mutex<Option<Processes>>,
    /// Dropped last, so that it finds nothing left to do.
    pub(crate) undertaker: Undertaker,
}

impl ControlPlane {
    /// Starts a control plane and waits until it is ready, which takes a few seconds.
    pub async fn start(programs: &Programs) -> Result<Self, Error> {
        Self::start_with(programs, false).await
    }

    /// The same, with an API server that writes a line to the [audit log](Self::audit_log) for every request to change
    /// something: who, what, and the answer, never the contents.
    pub async fn start_audited(programs: &Programs) -> Result<Self, Error> {
        Self::start_with(programs, true).await
    }

    async fn start_with(programs: &Programs, audited: bool) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            match Self::start_once(programs, audited).await {
                Err(Error::Exited { log, .. }) if attempt < ATTEMPTS && log.contains("address already in use") => {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn start_once(programs: &Programs, audited: bool) -> Result<Self, Error> {
        let preparing = || cannot("prepare the end of the control plane");
        let undertaker = Undertaker::start().map_err(preparing())?;
        let dir = create_dir()?;
        undertaker.remove_dir(&dir).map_err(preparing())?;
        let ports = Ports::free()?;
        let access = Access::write(&dir, ports.api_server)?;
        if audited {
            audit::write_policy(&dir)?;
        }
        let control_plane = Self {
            kubeconfig: access.path_for(ADMIN),
            dir,
            access,
            ports,
            programs: programs.clone(),
            audited,
            processes: Mutex::new(Some(Processes::default())),
            undertaker,
        };
        // The API server waits for etcd by itself; the controllers give up if there is no API server for a while.
        control_plane.launch(Program::Etcd, &[])?;
        control_plane.launch(Program::ApiServer, &[])?;
        control_plane.ready(Program::ApiServer).await?;
        control_plane.launch(Program::ControllerManager, &[])?;
        control_plane.ready(Program::ControllerManager).await?;
        Ok(control_plane)
    }

    /// The folder with everything that belongs to it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The kubeconfig of the [admin](ADMIN).
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Writes a kubeconfig for a user and says where it is. [`ADMIN`](crate::ADMIN) and [`TENANT`](crate::TENANT) have
    /// tokens; any other user, such as `system:serviceaccount:<namespace>:<name>`, is impersonated by the admin, which
    /// is the same for RBAC.
    pub fn kubeconfig_for(&self, user: &str) -> Result<PathBuf, Error> {
        self.access.kubeconfig_for(user)
    }

    /// Writes a kubeconfig for a user with this token, such as that of a ServiceAccount, and says where it is. Its
    /// context is in this namespace, as a pod's would be.
    pub fn kubeconfig_with(&self, user: &str, token: &str, namespace: &str) -> Result<PathBuf, Error> {
        self.access.kubeconfig_with(user, token, namespace)
    }

    /// The address of the API server, such as `https://127.0.0.1:6443`.
    pub fn server(&self) -> &str {
        self.access.server()
    }

    /// A kubectl as admin, with a home and a cache of its own. It is killed if its future is dropped.
    pub fn kubectl(&self) -> Command {
        let home = self.dir.join("home");
        let mut command = Command::new(self.programs.path(Program::Kubectl));
        command.env("KUBECACHEDIR", home.join("cache")).env("HOME", home).env_remove("KUBECONFIG");
        command.arg("--kubeconfig").arg(&self.kubeconfig).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// The whole log of a program, over all its starts; empty if there is none.
    pub fn log(&self, program: Program) -> String {
        let log = std::fs::read(self.log_path(program)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Where a program's log is.
    pub fn log_path(&self, program: Program) -> PathBuf {
        self.dir.join(format!("{}.log", program.name()))
    }

    /// Where the audit events are, one JSON object a line, each written when its request ends, which may be a moment after
    /// a watch has shown the effect; there is no file unless it was [started](Self::start_audited) with them.
    pub fn audit_log(&self) -> PathBuf {
        audit::log(&self.dir)
    }

    /// What ends everything with this process. Other processes and folders can be given to it, too.
    pub fn undertaker(&self) -> &Undertaker {
        &self.undertaker
    }

    /// Kills a program without a warning and waits until it is gone. Its data and its port stay reserved for
    /// [`start_program`](Self::start_program).
    pub async fn kill_program(&self, program: Program) -> Result<(), Error> {
        let killed = self.processes().as_mut().map(|processes| processes.kill(|running| running == program));
        self.bury(killed.ok_or_else(|| self.stopped())?).await;
        Ok(())
    }

    /// Starts a program again that was killed, and waits until it is ready. Does nothing if it runs.
    pub async fn start_program(&self, program: Program) -> Result<(), Error> {
        self.start_program_with(program, &[]).await
    }

    /// The same, with more arguments than usual, until it is started again.
    pub async fn start_program_with(&self, program: Program, more: &[&str]) -> Result<(), Error> {
        self.launch(program, more)?;
        self.ready(program).await
    }

    /// Kills the API server without a warning and starts it again on the same port, with the same certificate.
    pub async fn restart_apiserver(&self) -> Result<(), Error> {
        self.kill_program(Program::ApiServer).await?;
        self.start_program(Program::ApiServer).await
    }

    /// Kills everything, waits until it is gone and removes the folder. Does nothing if that was done before.
    pub async fn stop(&self) {
        let killed = self.processes().take().map(|mut processes| processes.kill(|_| true));
        if let Some(killed) = killed {
            self.bury(killed).await;
            // What cannot be removed now, the undertaker tries again.
            let _ = tokio::fs::remove_dir_all(&self.dir).await;
        }
    }

    pub(crate) fn processes(&self) -> MutexGuard<'_, Option<Processes>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stopped(&self) -> Error {
        Error::Stopped { dir: self.dir.clone() }
    }

    async fn bury(&self, killed: Killed) {
        let pids = tokio::task::spawn_blocking(|| killed.wait()).await.unwrap_or_default();
        self.forget(&pids);
    }

    fn forget(&self, pids: &[u32]) {
        for pid in pids {
            // Fails only if the undertaker is gone, and then there is nobody to tell.
            let _ = self.undertaker.forget(*pid);
        }
    }

    fn launch(&self, program: Program, more: &[&str]) -> Result<(), Error> {
        let mut processes = self.processes();
        let processes = processes.as_mut().ok_or_else(|| self.stopped())?;
        if program == Program::Kubectl || processes.runs(program) {
            return Ok(());
        }
        let mut command = self.undertaker.command(self.programs.path(program));
        arguments(&mut command, program, &self.dir, self.ports, &self.access);
        if self.audited && program == Program::ApiServer {
            audit::arguments(&mut command, &self.dir);
        }
        command.args(more).current_dir(&self.dir);
        processes.launch(&self.undertaker, program, command, &self.log_path(program))
    }

    async fn ready(&self, program: Program) -> Result<(), Error> {
        let deadline = Instant::now() + START_TIMEOUT;
        match program {
            Program::Kubectl => Ok(()),
            Program::Etcd => {
                let what = "etcd doesn't listen";
                self.until(deadline, program, what, || listens(self.ports.etcd)).await
            }
            Program::ApiServer => {
                // A connection costs less than a kubectl.
                let what = "the API server doesn't listen";
                self.until(deadline, program, what, || listens(self.ports.api_server)).await?;
                let what = "the API server isn't ready";
                self.until(deadline, program, what, || self.answers(self.server(), "/readyz")).await?;
                // The last of the namespaces that it makes for itself.
                let (what, path) = ("there is no namespace \"default\"", "/api/v1/namespaces/default");
                self.until(deadline, program, what, || self.answers(self.server(), path)).await
            }
            Program::ControllerManager => {
                let server = format!("https://127.0.0.1:{}", self.ports.controller_manager);
                let what = "the controller manager isn't healthy";
                self.until(deadline, program, what, || listens(self.ports.controller_manager)).await?;
                self.until(deadline, program, what, || self.answers(&server, "/healthz")).await
            }
        }
    }

    /// Asks again and again until the answer is yes, the time is up, or a program has ended.
    async fn until<Answer: Future<Output = bool>>(
        &self,
        deadline: Instant,
        program: Program,
        what: &'static str,
        ask: impl Fn() -> Answer,
    ) -> Result<(), Error> {
        loop {
            let ended = self.processes().as_mut().ok_or_else(|| self.stopped())?.ended();
            if let Some((program, status)) = ended {
                let log = log_tail(&self.log_path(program));
                return Err(Error::Exited { program: program.name(), status, log });
            }
            if tokio::time::timeout(PROBE_TIMEOUT, ask()).await.unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let log = log_tail(&self.log_path(program));
                let seconds = START_TIMEOUT.as_secs();
                return Err(Error::NotReady { what, seconds, program: program.name(), log });
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }

    async fn answers(&self, server: &str, path: &str) -> bool {
        let mut kubectl = self.kubectl();
        if server != self.server() {
            // Only the API server's certificate is known.
            kubectl.args(["--insecure-skip-tls-verify", "--server", server]);
        }
        kubectl.args(["get", "--raw", path]).stdout(Stdio::null()).stderr(Stdio::null());
        kubectl.status().await.is_ok_and(|status| status.success())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let killed = self.processes().take().map(|mut processes| processes.kill(|_| true));
        if let Some(killed) = killed {
            self.forget(&killed.wait());
        }
    }
}

async fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok()
}
