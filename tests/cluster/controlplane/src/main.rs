//! Builds the control plane, or runs one until Ctrl-C.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use controlplane::{ControlPlane, Error, Helm, Judges, Printer, Program, Programs};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: controlplane <command>

  build   find etcd, kube-apiserver, kube-controller-manager and kubectl, or build them; say where they are
  helm    find helm 4, or build it, and helm-docs; say where helm is
  judges  build what asks kstatus and Argo CD's Lua about objects; say where it is
  run     start a control plane, print how to reach it, and stop it on Ctrl-C
  keep    start a control plane, leave it running, and print how to reach and how to stop it

The programs are looked for in KUBEBUILDER_ASSETS, in PATH and in the cache of this user.";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["build"] => build().await,
        ["helm"] => helm().await,
        ["judges"] => judges().await,
        ["run"] => run().await,
        ["keep"] => keep().await,
        ["help" | "-h" | "--help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn find_or_build() -> Result<Programs, Error> {
    let mut printer = Printer::stderr();
    Programs::find_or_build(|progress| printer.show(&progress)).await
}

async fn start() -> Result<ControlPlane, Error> {
    let programs = find_or_build().await?;
    let started = Instant::now();
    let control_plane = ControlPlane::start(&programs).await?;
    eprintln!("The control plane is ready after {:.1} s", started.elapsed().as_secs_f32());
    Ok(control_plane)
}

async fn build() -> Result<(), Error> {
    let programs = find_or_build().await?;
    for program in Program::ALL {
        println!("{}", programs.path(program).display());
    }
    Ok(())
}

async fn helm() -> Result<(), Error> {
    let mut printer = Printer::stderr();
    let helm = Helm::find_or_build(|progress| printer.show(&progress)).await?;
    println!("{}", helm.path().display());
    Ok(())
}

async fn judges() -> Result<(), Error> {
    let mut printer = Printer::stderr();
    let judges = Judges::find_or_build(|progress| printer.show(&progress)).await?;
    println!("{}", judges.path().display());
    Ok(())
}

async fn run() -> Result<(), Error> {
    let listening = |source| Error::Io { doing: "listen for signals".to_owned(), source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(listening)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(listening)?;
    let ended = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(ended);
    let control_plane = tokio::select! {
        started = start() => started?,
        () = &mut ended => return Ok(()),
    };
    println!("export KUBECONFIG={}", control_plane.kubeconfig().display());
    eprintln!("Ctrl-C stops it");
    ended.await;
    control_plane.stop().await;
    Ok(())
}

async fn keep() -> Result<(), Error> {
    let kept = start().await?.keep(&[])?;
    println!("export KUBECONFIG={}", kept.kubeconfig.display());
    eprintln!("To stop it: {}", kept.stop.display());
    Ok(())
}
