//! Metrics, alerts and dashboard as a real Prometheus sees them, which scrapes the real operator.

mod prometheus;
#[path = "../observability/tools.rs"]
mod tools;

use std::{collections::BTreeMap, path::Path, process::Stdio};

use bitbucket_connection_operator::domain::scopes::UseCase;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sim::{Fault, State, Token};
use tokio::io::AsyncWriteExt;

use self::prometheus::Prometheus;
use crate::harness::{EMAIL, World, needed_by};

const DASHBOARD: &str = "charts/bitbucket-connection-operator/files/dashboard.json";

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a file of the repository")
}

/// A connection with a token of its own, with these scopes and so many days to live.
async fn connection(world: &World, name: &str, scopes: Vec<String>, days: i64) {
    let token = format!("ATATT3x-canary-of-{name}");
    world.bitbucket.add(Token::new(EMAIL, &token).scopes(scopes));
    let end = Timestamp::now().checked_add(SignedDuration::from_hours(24 * days)).expect("a time").to_string();
    world.secret_with(name, json!({"email": EMAIL, "token": token, "expiresAt": end})).await;
    let change = json!({"contact": format!("#team-of-{name}"), "scopes": {"onMissing": "Block"}});
    world.connection(name).secret(name).change(change).apply().await;
}

/// A fleet in which something is wrong in each way that the dashboard shows.
async fn fleet() -> World {
    let limits =
        ["--kms-reads-per-minute=6000", "--kms-writes-per-minute=6000", "--bitbucket-requests-per-hour=360000"];
    let world = World::builder().args(limits).start().await;
    world.instance().await;
    let scopes = needed_by(&[UseCase::SecretScanning]);
    connection(&world, "good", scopes.clone(), 300).await;
    connection(&world, "expiring", scopes.clone(), 5).await;
    connection(&world, "expired", scopes.clone(), -1).await;
    connection(&world, "refused", scopes.clone(), 300).await;
    connection(&world, "lacking", scopes[..1].to_vec(), 300).await;
    let excess = [scopes, vec!["admin:repository:bitbucket".to_owned()]].concat();
    connection(&world, "excessive", excess, 300).await;
    for name in ["good", "expiring", "expired", "refused", "excessive"] {
        world.ready(name).await;
    }
    world.not_ready("lacking", "ScopesMissing").await;
    world.bitbucket.set("ATATT3x-canary-of-refused", State::Revoked);
    world.request_reconcile("refused").await;
    world.not_ready("refused", "CredentialsRejected").await;
    world
}

