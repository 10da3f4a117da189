//! What the KMS refuses, and what it can't do for now.

mod hidden;
mod names;
mod outage;
mod refused;
mod spec;

use bitbucket_connection_operator::domain::scopes::UseCase;
use sim::Token;

use crate::harness::{EMAIL, World, condition, needed_by};

/// A world with an instance that works.
async fn world() -> World {
    let world = World::start().await;
    world.instance().await;
    world.until_instance("kms", "is Ready", |instance| condition(instance, "Ready").0 == "True").await;
    world
}

/// A token that can do what the connections of these tests are for. Each row has its own.
fn token_of(row: &str) -> String {
    format!("ATATT3xFfGF0-canary-of-{row}")
}

/// A Secret with the token of a row.
async fn secret(world: &World, row: &str) {
    world.bitbucket.add(Token::new(EMAIL, &token_of(row)).scopes(needed_by(&[UseCase::SecretScanning])));
    world.secret(row, EMAIL, &token_of(row)).await;
}
