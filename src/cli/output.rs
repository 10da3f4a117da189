//! Printing to standard output, whoever reads it.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use super::Error;

/// A value as JSON for people who look at it, too.
pub(super) fn json(value: &impl Serialize) -> String {
    // Fails for maps without text keys alone; what is printed here has none.
    serde_json::to_string_pretty(value).map(|text| text + "\n").unwrap_or_default()
}

/// Prints a text. A reader that has seen enough and left (`… | head`) is no error.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Stdout(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
