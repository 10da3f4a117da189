//! The command line as people meet it: every text that they can read on it is in `tests/cli/`.
//!
//! After a wanted change run `TRYCMD=overwrite cargo test --test cli` and read the difference.

#[path = "cli/check.rs"]
mod check;
#[path = "cli/hook.rs"]
mod hook;
#[path = "cli/krew.rs"]
mod krew;
#[path = "cli/kubectl.rs"]
mod kubectl;

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitbucket-connection-operator"));
    command.env_remove("RUST_LOG");
    command
}

#[test]
fn the_texts() {
    trycmd::TestCases::new().env("COLUMNS", "100").env("NO_COLOR", "1").case("tests/cli/*.trycmd");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    for arguments in [&["crds"][..], &["completions", "bash"], &["--help"]] {
        let mut child = program()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let mut complaint = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut complaint).expect("text");
        assert!(child.wait().expect("it ends").success(), "{arguments:?}: {complaint}");
        assert_eq!(complaint, "", "{arguments:?}");
    }
}

#[test]
fn the_written_crds_are_the_kept_ones() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crds/new");
    let _ = fs::remove_dir_all(&dir);
    assert!(program().args(["crds", "--output-dir"]).arg(&dir).status().expect("the program starts").success());
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let mut compared = 0;
    for file in fs::read_dir(&dir).expect("it was made") {
        let name = file.expect("readable").file_name();
        let [new, old] = [&dir, &kept].map(|dir| fs::read_to_string(dir.join(&name)).unwrap_or_default());
        assert!(new == old, "crds/{} is stale; run `make crds`", name.display());
        compared += 1;
    }
    assert_eq!(compared, 3);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("a-file");
    fs::write(&file, "").expect("writable");
    let output = program().args(["crds", "--output-dir"]).arg(&file).output().expect("the program starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.starts_with("error: can't write ") && complaint.contains("--output-dir"), "{complaint}");
    assert!(complaint.contains(&*file.to_string_lossy()), "{complaint}");
}
