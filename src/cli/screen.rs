//! What goes to a person's screen: aligned, as wide as there is room, coloured on terminals alone.

use std::io;

use anstream::{AutoStream, ColorChoice};
use comfy_table::{Attribute, Color, ColumnConstraint, ContentArrangement, Table};

/// How wide a text is where nobody says how wide it may be.
const WIDTH: u16 = 100;
/// Narrower than that no table can be read.
const NARROWEST: u16 = 50;

/// The form of what a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where a text will be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Screen {
    width: u16,
    colour: bool,
}

/// How a cell looks. Its words say the same without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Good,
    Warning,
    Bad,
}

/// A text, and how it looks.
pub(super) type Cell = (String, Tone);

impl Screen {
    /// Standard output. Its width is that of COLUMNS, else of the terminal, else 100. It has colours if it is a terminal
    /// and NO_COLOR is not set.
    pub fn stdout() -> Self {
        let columns =
            std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse().ok()).filter(|width| *width > 0);
        let terminal = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0);
        let width = columns.or_else(terminal).unwrap_or(WIDTH);
        Self::new(width, AutoStream::choice(&io::stdout()) != ColorChoice::Never)
    }

    /// A screen of this width.
    pub fn new(width: u16, colour: bool) -> Self {
        Self { width: width.max(NARROWEST), colour }
    }

    /// How many characters a line has.
    pub fn width(self) -> usize {
        self.width.into()
    }

    /// Rows of cells. Only the last column is ever broken into lines, unless there is no other way.
    pub fn table(self, rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
        let mut table = Table::new();
        // Its own idea of terminals is not asked.
        table.force_no_tty().set_content_arrangement(ContentArrangement::Dynamic).set_width(self.width);
        if self.colour {
            table.enforce_styling();
        }
        table.load_style(comfy_table::presets::NOTHING);
        table.style_text_only();
        for row in rows {
            table.add_row(row.into_iter().map(cell));
        }
        let last = table.column_count().saturating_sub(1);
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index == last { 0 } else { 2 }));
            if index < last {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let lines: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        lines
    }

    /// A sentence or more, broken into lines.
    pub fn text(self, text: impl Into<String>, tone: Tone) -> String {
        self.table([vec![(text.into(), tone)]])
    }
}

fn cell((text, tone): Cell) -> comfy_table::Cell {
    let cell = comfy_table::Cell::new_owned(text);
    match tone {
        Tone::Plain => cell,
        Tone::Strong => cell.add_attribute(Attribute::Bold),
        Tone::Good => cell.fg(Color::DarkGreen),
        Tone::Warning => cell.fg(Color::DarkYellow),
        Tone::Bad => cell.fg(Color::DarkRed),
    }
}

/// The first row of a table.
pub(super) fn header<const N: usize>(names: [&str; N]) -> Vec<Cell> {
    names.map(|name| (name.to_owned(), Tone::Strong)).to_vec()
}

/// A cell without a look of its own.
pub(super) fn plain(text: impl Into<String>) -> Cell {
    (text.into(), Tone::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            header(["SCOPE", "STATUS", "WHAT IT BUYS"]),
            vec![
                plain("admin:repository:bitbucket"),
                ("missing".to_owned(), Tone::Bad),
                plain("manage repository settings, webhooks and permissions"),
            ],
        ]
    }

    #[test]
    fn a_wide_table_has_a_line_for_each_row() {
        let expected = "\
            SCOPE                       STATUS   WHAT IT BUYS\n\
            admin:repository:bitbucket  missing  manage repository settings, webhooks and permissions\n";
        assert_eq!(Screen::new(100, false).table(rows()), expected);
    }

    #[test]
    fn a_narrow_table_breaks_its_last_column() {
        let expected = "\
            SCOPE                       STATUS   WHAT IT BUYS\n\
            admin:repository:bitbucket  missing  manage repository\n                                     \
            settings, webhooks and\n                                     \
            permissions\n";
        assert_eq!(Screen::new(60, false).table(rows()), expected);
    }

    #[test]
    fn no_line_is_wider_than_its_screen() {
        let long = "a sentence of several words ".repeat(20);
        for width in [40, 60, 80, 200] {
            let screen = Screen::new(width, false);
            for line in screen.text(long.as_str(), Tone::Plain).lines().chain(screen.table(rows()).lines()) {
                assert!(line.chars().count() <= usize::from(width.max(NARROWEST)), "{width}: {line}");
            }
        }
    }

    #[test]
    fn colours_change_no_width_and_are_only_where_they_are_wanted() {
        let coloured = Screen::new(60, true).table(rows());
        assert!(coloured.contains("\u{1b}["), "{coloured:?}");
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        assert_eq!(stripped.trim_end(), Screen::new(60, false).table(rows()).trim_end());
    }
}
