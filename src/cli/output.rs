//! Printing to standard output, whoever reads it.

use std::io::{self, ErrorKind, Write};

use super::Error;

/// Prints a text. A reader that has seen enough and left (`… | head`) is no error.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Stdout(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
