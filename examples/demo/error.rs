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
         cluster, or leave CONTEXT out"
    )]
    InUse {
        /// The context.
        context: String,
        /// The first thing that was found.
        what: String,
    },
    /// Another demo plays there, or one left something.
    #[error(
        "the cluster of the context {context} has namespace/{namespace} already: another demo plays there, or one was \
         ended before it could clean up. What that one left is taken away by:\n{commands}"
    )]
    LeftBefore {
        /// The context.
        context: String,
        /// The demo's own namespace.
        namespace: &'static str,
        /// What takes it away.
        commands: String,
    },
    /// What was made can't be taken away.
    #[error(
        "{what} is left on the cluster of the context {context}: {reason}\nOnce that is cured, these take it away:\n{commands}"
    )]
    Left {
        /// The context.
        context: String,
        /// What is there, as far as is known.
        what: String,
        /// Why it is.
        reason: String,
        /// What takes it away.
        commands: String,
    },
    /// Two things, one after the other.
    #[error("{0}\nAnd then {1}")]
    Both(Box<Error>, Box<Error>),
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
