//! docs/pictures/demo.cast and docs/pictures/demo.svg: `make demo`, to be watched by those who don't run it.
//!
//! `cast` is what asciinema plays, `drawing` the picture that moves. `make recording` plays the demo and writes both; with
//! UPDATE_DOCS=1 alone, the picture is drawn anew from the cast that is there.

mod cast;
mod drawing;

use std::{fs, path::Path, sync::Once};

use cast::Cast;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CAST: &str = "docs/pictures/demo.cast";
const PICTURE: &str = "docs/pictures/demo.svg";

/// How long somebody may have to watch, in seconds.
const LONGEST: f64 = 90.0;

fn file(name: &str) -> String {
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(renew);
    read(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}; make recording"))
}

/// Writes both anew where somebody asks for that, before anything is read.
fn renew() {
    let write = |name: &str, text: String| fs::write(Path::new(ROOT).join(name), text).expect("a file");
    if let Some(said) = std::env::var_os("RECORDING") {
        let said = fs::read_to_string(&said).unwrap_or_else(|error| panic!("{}: {error}", said.display()));
        let usual = ["http://127.0.0.1:7990/", "http://127.0.0.1:7991/"].iter().all(|address| said.contains(address));
        assert!(usual, "ports 7990 and 7991 of this machine are somebody's: stop that, so that the demo has its own");
        write(CAST, Cast::paced(&said).to_string());
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        write(PICTURE, drawing::draw(&Cast::parse(&read(CAST))));
    }
}

/// The number, the headline and the sentence of each step, as the demo's own text has them.
fn steps() -> Vec<[String; 3]> {
    let story = include_str!("../../../examples/demo/story.rs");
    let calls = story.split("screen.headline(").skip(1).filter_map(|rest| rest.split_once(");"));
    let steps = calls.map(|(arguments, _)| {
        let (number, texts) = arguments.split_once(',').expect("a number and texts");
        // A backslash at the end of a line joins it to the next.
        let texts: Vec<_> = texts.split('"').skip(1).step_by(2).map(|text| plain(&text.replace('\\', ""))).collect();
        let [headline, sentence] = texts.try_into().expect("a headline and a sentence");
        [number.trim().to_owned(), headline, sentence]
    });
    steps.collect()
}

/// A text without colours.
fn bare(text: &str) -> String {
    let parts = text.split('\u{1b}').enumerate();
    parts
        .map(|(number, part)| if number == 0 { part } else { part.split_once('m').map_or("", |(_, rest)| rest) })
        .collect()
}

/// A text without colours, and with one space where there is any space: lines end where there is room.
fn plain(text: &str) -> String {
    bare(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// That a text tells the whole story of today's demo.
fn assert_tells_the_story(text: &str, what: &str) {
    let mut rest = text;
    for [number, headline, sentence] in steps() {
        let step = format!("{number} {headline} {sentence}");
        let Some((_, later)) = rest.split_once(&step) else {
            panic!("{what} lacks step {step:?}, or has it in another order: make recording");
        };
        rest = later;
    }
    assert!(rest.contains("deleted in "), "{what} ends before the demo does");
}

#[test]
fn the_recording_tells_the_story_of_the_demo() {
    assert_eq!(steps().len(), 8, "the text of the demo is read otherwise than it is written");
    let cast = Cast::parse(&file(CAST));
    assert_tells_the_story(&plain(&cast.text()), CAST);

    let picture = file(PICTURE);
    let parsed = roxmltree::Document::parse(&picture).expect("XML");
    let shown = parsed.descendants().filter(|node| node.has_tag_name(drawing::tag("text")));
    let shown: Vec<_> = shown
        .flat_map(|text| text.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()))
        .collect();
    assert_tells_the_story(&plain(&shown.join(" ")), PICTURE);
    assert!(picture == drawing::draw(&cast), "{PICTURE} is not what {CAST} says: make recording");
}

#[test]
fn a_player_can_play_it_and_a_reader_can_follow() {
    let cast = Cast::parse(&file(CAST));
    assert_eq!((cast.width, cast.height), (cast::WIDTH, cast::HEIGHT));
    let mut before = 0.0;
    for event in &cast.events {
        let pause = event.time - before;
        assert!((0.0..=cast::LONGEST_PAUSE + 0.001).contains(&pause), "{pause} s before {:?}", event.text);
        before = event.time;
        for line in event.text.lines() {
            assert!(bare(line).chars().count() <= cast.width, "wider than the screen: {line:?}");
        }
    }
    assert!((LONGEST / 2.0..=LONGEST).contains(&cast.ends()), "{} s", cast.ends());
    assert!(cast.text().contains("\u{1b}[32m✓"), "it has no colours");
}

#[test]
fn the_picture_asks_nobody_for_anything() {
    let picture = file(PICTURE);
    let parsed = roxmltree::Document::parse(&picture).expect("XML");
    for node in parsed.descendants().filter(|node| node.is_element()) {
        let name = node.tag_name().name();
        assert!(["svg", "title", "desc", "style", "rect", "g", "text", "tspan"].contains(&name), "<{name}>");
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            assert!(!name.starts_with("on") && name != "href" && !value.contains("url("), "{name}={value:?}");
        }
        if name == "style" {
            let style = node.text().unwrap_or_default();
            for word in ["url(", "@import", "@font-face", "http"] {
                assert!(!style.contains(word), "{word} in {style}");
            }
        }
    }
    assert!(picture.contains("prefers-reduced-motion: reduce") && picture.contains("prefers-color-scheme: dark"));
    assert!(picture.len() < 150_000, "{} bytes", picture.len());
}

#[test]
fn it_tells_nothing_of_the_machine_that_made_it() {
    let mut words: Vec<String> = ["/home/", "/root", "/tmp", "/target/", "/Users/"].map(str::to_owned).to_vec();
    words.extend(std::env::var("HOSTNAME").ok().filter(|name| name.len() > 3));
    words.push(ROOT.to_owned());
    for name in [CAST, PICTURE] {
        let text = file(name);
        for word in &words {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
}

#[test]
fn pages_show_it() {
    for (page, link) in [("README.md", PICTURE), ("docs/getting-started.md", "pictures/demo.svg")] {
        assert!(file(page).contains(&format!("]({link})")), "{page} doesn't show {link}");
    }
}
