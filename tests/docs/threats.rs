//! Where a table of docs/security.md names a test that shows what a row says, there is such a test.

use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The cells of a row of a table.
fn cells(row: &str) -> Vec<&str> {
    row.trim().trim_start_matches('|').trim_end_matches('|').split('|').map(str::trim).collect()
}

/// What stands between backticks.
fn words(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The rows of all tables whose last column is of tests: the threat, and the tests.
fn rows(page: &str) -> Vec<(&str, Vec<&str>)> {
    let (mut of_tests, mut inside, mut rows) = (false, false, Vec::new());
    for line in page.lines() {
        let cells = cells(line);
        let last = *cells.last().expect("a line has one cell at least");
        match (line.starts_with('|'), inside) {
            (true, false) => of_tests = last == "test",
            (true, true) if of_tests && !last.starts_with("---") => rows.push((cells[0], words(last).collect())),
            (true, true) | (false, _) => {}
        }
        inside = line.starts_with('|');
    }
    rows
}

/// Whether tests/cluster has a module of that path, or a test.
fn is_there(test: &str) -> bool {
    let (mut place, mut text) = (Path::new(ROOT).join("tests/cluster"), String::new());
    for part in test.split("::") {
        place = place.join(part);
        let files = [place.with_extension("rs"), place.join("mod.rs")];
        match files.iter().find_map(|file| std::fs::read_to_string(file).ok()) {
            Some(module) => text = module,
            None if text.contains(&format!("async fn {part}()")) => {}
            None => return false,
        }
    }
    true
}

#[test]
fn what_keeps_a_threat_out_is_shown_by_a_test_that_is_there() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/security.md")).expect("the page");
    let rows = rows(&page);
    assert!(rows.len() > 15, "only {} threats were found", rows.len());
    for (threat, tests) in rows {
        assert!(!tests.is_empty(), "no test shows what stops this: {threat}");
        for test in tests {
            assert!(is_there(test), "tests/cluster has no {test}, which shall show what stops this: {threat}");
        }
    }
    assert!(!is_there("attacks::nothing") && !is_there("nothing"), "what isn't there is noticed");
}
