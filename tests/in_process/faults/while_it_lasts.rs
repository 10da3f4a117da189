//! All calls of a kind fail until somebody mends it: what is seen meanwhile is a table for people.

use std::fmt::Write as _;

use bitbucket_connection_operator::api::{BitbucketConnection, ClusterKmsInstance};
use sim::{Connection, Match, Operation};

use super::{
    each, fail,
    kinds::{KINDS, Kind},
    leaks::leaks,
    mend,
    once::wrong,
    scenes,
};
use crate::{
    hands::{NAME, PROJECT, TEAM, apply, base},
    process::Process,
    scenes::{Deed, Scene},
    stage::Played,
    world::World,
};

/// A column of a table: calls that are alike to people, and for each the scene whose first deed leads to it.
struct Column {
    name: &'static str,
    calls: &'static [(Operation, &'static str)],
}

const BITBUCKET: &[Column] = &[
    Column { name: "Whose is the token?", calls: &[(Operation::User, "create")] },
    Column {
        name: "What does it reach?",
        calls: &[(Operation::Workspaces, "workspaces that the token doesn't reach, until it does")],
    },
];

const KMS: &[Column] = &[
    Column { name: "Login", calls: &[(Operation::Login, "all at once")] },
    Column {
        name: "List, read",
        calls: &[(Operation::List, "create"), (Operation::Get, "a connection that was deleted in the KMS")],
    },
    Column { name: "Read by name", calls: &[(Operation::GetByName, "a name that is taken")] },
    Column { name: "Create", calls: &[(Operation::Create, "create")] },
    Column { name: "Change", calls: &[(Operation::Update, "a new token")] },
    Column { name: "Delete", calls: &[(Operation::Delete, "delete")] },
];

/// A connection of that name is there already, so that the KMS refuses another, and it is looked whose it is.
static TAKEN: Scene = Scene {
    name: "a name that is taken",
    before: &[base, |world| drop(world.kms.insert(Connection::new(NAME).project(PROJECT).description("Made by hand")))],
    deeds: &[Deed::Do(apply)],
    ready: "NameConflict",
    told: &["NameConflict"],
};

/// How long it lasts: long enough to be tried again a few times, shorter than what waits for a person.
const LASTS: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// Where the table is shown.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/outages.md");
/// Between these it stands.
const BEGIN: &str = "<!-- Written by a test from what it sees (tests/in_process/faults): make docs -->\n";
const END: &str = "<!-- end -->\n";

/// What is seen meanwhile.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The reasons of conditions that aren't as they should be; none if nothing is wrong, or nothing is left.
    reasons: Vec<String>,
    /// Messages that don't say what is next.
    mute: Vec<String>,
}

fn seen(world: &World) -> Seen {
    let mut seen = Seen::default();
    let object = world.api.get::<BitbucketConnection>(TEAM, NAME).and_then(|object| object.status);
    let instance = world.api.get::<ClusterKmsInstance>("", "default").and_then(|instance| instance.status);
    let judged = |kind: &str| ["CredentialsValid", "ScopesSufficient", "Synced"].contains(&kind);
    let of_object = object.into_iter().flat_map(|status| status.conditions).filter(|it| judged(&it.type_));
    let of_instance = instance.into_iter().flat_map(|status| status.conditions).filter(|it| it.type_ == "Ready");
    // What the instance tells is the cause of what the connection tells.
    for condition in of_instance.chain(of_object) {
        if condition.status != "True" && condition.reason != "NotEvaluated" {
            // A sentence of what is wrong, and one of what is next.
            if condition.message.split(". ").count() < 2 {
                seen.mute.push(condition.message.clone());
            }
            let of_instance = condition.type_ == "Ready";
            seen.reasons.push(if of_instance { format!("instance-{}", condition.reason) } else { condition.reason });
        }
    }
    seen
}

/// The first deed of a scene, and what there is before it.
fn beginning(scene: &'static Scene) -> Scene {
    Scene { deeds: &scene.deeds[..1], ..*scene }
}

/// A cell of a table, for one call.
struct Cell {
    scene: &'static Scene,
    operation: Operation,
    kind: &'static Kind,
}

impl Cell {
    fn name(&self) -> String {
        format!("{:?}, {}", self.operation, self.kind.name)
    }

    fn play(&self, runtime: &tokio::runtime::Runtime, log: &super::Log) -> (Seen, Played) {
        let begin = |world: &World, _: &Process| fail(world, Match::op(self.operation), self.kind, self.operation);
        let (mut meanwhile, mut leaked) = (Seen::default(), Vec::new());
        let mut played =
            runtime.block_on(beginning(self.scene).play_with(LASTS, begin, async |world: &mut World, _| {
                meanwhile = seen(world);
                let quiet = mend(world, self.scene.over()).await;
                leaked = leaks(world, log);
                quiet
            }));
        played.wrongs.extend(leaked);
        (meanwhile, played)
    }
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (operation, name) in BITBUCKET.iter().chain(KMS).flat_map(|column| column.calls) {
        let Some(scene) = scenes().into_iter().chain([&TAKEN]).find(|scene| scene.name == *name) else { continue };
        let kinds = KINDS.iter().filter(|kind| kind.concerns(*operation));
        cells.extend(kinds.map(|kind| Cell { scene, operation: *operation, kind }));
    }
    cells
}

