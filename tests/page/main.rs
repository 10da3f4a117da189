//! What `list` makes for browsers and calendars, looked at in a browser: the real program, two hundred connections.
//!
//! `browser` Chromium · `fleet` the connections, and an API server that has them · `calendar` the calendar · `dashboard`
//! that of the chart · `recording` the demo, recorded. What can't be had (`make tools` gets it) skips tests, and says so.

mod browser;
mod calendar;
mod dashboard;
mod fleet;
mod recording;
#[path = "../observability/tools.rs"]
mod tools;

use std::{fs, io::Write as _, path::PathBuf};

use browser::Browser;
use fleet::{CONNECTIONS, listed};
use serde_json::{Value, json};

const PHONE: (u32, u32) = (390, 844);
const DESKTOP: (u32, u32) = (1280, 900);
/// A sheet of A4 at 96 dots per inch, without its margins.
const PAPER: (u32, u32) = (718, 1047);

/// Says that a test is skipped: past the harness, which shows nothing of what passes.
fn skipped(test: &str, lacking: &str) {
    // A closed standard error is nobody's failure.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test} needs {lacking}. `make tools` gets it.");
}

/// A browser, or the word that there is none.
async fn browser(test: &str) -> Option<Browser> {
    let browser = Browser::start(test).await;
    if browser.is_none() {
        skipped(test, "Chromium, which is not in PATH");
    }
    browser
}

/// A library that `make tools` unpacks, as text; or the word that it isn't there.
fn library(test: &str, path: &str) -> Option<String> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/page/node_modules").join(path);
    let text = fs::read_to_string(file).ok();
    if text.is_none() {
        skipped(test, path);
    }
    text
}

/// The names in the first column of what is shown, in their order.
const NAMES: &str =
    "[...document.querySelectorAll('tbody tr:not([hidden]) th')].map(th => th.innerText.replace(/\\s+/, '/'))";

#[tokio::test]
async fn nothing_scrolls_sideways_and_nobody_is_asked_for_anything() {
    let Some(mut browser) = browser("nothing_scrolls_sideways").await else { return };
    let page = listed("html").await;
    for width in [320, PHONE.0, 600, 800, DESKTOP.0, 2560] {
        browser.open(&page, (width, 900)).await;
        let wide = browser.value("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)").await;
        assert!(wide.as_u64() <= Some(u64::from(width)), "{width}: it is {wide} wide");
        let cut = "[...document.querySelectorAll('tbody tr *')].filter(it => it.scrollWidth > it.clientWidth + 1 && \
                   getComputedStyle(it).display !== 'inline').map(it => it.outerHTML.slice(0, 200))";
        assert_eq!(browser.value(cut).await, json!([]), "{width}");
        assert_eq!(browser.asked(), [""; 0], "{width}");
        assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    }
    // It would be seen: the page's own policy refuses it before it is asked.
    browser.value("fetch('https://example.com/').catch(() => 1)").await;
    browser.value("new Promise(done => setTimeout(done))").await;
    assert!(!browser.asked().is_empty() || !browser.complaints().is_empty(), "a request that nobody sees");
}

#[tokio::test]
async fn rows_are_sorted_by_a_click_and_filtered_by_words() {
    let Some(mut browser) = browser("rows_are_sorted").await else { return };
    browser.open(&listed("html").await, DESKTOP).await;
    let first = browser.value(NAMES).await;
    assert_eq!(first.as_array().map(Vec::len), Some(CONNECTIONS));
    let days = "[...document.querySelectorAll('tbody td.end')].map(td => td.dataset.key)";
    let sorted = |days: &Value| days.as_array().expect("days").is_sorted_by_key(|day| day.as_str().map(str::to_owned));
    assert!(sorted(&browser.value(days).await), "what ends first comes first");

    // By name, upwards and downwards; what it is sorted by is told to all.
    browser.click("thead th:nth-child(1) button").await;
    let by_name = browser.value(NAMES).await;
    assert_eq!(by_name[0], "accounts/billing");
    let told = "[...document.querySelectorAll('thead th')].map(th => th.getAttribute('aria-sort'))";
    assert_eq!(browser.value(told).await, json!(["ascending", null, null, null, null, null, null]));
    browser.click("thead th:nth-child(1) button").await;
    assert_eq!(browser.value(NAMES).await[0], "webhooks/web");
    assert_eq!(browser.value(told).await[0], "descending");
    browser.click("thead th:nth-child(2) button").await;
    assert!(sorted(&browser.value(days).await));

    // Words, each of which must be there; then only what somebody must look after.
    browser.click("#search").await;
    browser.type_text("PAYMENTS led").await;
    assert_eq!(browser.value(NAMES).await, json!(["ledger/payments"]));
    assert_eq!(browser.value("document.querySelector('output').value").await, "1 of 200 shown");
    browser.value("document.querySelector('#search').select()").await;
    browser.type_text("ScopesMissing").await;
    assert_eq!(browser.value(NAMES).await.as_array().map(Vec::len), Some(8));
    browser.value("document.querySelector('#search').select()").await;
    browser.type_text("x").await;
    browser
        .call("Input.dispatchKeyEvent", json!({"type": "keyDown", "key": "Backspace", "windowsVirtualKeyCode": 8}))
        .await;
    browser.click("#attention").await;
    let calm = "[...document.querySelectorAll('tbody tr:not([hidden])')].filter(tr => tr.querySelector('.True') && \
                tr.querySelector('td.end.Later')).length";
    assert_eq!(browser.value(calm).await, 0);
    let some = browser.value(NAMES).await.as_array().map_or(0, Vec::len);
    assert!((20..CONNECTIONS / 2).contains(&some), "{some}");
}

