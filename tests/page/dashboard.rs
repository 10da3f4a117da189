//! The dashboard of the chart, drawn by Grafana's own components with what a real Prometheus answers about a recorded day.
//!
//! `make dashboard` gets the components, records the day (`tests/in_process/recorded.rs`), and takes the picture.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{browser, tools::find_or_skip};

/// As wide as the page is that is drawn; how high it is shows then.
const SCREEN: (u32, u32) = (1600, 900);
/// How often the day was scraped, in seconds: what Grafana is told of its data source.
const SCRAPE: u32 = 120;
const PICTURE: &str = "docs/pictures/dashboard.png";
const STYLES: &str = "body { margin: 0 } h1 { font-size: 20px; margin: 0 0 8px } \
                      h2 { font-size: 16px; line-height: 30px; margin: 0 } \
                      .empty { height: 100%; display: grid; place-items: center }";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the day is recorded, and all is kept that is made of it.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard")
}

/// The time of the last scrape, in seconds.
fn end_of(day: &str) -> i64 {
    let last = day.lines().rev().find(|line| !line.starts_with('#')).expect("a sample");
    last.rsplit(' ').next().and_then(|time| time.parse().ok()).expect("a time")
}

/// A Prometheus that has the day in its storage, and where it listens.
async fn prometheus(program: &Path, promtool: &Path) -> (Child, String) {
    let storage = folder().join("storage");
    let _ = fs::remove_dir_all(&storage);
    let mut import = Command::new(promtool);
    import.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"]).arg(folder().join("day.txt")).arg(&storage);
    let output = import.output().await.expect("promtool");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config = folder().join("prometheus.yml");
    fs::write(&config, "{}").expect("a file");
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", storage.display()));
    command.args(["--web.listen-address=127.0.0.1:0", "--log.format=json"]).current_dir(folder());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().expect("Prometheus");
    let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
    let mut address = None;
    let mut log = String::new();
    while let Some(line) = lines.next_line().await.expect("a line") {
        let told: Value = serde_json::from_str(&line).unwrap_or_default();
        match told["msg"].as_str() {
            Some("Listening on") => address = told["address"].as_str().map(str::to_owned),
            Some("Server is ready to receive web requests.") => {
                // It goes on to talk, and is to be heard.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return (process, address.expect("it told where it listens"));
            }
            _ => log = log + &line + "\n",
        }
    }
    panic!("Prometheus ended: {log}");
}

/// Draws the dashboard; a picture of it.
async fn drawn() -> Option<Vec<u8>> {
    let test = "the_dashboard_in_the_docs";
    let (program, promtool) = (find_or_skip("prometheus", test)?, find_or_skip("promtool", test)?);
    let mut browser = browser(test).await?;
    let components = root().join("target/tools/dashboard");
    let day = fs::read_to_string(folder().join("day.txt")).expect("a day that `make dashboard` recorded");
    let (_prometheus, address) = prometheus(&program, &promtool).await;
    let dashboard = root().join("charts/bitbucket-connection-operator/files/dashboard.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(dashboard).expect("a file")).expect("JSON");
    let told = json!({
        "dashboard": dashboard, "prometheus": format!("http://{address}"), "end": end_of(&day), "scrape": SCRAPE,
    });
    let page = folder().join("page.html");
    let from = components.display();
    let text = format!(
        "<!doctype html><meta charset=utf-8><title>Dashboard</title><link rel=stylesheet href='{from}/page.css'>\
         <style>{STYLES}</style><div id=root></div><script>window.PICTURE = {told}</script><script src='{from}/page.js'></script>"
    );
    fs::write(&page, text).expect("a file");
    browser.look("light", "screen").await;
    browser.open(&page, SCREEN).await;
    let empty = browser.value("window.drawn").await;
    assert_eq!(empty, json!([]), "panels without data");
    // The components ask for their font from Grafana's server; the page has brought it along.
    let mut complaints = browser.complaints();
    complaints.retain(|complaint| !complaint.to_string().contains("/public/fonts/"));
    assert!(complaints.is_empty(), "{complaints:#?}");
    let height = browser.value("document.querySelector('main').offsetHeight").await;
    let metrics = json!({"width": SCREEN.0, "height": height, "deviceScaleFactor": 1, "mobile": false});
    browser.call("Emulation.setDeviceMetricsOverride", metrics).await;
    Some(browser.picture().await)
}

#[tokio::test]
async fn the_dashboard_in_the_docs() {
    let file = root().join(PICTURE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, drawn().await.expect("Prometheus and Chromium, for UPDATE_DOCS")).expect("a file");
    }
    let size = fs::metadata(&file).unwrap_or_else(|error| panic!("{PICTURE}: {error}; make dashboard")).len();
    assert!((50_000..500_000).contains(&size), "{size} bytes");
    let page = include_str!("../../docs/metrics.md");
    assert!(page.contains("(pictures/dashboard.png)"), "docs/metrics.md doesn't show it");
}
