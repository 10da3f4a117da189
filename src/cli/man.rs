//! `man`: manual pages, made from the same words as `--help`.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;

use super::{Error, name, output};

/// The commands that have a page.
const NAMES: [&str; 7] = ["run", "check", "list", "scopes", "crds", "completions", "man"];

/// What `man` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
        bitbucket-connection-operator man list | man -l -\n  \
        bitbucket-connection-operator man --output-dir ~/.local/share/man/man1")]
pub struct ManOptions {
    /// The command whose page is printed; that of the whole program if left out
    #[arg(value_name = "COMMAND", value_parser = NAMES, conflicts_with = "output_dir")]
    of: Option<String>,

    /// Write the pages of all commands into this folder instead of printing one; it is created if need be
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

fn listed(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set())
}

/// Prints or writes the pages.
pub(super) fn man(options: &ManOptions, mut command: Command) -> Result<(), Error> {
    // Gives all commands their whole names.
    command.build();
    match (&options.output_dir, &options.of) {
        (Some(dir), _) => [&command].into_iter().chain(listed(&command)).try_for_each(|command| {
            let page = page(command.clone());
            output::file(&dir.join(page.get_filename()), &rendered(&page)?, "--output-dir")
        }),
        (None, Some(name)) => {
            let of = command.find_subcommand(name).unwrap_or(&command).clone();
            output::print(&rendered(&page(of))?)
        }
        (None, None) => output::print(&rendered(&page(command))?),
    }
}

/// The page of a command; without a date, so that the same program gives the same page.
fn page(command: Command) -> Man {
    let source = format!("{} {}", name::NAME, env!("CARGO_PKG_VERSION"));
    Man::new(command).source(source).manual("Bitbucket connections of Hanzo KMS")
}

fn rendered(page: &Man) -> Result<String, Error> {
    // Writing into memory doesn't fail.
    let mut text = Vec::new();
    page.render(&mut text).map_err(Error::Stdout)?;
    // The library has no better word for what stands at the end of the help.
    Ok(String::from_utf8_lossy(&text).replace(".SH EXTRA\n", ".SH NOTES\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let command = crate::cli::command();
        let mut names: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
        names.sort_by_key(|name| NAMES.iter().position(|known| known == name));
        assert_eq!(names, NAMES);
    }
}
