//! What the API server answers to any request: one of them fails once, and the end is that of a run without.

use std::collections::BTreeMap;

use memory_api::{Entry, Fault, Match, Verb};

use super::{calm, each, leaks::leaks, mend, once::wrong, scenes};
use crate::{process::Process, scenes::Scene, world::World};

/// A way to fail: its name, of which requests, and the fault.
type Way = (&'static str, fn(Request) -> bool, fn() -> Fault);

const WAYS: [Way; 10] = [
    // An event is no obstacle: one that may not be told isn't told.
    ("403", |request| !is_event(request), || Fault::Status(403)),
    // That of a new event means that it is there.
    ("409", |request| request.0.is_write() && !is_event(request), || Fault::Status(409)),
    ("409 though it was done", |request| request.0.is_write(), || Fault::StatusAfter(409)),
    ("410", |request| matches!(request.0, Verb::List | Verb::Watch), || Fault::Gone),
    ("429", |_| true, || Fault::Status(429)),
    ("500", |_| true, || Fault::Status(500)),
    ("500 though it was done", |request| request.0.is_write(), || Fault::StatusAfter(500)),
    ("503", |_| true, || Fault::Status(503)),
    ("no connection", |_| true, || Fault::Unreachable),
    ("a connection that breaks after it was done", |request| request.0.is_write(), || Fault::LoseAnswer),
];

fn is_event(request: Request) -> bool {
    request.1 == "events"
}

/// How often in a row: more often than a request is repeated by itself.
const TIMES: usize = 4;

/// What is asked of the API server, as far as it is told apart.
type Request = (Verb, &'static str, &'static str);

struct Cell {
    scene: &'static Scene,
    request: Request,
    way: usize,
}

fn request(entry: &Entry) -> Request {
    (entry.verb, entry.resource, entry.subresource)
}

fn of((verb, resource, subresource): Request) -> Match {
    let any = Match::verb(verb).resource(resource);
    if subresource.is_empty() { any } else { any.subresource(subresource) }
}

/// The kinds of requests of a scene from its first deed on.
fn requests(scene: &'static Scene) -> Vec<Request> {
    let asked = std::sync::Mutex::new(Vec::new());
    each(&[scene], |scene, runtime, _| {
        runtime.block_on(scene.play_with(
            scene.patience(),
            |world: &World, _: &Process| {
                world.api.clear_journal();
                world.api.break_watches();
            },
            async |world: &mut World, quiet| {
                asked.lock().expect("no panic").extend(world.api.journal().iter().map(request));
                quiet
            },
        ))
    });
    let mut asked = asked.into_inner().expect("no panic");
    asked.sort_unstable();
    asked.dedup();
    asked
}

#[test]
fn a_request_to_the_api_server_that_fails_changes_nothing() {
    let all = std::env::var("FAULTS").is_ok_and(|which| which == "all");
    let scenes = scenes();
    let calm = calm(&scenes);
    let (mut cells, mut turn) = (Vec::new(), 0);
    for scene in &scenes {
        for request in requests(scene) {
            let ways: Vec<_> = (0..WAYS.len()).filter(|way| WAYS[*way].1(request)).collect();
            let chosen = if all { ways } else { vec![ways[turn % ways.len()]] };
            turn += 1;
            cells.extend(chosen.into_iter().map(|way| Cell { scene, request, way }));
        }
    }
    let played = each(&cells, |cell, runtime, log| {
        let begin = |world: &World, _: &Process| {
            world.api.fail_when(of(cell.request).times(TIMES), WAYS[cell.way].2());
            // Watches are asked for once, before anything happens.
            world.api.break_watches();
        };
        let mut leaked = Vec::new();
        let mut played =
            runtime.block_on(cell.scene.play_with(cell.scene.patience(), begin, async |world: &mut World, _| {
                world.api.heal();
                let quiet = mend(world, cell.scene.over()).await;
                leaked = leaks(world, log);
                quiet
            }));
        played.wrongs.extend(leaked);
        played
    });
    let mut failures = Vec::new();
    let mut count = BTreeMap::<Request, usize>::new();
    for (cell, played) in cells.iter().zip(&played) {
        *count.entry(cell.request).or_default() += 1;
        let calm = scenes.iter().zip(&calm).find(|(scene, _)| scene.name == cell.scene.name).map(|(_, calm)| calm);
        let mut wrongs = played.wrongs.clone();
        wrongs.extend(wrong(cell.scene, &played.end.differs_from(&calm.expect("a run without trouble").end)));
        if !wrongs.is_empty() {
            let (name, request) = (WAYS[cell.way].0, cell.request);
            failures.push(format!("{}: {request:?}: {name}\n  {}", cell.scene.name, wrongs.join("\n  ")));
        }
    }
    println!("{count:#?}");
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), cells.len(), failures.join("\n"));
    println!("proof: API server faults: scenario × request × fault | {}", cells.len());
}
