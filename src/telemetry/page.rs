//! docs/metrics.md, made from what a scrape says.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use super::metrics::{Limits, Metrics, ObjectSample, ReadyStatus};
use crate::controller::words::keep;

const FILE: &str = "docs/metrics.md";
const INTRODUCTION: &str = include_str!("page.md");

/// A metric as a scrape tells it.
#[derive(Default)]
struct Told {
    help: String,
    kind: String,
    unit: String,
    labels: Vec<String>,
}

/// Metrics in which everything has happened once: what has not happened yet has no series, and no labels.
fn full() -> Arc<Metrics> {
    let metrics = Metrics::new(|| vec![sample()]);
    metrics.reconciled("success", Duration::ZERO, "0".to_owned());
    metrics.kms_observer()("list", "200", Duration::ZERO);
    metrics.bitbucket_observer()("get_user", "200", Duration::ZERO);
    metrics.kms_waits()();
    metrics.keeps(Limits { kms_reads_per_minute: NonZeroU32::new(1), ..Limits::default() });
    metrics
}

fn sample() -> ObjectSample {
    ObjectSample {
        namespace: "team-a".into(),
        name: "payments".into(),
        ready: ReadyStatus::True,
        reason: Some("Succeeded"),
        expiration: Some(0),
        warning: Some(0),
        next_verification: Some(0),
        missing: 0,
        excess: 0,
        account: "bot".into(),
        contact: "#team-a".into(),
        kms: "KmsInstance/kms".into(),
    }
}

/// The metrics of a scrape in its order, by the names of their series.
fn told(scrape: &str) -> Vec<(String, Told)> {
    let mut found: Vec<(String, Told)> = Vec::new();
    let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in scrape.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => {
                found.push(((*name).to_owned(), Told { help: (*help).to_owned(), ..Told::default() }));
            }
            ["#", part, _, value] => {
                let last = &mut found.last_mut().expect("HELP comes first").1;
                *(if *part == "TYPE" { &mut last.kind } else { &mut last.unit }) = (*value).to_owned();
            }
            _ => {
                let (name, rest) = line.split_once('{').unwrap_or((line, ""));
                let pairs = rest.split_once('}').map(|(pairs, _)| pairs).unwrap_or_default();
                let names =
                    pairs.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|(name, _)| name.to_owned());
                labels.entry(name.to_owned()).or_insert_with(|| names.collect());
            }
        }
    }
    for (name, told) in &mut found {
        match told.kind.as_str() {
            "counter" => name.push_str("_total"),
            "info" => name.push_str("_info"),
            _ => {}
        }
        let series = if told.kind == "histogram" { format!("{name}_count") } else { name.clone() };
        told.labels = labels.remove(&series).unwrap_or_default();
    }
    found
}

/// The table of those metrics whose names hold this.
fn table(metrics: &[(String, Told)], of_operator: bool) -> String {
    let mut table = "| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n".to_owned();
    for (name, told) in metrics.iter().filter(|(name, _)| name.contains("_operator_") == of_operator) {
        let labels: Vec<String> = told.labels.iter().map(|label| format!("`{label}`")).collect();
        let row = [&format!("`{name}`"), &told.kind, &told.unit, &labels.join(", "), &told.help];
        table += &row.iter().map(|cell| format!("| {cell} ")).collect::<String>();
        table += "|\n";
    }
    table
}

#[test]
fn words_of_the_page_of_metrics() {
    let metrics = told(&full().encode());
    for (name, told) in &metrics {
        assert!(!told.help.is_empty() && !told.kind.is_empty(), "{name} lacks help or type");
        let in_name = ["_seconds", "_per_second"].iter().any(|unit| name.ends_with(unit));
        assert_eq!(in_name, !told.unit.is_empty(), "a unit in the name and one that is told: {name}, {}", told.unit);
    }
    let page = INTRODUCTION
        .replace("{{objects}}", table(&metrics, false).trim_end())
        .replace("{{operator}}", table(&metrics, true).trim_end());
    keep(FILE, &page);
}
