//! What can go wrong, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why there is no control plane, with the next step in its text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried, as the end of "cannot …".
        doing: String,
        /// The answer of the operating system.
        source: io::Error,
    },

    /// There is no folder for the built programs.
    #[error("no cache folder: set XDG_CACHE_HOME or HOME, or name a folder with the programs in KUBEBUILDER_ASSETS")]
    NoCacheFolder,

    /// Programs are missing, and so is Go, which would build them.
    #[error(
        "{missing} not found, and there is no `go` to build with: install Go {needed} or later (https://go.dev/dl), or \
         {instead}"
    )]
    NoGo {
        /// The programs that would have been built.
        missing: String,
        /// The oldest Go that can build them.
        needed: String,
        /// What can be done instead.
        instead: &'static str,
    },

    /// Programs are missing, and Go is too old to build them.
    #[error(
        "{missing} not found, and Go {found} is too old to build with: install Go {needed} or later \
         (https://go.dev/dl), or {instead}"
    )]
    OldGo {
        /// The programs that would have been built.
        missing: String,
        /// The version of the Go that was found.
        found: String,
        /// The oldest Go that can build them.
        needed: String,
        /// What can be done instead.
        instead: &'static str,
    },

    /// `go build` failed.
    #[error(
        "building {programs} failed ({status}); the end of what `go build` said:\n{output}\nMend that (network, disk \
         space and GOPROXY are the usual causes) and run again: what is compiled already stays cached. Or {instead}"
    )]
    BuildFailed {
        /// The programs that were being built.
        programs: String,
        /// How `go build` ended.
        status: ExitStatus,
        /// The last lines of its output.
        output: String,
        /// What can be done instead.
        instead: &'static str,
    },

    /// A program of the control plane ended by itself.
    #[error("{program} ended by itself ({status}); the end of its log:\n{log}")]
    Exited {
        /// The program's name.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },

    /// The control plane did not get ready in time.
    #[error(
        "{what} after {seconds} s; the end of the log of {program}:\n{log}\nIf the machine is merely busy, run again"
    )]
    NotReady {
        /// What was still missing.
        what: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// The program that it was expected of.
        program: &'static str,
        /// The last lines of its log.
        log: String,
    },

    /// The control plane was stopped or kept before.
    #[error("the control plane in {} is stopped: start another one", dir.display())]
    Stopped {
        /// The folder it ran in.
        dir: PathBuf,
    },
}

/// Turns an error of the operating system into ours: `.map_err(cannot("read the log"))`.
pub(crate) fn cannot(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing: doing.into(), source }
}

/// The last lines of a program's output, short enough for an error message.
pub(crate) fn tail(output: &str) -> String {
    const LINES: usize = 15;
    const WIDTH: usize = 500;
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return "  (empty)".to_owned();
    }
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(|line| format!("  {}", line.chars().take(WIDTH).collect::<String>())).collect::<Vec<_>>().join("\n")
}
