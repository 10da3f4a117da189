//! Alerts, dashboard and their pages: that they are right in themselves, and fit each other. Whether they fit the operator
//! shows in the cluster tests, where a real Prometheus scrapes it.

mod tools;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const ALERTS: &str = "charts/bitbucket-connection-operator/files/alerts.yaml";
const DASHBOARD: &str = "charts/bitbucket-connection-operator/files/dashboard.json";
const CASES: &str = "tests/observability/alerts_test.yaml";
const RUNBOOKS: &str = "docs/runbooks.md";
const METRICS: &str = "docs/metrics.md";

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A list somewhere in a document.
fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// All alerts by their names.
fn alerts() -> BTreeMap<String, Value> {
    let alerts = yaml(ALERTS);
    let rules = list(&alerts, "/groups").iter().flat_map(|group| list(group, "/rules"));
    rules.map(|rule| (text(rule, "/alert").to_owned(), rule.clone())).collect()
}

/// All queries of the dashboard, with the panel's title.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let of_panel = |panel: &Value| -> Vec<_> {
        let title = text(panel, "/title").to_owned();
        list(panel, "/targets").iter().map(|target| (title.clone(), text(target, "/expr").to_owned())).collect()
    };
    list(&dashboard, "/panels").iter().flat_map(of_panel).collect()
}

/// Names of our metrics in a text, as series.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("bitbucket_connection_")).map(str::to_owned).collect()
}

fn promtool(test: &str, args: &[&str]) {
    let Some(promtool) = tools::find_or_skip("promtool", test) else { return };
    let output = Command::new(promtool).args(args).current_dir(path("")).output().expect("a process");
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "promtool {args:?}\n{}{}", told(&output.stdout), told(&output.stderr));
}

#[test]
fn prometheus_reads_the_alerts() {
    promtool("prometheus_reads_the_alerts", &["check", "rules", "--lint-fatal", ALERTS]);
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    promtool("alerts_fire_when_they_should_and_only_then", &["test", "rules", CASES]);
}

#[test]
fn every_alert_is_shown_firing_and_silent() {
    let cases = yaml(CASES);
    let cases: Vec<&Value> = list(&cases, "/tests").iter().flat_map(|test| list(test, "/alert_rule_test")).collect();
    for name in alerts().keys() {
        let of_alert = || cases.iter().filter(|case| text(case, "/alertname") == name);
        assert!(of_alert().any(|case| !list(case, "/exp_alerts").is_empty()), "{name} never fires in {CASES}");
        assert!(of_alert().any(|case| list(case, "/exp_alerts").is_empty()), "{name} is never silent in {CASES}");
    }
}

#[test]
fn every_alert_leads_to_its_runbook() {
    let (alerts, runbooks) = (alerts(), read(RUNBOOKS));
    assert!(!alerts.is_empty());
    for (name, alert) in &alerts {
        for annotation in ["summary", "description"] {
            assert!(!text(alert, &format!("/annotations/{annotation}")).is_empty(), "{name} has no {annotation}");
        }
        assert!(["warning", "critical"].contains(&text(alert, "/labels/severity")), "{name}: {alert}");
        let link = text(alert, "/annotations/runbook_url");
        let anchor = format!("/{RUNBOOKS}#{}", name.to_lowercase());
        assert!(link.starts_with("https://") && link.ends_with(&anchor), "{name}: {link}");
        let section = runbooks.split("\n## ").find(|section| section.lines().next() == Some(name.as_str()));
        let section = section.unwrap_or_else(|| panic!("{RUNBOOKS} has no section {name}"));
        for part in ["**It means:**", "**How to look:**", " | cure |\n", "**Escalate**"] {
            assert!(section.contains(part), "{name} lacks {part} in {RUNBOOKS}");
        }
        let row = format!("| [{name}](#{}) | {} |", name.to_lowercase(), text(alert, "/labels/severity"));
        assert!(runbooks.contains(&row), "the table in {RUNBOOKS} lacks {row}");
    }
    let sections = runbooks.split("\n## ").skip(1).filter_map(|section| section.lines().next());
    for section in sections {
        assert!(alerts.contains_key(section), "{RUNBOOKS} tells of {section}, which is no alert");
    }
}

