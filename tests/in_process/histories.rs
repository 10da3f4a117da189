//! Random histories in process: what people, outages and crashes do to a small world in days and weeks, then quiet; then
//! all must be as the model says.
//!
//! `HISTORIES` says how many (a small number unless set), spread over shards that run beside one another. A failure prints
//! the seed of its shard and the shortest history that fails; proptest keeps its own seed in
//! `proptest-regressions/histories.txt`, so that it is played first from then on.

mod people;
mod player;
mod quiet;

use std::cell::Cell;

use histories::{chance, step::History};
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRng, TestRunner,
};

use self::player::Player;

/// How many tests share the histories.
const SHARDS: u64 = 4;
/// How many histories there are unless somebody asks for more.
const FEW: u64 = 60;
/// How many steps a history has at most, besides those that it begins with.
const STEPS: usize = 24;

/// Plays one history from its first step to the end of the quiet time.
fn play(history: &History) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(Player::play(history))
}

/// The number in a variable.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Plays a shard's part of the histories.
fn shard(shard: u64) {
    let histories = number("HISTORIES", FEW);
    let cases = histories / SHARDS + u64::from(shard < histories % SHARDS);
    let base = number("HISTORIES_SEED", 0) * SHARDS + shard;
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&base.to_le_bytes());
    let config = Config {
        cases: u32::try_from(cases).unwrap_or(u32::MAX),
        max_shrink_iters: 1_500,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("proptest-regressions/histories.txt"))),
        rng_seed: RngSeed::Fixed(base),
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let (played, first) = (Cell::new(0), Cell::new(None));
    let outcome = runner.run(&chance::histories(STEPS, true), |history| {
        played.set(played.get() + 1);
        let played = play(&history).inspect_err(|_| first.set(first.get().or(Some(played.get()))));
        played.map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => println!("proof: random histories, in process (shard {}) | {}", shard + 1, played.get()),
        Err(TestError::Fail(why, History(steps))) => {
            let steps: Vec<_> = steps.iter().map(|step| format!("  {step:?}")).collect();
            let (at, runs) = (first.get().unwrap_or_default(), played.get());
            let shrunk = format!("seed {base}, history {at}, shrunk to {} steps in {runs} runs", steps.len());
            panic!("{shrunk}:\n{}\n{why}", steps.join("\n"));
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_history_ends_as_it_must_1() {
    shard(0);
}

#[test]
fn every_history_ends_as_it_must_2() {
    shard(1);
}

#[test]
fn every_history_ends_as_it_must_3() {
    shard(2);
}

#[test]
fn every_history_ends_as_it_must_4() {
    shard(3);
}
