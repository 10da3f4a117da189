//! Stable words for what differs from run to run: names of the test's own, times, days, ids, ports, versions.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

use super::scene::Scene;
use crate::harness::{PROJECT, World};

/// In how many days tokens end, where somebody says when.
pub const TO_COME: i64 = 200;
/// How many days ago those ended whose time is over.
pub const PAST: i64 = 30;
/// The limit of Atlassian, by which tokens end where nobody says when.
const LIMIT: i64 = 365;
/// The day of all snapshots.
const TODAY: Date = Date::constant(2026, 11, 1);
/// A day in the words of the product, which stays as it is.
const EXAMPLE: &str = "such as 2027-03-01";

/// Digits are `9`, hexadecimal digits `x`; whatever else stands for itself.
const TIME: &str = "9999-99-99T99:99:99Z";
const ID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
const MARK: &str = "[k8s:xxxxxxxxxxxxxxxx:";
const HASH: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// What differs in one story.
pub struct Stable {
    names: Vec<(String, &'static str)>,
    /// Days that the test may have seen as today.
    today: [Date; 2],
}

impl Stable {
    /// Of what a story is played with.
    pub fn of(world: &World, scene: &Scene) -> Self {
        let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
        let names = vec![
            (scene.tenant.namespace().to_owned(), "team-a"),
            (scene.instance.clone(), "default"),
            (world.namespace().to_owned(), "kms-system"),
            (world.home().to_owned(), "bitbucket-connection-operator"),
            (scene.kms.url(), "https://kms.example.com"),
            (scene.bitbucket.url(), "https://api.bitbucket.org/2.0"),
        ];
        Self { names, today: [day(scene.began), day(Timestamp::now())] }
    }

    /// A message, in which the page and the test may differ by days and marks.
    pub fn words(&self, message: &str) -> String {
        let message = with_shape(&self.named(message), MARK, |_| Some("[k8s:0123456789abcdef:".to_owned()));
        with_shape(&message, "9999-99-99", |_| Some("(a day)".to_owned()))
    }

    /// All that is shown.
    pub fn screen(&self, text: &str) -> String {
        let text = with_shape(&self.named(text), TIME, |time| {
            let midnight = time.ends_with("T00:00:00Z");
            (!midnight).then(|| format!("{}T12:00:00Z", &time[..10]))
        });
        let text = with_shape(&text, ID, |id| {
            let known = id == PROJECT || id.starts_with("11111111-") || id.starts_with("22222222-");
            (!known).then(|| "33333333-3333-4333-8333-333333333333".to_owned())
        });
        let text = with_shape(&text, HASH, |_| Some("5".repeat(64)));
        let text = with_shape(&text, MARK, |_| Some("[k8s:0123456789abcdef:".to_owned()));
        let text = self.days(&text);
        let mut events = Vec::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            if is_event(line) {
                events.push(columns(line));
                continue;
            }
            lines.append(&mut aligned(&mut events));
            lines.push(of_line(line));
        }
        lines.append(&mut aligned(&mut events));
        lines.join("\n") + "\n"
    }

    fn named(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, word)| text.replace(name, word))
    }

    fn days(&self, text: &str) -> String {
        let text = text.replace(EXAMPLE, "such as <example>");
        let text = with_shape(&text, "9999-99-99", |found| {
            let found: Date = found.parse().ok()?;
            let moved = [0, TO_COME, LIMIT, -PAST].into_iter().find_map(|days| {
                let is_it = self.today.iter().any(|today| *today + days.days() == found);
                is_it.then(|| TODAY + days.days())
            });
            moved.map(|day| day.to_string())
        });
        // A day may be over, or not be whole any more.
        let text = [TO_COME, LIMIT]
            .into_iter()
            .fold(text, |text, days| text.replace(&format!("{} days", days - 1), &format!("{days} days")));
        let text = text.replace(&format!("{} days ago", PAST + 1), &format!("{PAST} days ago"));
        text.replace("such as <example>", EXAMPLE)
    }
}

/// Versions and fingerprints, each known by the name of its field; ages.
fn of_line(line: &str) -> String {
    let line = age(line.trim_end());
    let Some((field, value)) = line.split_once(':') else { return line };
    let spaces = &value[..value.len() - value.trim_start().len()];
    let value = match field.trim() {
        "Resource Version" => "12345",
        "UID" | "Id" => value.trim(),
        "Secret Version" => "33333333-3333-4333-8333-333333333333/12345",
        "Fingerprint" | "Token Fingerprint" => "0123456789abcdef",
        "Last Handled Reconcile At" => "1793534400",
        field if field.ends_with("/reconcile-requested-at") => "1793534400",
        _ => value.trim(),
    };
    format!("{field}:{spaces}{value}")
}

/// A line of `kubectl get`, whose last column is the age.
fn age(line: &str) -> String {
    match line.rsplit_once(' ') {
        Some((rest, age)) if line.starts_with("payments ") && is_age(age) => format!("{rest} 5m"),
        _ => line.to_owned(),
    }
}

fn is_age(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(['s', 'm'])
}

/// A line below `Events:`: type, reason, age, where from, message.
fn is_event(line: &str) -> bool {
    ["  Normal  ", "  Warning  ", "  Type  ", "  ----  "].iter().any(|begin| line.starts_with(begin))
}

fn columns(line: &str) -> Vec<String> {
    let mut columns: Vec<_> = line.trim().splitn(2, "  ").map(str::to_owned).collect();
    while columns.len() < 5 {
        let rest = columns.pop().expect("a column");
        let Some((column, rest)) = rest.trim_start().split_once("  ") else {
            columns.push(rest.trim().to_owned());
            break;
        };
        columns.extend([column.to_owned(), rest.trim_start().to_owned()]);
    }
    if let Some(age) = columns.get_mut(2).filter(|age| is_age(age)) {
        "5m".clone_into(age);
    }
    columns
}

/// Events in the order of their reasons, below their two lines of headings: those of one moment come in any.
fn aligned(events: &mut Vec<Vec<String>>) -> Vec<String> {
    if events.len() > 2 {
        events[2..].sort();
    }
    let width = |column: usize| events.iter().filter_map(|row| row.get(column)).map(|cell| cell.len()).max();
    let widths: Vec<_> = (0..4).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| match widths.get(column) {
            Some(width) => format!("  {cell:width$}"),
            None => format!("  {cell}"),
        });
        cells.collect::<String>().trim_end().to_owned()
    };
    events.drain(..).map(line).collect()
}

/// Replaces whatever has this shape, and no longer one, unless there is nothing to replace it by.
fn with_shape(text: &str, shape: &str, by: impl Fn(&str) -> Option<String>) -> String {
    let fits = |found: char, shape: char| match shape {
        '9' => found.is_ascii_digit(),
        'x' => matches!(found, '0'..='9' | 'a'..='f'),
        other => found == other,
    };
    let mut result = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let bounded = !result.ends_with(|c: char| c.is_ascii_alphanumeric());
        let found = rest.get(..shape.len()).filter(|found| {
            let after = rest[found.len()..].chars().next();
            bounded
                && found.chars().zip(shape.chars()).all(|(found, shape)| fits(found, shape))
                && (shape.ends_with(':') || !after.is_some_and(|c| c.is_ascii_digit()))
        });
        let (taken, word) = match found {
            Some(found) => (found.len(), by(found).unwrap_or_else(|| found.to_owned())),
            None => (first.len_utf8(), first.to_string()),
        };
        result.push_str(&word);
        rest = &rest[taken..];
    }
    result
}
