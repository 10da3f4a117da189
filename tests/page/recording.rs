//! docs/pictures/demo.svg, the recording of the demo, as a browser shows it.

use std::path::PathBuf;

use serde_json::json;

/// Somewhat more than its own size.
const SIZE: (u32, u32) = (900, 700);

fn picture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/pictures/demo.svg")
}

/// Puts the recording to a moment, in parts of the whole.
fn at(moment: f64) -> String {
    format!(
        "document.getAnimations().map(it => {{ it.pause(); \
         it.currentTime = it.effect.getComputedTiming().duration * {moment}; return it.animationName; }})"
    )
}

/// The lines that can be read: those in the window that no curtain hides.
const READABLE: &str = "(() => { const {y, height} = document.querySelector('svg svg'); \
    const top = y.baseVal.value, bottom = top + height.baseVal.value; const curtain = document.querySelector('.curtain').getBoundingClientRect(); \
    return [...document.querySelectorAll('text > tspan')].filter(it => it.textContent.trim()).filter(it => { \
    const at = it.getBoundingClientRect(); const middle = (at.top + at.bottom) / 2; \
    return middle > top && middle < Math.min(bottom, curtain.top); }).map(it => it.textContent.trim()); })()";

#[tokio::test]
async fn it_goes_from_the_first_line_to_the_last_and_asks_nobody() {
    let Some(mut browser) = super::browser("the_recording_goes").await else { return };
    browser.open(&picture(), SIZE).await;
    assert_eq!(browser.value(&at(0.0)).await, json!(["story", "curtain"]));
    let first = browser.value(READABLE).await;
    assert_eq!(first[0], "Bitbucket connections of Hanzo KMS, kept by Kubernetes");
    let count = first.as_array().map_or(0, Vec::len);
    assert!(count < 5, "{first:#}");
    let mut seen = Vec::new();
    for moment in 1..200 {
        browser.value(&at(f64::from(moment) / 200.0)).await;
        let lines: Vec<String> = serde_json::from_value(browser.value(READABLE).await).expect("lines");
        assert!((5..=34).contains(&lines.len()) || moment < 20, "{moment}: {lines:#?}");
        seen.extend(lines);
    }
    let all = "[...document.querySelectorAll('text > tspan')].map(it => it.textContent.trim()).filter(it => it)";
    let all: Vec<String> = serde_json::from_value(browser.value(all).await).expect("lines");
    let missed: Vec<_> = all.iter().filter(|line| !seen.contains(line)).collect();
    assert!(missed.is_empty(), "nobody can read {missed:#?}");
    assert!(seen.last().is_some_and(|line| line.starts_with("Bitbucket was asked")), "{:?}", seen.last());

    // Whatever monospaced letters there are, they fit.
    let right =
        "Math.max(...[...document.querySelectorAll('tspan > tspan')].map(it => it.getBoundingClientRect().right))";
    let room = browser.value("document.documentElement.viewBox.baseVal.width").await;
    let right = browser.value(right).await;
    assert!(right.as_f64() < room.as_f64(), "{right} of {room}");
    assert_eq!(browser.asked(), [""; 0]);
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[tokio::test]
async fn who_wants_no_motion_sees_the_end_and_who_likes_the_dark_has_it() {
    let Some(mut browser) = super::browser("the_recording_stands").await else { return };
    browser.open(&picture(), SIZE).await;
    let colours = "['.screen', '.curtain', 'text'].map(it => getComputedStyle(document.querySelector(it)).fill)";
    browser.look("light", "screen").await;
    assert_eq!(browser.value(colours).await, json!(["rgb(255, 255, 255)", "rgb(255, 255, 255)", "rgb(31, 35, 40)"]));
    browser.look("dark", "screen").await;
    assert_eq!(browser.value(colours).await, json!(["rgb(13, 17, 23)", "rgb(13, 17, 23)", "rgb(240, 246, 252)"]));

    let still = json!({"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]});
    browser.call("Emulation.setEmulatedMedia", still).await;
    assert_eq!(browser.value("document.getAnimations().length").await, 0);
    let lines: Vec<String> = serde_json::from_value(browser.value(READABLE).await).expect("lines");
    assert!(lines.last().is_some_and(|line| line.starts_with("Bitbucket was asked")), "{lines:#?}");
    assert!(lines.len() > 15, "{lines:#?}");
}
