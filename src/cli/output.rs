//! Printing to standard output, whoever reads it, and into files.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    path::Path,
};

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

/// Writes a file, and its folder if need be. The flag is where the folder came from.
pub(super) fn file(path: &Path, text: &str, flag: &'static str) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |reason| Error::File { path, reason, flag }
    };
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir).map_err(failed(dir))?;
    fs::write(path, text).map_err(failed(path))
}

/// Writes a file anew. Whoever reads it meanwhile gets all of the old one or all of the new one.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Error> {
    const FLAG: &str = "--output-file";
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let replaced = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
    replaced.map_err(|reason| {
        // It may not even be there.
        let _ = fs::remove_file(&new);
        Error::File { path: path.to_owned(), reason, flag: FLAG }
    })
}