/// A table of one service: faults that look alike share a row.
fn table(columns: &[Column], results: &[(Cell, Seen)]) -> String {
    let mut rows: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
    for kind in KINDS {
        let is_meant = |cell: &Cell, operation: Operation| std::ptr::eq(cell.kind, kind) && cell.operation == operation;
        let mut row = Vec::new();
        for column in columns {
            let mut words: Vec<&str> = Vec::new();
            for (operation, _) in column.calls {
                let found = results.iter().find(|(cell, _)| is_meant(cell, *operation));
                let reason = found.map(|(_, seen)| seen.reasons.first().map_or("–", String::as_str));
                words.extend(reason.filter(|reason| !words.contains(reason)));
            }
            row.push(words.iter().map(|word| link(word)).collect::<Vec<_>>().join(" or "));
        }
        if row.iter().all(String::is_empty) {
            continue;
        }
        match rows.iter_mut().find(|(cells, _)| *cells == row) {
            Some((_, names)) => names.push(kind.name),
            None => rows.push((row, vec![kind.name])),
        }
    }
    let mut table = "| what comes back |".to_owned();
    for column in columns {
        let _ = write!(table, " {} |", column.name);
    }
    let _ = write!(table, "\n|---|{}\n", "---|".repeat(columns.len()));
    for (cells, names) in rows {
        let _ = writeln!(table, "| {} | {} |", names.join(" · "), cells.join(" | "));
    }
    table
}

fn link(reason: &str) -> String {
    let word = reason.trim_start_matches("instance-");
    if reason == "–" { reason.to_owned() } else { format!("[{word}](conditions.md#{})", reason.to_lowercase()) }
}

/// The page with these tables in it.
fn page(page: &str, tables: &str) -> String {
    let (head, rest) = page.split_once(BEGIN).expect("a place for the tables");
    let (_, tail) = rest.split_once(END).expect("the end of the tables");
    format!("{head}{BEGIN}{tables}{END}{tail}")
}

#[test]
fn while_a_call_fails_a_condition_says_so() {
    let cells = cells();
    let mut played_scenes: Vec<&'static Scene> = Vec::new();
    for cell in &cells {
        if !played_scenes.iter().any(|scene| scene.name == cell.scene.name) {
            played_scenes.push(cell.scene);
        }
    }
    let calm = each(&played_scenes, |scene, runtime, _| {
        runtime.block_on(beginning(scene).play_with(
            LASTS,
            |_, _| {},
            async |world: &mut World, _| mend(world, scene.over()).await,
        ))
    });
    let played = each(&cells, Cell::play);
    let mut failures = Vec::new();
    for (cell, (seen, played)) in cells.iter().zip(&played) {
        let calm = played_scenes.iter().zip(&calm).find(|(scene, _)| scene.name == cell.scene.name);
        let mut wrongs = played.wrongs.clone();
        wrongs.extend(wrong(cell.scene, &played.end.differs_from(&calm.expect("a run without trouble").1.end)));
        wrongs.extend(seen.mute.iter().map(|message| format!("says nothing of what is next: {message}")));
        if cell.scene.name == TAKEN.name
            && seen.reasons == ["NameConflict"]
            && matches!((cell.kind.fault)(), sim::Fault::Hang)
        {
            wrongs.push("it was never asked whose the name is".to_owned());
        }
        if seen.reasons.is_empty() && !cell.kind.has_effect() {
            wrongs.push("nobody tells".to_owned());
        }
        if !wrongs.is_empty() {
            failures.push(format!("{}: {:?}\n  {}", cell.name(), seen.reasons, wrongs.join("\n  ")));
        }
    }
    let count = cells.len();
    let results: Vec<_> = cells.into_iter().zip(played).map(|(cell, (seen, _))| (cell, seen)).collect();
    let tables = format!("## Bitbucket\n\n{}\n## The KMS\n\n{}", table(BITBUCKET, &results), table(KMS, &results));
    assert!(failures.is_empty(), "{} of {count} fail:\n{}", failures.len(), failures.join("\n"));
    if std::env::var("SCENE").is_err() {
        let before = std::fs::read_to_string(PAGE).expect("the page");
        let now = page(&before, &tables);
        if std::env::var("UPDATE_DOCS").is_ok() {
            std::fs::write(PAGE, &now).expect("a page that can be written");
        }
        assert!(before == now, "docs/outages.md tells otherwise; see the difference after make docs:\n{tables}");
    }
    println!("proof: HTTP faults, while they last: call × fault | {count}");
}
