//! Scenes are played here: once without trouble, and again with a process that ends somewhere.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use bitbucket_connection_operator::api::BitbucketConnection;
use memory_api::{Fault, Match, Verb};

use crate::{
    ends::{End, Wrongs, events},
    hands::{NAME, OTHER, TEAM},
    process::{Effect, Point, Process},
    scenes::{Deed, SCENES, Scene},
    world::{Behind, World},
};

/// An effect of a scene.
#[derive(Clone, Debug)]
pub struct Place {
    /// Which effect.
    pub effect: Effect,
    /// How many of the same kind come before, from the first deed on.
    pub before: usize,
}

/// What comes in between.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The process ends, and another starts.
    End(Place, Point),
    /// The process ends, and another starts once people have done all that they do in the scene.
    Away(Place, Point),
    /// From right before this effect on the watches tell nothing, until nothing more happens.
    Behind(Place),
    /// The process ends, and another takes over whose watches are behind.
    TakenOver(Place, Lag),
    /// The watches tell of nothing that people do until seven minutes later.
    Late,
    /// The watches break off when somebody does something, and can't go on from where they were.
    Missed,
    /// This object is served once more in its former version, after as many reads as come before.
    Stale {
        /// The plural of its kind.
        resource: &'static str,
        /// Its name.
        name: String,
        /// How many reads of it come before, from the first deed on.
        before: usize,
    },
}

/// How far the caches of who takes over are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// All of them since before the first deed, until nothing more happens.
    Scene,
    /// All of them since before the latest deed, until nothing more happens.
    Deed,
    /// That of connections since before the first deed, until after the last.
    Connections,
    /// That of connections since before the write at which the process ended, until after the last deed.
    LastWrite,
}

impl Lag {
    /// Before a deed.
    fn begin(self, world: &mut World, is_first: bool) {
        let now = world.api.revision();
        match self {
            Self::Scene if is_first => world.follower = Some(Behind::All(now)),
            Self::Deed if is_first || world.follower.is_some() => world.follower = Some(Behind::All(now)),
            Self::Connections if is_first => world.follower = Some(Behind::Connections(now)),
            Self::LastWrite if is_first => world.follower = Some(Behind::LastWrite),
            Self::Scene | Self::Deed | Self::Connections | Self::LastWrite => {}
        }
    }

    /// Whether it lasts longer than the deed in which the process ended.
    fn lasts(self) -> bool {
        matches!(self, Self::Connections | Self::LastWrite)
    }
}

/// What came of a scene.
pub struct Played {
    /// What the operator did from the first deed on, in whatever process.
    pub effects: Vec<Effect>,
    /// How many of these there were after the last deed, when it had got quiet.
    pub done: usize,
    /// What there is in the end.
    pub end: End,
    /// How many of them came before the last deed.
    pub before_last: usize,
    /// Which objects it read.
    pub reads: Vec<(&'static str, String)>,
    /// Whether the trouble came.
    pub came: bool,
    /// What must never be.
    pub wrongs: Vec<String>,
    /// The reason of the connection's Ready.
    pub ready: String,
    /// The reasons of all events.
    pub told: Vec<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { effect, before } = self;
        write!(formatter, "{effect}")?;
        if *before == 0 { Ok(()) } else { write!(formatter, " ({before} alike before it)") }
    }
}

/// The places in a run, told apart by how often each effect was there before: so a new effect is found by itself.
pub fn places(effects: &[Effect]) -> Vec<Place> {
    let mut seen = BTreeMap::<&Effect, usize>::new();
    let place = |effect| {
        let before = seen.entry(effect).or_default();
        *before += 1;
        Place { effect: effect.clone(), before: *before - 1 }
    };
    effects.iter().map(place).collect()
}

impl Scene {
    /// What is wrong with a run that nothing came between.
    pub fn wrongs(&self, calm: &Played) -> Vec<String> {
        let mut wrongs = calm.wrongs.clone();
        if calm.ready != self.ready || calm.told != self.told {
            wrongs.push(format!("it ends in {:?}, {:?}", calm.ready, calm.told));
        }
        wrongs.iter().map(|wrong| format!("{}, without trouble: {wrong}", self.name)).collect()
    }

    /// Plays it to its end, with what comes in between.
    pub async fn play(&self, trouble: Option<&Trouble>) -> Played {
        self.play_through(Duration::ZERO, trouble, |_, _| {}, async |_, quiet| quiet).await
    }

    /// Plays it to its end, with something before the first deed, and something after the last one: that is told whether
    /// it is quiet, and tells it. After each deed at least so much time passes.
    pub async fn play_with(
        &self,
        patience: Duration,
        begin: impl FnOnce(&World, &Process),
        end: impl AsyncFnOnce(&mut World, bool) -> bool,
    ) -> Played {
        self.play_through(patience, None, begin, end).await
    }

