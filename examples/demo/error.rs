//! What can go wrong with the demo.

use std::io;
use std::time::Duration;

/// Why the demo ended early. The text says what failed and, where it isn't plain, what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The control plane can't be found, built or started.
    #[error(transparent)]
    ControlPlane(#[from] controlplane::Error),
    /// Something with files or processes.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried, as the end of "cannot …".
        doing: String,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// Somebody's objects are not to be played with.
    #[error(
        "the cluster of the context {context} has {what} already: the demo would meddle with it. Choose another \
         cluster, or leave CONTEXT out; what a demo left behind is removed by kubectl delete"
    )]
    InUse {
        /// The context.
        context: String,
        /// The first thing that was found.
        what: String,
    },
    /// A command failed.
    #[error("`{command}` failed:\n{output}")]
    Command {
        /// As it would be typed.
        command: String,
        /// What it said.
        output: String,
    },
    /// An answer of one of our own programs or of kubectl can't be read.
    #[error("cannot read what {from} answered: {reason}")]
    Answer {
        /// Who answered.
        from: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A stand-in can't be reached.
    #[error("the stand-ins don't answer as they should: {0}")]
    Http(#[from] reqwest::Error),
    /// The stand-ins didn't start.
    #[error("the stand-ins didn't start: {0}")]
    StandIns(String),
    /// The operator isn't there any more.
    #[error("the operator ended by itself before this happened: {waiting_for}")]
    OperatorEnded {
        /// What was to happen.
        waiting_for: String,
    },
    /// Nothing happened.
    #[error("this didn't happen within {} s: {waiting_for}", .patience.as_secs())]
    TimedOut {
        /// What was to happen.
        waiting_for: String,
        /// How long it was waited for.
        patience: Duration,
    },
}

/// Turns an error of the operating system into ours: `.map_err(cannot("read the log"))`.
pub fn cannot(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing: doing.into(), source }
}
