//! `completions`: lets a shell complete commands and flags; and what kubectl asks for, to complete those of its plugin.

use std::ffi::OsString;

use clap::{Args, Command};
use clap_complete::{Shell, engine};

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

/// What kubectl does besides showing candidates: neither does it add names of files, …
const NO_FILES: u8 = 4;
/// … nor a space, where a word goes on.
const NO_SPACE: u8 = 2;

/// Prints what the last of these words may become, as kubectl reads it: a line for each candidate, with a tab before its
/// description; then a colon, and a number that says how they are to be taken.
///
/// kubectl runs a program `kubectl_complete-bbc` in PATH with the words after `kubectl bbc`.
pub(super) fn complete(mut words: Vec<OsString>, mut command: Command) -> Result<(), Error> {
    if words.is_empty() {
        words.push(OsString::new());
    }
    let (last, folder) = (words.len(), std::env::current_dir().ok());
    words.insert(0, command.get_name().to_owned().into());
    // What can't be completed has no candidates: nobody sees an error while typing.
    let candidates = engine::complete(&mut command, words, last, folder.as_deref()).unwrap_or_default();
    let mut goes_on = false;
    let mut answer = String::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_hide_set()) {
        let value = candidate.get_value().to_string_lossy();
        goes_on |= value.ends_with(['/', '=']);
        answer += &value;
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        if let Some(line) = help.lines().next().filter(|line| !line.is_empty()) {
            answer.push('\t');
            answer += line;
        }
        answer.push('\n');
    }
    let how = if goes_on { NO_FILES | NO_SPACE } else { NO_FILES };
    output::print(&format!("{answer}:{how}\n"))
}
