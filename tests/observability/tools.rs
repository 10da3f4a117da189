//! Where promtool and prometheus are. Tests that need one are skipped, and say so, where it is absent.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// The program of this name, from PATH or from where `make tools` puts it.
pub fn find(name: &str) -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/usr/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let program =
        env::split_paths(&path).chain([unpacked]).map(|folder| folder.join(name)).find(|file| file.is_file())?;
    // One that doesn't even tell its version, as in a folder of another system, is none.
    Command::new(&program).arg("--version").output().ok().filter(|output| output.status.success()).map(|_| program)
}

/// The same; where it is absent, says that the test is skipped: past the harness, which shows nothing of what passes.
pub fn find_or_skip(name: &str, test: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        let what = format!("SKIPPED: {test} needs {name}, which is not in PATH. `make tools` gets it.\n");
        // A closed standard error is nobody's failure.
        let _ = std::io::stderr().write_all(what.as_bytes());
    }
    found
}
