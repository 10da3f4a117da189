//! What the demo looks like: headlines, commands, tables; colours where they can be seen.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};

/// Everything below a headline is indented by this.
const INDENT: usize = 3;
/// The gap between two columns.
const GAP: usize = 2;
/// Where nobody says how wide the screen is.
const WIDTH: usize = 100;
/// The last column of a table goes below its row if it would be narrower than this.
const NARROW: usize = 30;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As everything else.
    #[default]
    Plain,
    /// A headline.
    Bold,
    /// Less important.
    Dim,
    /// Good news.
    Good,
    /// Something to look at.
    Warn,
    /// Bad news.
    Bad,
}

/// A cell of a [`Table`].
#[derive(Clone, Debug)]
pub struct Cell(String, Style);

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self(text.to_owned(), Style::Plain)
    }
}

impl Cell {
    /// A cell that stands out.
    pub fn new(text: &str, style: Style) -> Self {
        Self(text.to_owned(), style)
    }
}

/// Aligned columns; the last one is wrapped.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these column heads and no rows.
    pub fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|head| Cell::new(head, Style::Dim)).collect()] }
    }

    /// Adds a row, which has as many cells as there are heads.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines of the table, none wider than `width` if that can be helped.
    pub fn lines(&self, width: usize, colour: bool) -> Vec<String> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let lengths: Vec<usize> = (0..columns.saturating_sub(1))
            .map(|column| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| length(&cell.0)).max())
            .map(Option::unwrap_or_default)
            .collect();
        let start: usize = lengths.iter().map(|length| length + GAP).sum();
        let below = width.saturating_sub(start) < NARROW;
        let start = if below { INDENT } else { start };
        let mut lines = Vec::new();
        for row in &self.rows {
            let Some((last, first)) = row.split_last() else { continue };
            let mut line = String::new();
            for (cell, length) in first.iter().zip(&lengths) {
                line += &pad(cell, length + GAP, colour);
            }
            let mut wrapped = wrap(&last.0, width.saturating_sub(start)).into_iter();
            if below {
                lines.push(line.trim_end().to_owned());
            } else {
                lines.push(line + &paint(&wrapped.next().unwrap_or_default(), last.1, colour));
            }
            lines.extend(wrapped.map(|text| format!("{:start$}{}", "", paint(&text, last.1, colour))));
        }
        lines
    }
}

/// Standard output, as a person sees it. What can't be written is lost: whoever stopped reading doesn't miss it.
#[derive(Debug)]
pub struct Screen {
    width: usize,
    colour: bool,
}

impl Screen {
    /// Standard output. Its width is that of `COLUMNS`, else that of the terminal, else 100. Colours are as in the
    /// operator's own commands: for terminals alone, unless `NO_COLOR` or `CLICOLOR_FORCE` say otherwise.
    pub fn stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let colour = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let width = columns.or_else(|| terminal.then(terminal_width).flatten()).unwrap_or(WIDTH);
        Self { width: width.clamp(40, 140), colour }
    }

    /// How wide the output of a command may be.
    pub const fn room(&self) -> usize {
        self.width - INDENT
    }

    /// A line as it is.
    #[expect(clippy::unused_self, reason = "only who has the screen may write on it")]
    pub fn line(&self, text: &str) {
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// A line with a style.
    pub fn styled(&self, text: &str, style: Style) {
        self.line(&paint(text, style, self.colour));
    }

    /// A numbered headline, and a sentence below it.
    pub fn headline(&self, number: usize, headline: &str, sentence: &str) {
        self.line("");
        self.styled(&format!("{number}  {headline}"), Style::Bold);
        self.text(sentence);
    }

    /// Sentences, indented and wrapped.
    pub fn text(&self, text: &str) {
        for line in wrap(text, self.width - INDENT) {
            self.line(&format!("{:INDENT$}{line}", ""));
        }
    }

    /// A command with its arguments, as a user would type it; continued on further lines if need be.
    pub fn typed(&self, program: &str, arguments: &[&str]) {
        let mut lines = vec![program.to_owned()];
        for argument in arguments {
            let argument = quote(argument);
            match lines.last_mut() {
                // Room for the indentation and for the mark of continuation.
                Some(line) if length(line) + 1 + length(&argument) + INDENT + 6 <= self.width => {
                    line.push(' ');
                    line.push_str(&argument);
                }
                _ => lines.push(argument),
            }
        }
        self.command(&lines.join(" \\\n"));
    }

    /// A command that a user would type, after an empty line.
    pub fn command(&self, command: &str) {
        self.line("");
        for (number, line) in command.lines().enumerate() {
            let prompt = if number == 0 { "$ " } else { "    " };
            self.styled(&format!("{:INDENT$}{prompt}{line}", ""), Style::Dim);
        }
    }

    /// What a command printed, as it is.
    pub fn output(&self, text: &str) {
        for line in text.lines() {
            self.line(format!("{:INDENT$}{line}", "").trim_end());
        }
    }

    /// A table.
    pub fn table(&self, table: &Table) {
        for line in table.lines(self.width - INDENT, self.colour) {
            self.line(format!("{:INDENT$}{line}", "").trim_end());
        }
    }

    /// Something that was done on the way, and how long it took.
    pub fn done(&self, what: &str, details: &str, elapsed: Duration) {
        let time = seconds(elapsed);
        let room = self.width.saturating_sub(INDENT + 16 + time.len() + GAP);
        let mut lines = wrap(details, room).into_iter();
        let first = lines.next().unwrap_or_default();
        let gap = room.saturating_sub(length(&first)) + GAP;
        let time = paint(&time, Style::Dim, self.colour);
        self.line(&format!("{:INDENT$}{what:<16}{first}{:gap$}{time}", "", ""));
        for line in lines {
            self.line(&format!("{:1$}{line}", "", INDENT + 16));
        }
    }

    /// The end of a step.
    pub fn check(&self, text: &str, elapsed: Duration) {
        self.line("");
        let text = paint(&format!("✓ {text}"), Style::Good, self.colour);
        let time = paint(&seconds(elapsed), Style::Dim, self.colour);
        self.line(&format!("{:INDENT$}{text}  {time}", ""));
    }
}

/// Such as "1.2 s".
pub fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

/// An argument as a shell takes it.
pub fn quote(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if argument.chars().all(plain) { argument.to_owned() } else { format!("'{}'", argument.replace('\'', r"'\''")) }
}

fn paint(text: &str, style: Style, colour: bool) -> String {
    let code = match style {
        Style::Plain => return text.to_owned(),
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Good => "32",
        Style::Warn => "33",
        Style::Bad => "31",
    };
    if colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn pad(cell: &Cell, width: usize, colour: bool) -> String {
    let mut text = paint(&cell.0, cell.1, colour);
    let _ = write!(text, "{:1$}", "", width.saturating_sub(length(&cell.0)));
    text
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Breaks a text between words; a word that is too long stays whole.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| length(line) + 1 + length(word) <= width) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What the terminal itself says, through the standard input that it shares.
fn terminal_width() -> Option<usize> {
    let output = Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.split_whitespace().nth(1)?.parse().ok().filter(|width| *width > 0)
}
