//! A recording of a terminal in the form of asciinema, asciicast v2: a header, then what was printed when, a line of JSON
//! each.

use std::fmt;

use serde_json::{Value, json};

/// Columns of the screen.
pub const WIDTH: usize = 100;
/// Rows of the screen.
pub const HEIGHT: usize = 34;
/// The longest time between two changes, in seconds.
pub const LONGEST_PAUSE: f64 = 2.0;
/// The shortest one: less can't be seen.
const SHORTEST_PAUSE: f64 = 0.35;
/// How long a word is read, in seconds: by somebody who looks at what is new, and skips what was there before.
const WORD: f64 = 0.035;

const TITLE: &str = "make demo: a Bitbucket connection from its first day to its last";

/// What appears at once.
pub struct Event {
    /// When, in seconds from the beginning.
    pub time: f64,
    /// What, with colours.
    pub text: String,
}

/// What was recorded.
pub struct Cast {
    pub width: usize,
    pub height: usize,
    pub events: Vec<Event>,
}

impl Cast {
    /// What a program said, at the pace of a reader: the demo itself is faster than that, and waits where there is nothing
    /// to see. What stands between two empty lines comes at once, and stays alone for as long as it is long.
    pub fn paced(said: &str) -> Self {
        let (mut events, mut time): (Vec<Event>, f64) = (Vec::new(), 0.0);
        for line in said.lines() {
            let begins = line.is_empty() || events.is_empty();
            if begins && !events.last().is_some_and(|event| event.text.trim().is_empty()) {
                time += events.last().map_or(0.0, |event| pause(&event.text));
                events.push(Event { time, text: String::new() });
            }
            if let Some(event) = events.last_mut() {
                event.text += line;
                event.text += "\r\n";
            }
        }
        // Whoever plays it sees the end as long as the rest.
        if let Some(last) = events.last() {
            events.push(Event { time: last.time + LONGEST_PAUSE, text: String::new() });
        }
        Self { width: WIDTH, height: HEIGHT, events }
    }

    /// Reads a cast, and panics where it is none.
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let header = lines.next().expect("a header");
        assert_eq!(header["version"], 2, "{header}");
        let size = |field: &str| header[field].as_u64().and_then(|size| size.try_into().ok()).expect("a size");
        let event = |line: Value| match line.as_array().map(Vec::as_slice) {
            Some([Value::Number(time), Value::String(kind), Value::String(text)]) if kind == "o" => {
                Event { time: time.as_f64().expect("seconds"), text: text.clone() }
            }
            _ => panic!("not an event of output: {line}"),
        };
        Self { width: size("width"), height: size("height"), events: lines.map(event).collect() }
    }

    /// All that was printed.
    pub fn text(&self) -> String {
        self.events.iter().map(|event| event.text.as_str()).collect()
    }

    /// When it ends, in seconds from the beginning.
    pub fn ends(&self) -> f64 {
        self.events.last().map_or(0.0, |event| event.time)
    }
}

impl fmt::Display for Cast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = json!({
            "version": 2, "width": self.width, "height": self.height, "title": TITLE, "idle_time_limit": LONGEST_PAUSE,
        });
        writeln!(f, "{header}")?;
        for event in &self.events {
            // To the millisecond.
            writeln!(f, "[{:.3},\"o\",{}]", event.time, json!(event.text))?;
        }
        Ok(())
    }
}

/// How long a text is looked at.
fn pause(text: &str) -> f64 {
    let words = u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX);
    // Steps begin at the left edge: whoever looked away finds the thread there.
    let step = text.trim_start().starts_with("\u{1b}[1m");
    if step { LONGEST_PAUSE } else { (SHORTEST_PAUSE + f64::from(words) * WORD).min(LONGEST_PAUSE) }
}
