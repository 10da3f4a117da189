//! Wherever the process ends, the end of the story is that of a run without.
//!
//! Each scene is played once without trouble, and its effects are recorded: so a new effect is covered by itself. Then
//! it is played again for each of them and each point in it, with a process that ends there and another that starts with
//! an empty memory.

use std::fmt::Write as _;

use crate::{
    process::{Effect, Point},
    scenes::Scene,
    stage::{Place, Played, Trouble, places, play, scenes, wants_all},
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

/// Whether the end of a scene may differ in these lines from that of a run in which no process ended.
pub fn is_excepted(scene: &Scene, different: &[String]) -> bool {
    EXCEPTIONS.iter().any(|exception| exception.allows(scene, different))
}

/// Every point of each effect where all is to be tried, else one of each, in turn.
fn cuts(effects: &[Effect]) -> Vec<Trouble> {
    let all = wants_all();
    let points = |(number, place): (usize, Place)| {
        let points =
            Point::ALL.into_iter().enumerate().filter(move |(turn, _)| all || *turn == number % Point::ALL.len());
        points.map(move |(_, point)| Trouble::End(place.clone(), point))
    };
    places(effects).into_iter().enumerate().flat_map(points).collect()
}

#[test]
fn wherever_the_process_ends_the_end_is_the_same() {
    let scenes = scenes();
    let calm = play(&scenes.iter().map(|scene| (*scene, None)).collect::<Vec<_>>());
    let mut failures: Vec<_> = scenes.iter().zip(&calm).flat_map(|(scene, calm)| scene.wrongs(calm)).collect();
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
            let Some(Trouble::End(place, point)) = cut.as_ref().filter(|_| of.name == scene.name) else { continue };
            count += 1;
            dearest = dearest.max(played.effects.len().saturating_sub(calm.effects.len()));
            let mut wrong = played.wrongs.clone();
            if !played.came {
                wrong.push("it never came to that".to_owned());
            }
            let different = played.end.differs_from(&calm.end);
            match EXCEPTIONS.iter().position(|exception| exception.allows(scene, &different)) {
                Some(number) => excepted[number] += 1,
                None => wrong.extend(different),
            }
            if !wrong.is_empty() {
                let cell = format!("{}: {point:?} {place}", scene.name);
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
    let what = if wants_all() { "scenario × effect × point" } else { "scenario × effect, one point of each" };
    println!("proof: crash points: {what} | {}", jobs.len());
}
