//! The command line: one module per command, and here what they have in common.
//!
//! What a person typed is parsed and judged here, once. A command gets typed, validated options, and a refusal names
//! the flag, what was wrong with its value, and what would be right.

pub mod check;
mod completions;
mod crds;
mod list;
mod man;
mod name;
mod output;
mod parse;
pub mod run;
mod scopes;
mod screen;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{
    Command, CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

pub use check::CheckOptions;
pub use crds::CrdsOptions;
pub use list::ListOptions;
pub use man::ManOptions;
pub use run::RunOptions;
pub use scopes::ScopesOptions;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = name::NAME,
    version,
    max_term_width = 100,
    about = "Keeps Bitbucket app connections of Hanzo KMS in step with Kubernetes Secrets",
    long_about = "Keeps Bitbucket app connections of Hanzo KMS in step with Kubernetes Secrets.\n\n\
        A BitbucketConnection names a Secret with an Atlassian API token. The operator verifies the token with \
        Bitbucket (is it good, does it have the scopes that the use cases need, when does it expire?), creates or \
        updates the connection in the KMS, and says in the object's status what to do when something is wrong. A bad \
        token never replaces a good one.",
    after_long_help = "Examples:\n  \
        Install the kinds, then run against the cluster of the current kubeconfig context:\n    \
        bitbucket-connection-operator crds | kubectl apply --server-side -f -\n    \
        bitbucket-connection-operator run\n\n  \
        See what to tick when making a token, then check it before it is committed:\n    \
        bitbucket-connection-operator scopes --use-case SecretSync\n    \
        bitbucket-connection-operator check --email bot@example.com --use-case SecretSync < token.txt\n\n  \
        All connections of the cluster, those first whose tokens end first:\n    \
        bitbucket-connection-operator list -A\n\n  \
        Complete commands and flags in bash:\n    \
        source <(bitbucket-connection-operator completions bash)\n\n\
        Exit codes: 0 done, 1 failed (the reason is on standard error), 2 the command line is wrong; check has its own.",
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Task,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Run the operator
    ///
    /// Runs against the cluster of the pod's ServiceAccount or, outside a cluster, of the current kubeconfig context,
    /// until it gets SIGTERM or SIGINT. Every flag can be given as an environment variable as well; the flag wins.
    // The options are boxed: they are ten times as large as those of the other commands.
    Run(Box<RunOptions>),
    /// Verify a token before it is committed: whose it is, what it may do, when it ends
    ///
    /// Asks Bitbucket what the operator would ask, judges by the same rules, and says what to do. The token is read from
    /// standard input; on a terminal it is asked for. It is sent to Bitbucket alone, and never printed.
    // Boxed as well.
    Check(Box<CheckOptions>),
    /// List all connections by the end of their tokens: a table, a calendar, a page
    ///
    /// Reads the cluster of the current kubeconfig context or, in a pod, of its ServiceAccount.
    // Boxed as well.
    List(Box<ListOptions>),
    /// Print the scopes that a use case needs, with reasons
    ///
    /// They are what to tick in Atlassian's dialog: id.atlassian.com, Security, API tokens, Create API token with
    /// scopes, app Bitbucket.
    Scopes(ScopesOptions),
    /// Print the CustomResourceDefinitions of all kinds as YAML
    ///
    /// They are valid for Kubernetes 1.30 and newer, and must be in the cluster before the operator runs.
    Crds(CrdsOptions),
    /// Print shell completions
    ///
    /// That is a script by which a shell completes commands and flags.
    Completions(completions::CompletionsOptions),
    /// Print a manual page, or write those of all commands
    ///
    /// They say what --help says, in the form of man(1).
    Man(ManOptions),
    /// What kubectl asks under a name of its own: these words are to be completed.
    #[command(skip)]
    Complete(Vec<OsString>),
}

