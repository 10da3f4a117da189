//! What this program is called by whoever types its commands: by its own name, or as a plugin of kubectl.
//!
//! kubectl takes every program in PATH whose name begins with `kubectl-` for a command of its own. Under the name
//! `kubectl-bbc` help and errors say `kubectl bbc`, so that what they tell people to type is what works for them.

use std::{ffi::OsStr, path::Path};

use clap::Command;

/// The program's own name.
pub(super) const NAME: &str = "bitbucket-connection-operator";
/// The name under which kubectl finds it.
const PLUGIN_FILE: &str = "kubectl-bbc";
/// The name under which kubectl asks it how to complete what follows `kubectl bbc`.
const COMPLETER_FILE: &str = "kubectl_complete-bbc";
/// What a person types then.
const PLUGIN: &str = "kubectl bbc";

/// Examples of the whole program as a plugin: who has it looks at a cluster, and runs no operator.
const PLUGIN_EXAMPLES: &str = "Examples:\n  \
        All connections of the cluster, those first whose tokens end first:\n    \
        kubectl bbc list -A\n\n  \
        See what to tick when making a token, then check it before it is committed:\n    \
        kubectl bbc scopes --use-case SecretSync\n    \
        kubectl bbc check --email bot@example.com --use-case SecretSync < token.txt\n\n\
        Exit codes: 0 done, 1 failed (the reason is on standard error), 2 the command line is wrong; check has its own.";

/// What to type to start this program: as it was started.
pub(super) fn called() -> &'static str {
    started_as(std::env::args_os().next().as_deref())
}

/// Whether kubectl asks how to complete a command line, instead of having one run.
pub(super) fn completes() -> bool {
    stem(std::env::args_os().next().as_deref()) == Some(OsStr::new(COMPLETER_FILE))
}

fn stem(program: Option<&OsStr>) -> Option<&OsStr> {
    program.map(Path::new).and_then(Path::file_stem)
}

fn started_as(program: Option<&OsStr>) -> &'static str {
    let names = [PLUGIN_FILE, COMPLETER_FILE].map(OsStr::new);
    if stem(program).is_some_and(|stem| names.contains(&stem)) { PLUGIN } else { NAME }
}

/// The parser under the name by which the program was called.
pub(super) fn named(command: Command, called: &'static str) -> Command {
    if called == NAME {
        return command;
    }
    let own_words = |command: Command| match command.get_after_long_help() {
        Some(text) => {
            let text = text.to_string().replace(NAME, called);
            command.after_long_help(text)
        }
        None => command,
    };
    command
        .name(PLUGIN_FILE)
        .bin_name(called)
        .mut_subcommands(own_words)
        .mut_subcommand("run", |run| run.hide(true))
        // kubectl completes what follows a plugin's name in another way.
        .mut_subcommand("completions", |completions| completions.hide(true))
        .after_long_help(PLUGIN_EXAMPLES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_told_by_the_name_of_its_file() {
        let table = [
            (Some("kubectl-bbc"), PLUGIN),
            (Some("/home/ada/.krew/bin/kubectl-bbc"), PLUGIN),
            (Some("/opt/kubectl-bbc.exe"), PLUGIN),
            (Some("/usr/bin/kubectl_complete-bbc"), PLUGIN),
            (Some("bitbucket-connection-operator"), NAME),
            (Some("/kubectl-bbc/bitbucket-connection-operator"), NAME),
            (Some("kubectl-bbc-list"), NAME),
            (Some(""), NAME),
            (None, NAME),
        ];
        for (program, expected) in table {
            assert_eq!(started_as(program.map(OsStr::new)), expected, "{program:?}");
        }
    }

    #[test]
    fn no_help_of_the_plugin_names_the_program() {
        let mut command = named(crate::cli::command(), PLUGIN);
        command.build();
        let listed: Vec<_> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
        assert!(listed.len() > 3);
        for mut command in listed.into_iter().chain([command]) {
            let help = command.render_long_help().to_string();
            assert!(!help.contains(NAME) && help.contains("Usage: kubectl bbc"), "{help}");
        }
    }
}