#[tokio::test]
async fn a_phone_shows_cards_that_can_be_sorted_too() {
    let Some(mut browser) = browser("a_phone_shows_cards").await else { return };
    browser.open(&listed("html").await, PHONE).await;
    assert_eq!(browser.value("getComputedStyle(document.querySelector('thead')).display").await, "none");
    let choose = "(() => { const order = document.querySelector('#order'); order.value = '0'; \
                  order.dispatchEvent(new Event('change')); return order.checkVisibility(); })()";
    assert_eq!(browser.value(choose).await, true);
    assert_eq!(browser.value(NAMES).await[0], "accounts/billing");
    // Fingers are wider than the pointer of a mouse.
    let small =
        "[...document.querySelectorAll('input[type=search], select')].filter(it => it.offsetHeight < 40).length";
    assert_eq!(browser.value(small).await, 0);
}

#[tokio::test]
async fn it_is_dark_where_the_night_is_and_light_on_paper() {
    let Some(mut browser) = browser("it_is_dark").await else { return };
    browser.open(&listed("html").await, DESKTOP).await;
    let back = "getComputedStyle(document.body).backgroundColor";
    browser.look("light", "screen").await;
    assert_eq!(browser.value(back).await, "rgb(255, 255, 255)");
    browser.look("dark", "screen").await;
    assert_eq!(browser.value(back).await, "rgb(21, 24, 29)");

    let page = listed("html").await;
    browser.open(&page, PAPER).await;
    browser.look("dark", "print").await;
    assert_eq!(browser.value(back).await, "rgb(255, 255, 255)", "ink is for words");
    assert_eq!(browser.value("getComputedStyle(document.querySelector('thead')).display").await, "table-header-group");
    assert_eq!(browser.value("document.querySelector('form').checkVisibility()").await, false);
    let wide = browser.value("document.documentElement.scrollWidth").await;
    assert!(wide.as_u64() <= Some(u64::from(PAPER.0)), "{wide}");
    let printed = browser.call("Page.printToPDF", json!({"paperWidth": 8.27, "paperHeight": 11.69})).await;
    let size = printed["data"].as_str().map_or(0, str::len);
    assert!(size > 20_000, "a PDF of {size} characters");
}

#[tokio::test]
async fn without_scripts_it_is_the_same_table() {
    let Some(mut browser) = browser("without_scripts").await else { return };
    browser.call("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    browser.open(&listed("html").await, DESKTOP).await;
    browser.call("Emulation.setScriptExecutionDisabled", json!({"value": false})).await;
    assert_eq!(browser.value(NAMES).await.as_array().map(Vec::len), Some(CONNECTIONS));
    assert_eq!(browser.value("document.querySelector('form').checkVisibility()").await, false, "it would do nothing");
}

#[tokio::test]
async fn everybody_can_use_it() {
    let test = "everybody_can_use_it";
    let Some(axe) = library(test, "axe-core/axe.min.js") else { return };
    let Some(mut browser) = browser(test).await else { return };
    let page = listed("html").await;
    for (scheme, size) in [("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE), ("dark", PHONE)] {
        browser.open(&page, size).await;
        browser.look(scheme, "screen").await;
        browser.value(&format!("{axe}; 1")).await;
        // All 200 take long; the first of each kind show whatever is wrong with all.
        browser.value("document.querySelectorAll('tbody tr:nth-child(n+60)').forEach(row => row.remove())").await;
        let run = "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})\
                   .then(found => ({passed: found.passes.length, wrong: found.violations.map(it => ({id: it.id, help: \
                   it.help, where: it.nodes.slice(0, 3).map(node => node.html + ' ' + node.failureSummary)}))}))";
        let found = browser.value(run).await;
        assert_eq!(found["wrong"], json!([]), "{scheme}, {size:?}: {:#}", found["wrong"]);
        assert!(found["passed"].as_u64() > Some(15), "{found}");
    }
}

#[tokio::test]
async fn the_pictures_in_the_docs() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    let pictures = [("list-desktop", "light", DESKTOP), ("list-dark", "dark", DESKTOP), ("list-phone", "light", PHONE)];
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let mut browser = browser("the_pictures").await.expect("Chromium, for UPDATE_DOCS");
        let page = listed("html").await;
        fs::create_dir_all(&folder).expect("a folder");
        for (name, scheme, size) in pictures {
            browser.look(scheme, "screen").await;
            browser.open(&page, size).await;
            fs::write(folder.join(format!("{name}.png")), browser.picture().await).expect("a file");
        }
        let drawn = calendar::drawn(&mut browser).await.expect("the libraries, for UPDATE_DOCS");
        fs::write(folder.join("calendar.png"), drawn).expect("a file");
    }
    let document = include_str!("../../docs/command-line.md");
    for name in ["list-desktop", "list-dark", "list-phone", "calendar"] {
        let file = folder.join(format!("{name}.png"));
        let size =
            fs::metadata(&file).unwrap_or_else(|error| panic!("{}: {error}; make pictures", file.display())).len();
        assert!((5_000..200_000).contains(&size), "{name}: {size} bytes");
        assert!(document.contains(&format!("(pictures/{name}.png)")), "docs/command-line.md doesn't show {name}.png");
    }
}
