//! What GitOps tools make of objects, in every state that they can be in: Flux and `helm --wait` by kstatus, Argo CD by
//! `examples/gitops/argocd/health.lua`. All of them have to agree with the table of classes.
//!
//! `states` collects the objects: what the operator writes in all scenes and while services fail, and for each reason what
//! the rules make of it. `expected` says what is right, of the table alone. The judges are the real ones where they can
//! be had: Lua 5.1 is built into this test; kstatus and the interpreter that Argo CD has are a program in Go.

mod expected;
mod lua;
mod states;

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use controlplane::{Error, Judges, Printer};
use expected::{Argo, expected};
use serde_json::Value;
use states::State;

#[path = "../cluster/harness/kstatus.rs"]
mod kstatus;

use kstatus::kstatus;

/// The script for Argo CD.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gitops/argocd/health.lua");

/// Collected once for all tests.
static STATES: LazyLock<Vec<State>> = LazyLock::new(states::all);

/// Fails with all objects of which `judged` says another word than is right.
fn assert_agreed<T: PartialEq + std::fmt::Debug>(
    judge: &str,
    right: impl Fn(&State) -> T,
    mut judged: impl FnMut(&State) -> T,
) {
    let mut wrongs = Vec::new();
    for state in STATES.iter() {
        let (right, said) = (right(state), judged(state));
        if right != said {
            wrongs.push(format!("{said:?} instead of {right:?}: {state}\n{:#}", state.object));
        }
    }
    assert!(wrongs.is_empty(), "{judge} is wrong {} times of {}:\n{}", wrongs.len(), STATES.len(), wrongs.join("\n"));
}

#[test]
fn every_reason_is_among_the_states() {
    let mut seen = BTreeMap::<&str, usize>::new();
    for state in STATES.iter() {
        *seen.entry(state.origin).or_default() += 1;
    }
    let missing = states::missing(&STATES);
    assert!(missing.is_empty(), "no object has {missing:?}");
    for origin in states::ORIGINS {
        assert!(seen.contains_key(origin), "nothing comes from {origin}: {seen:?}");
    }
    println!("proof: states of objects that GitOps tools judge | {}", STATES.len());
    println!("{seen:#?}");
}

#[test]
fn argo_cd_sees_health_as_the_classes_are() {
    let script = lua::Script::load(Path::new(SCRIPT));
    assert_agreed("health.lua", |state| expected(&state.object).argo, |state| script.health(&state.object).0);
}

#[test]
fn argo_cd_is_told_what_the_object_says() {
    let script = lua::Script::load(Path::new(SCRIPT));
    for state in STATES.iter() {
        let (health, message) = script.health(&state.object);
        assert!(!message.is_empty(), "{state}: {:#}", state.object);
        if health == Argo::Degraded {
            assert!(states::messages(&state.object).contains(&message.as_str()), "{state}: {message}");
        }
    }
}

#[test]
fn the_harness_reads_conditions_as_the_classes_are() {
    assert_agreed("the harness", |state| expected(&state.object).kstatus, |state| kstatus(&state.object));
}

/// The library itself, and the interpreter of Argo CD.
#[test]
fn kstatus_and_argo_cds_own_lua_agree_with_them() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut printer = Printer::stderr();
    let judges = match runtime.block_on(Judges::find_or_build(|progress| printer.show(&progress))) {
        Ok(judges) => judges,
        Err(without @ (Error::NoGo { .. } | Error::OldGo { .. })) => {
            println!("skipped: {without}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let lines: String = STATES.iter().map(|state| format!("{}\n", state.object)).collect();
    let answers = runtime.block_on(judges.ask(Path::new(SCRIPT), &lines)).unwrap_or_else(|error| panic!("{error}"));
    let answers: Vec<Value> =
        answers.lines().map(|line| serde_json::from_str(line).expect("an answer in JSON")).collect();
    assert_eq!(answers.len(), STATES.len());
    let mut answer = answers.iter();
    let said = |state: &State, answer: &Value| (answer["kstatus"]["status"].clone(), argo(&answer["argocd"], state));
    assert_agreed(
        "kstatus, or Argo CD's Lua,",
        |state| {
            let right = expected(&state.object);
            (Value::from(format!("{:?}", right.kstatus)), right.argo)
        },
        |state| said(state, answer.next().expect("an answer for each")),
    );
    // What Flux shows of a stalled object is the message that says what to do.
    for (state, answer) in STATES.iter().zip(&answers) {
        if answer["kstatus"]["status"] == "Failed" {
            let message = answer["kstatus"]["message"].as_str().unwrap_or_default();
            assert!(states::messages(&state.object).contains(&message), "{state}: {message}");
        }
    }
}

fn argo(answer: &Value, state: &State) -> Argo {
    let word = answer["status"].as_str().unwrap_or_default();
    Argo::parse(word).unwrap_or_else(|| panic!("Argo CD knows no health {word:?}: {state}"))
}
