//! The processes of one control plane: what they are started with, their logs, their end.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use crate::access::{Access, random_hex};
use crate::error::{Error, cannot, tail};
use crate::programs::Program;
use crate::undertaker::Undertaker;

/// Ports on 127.0.0.1 that were free a moment ago.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) etcd: u16,
    pub(crate) api_server: u16,
    pub(crate) controller_manager: u16,
}

/// Below those that the kernel gives to whoever asks for any, from 32768 on: a program that is started again finds its port
/// free, whatever connections others began meanwhile.
const PORTS: Range<u16> = 20_000..30_000;

impl Ports {
    pub(crate) fn free() -> Result<Self, Error> {
        // All are held until all are found, so that they differ.
        let (first, second, third) = (bind()?, bind()?, bind()?);
        let port = |listener: &TcpListener| Ok(listener.local_addr().map_err(finding())?.port());
        Ok(Self { etcd: port(&first)?, api_server: port(&second)?, controller_manager: port(&third)? })
    }
}

fn finding() -> impl FnOnce(io::Error) -> Error {
    cannot("find free ports on 127.0.0.1")
}

/// Listens at a port that is free, wherever in the range: so two who look at the same time seldom find the same.
fn bind() -> Result<TcpListener, Error> {
    let random = u64::from_str_radix(&random_hex()?[..12], 16).unwrap_or_default();
    let count = u64::from(PORTS.end - PORTS.start);
    let first = u16::try_from(random % count).unwrap_or_default();
    let ports = PORTS.skip(usize::from(first)).chain(PORTS);
    let mut listeners = ports.map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    match listeners.find(Result::is_ok) {
        Some(listener) => listener.map_err(finding()),
        None => Err(finding()(io::ErrorKind::AddrInUse.into())),
    }
}

/// Creates the folder of a control plane; it is for this user only, as it holds tokens and keys.
pub(crate) fn create_dir() -> Result<PathBuf, Error> {
    let dir = std::env::temp_dir().join(format!("controlplane-{}", &random_hex()?[..12]));
    let dir = std::path::absolute(&dir).map_err(cannot("find the folder for temporary files"))?;
    fs::DirBuilder::new().mode(0o700).create(&dir).map_err(cannot(format!("create {}", dir.display())))?;
    Ok(dir)
}

/// Sets the arguments of a program. There is none for kubectl, which is no server.
pub(crate) fn arguments(command: &mut Command, program: Program, dir: &Path, ports: Ports, access: &Access) {
    let etcd = format!("http://127.0.0.1:{}", ports.etcd);
    match program {
        Program::Etcd => command
            .args(["--unsafe-no-fsync", "--name=controlplane", "--log-level=warn"])
            .args(["--listen-client-urls", &etcd, "--advertise-client-urls", &etcd])
            // A single member has no peers.
            .args(["--listen-peer-urls", "http://127.0.0.1:0"])
            .args(["--initial-advertise-peer-urls", "http://127.0.0.1:1"])
            .args(["--initial-cluster", "controlplane=http://127.0.0.1:1"])
            .arg("--data-dir")
            .arg(dir.join("etcd")),
        Program::ApiServer => command
            .args(["--etcd-servers", &etcd])
            .args(["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"])
            .args(["--secure-port", &ports.api_server.to_string()])
            // The API would refuse a loopback address as the endpoint of the service "kubernetes".
            .args(["--endpoint-reconciler-type", "none", "--service-cluster-ip-range", "10.0.0.0/24"])
            .args(["--authorization-mode", "RBAC", "--disable-admission-plugins", "ServiceAccount"])
            .args(["--profiling=false", "--service-account-issuer", "https://kubernetes.default.svc"])
            .arg("--cert-dir")
            .arg(access.certificates())
            .arg("--service-account-key-file")
            .arg(access.server_key())
            .arg("--service-account-signing-key-file")
            .arg(access.server_key())
            .arg("--token-auth-file")
            .arg(access.tokens()),
        Program::ControllerManager => command
            // Without the last one the built-in roles admin, edit and view are empty.
            .arg("--controllers=namespace-controller,garbage-collector-controller,clusterrole-aggregation-controller")
            .args(["--leader-elect=false", "--profiling=false", "--bind-address", "127.0.0.1"])
            .args(["--secure-port", &ports.controller_manager.to_string()])
            .arg("--kubeconfig")
            .arg(access.path_for(crate::ADMIN)),
        Program::Kubectl => command,
    };
}

/// The processes that run.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    running: Vec<(Program, Child)>,
}

impl Processes {
    /// Starts a program; its output is appended to its log.
    pub(crate) fn launch(
        &mut self,
        undertaker: &Undertaker,
        program: Program,
        mut command: Command,
        log: &Path,
    ) -> Result<(), Error> {
        let logging = || cannot(format!("write {}", log.display()));
        let output = fs::OpenOptions::new().create(true).append(true).open(log).map_err(logging())?;
        let error_output = output.try_clone().map_err(logging())?;
        command.stdout(output).stderr(error_output);
        let child = undertaker.spawn(&mut command).map_err(cannot(format!("start {}", program.name())))?;
        self.running.push((program, child));
        Ok(())
    }

    pub(crate) fn runs(&self, program: Program) -> bool {
        self.running.iter().any(|(running, _)| *running == program)
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.running.iter().map(|(_, child)| child.id()).collect()
    }

    /// A program that ended by itself, if there is one.
    pub(crate) fn ended(&mut self) -> Option<(Program, ExitStatus)> {
        self.running.iter_mut().find_map(|(program, child)| Some((*program, child.try_wait().ok()??)))
    }

    /// Lets go of all processes without ending them.
    pub(crate) fn release(&mut self) {
        self.running.clear();
    }

    /// Kills those programs that `which` picks. They are not waited for yet.
    pub(crate) fn kill(&mut self, which: impl Fn(Program) -> bool) -> Killed {
        let (mut killed, running) = self.running.drain(..).partition(|(program, _)| which(*program));
        self.running = running;
        for (_, child) in &mut killed {
            // Fails only for a child that was waited for, and then there is nothing to kill.
            let _ = child.kill();
        }
        Killed(killed)
    }
}

/// Processes that were killed, and are now to be waited for.
#[derive(Debug)]
#[must_use = "a process that isn't waited for stays a zombie"]
pub(crate) struct Killed(Vec<(Program, Child)>);

impl Killed {
    /// Waits until they are gone; returns their ids.
    pub(crate) fn wait(self) -> Vec<u32> {
        let wait = |(_, mut child): (Program, Child)| {
            let _ = child.wait();
            child.id()
        };
        self.0.into_iter().map(wait).collect()
    }
}

/// The end of a log file.
pub(crate) fn log_tail(log: &Path) -> String {
    tail(&String::from_utf8_lossy(&fs::read(log).unwrap_or_default()))
}