/// Why a command failed. The text says what failed, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime can't start.
    #[error("can't start the runtime ({0}): raise the limits on threads and open files of this process")]
    Runtime(std::io::Error),
    /// The log can't be set up.
    #[error(transparent)]
    Logs(#[from] crate::telemetry::logs::Error),
    /// Traces can't be exported.
    #[error(transparent)]
    Traces(#[from] crate::telemetry::traces::Error),
    /// The times of the Lease don't go together.
    #[error(transparent)]
    Terms(#[from] crate::domain::leadership::BadTerms),
    /// The operator stopped.
    #[error(transparent)]
    Run(#[from] crate::controller::Error),
    /// A token wasn't checked.
    #[error(transparent)]
    Check(#[from] check::Error),
    /// Connections weren't listed.
    #[error(transparent)]
    List(#[from] list::Error),
    /// The CRDs can't be printed or written.
    #[error(transparent)]
    Crds(#[from] crds::Error),
    /// A file can't be written.
    #[error("can't write {} ({reason}): name a place that you may write to with {flag}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
        /// The flag that names it.
        flag: &'static str,
    },
    /// Standard output can't be written to.
    #[error("can't write to standard output ({0}): free space where it is redirected to, or redirect it elsewhere")]
    Stdout(std::io::Error),
}

impl Error {
    /// What the process exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Check(error) => error.exit_code(),
            Self::Runtime(_)
            | Self::Logs(_)
            | Self::Traces(_)
            | Self::Terms(_)
            | Self::Run(_)
            | Self::List(_)
            | Self::Crds(_)
            | Self::File { .. }
            | Self::Stdout(_) => ExitCode::FAILURE,
        }
    }
}

impl Cli {
    /// The command line of this process. Ends the process with a message where it is wrong, or where help was asked for.
    pub fn read() -> Self {
        if name::completes() {
            return Self { command: Task::Complete(std::env::args_os().skip(1).collect()) };
        }
        let from_matches = |matches| Self::from_arg_matches(&matches).map_err(|e| e.format(&mut command()));
        match command().try_get_matches().and_then(from_matches).and_then(Self::agrees) {
            Ok(cli) => cli,
            Err(error) => refuse(error),
        }
    }
}

impl Cli {
    /// Refuses values that are good each for itself, and don't go together.
    fn agrees(self) -> Result<Self, clap::Error> {
        let Task::Run(options) = &self.command else { return Ok(self) };
        let problem = options.terms().err().map(|problem| problem.to_string());
        let mut command = command();
        let run = command.find_subcommand_mut("run").filter(|_| problem.is_some());
        match (run, problem) {
            (Some(run), Some(problem)) => {
                Err(run.clone().bin_name(format!("{} run", name::called())).error(ErrorKind::ValueValidation, problem))
            }
            _ => Ok(self),
        }
    }
}

/// Prints why a command line is refused, or the help that was asked for, and ends the process.
fn refuse(error: clap::Error) -> ! {
    let of_check = std::env::args_os().nth(1).is_some_and(|command| command == "check");
    let error = name_the_variable(hide_the_password(error));
    if !of_check || !error.use_stderr() {
        error.exit();
    }
    // As clap does: where standard error is closed nobody wants to know.
    let _ = check::hide_the_token(error).print();
    std::process::exit(check::USAGE.into())
}

/// The parser. `--help` doesn't show the values of environment variables: it reads the same everywhere.
pub fn command() -> Command {
    let command = Cli::command().mut_subcommand("run", |run| run.mut_args(|arg| arg.hide_env_values(true)));
    name::named(command, name::called())
}

/// Does what the command line asks for.
pub fn execute(cli: Cli) -> Result<ExitCode, Error> {
    match cli.command {
        Task::Run(options) => run::run(*options)?,
        Task::Check(options) => return Ok(check::check(*options)?),
        Task::List(options) => list::list(&options)?,
        Task::Scopes(options) => scopes::scopes(&options)?,
        Task::Crds(options) => crds::crds(&options)?,
        Task::Completions(options) => completions::completions(&options, command())?,
        Task::Man(options) => man::man(&options, command())?,
        Task::Complete(words) => completions::complete(words, command())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes user and password out of a refused URL: standard error is often kept for long.
fn hide_the_password(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && let Some((_, host)) = value.rsplit_once('@')
    {
        let hidden = ContextValue::String(format!("…@{host}"));
        error.insert(ContextKind::InvalidValue, hidden);
    }
    error
}

/// Says so where a refused value comes from an environment variable: the flag, which the message names, isn't on the
/// command line then, and nobody would find it.
fn name_the_variable(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let flag = arg.split_whitespace().next().unwrap_or_default().to_owned();
    let variable = command()
        .get_subcommands()
        .flat_map(Command::get_arguments)
        .find(|known| known.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long)))
        .and_then(|known| known.get_env().map(|name| name.to_string_lossy().into_owned()));
    let typed = std::env::args_os().skip(1).any(|arg| arg.to_string_lossy().split('=').next() == Some(&flag));
    if let Some(variable) = variable
        && !typed
        && std::env::var_os(&variable).is_some()
    {
        let tip = StyledStr::from(format!("the value comes from the environment variable {variable}"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }

    #[test]
    fn every_flag_of_run_is_an_environment_variable_too() {
        let command = super::command();
        let run = command.find_subcommand("run").expect("the command run");
        for arg in run.get_arguments() {
            let long = arg.get_long().expect("flags have long names");
            let expected = format!("BCO_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(expected.as_str()), "--{long}");
        }
    }
}
