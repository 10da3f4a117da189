//! The failures of docs/troubleshooting.md, as they look to somebody who has never seen the product: each is brought about
//! with the real operator, and what `kubectl describe`, `kubectl bbc list` and `kubectl bbc check` show then is kept in
//! `snapshots`, to be read. `make screens` writes them anew.
//!
//! `document` what the page says · `stories` how each failure is brought about · `scene` the place where it is ·
//! `screens` what is shown · `stable` the words for what differs from run to run.

mod document;
mod scene;
mod screens;
mod stable;
mod stories;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use futures::StreamExt as _;

use self::{scene::Scene, stories::stories};
use crate::harness::World;

/// How many stories are played at a time: each takes a program or two.
const AT_ONCE: usize = 8;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/stranger/snapshots")
}

#[test]
fn every_section_has_a_story_and_a_snapshot() {
    let told: Vec<_> = document::sections().into_iter().map(|section| section.title).collect();
    let played: Vec<_> = stories().into_iter().map(|story| story.title.to_owned()).collect();
    assert_eq!(played, told, "the stories of docs/troubleshooting.md are played, in its order");
    let kept = std::fs::read_dir(folder()).expect("the snapshots");
    let kept: BTreeSet<_> = kept.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8")).collect();
    let wanted: BTreeSet<_> = document::sections().iter().map(|section| format!("{}.txt", section.anchor)).collect();
    assert_eq!(kept, wanted, "`make screens` writes what is new; what is left over has to be removed by hand");
    for section in document::sections() {
        let link = format!("](../tests/cluster/stranger/snapshots/{}.txt)", section.anchor);
        assert!(section.text.contains(&link), "{} doesn't lead to what people see: {link}", section.title);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_sees() {
    let world = World::cluster_wide().await;
    // What the instances log in with: in a namespace of those who run them.
    world.instance_secret().await;
    let plugin = screens::Plugin::install(world.plane());
    let stories = stories().into_iter().zip(document::sections()).enumerate();
    let compared: Vec<[Option<String>; 2]> = futures::stream::iter(stories)
        .map(|(number, (story, section))| {
            let (world, plugin) = (&world, &plugin);
            async move {
                let scene = Scene::set(world, number, &story, &section).await;
                let text = screens::shown(world, plugin, &scene, &story, &section).await;
                [screens::misquoted(world, &scene, &section).await, compare(&section.anchor, &text)]
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let differing: Vec<String> = compared.into_iter().flatten().flatten().collect();
    assert!(
        differing.is_empty(),
        "other than the snapshots; write them by `make screens`, and read them as somebody who has never seen the \
         product: is the cause named, and the next step?\n\n{}",
        differing.join("\n")
    );
}

/// What differs from the snapshot, unless it is to be written.
fn compare(anchor: &str, text: &str) -> Option<String> {
    let file = folder().join(format!("{anchor}.txt"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, text).expect("a file that may be written");
        return None;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    if kept == text {
        return None;
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (before, now) = (lines(&kept), lines(text));
    let gone = kept.lines().filter(|line| !now.contains(*line)).map(|line| format!("- {line}\n"));
    let new = text.lines().filter(|line| !before.contains(*line)).map(|line| format!("+ {line}\n"));
    Some(format!("{anchor}\n{}", gone.chain(new).collect::<String>()))
}
