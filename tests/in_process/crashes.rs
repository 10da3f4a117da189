//! Wherever the process ends, the end of the story is that of a run without.

use std::time::Duration;

use crate::{
    fleet::Fleet,
    process::{Effect, Point},
    world::World,
};

const HOUR: Duration = Duration::from_secs(3_600);
const ONE: Fleet = Fleet { connections: 1, credentials: 1, sharing_a_project: 1, interval: "1h" };

/// What the creation of a connection does outside, from the start of the operator on.
async fn created(cut: Option<(usize, Point)>) -> Vec<Effect> {
    let mut world = World::new();
    ONE.apply(&world);
    let process = world.start();
    if let Some((number, point)) = cut {
        process.end_at(number, point);
        process.ended().await;
        world.kill().await;
        world.start();
    }
    world.until("it is Ready", HOUR, |world| Fleet::ready(world) == 1).await;
    assert_eq!(world.kms.connections().len(), 1, "{cut:?}");
    world.kill().await;
    process.effects()
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_is_cut_short_makes_one_connection() {
    let effects = created(None).await;
    for number in 0..effects.len() {
        for point in Point::ALL {
            created(Some((number, point))).await;
        }
    }
    println!("{effects:#?}");
}