/// The queries of a panel of the dashboard, as Grafana sends them. `all` panels if no title is given.
fn queries(title: Option<&str>) -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let panels = panels.filter(|panel| title.is_none_or(|title| panel["title"] == title));
    let queries = panels.flat_map(|panel| {
        let title = panel["title"].as_str().unwrap_or_default();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| {
            let query = target["expr"].as_str().unwrap_or_default();
            (title.to_owned(), query.replace("$namespace", ".*").replace("$__rate_interval", "1h"))
        })
    });
    queries.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_is_answered() {
    let Some(program) = tools::find_or_skip("prometheus", "every_query_of_the_dashboard_is_answered") else { return };
    let world = fleet().await;
    // One that the KMS doesn't answer well: what has never failed has no series.
    world.kms.fail_next(1, Fault::status(503));
    world.request_reconcile("good").await;
    let prometheus = Prometheus::start(&program, &world).await;
    for (title, query) in queries(None) {
        let what = format!("{title} shows something by {query}");
        prometheus.until(&query, &what, |answer| !answer.is_empty()).await;
    }

    // A scrape that takes too long leaves a gap.
    let of_panel = async |title: &str| {
        let query = queries(Some(title)).remove(0).1;
        prometheus.until(&query, &format!("{title} shows something"), |answer| !answer.is_empty()).await
    };
    for (title, expected) in [
        ("Connections", 6.0),
        ("Not ready", 2.0),
        ("Expiring soon", 1.0),
        ("Expired", 1.0),
        ("Leaders", 1.0),
        ("Queue", 0.0),
    ] {
        let query = queries(Some(title)).remove(0).1;
        let is_so =
            |answer: &[prometheus::Sample]| answer.first().is_some_and(|it| (it.value - expected).abs() < 0.001);
        prometheus.until(&query, &format!("{title} shows {expected}"), is_so).await;
    }
    // Where no operator is scraped nothing looks well: long ago nobody told anything.
    for (title, expected) in [
        ("Connections", json!([])),
        ("Not ready", json!([])),
        ("Expiring soon", json!([])),
        ("Expired", json!([])),
        ("Leaders", json!([1_000, "0"])),
        ("Replicas", json!([1_000, "0"])),
    ] {
        let query = queries(Some(title)).remove(0).1;
        let told = prometheus.get("/api/v1/query", &[("query", &query), ("time", "1000")]).await;
        assert_eq!(told["result"].get(0).map_or(json!([]), |series| series["value"].clone()), expected, "{title}");
    }
    let names = |samples: &[prometheus::Sample]| -> Vec<_> { samples.iter().map(|it| it.label("name")).collect() };
    let fleet = of_panel("Tokens by expiry").await;
    assert_eq!(names(&fleet)[..2], ["expired", "expiring"], "{fleet:?}");
    assert_eq!((fleet[1].label("contact"), fleet[1].label("account")), ("#team-of-expiring".into(), "bot".into()));
    assert!(fleet[0].value < 0.0 && (fleet[1].value - 5.0).abs() < 0.1, "{fleet:?}");
    assert_eq!(names(&of_panel("Scopes missing").await), ["lacking"]);
    assert_eq!(names(&of_panel("Scopes in excess").await), ["excessive"]);
    let why = of_panel("Not ready, and why").await;
    let told = |it: &prometheus::Sample| ["name", "reason", "contact"].map(|label| it.label(label)).join(" ");
    let mut why: Vec<_> = why.iter().map(told).collect();
    why.sort();
    assert_eq!(why, ["lacking ScopesMissing #team-of-lacking", "refused CredentialsRejected #team-of-refused"]);
    let limit = queries(Some("Bitbucket: requests per hour")).remove(1).1;
    let limit = prometheus.until(&limit, "the limit is told", |answer| !answer.is_empty()).await;
    assert_eq!(limit.first().map(|it| it.value.round()), Some(360_000.0), "of one account");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_see_what_is_wrong_and_nothing_else() {
    let Some(program) = tools::find_or_skip("prometheus", "alerts_see_what_is_wrong_and_nothing_else") else { return };
    let world = fleet().await;
    let prometheus = Prometheus::start(&program, &world).await;
    let expected = [
        "BitbucketConnectionCredentialsRefused refused #team-of-refused".to_owned(),
        "BitbucketConnectionNotReady lacking #team-of-lacking".to_owned(),
        "BitbucketConnectionTokenExpired expired #team-of-expired".to_owned(),
        "BitbucketConnectionTokenExpiring expiring #team-of-expiring".to_owned(),
    ];
    // They wait for minutes before they fire; that they are about to is seen at once.
    prometheus.until_alerts(&expected).await;
    for rule in prometheus.rules().await {
        assert_eq!((&rule["health"], &rule["lastError"]), (&json!("ok"), &Value::Null), "{rule}");
    }

    // With the trouble the alerts go.
    world.issue(EMAIL, "ATATT3x-canary-of-the-next");
    let end = Timestamp::now().checked_add(SignedDuration::from_hours(24 * 300)).expect("a time").to_string();
    for name in ["refused", "lacking", "expired", "expiring"] {
        let data = json!({"email": EMAIL, "token": "ATATT3x-canary-of-the-next", "expiresAt": end});
        world.secret_with(name, data).await;
    }
    prometheus.until_alerts(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_understands_the_metrics() {
    let test = "prometheus_understands_the_metrics";
    let Some(program) = tools::find_or_skip("prometheus", test) else { return };
    let world = fleet().await;
    let prometheus = Prometheus::start(&program, &world).await;
    prometheus.until("up", "is scraped", |up| up.iter().any(|up| up.value > 0.0)).await;
    let told = prometheus.get("/api/v1/metadata", &[]).await;
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `bitbucket_connection_"));
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let name = format!("bitbucket_connection_{}", cells[0].trim_end_matches('`'));
        let metadata = ["_total", "_info"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        let found = &told[metadata][0];
        assert_eq!((found["type"].as_str(), found["unit"].as_str()), (Some(cells[1]), Some(cells[2])), "{name}");
        assert_eq!(found["help"].as_str(), Some(cells[4].trim_end_matches(" |")), "{name}");
    }
    let exemplars = [
        ("query", "bitbucket_connection_operator_reconcile_duration_seconds_bucket"),
        ("start", "0"),
        ("end", "9999999999"),
    ];
    let exemplars = prometheus.get("/api/v1/query_exemplars", &exemplars).await;
    let ids =
        exemplars.as_array().into_iter().flatten().map(|series| series["exemplars"][0]["labels"]["trace_id"].clone());
    let ids: Vec<_> = ids.filter_map(|id| id.as_str().map(str::to_owned)).collect();
    let log = world.log();
    assert!(ids.iter().any(|id| id.len() == 32 && log.contains(id)), "the way from a graph to the log: {exemplars}");

    let Some(promtool) = tools::find_or_skip("promtool", test) else { return };
    let older = in_the_older_format(&world.metrics().await.0);
    let mut check = tokio::process::Command::new(promtool);
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.kill_on_drop(true).spawn().expect("a process");
    check.stdin.take().expect("a pipe").write_all(older.as_bytes()).await.expect("it reads");
    let output = check.wait_with_output().await.expect("an end");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.is_empty(), "{told}");
}

/// The same metrics in Prometheus's own text format, the only one that promtool reads: it has no infos, no exemplars, no
/// units, and families of counters are called as their series.
fn in_the_older_format(metrics: &str) -> String {
    let mut endings = BTreeMap::new();
    for line in metrics.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["#", "TYPE", name, "counter"] => drop(endings.insert(name, "_total")),
            ["#", "TYPE", name, "info"] => drop(endings.insert(name, "_info")),
            _ => {}
        }
    }
    let converted =
        metrics.lines().filter(|line| !line.starts_with("# UNIT") && *line != "# EOF").map(|line| {
            match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
                ["#", part @ ("HELP" | "TYPE"), name, rest] => {
                    let rest = if rest == "info" { "gauge" } else { rest };
                    format!("# {part} {name}{} {rest}\n", endings.get(name).copied().unwrap_or_default())
                }
                _ => line.split(" # {").next().unwrap_or_default().to_owned() + "\n",
            }
        });
    converted.collect()
}
