//! One call fails once: the end is that of a run without.

use std::{collections::BTreeMap, fmt::Write as _};

use sim::{Match, Operation};

use super::{calls, calm, each, fail, kinds::KINDS, leaks::leaks, mend, scenes};
use crate::{scenes::Scene, stage::Played};

/// A call of a scene, and how it fails.
struct Cell {
    scene: &'static Scene,
    operation: Operation,
    /// How many such calls come before, from the first deed on.
    before: usize,
    /// Which of [`KINDS`].
    kind: usize,
}

impl Cell {
    fn name(&self) -> String {
        let Self { scene, operation, before, kind } = self;
        format!("{}: {operation:?} ({before} before it): {}", scene.name, KINDS[*kind].name)
    }
}

/// What may be told besides, in other words, or not at all if an outage came between: that there was something wrong, and
/// that it is over.
const TOLD_OF_TROUBLE: [&str; 7] = [
    "CredentialsRejected",
    "DeletionBlocked",
    "NameConflict",
    "OwnershipMarkMissing",
    "Recovered",
    "ScopesMissing",
    "WorkspacesMissing",
];

/// Every way for each call where all is to be tried, else one for each, in turn.
fn cells(scene: &'static Scene, calm: &Played, turn: &mut usize) -> Vec<Cell> {
    let all = std::env::var("FAULTS").is_ok_and(|which| which == "all");
    let mut seen = BTreeMap::<Operation, usize>::new();
    let mut cells = Vec::new();
    for operation in calls(&calm.effects[..calm.done]) {
        let before = *seen.entry(operation).and_modify(|count| *count += 1).or_default();
        let concerned: Vec<_> = (0..KINDS.len()).filter(|kind| KINDS[*kind].concerns(operation)).collect();
        let chosen = if all { concerned } else { vec![concerned[*turn % concerned.len()]] };
        // A step that has nothing in common with the number of ways.
        *turn += 7;
        cells.extend(chosen.into_iter().map(|kind| Cell { scene, operation, before, kind }));
    }
    cells
}

/// What must not differ: a run may tell of its trouble besides.
pub fn wrong(different: &[String]) -> Vec<String> {
    let tells = |line: &str| {
        let event = line.strip_prefix(['+', '-']).and_then(|line| line.strip_prefix(" event "));
        let event = event.and_then(|rest| rest.split(' ').nth(1));
        event.is_some_and(|reason| TOLD_OF_TROUBLE.contains(&reason.trim_end_matches(':')))
    };
    different.iter().filter(|line| !tells(line)).cloned().collect()
}

#[test]
fn a_call_that_fails_once_changes_nothing() {
    let scenes = scenes();
    let calm = calm(&scenes);
    let mut turn = 0;
    let cells: Vec<_> = scenes.iter().zip(&calm).flat_map(|(scene, calm)| cells(scene, calm, &mut turn)).collect();
    let played = each(&cells, |cell, runtime, log| {
        let begin = |world: &crate::world::World, _: &crate::process::Process| {
            let call = Match::op(cell.operation).skip(cell.before).times(1);
            fail(world, call, &KINDS[cell.kind], cell.operation);
        };
        let mut leaked = Vec::new();
        let mut played = runtime.block_on(cell.scene.play_with(cell.scene.patience(), begin, async |world, _| {
            let quiet = mend(world).await;
            leaked = leaks(world, log);
            quiet
        }));
        played.wrongs.extend(leaked);
        played
    });
    let (mut failures, mut dearest) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for (cell, played) in cells.iter().zip(&played) {
        let calm = scenes.iter().zip(&calm).find(|(scene, _)| scene.name == cell.scene.name).map(|(_, calm)| calm);
        let calm = calm.expect("a run without trouble");
        let more = dearest.entry(KINDS[cell.kind].name).or_default();
        *more = (*more).max(calls(&played.effects).len().saturating_sub(calls(&calm.effects).len()));
        let mut wrongs = played.wrongs.clone();
        wrongs.extend(wrong(&played.end.differs_from(&calm.end)));
        if !wrongs.is_empty() {
            failures.push(format!("{}\n  {}", cell.name(), wrongs.join("\n  ")));
        }
    }
    let mut table = String::new();
    for (name, more) in dearest {
        let _ = writeln!(table, "{name}: at most {more} calls more");
    }
    println!("{table}");
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), cells.len(), failures.join("\n"));
    println!("proof: HTTP faults, once: scenario × call × fault | {}", cells.len());
}