    async fn play_through(
        &self,
        patience: Duration,
        trouble: Option<&Trouble>,
        begin: impl FnOnce(&World, &Process),
        end: impl AsyncFnOnce(&mut World, bool) -> bool,
    ) -> Played {
        let mut world = World::new();
        let wrongs = Wrongs::watch(&world, TEAM, &[NAME, OTHER]);
        let (first, rest) = self.before.split_first().map_or((None, self.before), |(first, rest)| (Some(first), rest));
        if let Some(first) = first {
            first(&world);
        }
        let process = world.start();
        world.settle().await;
        for deed in rest {
            deed(&world);
            world.settle().await;
        }
        let done = process.effects().len();
        world.api.clear_journal();
        begin(&world, &process);
        if let Some(trouble) = trouble {
            trouble.prepare(&world);
        }
        let (mut quiet, mut before_last) = (true, 0);
        world.stays_down = matches!(trouble, Some(Trouble::Away(..)));
        for (number, deed) in self.deeds.iter().enumerate() {
            before_last = process.effects().len() - done;
            if let Some(Trouble::TakenOver(_, lag)) = trouble {
                lag.begin(&mut world, number == 0);
            }
            quiet = deed.play(&mut world, patience, trouble).await;
        }
        if std::mem::take(&mut world.stays_down) {
            quiet = world.settle().await;
        }
        if matches!(trouble, Some(Trouble::TakenOver(_, lag)) if lag.lasts()) {
            world.api.release_watches();
            quiet = world.settle().await;
        }
        let before_end = process.effects().len() - done;
        quiet = end(&mut world, quiet).await;
        let reads = world.api.journal().into_iter().filter(|entry| entry.verb == Verb::Get);
        let reads = reads.map(|entry| (entry.resource, entry.name)).collect();
        let mut effects = process.effects().split_off(done);
        if process.has_ended() {
            effects.extend(world.process().effects());
        }
        let came = !process.awaits_effect();
        let mut wrongs = wrongs.all();
        if !quiet {
            wrongs.push("it does not come to rest".to_owned());
        }
        wrongs.extend(world.api.unsupported());
        let object = world.api.get::<BitbucketConnection>(TEAM, NAME);
        let conditions = object.and_then(|object| object.status).map(|status| status.conditions).unwrap_or_default();
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready").map(|ready| ready.reason);
        let mut told: Vec<_> = events(&world).into_iter().map(|(_, reason, _)| reason).collect();
        told.sort();
        let end = End::of(&world);
        world.kill().await;
        let ready = ready.unwrap_or_default();
        Played { effects, done: before_end, before_last, reads, end, came, wrongs, ready, told }
    }
}

impl Deed {
    /// Plays one, and what comes after it; whether the operator is quiet then.
    async fn play(self, world: &mut World, patience: Duration, trouble: Option<&Trouble>) -> bool {
        if let Some(Trouble::Late) = trouble {
            world.api.hold_watches();
        }
        match self {
            Self::Do(deed) => deed(world),
            Self::Pass(time) => world.pass(time).await,
        }
        world.pass(patience).await;
        if let Some(Trouble::Missed) = trouble {
            world.api.break_watches();
            world.api.forget_history();
        }
        let quiet = world.settle().await;
        match trouble {
            Some(Trouble::TakenOver(_, lag)) if lag.lasts() => quiet,
            Some(Trouble::Late | Trouble::Behind(_) | Trouble::TakenOver(..)) => {
                world.api.release_watches();
                world.settle().await
            }
            Some(Trouble::End(..) | Trouble::Away(..) | Trouble::Missed | Trouble::Stale { .. }) | None => quiet,
        }
    }
}

impl Trouble {
    fn prepare(&self, world: &World) {
        match self {
            Self::End(Place { effect, before }, point) | Self::Away(Place { effect, before }, point) => {
                world.process().end_in(effect, *before, *point);
            }
            Self::TakenOver(Place { effect, before }, _) => {
                world.process().end_in(effect, *before, Point::AnswerLost);
            }
            Self::Behind(Place { effect, before }) => {
                let api = world.api.clone();
                world.process().do_before(effect, *before, move || api.hold_watches());
            }
            Self::Stale { resource, name, before } => {
                let read = Match::verb(Verb::Get).resource(resource).name(name);
                world.api.fail_when(read.skip(*before).times(1), Fault::Stale);
            }
            Self::Late | Self::Missed => {}
        }
    }
}

/// A scene, and what comes in between.
pub type Job = (&'static Scene, Option<Trouble>);

/// Plays scenes, on as many threads as there are processors, each world in a runtime with a clock of its own.
pub fn play(jobs: &[Job]) -> Vec<Played> {
    let next = Mutex::new((0..jobs.len()).rev().collect::<Vec<_>>());
    let played = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let Some(number) = next.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
            let (scene, trouble) = &jobs[number];
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            let one = runtime.expect("a runtime").block_on(scene.play(trouble.as_ref()));
            played.lock().unwrap_or_else(PoisonError::into_inner).insert(number, one);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    played.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// Whether all is to be tried (`CRASH_POINTS=all`, minutes), or so much that it takes seconds.
pub fn wants_all() -> bool {
    std::env::var("CRASH_POINTS").is_ok_and(|which| which == "all")
}

/// Those that are asked for by a part of their names, else all.
pub fn scenes() -> Vec<&'static Scene> {
    let wanted = std::env::var("SCENE").unwrap_or_default();
    SCENES.iter().filter(|scene| scene.name.contains(&wanted)).collect()
}