#[test]
fn every_query_asks_for_metrics_that_there_are() {
    let page = read(METRICS);
    let mut asked: Vec<_> = queries();
    asked.extend(alerts().into_iter().map(|(name, alert)| (name, text(&alert, "/expr").to_owned())));
    asked.push((RUNBOOKS.to_owned(), read(RUNBOOKS)));
    for (place, expression) in asked {
        for name in metrics_in(&expression) {
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let row = format!("| `{}` |", histogram.unwrap_or(&name));
            assert!(page.contains(&row), "{place} asks for {name}, which {METRICS} doesn't know");
        }
    }
}

/// Units by the ids that Grafana has for them. One that it doesn't know is shown behind the number, as it is.
const UNITS: [&str; 14] = [
    "none",
    "short",
    "percent",
    "percentunit",
    "s",
    "m",
    "ms",
    "dtdurations",
    "dateTimeAsIso",
    "bytes",
    "cps",
    "ops",
    "reqps",
    "time:YYYY-MM-DD",
];

/// Each value of this key, wherever it stands.
fn everywhere<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key));
            fields.values().for_each(|value| everywhere(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| everywhere(value, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn grafana_takes_the_dashboard_wherever_it_is() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    // An id is that of one Grafana's database; a form for the import, which asks a person, is nothing for a sidecar.
    for key in ["id", "__inputs", "__requires"] {
        assert!(dashboard[key].is_null(), "{key} is there");
    }
    let uid = text(&dashboard, "/uid");
    assert!((1..=40).contains(&uid.len()) && uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{uid}");
    // The first in which data sources are objects, and one that Grafana 11 needn't migrate.
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| (36..=42).contains(&version)));

    let mut sources = Vec::new();
    everywhere(&dashboard, "datasource", &mut sources);
    assert!(sources.len() > 30, "they were found");
    for source in sources {
        assert_eq!((text(source, "/type"), text(source, "/uid")), ("prometheus", "${datasource}"));
    }
    let variable = &list(&dashboard, "/templating/list")[0];
    let source = (text(variable, "/name"), text(variable, "/type"), text(variable, "/query"));
    assert_eq!(source, ("datasource", "datasource", "prometheus"));

    let mut units = Vec::new();
    everywhere(&dashboard, "unit", &mut units);
    for panel in list(&dashboard, "/panels") {
        let title = text(panel, "/title");
        let kind = text(panel, "/type");
        assert!(["row", "stat", "table", "timeseries"].contains(&kind), "{title} is a {kind}: is it in every Grafana?");
        let targets = list(panel, "/targets");
        let ids: BTreeSet<_> = targets.iter().map(|target| text(target, "/refId")).collect();
        assert!(ids.len() == targets.len() && !ids.contains(""), "{title}: queries share a refId, or have none");
        for over in list(panel, "/fieldConfig/overrides") {
            let properties = list(over, "/properties").iter();
            units.extend(properties.filter(|it| text(it, "/id") == "unit").map(|it| &it["value"]));
        }
    }
    for unit in units {
        // What is to stand behind the number as it is, is told so.
        let known = UNITS.iter().any(|known| *unit == **known);
        assert!(known || unit.as_str().is_some_and(|unit| unit.starts_with("suffix:")), "{unit} is no id of a unit");
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let panels = list(&dashboard, "/panels");
    let ids: BTreeSet<_> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels with one id");
    let places = |panel: &Value| {
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap_or_else(|| panic!("no {side}: {panel}"));
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        (x..x + w).flat_map(move |x| (y..y + h).map(move |y| (x, y))).collect::<Vec<_>>()
    };
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = text(panel, "/title");
        assert!(places(panel).into_iter().all(|place| place.0 < 24 && taken.insert(place)), "{title} overlaps");
        if text(panel, "/type") == "row" {
            continue;
        }
        assert!(!text(panel, "/description").is_empty(), "{title} has no description");
        assert_eq!(text(panel, "/datasource/uid"), "${datasource}", "{title}");
        assert!(list(panel, "/targets").iter().all(|target| !text(target, "/expr").is_empty()), "{title} asks nothing");
    }
    let variables: Vec<_> = list(&dashboard, "/templating/list").iter().map(|it| text(it, "/name")).collect();
    assert_eq!(variables, ["datasource", "namespace"]);
    // A query that forgot the variable would show everybody's connections. The limit is that of all accounts, as the
    // requests are those of all.
    let accounts = "count(count by (account) (bitbucket_connection_info{account!=\"\"}))";
    for (title, query) in queries() {
        let metrics = metrics_in(&query.replace(accounts, ""));
        let of_objects = metrics.iter().any(|name| !name.starts_with("bitbucket_connection_operator_"));
        assert!(!of_objects || query.contains("namespace=~\"$namespace\""), "{title}: {query}");
    }
}
