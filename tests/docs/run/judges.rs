//! Blocks that need no cluster: expressions of Prometheus are judged by its own promtool, code of Terraform by a parser.

use std::{path::Path, process::Command};

use hcl_edit::structure::Body;
use serde_json::json;

use super::tools;

/// Why an expression in here is refused. Each begins at the left edge, and goes on in lines that don't.
pub fn expressions(text: &str) -> Result<(), String> {
    let promtool = tools::find("promtool").expect("asked for before");
    let mut expressions: Vec<String> = Vec::new();
    for line in text.lines() {
        match expressions.last_mut() {
            Some(last) if line.is_empty() || line.starts_with(char::is_whitespace) => *last += &format!("\n{line}"),
            _ => expressions.push(line.to_owned()),
        }
    }
    let rules =
        expressions.iter().enumerate().map(|(number, it)| json!({"record": format!("rule:{number}"), "expr": it}));
    let file = json!({"groups": [{"name": "page", "rules": rules.collect::<Vec<_>>()}]});
    // JSON is YAML.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("expressions-{}.yaml", std::process::id()));
    std::fs::write(&path, file.to_string()).expect("a file");
    let output = Command::new(promtool).args(["check", "rules", "--lint-fatal"]).arg(&path).output().expect("promtool");
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() { Ok(()) } else { Err(told) }
}

/// Why Terraform couldn't read this.
pub fn terraform(text: &str) -> Result<(), String> {
    text.parse::<Body>().map(drop).map_err(|error| error.to_string())
}

#[test]
fn what_is_wrong_is_refused() {
    assert_eq!(terraform("removed {\n  from = a.b\n}\n"), Ok(()));
    assert!(terraform("removed {\n  from = a.b\n").is_err_and(|told| told.contains("-->")));
    if tools::find_or_skip("promtool", "what_is_wrong_is_refused").is_some() {
        assert_eq!(expressions("up\n  == 0\nsum by (job) (up)\n"), Ok(()));
        assert!(expressions("up ==\n  0\nsum by (job (up)\n").is_err_and(|told| told.contains("parse")));
    }
}
