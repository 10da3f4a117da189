//! Scenes are played here: once without trouble, and again with a process that ends somewhere.

use std::time::Duration;

use bitbucket_connection_operator::api::BitbucketConnection;

use crate::{
    ends::{End, Wrongs, events},
    hands::{NAME, OTHER, TEAM, owner},
    process::{Effect, Point, Process},
    scenes::{Deed, Scene},
    world::World,
};

/// Where a process ends in a scene.
#[derive(Clone, Debug)]
pub struct Cut {
    /// In which effect.
    pub effect: Effect,
    /// How many of the same kind come before, from the first deed on.
    pub before: usize,
    /// Where in it.
    pub point: Point,
}

/// What came of a scene.
pub struct Played {
    /// What the operator did from the first deed on, in whatever process.
    pub effects: Vec<Effect>,
    /// How many of these there were after the last deed, when it had got quiet.
    pub done: usize,
    /// What there is in the end.
    pub end: End,
    /// Whether the process ended where it was meant to.
    pub was_cut: bool,
    /// What must never be.
    pub wrongs: Vec<String>,
    /// The reason of the connection's Ready.
    pub ready: String,
    /// The reasons of all events.
    pub told: Vec<String>,
}

impl Scene {
    /// Plays it to its end, with one process of the operator, or with another after the first was cut off.
    pub async fn play(&self, cut: Option<&Cut>) -> Played {
        let begin = |_: &World, process: &Process| {
            if let Some(Cut { effect, before, point }) = cut {
                process.end_in(effect, *before, *point);
            }
        };
        self.play_with(Duration::ZERO, begin, async |_, quiet| quiet).await
    }

    /// Plays it to its end, with something before the first deed, and something after the last one: that is told whether
    /// it is quiet, and tells it. After each deed at least so much time passes.
    pub async fn play_with(
        &self,
        patience: Duration,
        begin: impl FnOnce(&World, &Process),
        end: impl AsyncFnOnce(&mut World, bool) -> bool,
    ) -> Played {
        let mut world = World::new();
        let ours = [NAME, OTHER].map(|name| owner(name).digits().map(str::to_owned).collect::<Vec<_>>()).concat();
        let wrongs = Wrongs::watch(&world, ours);
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
        begin(&world, &process);
        let mut quiet = true;
        for deed in self.deeds {
            match deed {
                Deed::Do(deed) => deed(&world),
                Deed::Pass(time) => world.pass(*time).await,
            }
            world.pass(patience).await;
            quiet = world.settle().await;
        }
        let before_end = process.effects().len() - done;
        quiet = end(&mut world, quiet).await;
        let mut effects = process.effects().split_off(done);
        let was_cut = process.has_ended();
        if was_cut {
            effects.extend(world.process().effects());
        }
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
        Played { effects, done: before_end, end, was_cut, wrongs, ready: ready.unwrap_or_default(), told }
    }
}
