//! What only real sockets show, at every call: redirects to another host, bodies without end, bodies that stop.

use futures::future::{BoxFuture, join_all};
use serde_json::json;
use sim::{Bitbucket, Connection, Fault, Kms, Match, Operation};

use crate::harness::{CLIENT_SECRET, EMAIL, PROJECT, SECRET, TOKEN, World, condition, in_time};

const NEXT: &str = "ATATT3xFfGF0-canary-of-the-next-token";

/// More than a body without end may cost.
const MEMORY_MAX: u64 = 200 << 10;

type Act = fn(&World) -> BoxFuture<'_, ()>;

/// A call, what people do that leads to it, and what is so when it is answered again.
struct Step {
    call: Operation,
    act: Act,
    /// Which condition of which object tells that it isn't, and why.
    told: (&'static str, &'static str, &'static str),
    done: Act,
}

fn ready(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async { drop(world.ready("payments").await) })
}

fn in_step(world: &World) -> BoxFuture<'_, ()> {
    Box::pin(async {
        world.until_reason("payments", "Synced", "InSync").await;
        world.until_reason("payments", "CredentialsValid", "Authenticated").await;
    })
}

/// A life in which every call is made, one after the other.
fn life() -> Vec<Step> {
    let step = |call, act: Act, told, done: Act| Step { call, act, told, done };
    let unavailable = ("payments", "Synced", "KmsUnavailable");
    let logged_in: Act = |world| Box::pin(async { drop(world.until_instance_says("kms", "Authenticated").await) });
    vec![
        step(Operation::Login, |world| Box::pin(world.instance()), ("kms", "Ready", "Unreachable"), logged_in),
        step(
            Operation::User,
            |world| Box::pin(async { drop(world.connection("payments").apply().await) }),
            ("payments", "CredentialsValid", "BitbucketUnavailable"),
            ready,
        ),
        step(
            Operation::List,
            |world| Box::pin(async { drop(world.request_reconcile("payments").await) }),
            unavailable,
            in_step,
        ),
        step(
            Operation::Workspaces,
            |world| {
                Box::pin(async {
                    world.bitbucket.set_workspaces(TOKEN, ["acme"]);
                    world.patch("payments", json!({"spec": {"workspaces": ["acme"]}})).await;
                })
            },
            ("payments", "ScopesSufficient", "ScopesNotReported"),
            |world| Box::pin(async { drop(world.until_reason("payments", "ScopesSufficient", "AllGranted").await) }),
        ),
        step(
            Operation::Update,
            |world| {
                Box::pin(async {
                    world.issue(EMAIL, NEXT);
                    world.bitbucket.set_workspaces(NEXT, ["acme"]);
                    world.secret(SECRET, EMAIL, NEXT).await;
                })
            },
            unavailable,
            in_step,
        ),
        step(
            Operation::Get,
            |world| {
                Box::pin(async {
                    world.kms.remove(&world.row("payments").id);
                    world.request_reconcile("payments").await;
                })
            },
            unavailable,
            in_step,
        ),
        step(
            Operation::Create,
            |world| Box::pin(async { drop(world.connection("billing").apply().await) }),
            ("billing", "Synced", "KmsUnavailable"),
            |world| Box::pin(async { drop(world.ready("billing").await) }),
        ),
        step(
            Operation::GetByName,
            |world| {
                Box::pin(async {
                    world.kms.insert(Connection::new("taken").project(PROJECT).description("Made by hand"));
                    world.connection("taken").apply().await;
                })
            },
            ("taken", "Synced", "KmsUnavailable"),
            |world| Box::pin(async { drop(world.until_reason("taken", "Synced", "NameConflict").await) }),
        ),
        step(
            Operation::Delete,
            |world| Box::pin(world.delete("payments")),
            unavailable,
            |world| Box::pin(world.until_gone("payments")),
        ),
    ]
}

/// Plays a life in which each of these calls fails until that is told.
async fn play(fault: impl Fn(Operation) -> Option<Fault>) -> (World, usize) {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let mut failed = 0;
    for Step { call, act, told: (name, kind, reason), done } in life() {
        let Some(fault) = fault(call) else {
            act(&world).await;
            done(&world).await;
            continue;
        };
        failed += 1;
        let at_bitbucket = matches!(call, Operation::User | Operation::Workspaces);
        let front: &sim::Front = if at_bitbucket { &world.bitbucket } else { &world.kms };
        let calls = Match::op(call).caller(sim::Caller::Operator);
        front.clear_journal();
        front.fail_when(calls.clone(), fault);
        act(&world).await;
        in_time("the call is made", front.seen(&calls, 1)).await;
        if call == Operation::Login {
            let holds =
                |instance: &bitbucket_connection_operator::api::KmsInstance| condition(instance, kind).1 == reason;
            world.until_instance(name, &format!("says {reason}"), holds).await;
        } else {
            world
                .until(name, &format!("has {kind} {reason} at {call:?}"), |bbc| condition(bbc, kind).1 == reason)
                .await;
        }
        front.heal();
        done(&world).await;
    }
    assert_eq!(world.kms.connections().len(), 2, "that of billing, and the one made by hand");
    world.assert_silent(&[NEXT, CLIENT_SECRET]).await;
    (world, failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_follows_a_redirect() {
    let bitbucket = Bitbucket::start().await;
    let kms = Kms::start(&bitbucket).await;
    let elsewhere = |call: Operation| match call {
        Operation::User | Operation::Workspaces => format!("{}/user", bitbucket.url()),
        _ => format!("{}/api/v1/app-connections/bitbucket", kms.url()),
    };
    let (_, count) = play(|call| Some(Fault::Redirect(elsewhere(call)))).await;
    assert!(bitbucket.journal().is_empty() && kms.journal().is_empty(), "a redirect was followed");
    println!("proof: redirects to another host: calls that don't follow | {count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_reads_a_body_without_end() {
    let (world, count) = play(|_| Some(Fault::Huge(1 << 30))).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.operator.pid().expect("it runs")));
    // Elsewhere than on Linux nobody tells.
    if let Some(peak) =
        status.ok().and_then(|text| text.lines().find_map(|line| line.strip_prefix("VmHWM:").map(str::to_owned)))
    {
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(peak < MEMORY_MAX, "{peak} KiB");
    }
    println!("proof: bodies of 1 GB: calls that don't read them | {count}");
}

/// Each of them takes the 20 seconds after which a call is given up; all where the variable `STALLS` says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_is_given_up() {
    let all = std::env::var("STALLS").is_ok_and(|which| which == "all");
    let calls = life().into_iter().map(|step| step.call).filter(|call| all || *call == Operation::List);
    let counts = join_all(calls.map(async |one| play(|call| (call == one).then_some(Fault::StallBody)).await.1)).await;
    println!("proof: bodies that stop: calls that are given up | {}", counts.iter().sum::<usize>());
}
