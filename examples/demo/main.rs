//! The main job in one command: a Bitbucket connection from its first day to its last, on a real control plane, with the
//! real operator, and with stand-ins for Bitbucket and the KMS.
//!
//! `screen` what it looks like · `cluster` where it plays, and `cleaning` what is taken away from there · `stage` what runs · `standins` Bitbucket and the KMS · `watch` what there is to see ·
//! `story` the eight steps.

mod cleaning;
mod cluster;
mod error;
mod screen;
mod stage;
mod standins;
mod story;
mod watch;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};

use error::{Error, cannot};
use screen::{Screen, Style, seconds};
use stage::{Prepared, Stage};

const USAGE: &str = "\
Shows what the operator does, step by step, on a control plane of its own; takes a minute, or about ten the first time.

usage: cargo run --example demo

  CONTEXT=name      use the cluster of this context of your kubeconfig; what is made there is removed at the end
  KEEP=1            leave everything running, and say how to use and how to stop it
  NO_COLOR=1        no colours
  CLICOLOR_FORCE=1  colours into a pipe, too
  COLUMNS=N         how wide the output is";

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only where there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => demo().await,
        [standins::MODE] => standins::serve().await.map(|()| ExitCode::SUCCESS),
        _ => {
            Screen::stdout().line(USAGE);
            let asked = matches!(arguments[..], ["-h" | "--help" | "help"]);
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// The demo, until it ends or is interrupted. Whatever was started ends with the future that started it.
async fn demo() -> Result<ExitCode, Error> {
    let listening = || cannot("listen for signals");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(listening())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(listening())?;
    let mut interrupted = async || {
        tokio::select! {
            _ = interrupt.recv() => ExitCode::from(130),
            _ = terminate.recv() => ExitCode::from(143),
        }
    };
    let context = std::env::var("CONTEXT").ok().filter(|name| !name.is_empty());
    let screen = Screen::stdout();
    screen.styled("Bitbucket connections of Hanzo KMS, kept by Kubernetes", Style::Bold);
    let cluster = if context.is_some() { "A cluster of yours" } else { "A real control plane" };
    screen.text(&format!("{cluster} and the real operator; Bitbucket and the KMS are stand-ins on this machine."));
    screen.line("");
    let prepared = tokio::select! {
        prepared = Prepared::new(&screen, context.as_deref()) => prepared?,
        code = interrupted() => return Ok(code),
    };
    let stopping =
        || screen.styled("\nInterrupted: what was started is ended, and what was made is taken away.", Style::Warn);
    let mut setting = pin!(Stage::set(&screen, prepared));
    let stage = tokio::select! {
        stage = &mut setting => stage?,
        code = interrupted() => {
            stopping();
            setting.await?.strike().await?;
            return Ok(code);
        }
    };
    let code = tokio::select! {
        code = perform(&screen, &stage) => code,
        code = interrupted() => {
            stopping();
            stage.strike().await?;
            return Ok(code);
        }
    };
    if std::env::var_os("KEEP").is_some_and(|value| !value.is_empty() && value != "0") {
        stage.keep(&screen)?;
    } else {
        stage.strike().await?;
    }
    code
}

/// Tells the story, and says how it ended.
async fn perform(screen: &Screen, stage: &Stage) -> Result<ExitCode, Error> {
    let started = Instant::now();
    let told = story::tell(screen, stage).await;
    Ok(match &told {
        Ok(()) => {
            let view = stage.stand_ins.view().await?;
            screen.line("");
            let elapsed = seconds(started.elapsed());
            let shown = format!(
                "Planned, created, rotated, protected, diagnosed, corrected, warned about, deleted in {elapsed}."
            );
            screen.styled(&shown, Style::Bold);
            let (bitbucket, kms) = (view.bitbucket_calls, view.kms_calls);
            screen.line(&format!("Bitbucket was asked {bitbucket} times, the KMS {kms} times."));
            ExitCode::SUCCESS
        }
        Err(error) => {
            explain(screen, stage, error).await;
            ExitCode::FAILURE
        }
    })
}

/// What a person needs to find out why a step failed.
async fn explain(screen: &Screen, stage: &Stage, error: &Error) {
    screen.line("");
    screen.styled(&format!("✗ {error}"), Style::Bad);
    let asks: [&[&str]; 2] = [
        &["get", "bbc,clusterkmsinstances", "-o", "yaml"],
        &["get", "events", "--sort-by", ".metadata.creationTimestamp"],
    ];
    for arguments in asks {
        screen.typed("kubectl", arguments);
        match stage.kubectl(arguments).await {
            Ok(output) => screen.output(&output),
            Err(error) => screen.output(&error.to_string()),
        }
    }
    screen.line("");
    screen.text("The end of the operator's log:");
    let log = stage.operator_log(40);
    screen.output(if log.is_empty() { "(empty)" } else { &log });
}
