//! Wherever the process ends, the end of the story is that of a run without.
//!
//! Each scene is played once without trouble, and its effects are recorded: so a new effect is covered by itself. Then
//! it is played again for each of them and each point in it, with a process that ends there and another that starts with
//! an empty memory.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    thread,
};

use crate::{
    process::{Effect, Point},
    scenes::{SCENES, Scene},
    stage::{Cut, Played},
};

/// Ends that may differ.
struct Exception {
    /// Of this scene.
    scene: &'static str,
    /// In nothing but lines that begin with one of these.
    lines: &'static [&'static str],
    /// And this must be said in them.
    word: &'static str,
    /// Why nothing better can be had.
    why: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        scene: "a namespace that is deleted with its instance",
        lines: &[
            "+ BitbucketConnection team-a/payments",
            "+ KmsInstance team-a/kms",
            "+ Namespace team-a",
            "+ KMS: payments",
        ],
        word: "spec.deletionPolicy: Retain",
        why: "the credentials of the KMS went with the namespace, and the session with the process: the way out is told",
    },
    Exception {
        scene: "a name that was changed in the KMS",
        lines: &["- event payments DriftCorrected"],
        word: "put back: name",
        why: "nothing tells a connection that was put back from one that nobody changed",
    },
    Exception {
        scene: "a description that was changed in the KMS",
        lines: &["- event payments DriftCorrected"],
        word: "put back: description",
        why: "nothing tells a connection that was put back from one that nobody changed",
    },
];

impl Exception {
    fn allows(&self, scene: &Scene, different: &[String]) -> bool {
        let meant = |line: &String| self.lines.iter().any(|begin| line.starts_with(begin));
        self.scene == scene.name && different.iter().all(meant) && different.iter().any(|line| line.contains(self.word))
    }
}

/// Plays scenes, on as many threads as there are processors, each world in a runtime with a clock of its own.
fn play(jobs: &[(&'static Scene, Option<Cut>)]) -> Vec<Played> {
    let next = Mutex::new((0..jobs.len()).rev().collect::<Vec<_>>());
    let played = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let Some(number) = next.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
            let (scene, cut) = &jobs[number];
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            let one = runtime.expect("a runtime").block_on(scene.play(cut.as_ref()));
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

fn scenes() -> Vec<&'static Scene> {
    let wanted = std::env::var("SCENE").unwrap_or_default();
    SCENES.iter().filter(|scene| scene.name.contains(&wanted)).collect()
}

/// Every point of each effect where all is to be tried, else one of each, in turn.
fn cuts(effects: &[Effect]) -> Vec<Cut> {
    let all = std::env::var("CRASH_POINTS").is_ok_and(|which| which == "all");
    let mut seen = BTreeMap::<&Effect, usize>::new();
    let mut cuts = Vec::new();
    for (number, effect) in effects.iter().enumerate() {
        let before = seen.entry(effect).or_default();
        let points = Point::ALL.into_iter().enumerate().filter(|(turn, _)| all || *turn == number % Point::ALL.len());
        cuts.extend(points.map(|(_, point)| Cut { effect: effect.clone(), before: *before, point }));
        *before += 1;
    }
    cuts
}

/// What is wrong with the runs that nothing came between.
fn calm_failures(scene: &Scene, calm: &Played) -> Vec<String> {
    let mut failures = calm.wrongs.clone();
    if calm.ready != scene.ready || calm.told != scene.told {
        failures.push(format!("it ends in {:?}, {:?}", calm.ready, calm.told));
    }
    failures.iter().map(|failure| format!("{}, without trouble: {failure}", scene.name)).collect()
}

#[test]
fn wherever_the_process_ends_the_end_is_the_same() {
    let scenes = scenes();
    let calm = play(&scenes.iter().map(|scene| (*scene, None)).collect::<Vec<_>>());
    let mut failures: Vec<_> = scenes.iter().zip(&calm).flat_map(|(scene, calm)| calm_failures(scene, calm)).collect();
    let of = |(scene, calm): (&&'static Scene, &Played)| {
        let scene = *scene;
        cuts(&calm.effects).into_iter().map(move |cut| (scene, Some(cut)))
    };
    let jobs: Vec<_> = scenes.iter().zip(&calm).flat_map(of).collect();
    let played = play(&jobs);
    let (mut table, mut excepted) = (String::new(), vec![0; EXCEPTIONS.len()]);
    for (scene, calm) in scenes.iter().zip(&calm) {
        let (mut count, mut dearest) = (0, 0);
        for ((of, cut), played) in jobs.iter().zip(&played) {
            let Some(cut) = cut.as_ref().filter(|_| of.name == scene.name) else { continue };
            count += 1;
            dearest = dearest.max(played.effects.len().saturating_sub(calm.effects.len()));
            let mut wrong = played.wrongs.clone();
            if !played.was_cut {
                wrong.push("it never came to that".to_owned());
            }
            let different = played.end.differs_from(&calm.end);
            match EXCEPTIONS.iter().position(|exception| exception.allows(scene, &different)) {
                Some(number) => excepted[number] += 1,
                None => wrong.extend(different),
            }
            if !wrong.is_empty() {
                let cell = format!("{}: {:?} {} ({} alike before it)", scene.name, cut.point, cut.effect, cut.before);
                failures.push(format!("{cell}\n  {}", wrong.join("\n  ")));
            }
        }
        let effects: Vec<_> = calm.effects.iter().map(ToString::to_string).collect();
        let effects = effects.join(" · ");
        let _ = writeln!(table, "{}: {count} ends, each at most {dearest} effects dearer\n    {effects}", scene.name);
    }
    println!("{table}");
    for (exception, count) in EXCEPTIONS.iter().zip(&excepted) {
        println!("{count} excepted of \"{}\": {}", exception.scene, exception.why);
        if *count == 0 && scenes.iter().any(|scene| scene.name == exception.scene) {
            failures.push(format!("nothing excepted any more of \"{}\"", exception.scene));
        }
    }
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), jobs.len(), failures.join("\n"));
    println!("proof: crash points: scenario × effect × point | {}", jobs.len());
}
