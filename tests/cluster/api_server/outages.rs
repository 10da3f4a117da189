//! The API server or its store is away while a pass is under way.

use controlplane::Program;
use futures::future::BoxFuture;
use sim::{Fault, Match, Operation};

use super::{NEXT, lives};
use crate::harness::{EMAIL, PATIENCE, PAUSE, SECRET, TOKEN, World, in_time};

type Act = fn(&World) -> BoxFuture<'_, ()>;

/// What people do, the write to the KMS that it leads to, and what is told of it.
struct Row {
    act: Act,
    write: Operation,
    told: &'static [&'static str],
}

const ROWS: [Row; 3] = [
    Row {
        act: |world| Box::pin(async { drop(world.connection("payments").apply().await) }),
        write: Operation::Create,
        told: &["ConnectionCreated"],
    },
    Row {
        act: |world| {
            Box::pin(async {
                world.issue(EMAIL, NEXT);
                world.secret(SECRET, EMAIL, NEXT).await;
            })
        },
        write: Operation::Update,
        told: &["ConnectionCreated", "CredentialsRotated"],
    },
    Row {
        act: |world| Box::pin(world.delete("payments")),
        write: Operation::Delete,
        told: &["ConnectionCreated", "ConnectionDeleted", "CredentialsRotated"],
    },
];

const UNREACHABLE: &str = "see whether the API server can be reached from here";

/// A world whose API server is its own.
async fn world() -> World {
    let world = World::cluster_wide().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.cluster_instance().await;
    world
}

/// Plays each row while `program` goes away in the middle of the pass: after the KMS did what it was asked for, and
/// before that is written down.
async fn goes_away(program: Program, next_steps: &[&str]) {
    let world = world().await;
    let plane = &world.plane().control_plane;
    if program == Program::Etcd {
        // Else the API server waits 34 s for its store before it says that there is none, and a minute would have to pass.
        plane.kill_program(Program::ApiServer).await.expect("an API server that can be killed");
        let started = plane.start_program_with(Program::ApiServer, &["--request-timeout=10s"]).await;
        started.expect("an API server that comes back");
    }
    for (number, Row { act, write, told }) in ROWS.iter().enumerate() {
        let writes = Match::op(*write);
        world.kms.clear_journal();
        world.kms.fail_when(writes.clone().times(1), Fault::HangAnswer);
        act(&world).await;
        in_time("the KMS is written to", world.kms.answered(&writes, 1)).await;
        let broken_off = || {
            let parts = ["the pass broke off", "it is tried again", "/payments"];
            let says = |line: &str| next_steps.iter().any(|next| line.contains(next));
            world
                .operator
                .log()
                .lines()
                .filter(|line| parts.iter().all(|part| line.contains(part)) && says(line))
                .count()
        };
        let before = broken_off();
        plane.kill_program(program).await.expect("a program that can be killed");
        world.kms.heal();
        let says_so = async {
            while broken_off() == before {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let said = tokio::time::timeout(PATIENCE, says_so).await;
        assert!(said.is_ok(), "row {number}: the pass breaks off and says {next_steps:?}\n{}", world.operator.tail());
        lives(&world.operator).await;
        plane.start_program(program).await.expect("a program that comes back");
        if *write == Operation::Delete {
            world.until_gone("payments").await;
        } else {
            world.until_event("payments", told[number]).await;
            world.ready("payments").await;
        }
        assert_eq!(world.told("payments").await, *told);
        assert_eq!(world.kms.connections().len(), usize::from(*write != Operation::Delete));
    }
    world.assert_silent(&[NEXT]).await;
    println!("proof: {} away in the middle of a pass | {}", program.name(), ROWS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_goes_away_in_the_middle_of_a_pass() {
    goes_away(Program::ApiServer, &[UNREACHABLE]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_away_in_the_middle_of_a_pass() {
    // An API server without its store answers with an error, or ends the connection instead.
    goes_away(Program::Etcd, &["see whether the API server and its etcd are well", UNREACHABLE]).await;
}
