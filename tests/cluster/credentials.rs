//! The Secret with the token, and what Bitbucket says of it.

mod outage;
mod refused;
mod secret;

use bitbucket_connection_operator::{api::BitbucketConnection, domain::scopes::UseCase};
use serde_json::{Value, json};
use sim::{Caller, Match, Operation, Token};

use crate::harness::{EMAIL, World, condition, needed_by};

/// A Secret's values with the e-mail of all tokens.
fn with(token: &str) -> Value {
    json!({"email": EMAIL, "token": token})
}

/// A token that can do what the connections of these tests are for.
fn good(token: &str) -> Token {
    Token::new(EMAIL, token).scopes(needed_by(&[UseCase::SecretScanning]))
}

/// The token of a row. Each row has its own, so that it can be told what was asked about it.
fn token_of(row: &str) -> String {
    format!("ATATT3xFfGF0-canary-of-{row}")
}

/// The operator's questions about a token, with its e-mail.
fn asked(token: &str) -> Match {
    Match::op(Operation::User).caller(Caller::Operator).token(token)
}

/// A world with an instance that works.
async fn world() -> World {
    let world = World::start().await;
    world.instance().await;
    world.until_instance("kms", "is Ready", |instance| condition(instance, "Ready").0 == "True").await;
    world
}

/// A connection that is named like its Secret.
async fn apply(world: &World, name: &str) -> BitbucketConnection {
    world.connection(name).secret(name).apply().await
}

/// How often the operator wrote, or tried to write, the status of a connection.
fn status_writes(world: &World, name: &str) -> usize {
    let of_name =
        |write: &&crate::harness::Write| write.resource == "bitbucketconnections/status" && write.name == name;
    world.api_writes().iter().filter(of_name).count()
}
