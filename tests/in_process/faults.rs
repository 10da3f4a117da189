//! Whatever a service answers to whatever call: what is seen meanwhile has a name, nothing wrong is written, no secret comes
//! out, and when it is over the end is that of a run without.
//!
//! Each scene is played once without trouble, and its calls are recorded: so a new call is covered by itself. Then one call
//! of it fails once in each way (`once`), and all calls of a kind fail until somebody mends it (`while_it_lasts`), which
//! makes the table of `docs/outages.md`. The same of what the API server is asked for (`cluster`).

mod cluster;
mod kinds;
mod leaks;
mod once;
mod while_it_lasts;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use sim::{Caller, Front, Match, Operation};

use self::{kinds::Kind, leaks::Log};
use crate::{
    process::Effect,
    scenes::{SCENES, Scene},
    stage::Played,
    world::World,
};

/// An interval, and a tenth, and the longest pause.
const OVER: Duration = Duration::from_secs(80 * 60);
/// The same where the interval is a day.
const OVER_BY_THE_DAY: Duration = Duration::from_secs(28 * 3_600);

/// Does something for each of these, on as many threads as there are processors, each time in a runtime with a clock of its
/// own, and with a log of its own.
fn each<J: Sync, P: Send>(jobs: &[J], one: impl Fn(&J, &tokio::runtime::Runtime, &Log) -> P + Sync) -> Vec<P> {
    let next = Mutex::new((0..jobs.len()).rev().collect::<Vec<_>>());
    let done = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let Some(number) = next.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            let (runtime, log) = (runtime.expect("a runtime"), Log::default());
            let result = tracing::subscriber::with_default(log.subscriber(), || one(&jobs[number], &runtime, &log));
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(number, result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// All scenes, or those of whose names the variable `SCENE` holds a part.
fn scenes() -> Vec<&'static Scene> {
    let wanted = std::env::var("SCENE").unwrap_or_default();
    SCENES.iter().filter(|scene| scene.name.contains(&wanted)).collect()
}

/// The calls among effects, in their order.
fn calls(effects: &[Effect]) -> Vec<Operation> {
    let call = |effect: &Effect| match effect {
        Effect::Call(operation) => Some(*operation),
        Effect::Write { .. } => None,
    };
    effects.iter().filter_map(call).collect()
}

impl Scene {
    /// What has to be over before the next deed: where that would be another if the one before it came too late.
    fn patience(&self) -> Duration {
        let ordered = ["by an object of the same name", "create, then", "adopt after a conflict"];
        if ordered.iter().any(|part| self.name.contains(part)) { self.over() } else { Duration::ZERO }
    }

    /// After this even what waits for a person was tried again.
    fn over(&self) -> Duration {
        if self.name.contains("the end of a token") { OVER_BY_THE_DAY } else { OVER }
    }
}

/// Every scene without trouble, as long as those with trouble take.
fn calm(scenes: &[&'static Scene]) -> Vec<Played> {
    each(scenes, |scene, runtime, _| {
        runtime.block_on(scene.play_with(scene.patience(), |_, _| {}, async |world, _| mend(world, scene.over()).await))
    })
}

/// Has calls of this kind fail: at the service that answers them.
fn fail(world: &World, what: Match, kind: &Kind, operation: Operation) {
    let front: &Front = if is_bitbucket(operation) { &world.bitbucket } else { &world.kms };
    front.fail_when(what.caller(Caller::Operator), (kind.fault)());
}

fn is_bitbucket(operation: Operation) -> bool {
    match operation {
        Operation::User | Operation::Workspaces => true,
        Operation::Login
        | Operation::List
        | Operation::Get
        | Operation::GetByName
        | Operation::Create
        | Operation::Update
        | Operation::Delete
        | Operation::Status
        | Operation::Other => false,
    }
}

/// Everything works again; then time passes until even what waits for a person was tried again.
async fn mend(world: &mut World, over: Duration) -> bool {
    world.bitbucket.heal();
    world.kms.heal();
    world.pass(over).await;
    world.settle().await
}
