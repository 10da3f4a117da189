//! `completions`: lets a shell complete commands and flags.

use clap::{Args, Command};
use clap_complete::Shell;

use super::{Error, output};

/// What `completions` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
        source <(bitbucket-connection-operator completions bash)\n  \
        bitbucket-connection-operator completions zsh > ~/.zfunc/_bitbucket-connection-operator")]
pub struct CompletionsOptions {
    /// The shell to print completions for
    shell: Shell,
}

/// Prints the script.
pub(super) fn completions(options: &CompletionsOptions, mut command: Command) -> Result<(), Error> {
    let name = command.get_name().to_owned();
    // By way of a buffer, since the generator panics where standard output is closed.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
