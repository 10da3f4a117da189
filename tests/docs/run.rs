//! The documentation is run: each manifest and each command of docs/*.md and README.md, page by page and from top to bottom,
//! as a reader would: in a shell, with the real kubectl, helm and operator, on a real API server.
//!
//! `blocks` finds them, `stage` is where they play, and what there is when a page begins, `others` has kinds of other
//! projects, `judges` is for what needs no cluster. A block that can't be run says why, in a comment before it:
//! `<!-- not run: needs Flux -->`. One that says nothing is run.

mod blocks;
mod judges;
mod others;
mod stage;
#[path = "../observability/tools.rs"]
mod tools;

use std::collections::BTreeMap;

use blocks::{Block, Kind};
use stage::Stage;

/// The program that a block needs and that is not here.
fn lacks(block: &Block) -> Option<String> {
    let program = match block.kind {
        Kind::Expressions => "promtool",
        Kind::Manifest | Kind::Commands if block.text.contains("| jq ") => "jq",
        Kind::Manifest | Kind::Commands | Kind::Terraform => return None,
    };
    tools::find(program).is_none().then(|| format!("{program} is not installed here"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_block_of_the_pages_works() {
    let wanted = std::env::var("PAGE").unwrap_or_default();
    let pages: Vec<_> = blocks::pages().into_iter().filter(|(page, _)| page.contains(&wanted)).collect();
    let stage = Stage::build().await;
    let (mut run, mut not_run, mut failures) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    for (page, blocks) in &pages {
        let mut untouched = true;
        for block in blocks {
            if let Some(reason) = block.not_run.clone().or_else(|| lacks(block)) {
                *not_run.entry(reason).or_default() += 1;
                continue;
            }
            if std::mem::take(&mut untouched) {
                stage.set().await;
            }
            if let Err(reason) = stage.learn(&block.text).await {
                *not_run.entry(reason).or_default() += 1;
                continue;
            }
            let result = match block.kind {
                Kind::Manifest => stage.apply(&block.text).await,
                Kind::Commands => stage.run(&block.text).await,
                Kind::Expressions => judges::expressions(&block.text),
                Kind::Terraform => judges::terraform(&block.text),
            };
            run += 1;
            if let Err(complaint) = result {
                failures.push(format!("{page}:{}\n{}\n--\n{complaint}", block.line, block.text));
            }
        }
    }
    let count: usize = not_run.values().sum();
    println!("proof: manifests and commands of the documentation: run | {run}");
    println!("proof: manifests and commands of the documentation: not run | {count}");
    for (reason, count) in not_run {
        println!("  {count} not run: {reason}");
    }
    let total = failures.len();
    assert!(failures.is_empty(), "{total} of {run} fail:\n\n{}", failures.join("\n\n"));
}

/// A reason that is none would hide a block.
#[test]
fn what_is_not_run_says_why() {
    for (page, blocks) in blocks::pages() {
        for block in blocks {
            let reason = block.not_run.as_deref().unwrap_or("it is run");
            assert!(reason.split_whitespace().count() > 1, "{page}:{}: not run: {reason:?}", block.line);
        }
    }
}
