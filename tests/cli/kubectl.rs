//! What kubectl asks for so that a shell can complete what follows `kubectl bbc`.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bitbucket-connection-operator");

/// A folder with the program under the names that kubectl looks for.
fn installed(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kubectl").join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("empty/calendars")).expect("a folder");
    for name in ["kubectl-bbc", "kubectl_complete-bbc"] {
        symlink(PROGRAM, folder.join(name)).expect("a link");
    }
    folder
}

#[test]
fn every_word_has_its_candidates() {
    let folder = installed("words");
    let complete = |words: &[&str]| {
        let mut asked = Command::new(folder.join("kubectl_complete-bbc"));
        let output = asked.args(words).current_dir(folder.join("empty")).output().expect("the program");
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("a text")
    };
    // The operator itself is none of the plugin's commands.
    let commands = complete(&[""]);
    assert!(commands.contains("\nlist\tList all connections by the end of their tokens: "), "{commands}");
    assert!(!commands.contains("run") && !commands.contains("completions"), "{commands}");
    assert_eq!(complete(&[]), commands);

    let table: [(&[&str], &str); 7] = [
        (&["li"], "list\tList all connections by the end of their tokens: a table, a calendar, a page\n:4\n"),
        (&["list", "--all"], "--all-namespaces\tAll namespaces\n:4\n"),
        (&["list", "-o", "y"], "yaml\tFor programs\n:4\n"),
        (&["list", "--output=y"], "--output=yaml\tFor programs\n:4\n"),
        (&["scopes", "--use-case", "Code"], "CodeReview\tcode review tools such as Kody read and comment\n:4\n"),
        // A folder goes on: no space after it.
        (&["list", "--output-file", "cal"], "calendars/\n:6\n"),
        (&["list", "--no-such-flag", "x"], ":4\n"),
    ];
    for (words, expected) in table {
        assert_eq!(complete(words), expected, "{words:?}");
    }
}

#[test]
fn kubectl_finds_them() {
    let folder = installed("found");
    let others = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&others))).expect("a PATH");
    let asked =
        Command::new("kubectl").env("PATH", path).args(["__complete", "bbc", "check", "--use-case", ""]).output();
    let Ok(output) = asked else {
        eprintln!("SKIPPED: kubectl_finds_them needs kubectl in PATH.");
        return;
    };
    let answer = String::from_utf8_lossy(&output.stdout);
    let words: Vec<_> = answer.lines().map(|line| line.split('\t').next().unwrap_or_default()).collect();
    assert_eq!(words, ["SecretScanning", "SecretSync", "CodeReview", ":4"], "{output:?}");
}
