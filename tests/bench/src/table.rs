//! The numbers: as a table for people, as JSON for comparing two commits.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Map, Value, json};

use crate::Result;

/// What a number should be.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
    /// There is none.
    None,
}

impl Aim {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::None => true,
        }
    }
}

/// A number, and what it is.
#[derive(Clone, Debug)]
struct Row {
    /// By which it is found in the JSON of another commit.
    key: String,
    what: String,
    value: f64,
    unit: &'static str,
    aim: Aim,
}

/// All numbers of a run, in sections.
#[derive(Debug, Default)]
pub struct Table {
    sections: Vec<(String, Vec<Row>)>,
}

impl Table {
    /// Begins a section.
    pub fn section(&mut self, title: impl Into<String>) {
        self.sections.push((title.into(), Vec::new()));
    }

    /// Adds a number to the last section, and prints it.
    pub fn row(&mut self, key: impl Into<String>, what: impl Into<String>, value: f64, unit: &'static str, aim: Aim) {
        let row = Row { key: key.into(), what: what.into(), value, unit, aim };
        eprintln!("     {}: {} {}", row.what, shown(value), row.unit);
        if self.sections.is_empty() {
            self.section("");
        }
        if let Some((_, rows)) = self.sections.last_mut() {
            rows.push(row);
        }
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.sections.iter().flat_map(|(_, rows)| rows)
    }

    /// Prints all, beside what an earlier run had.
    pub fn print(&self, earlier: Option<&BTreeMap<String, f64>>) {
        let width = self.rows().map(|row| row.what.len()).max().unwrap_or_default();
        for (title, rows) in &self.sections {
            println!("\n{title}");
            for row in rows {
                let aim = match row.aim {
                    Aim::AtMost(most) => format!("≤ {}", shown(most)),
                    Aim::AtLeast(least) => format!("≥ {}", shown(least)),
                    Aim::None => String::new(),
                };
                let mark = if row.aim.is_met(row.value) { "" } else { "  MISSED" };
                let before = earlier.and_then(|earlier| earlier.get(&row.key)).map(|before| {
                    let change = 100.0 * (row.value - before) / before;
                    let change = if change.is_finite() { format!(" ({change:+.0} %)") } else { String::new() };
                    format!("  before {}{change}", shown(*before))
                });
                let line = format!(
                    "  {:width$}  {:>9} {:<9} {aim:<8}{mark}{}",
                    row.what,
                    shown(row.value),
                    row.unit,
                    before.unwrap_or_default()
                );
                println!("{}", line.trim_end());
            }
        }
    }

    /// Writes all, by keys that stay the same from commit to commit.
    pub fn write(&self, path: &Path, about: Value) -> Result<()> {
        let rows: Map<String, Value> = self
            .rows()
            .map(|row| {
                let (aim, met) = match row.aim {
                    Aim::AtMost(most) => (json!({"at_most": most}), json!(row.aim.is_met(row.value))),
                    Aim::AtLeast(least) => (json!({"at_least": least}), json!(row.aim.is_met(row.value))),
                    Aim::None => (Value::Null, Value::Null),
                };
                let value = (row.value * 10_000.0).round() / 10_000.0;
                (row.key.clone(), json!({"what": row.what, "value": value, "unit": row.unit, "aim": aim, "met": met}))
            })
            .collect();
        let text = serde_json::to_string_pretty(&json!({"about": about, "rows": rows}))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, text + "\n")?)
    }
}

/// The values that an earlier run has written.
pub fn read(path: &Path) -> Result<BTreeMap<String, f64>> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let run: Value = serde_json::from_str(&text)?;
    let rows = run["rows"].as_object().ok_or("no rows: it isn't what a benchmark has written")?;
    Ok(rows.iter().filter_map(|(key, row)| Some((key.clone(), row["value"].as_f64()?))).collect())
}

/// Three digits that count.
fn shown(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 100.0 || large.fract() == 0.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        large if large >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
