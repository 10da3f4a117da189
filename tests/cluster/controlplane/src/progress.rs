//! What is going on, for whoever waits.

use std::io::{IsTerminal, Stderr, Write};
use std::time::{Duration, Instant};

/// News of something that takes a while.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Something worth knowing that happened once.
    Note(String),
    /// Something is still going on; sent at least once a second.
    Working {
        /// What is being done right now.
        what: String,
        /// Time since it began.
        elapsed: Duration,
    },
}

/// Prints progress to standard error: on a terminal one line that is rewritten, otherwise a line now and then. Colours
/// only on a terminal, and not if `NO_COLOR` is set.
#[derive(Debug)]
pub struct Printer {
    out: Stderr,
    terminal: bool,
    colour: bool,
    last: Option<Instant>,
    open_line: bool,
}

/// How often a line is printed where it can't be rewritten.
const PACE: Duration = Duration::from_secs(15);

/// What fits on a rewritten line: a line that wraps can't be rewritten.
const WIDTH: usize = 76;

impl Printer {
    /// A printer on standard error.
    pub fn stderr() -> Self {
        let out = std::io::stderr();
        let terminal = out.is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { out, terminal, colour, last: None, open_line: false }
    }

    /// Prints one piece of news, or leaves it out if the last one was just now.
    pub fn show(&mut self, progress: &Progress) {
        match progress {
            Progress::Note(note) => {
                self.end_line();
                let _ = writeln!(self.out, "{note}");
                self.last = None;
            }
            Progress::Working { what, elapsed } if self.terminal => {
                let time = clock(*elapsed);
                let what: String = what.chars().take(WIDTH - time.len() - 1).collect();
                let (dim, plain) = if self.colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
                let _ = write!(self.out, "\r\x1b[K{dim}{time}{plain} {what}");
                let _ = self.out.flush();
                self.open_line = true;
            }
            Progress::Working { what, elapsed } => {
                if self.last.is_none_or(|last| last.elapsed() >= PACE) {
                    let _ = writeln!(self.out, "{} {what}", clock(*elapsed));
                    self.last = Some(Instant::now());
                }
            }
        }
    }

    fn end_line(&mut self) {
        if self.open_line {
            let _ = write!(self.out, "\r\x1b[K");
            let _ = self.out.flush();
            self.open_line = false;
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.end_line();
    }
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_reads_like_a_clock() {
        assert_eq!(clock(Duration::from_millis(9_999)), "0:09");
        assert_eq!(clock(Duration::from_secs(754)), "12:34");
    }
}
