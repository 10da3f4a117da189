//! Reading what the operator tells: conditions, events, metrics, its log.

use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde::Serialize;

use super::{PATIENCE, PAUSE, tenant::Tenant};

/// Status, reason and message of a condition; three empty texts if it isn't there.
pub fn condition(object: &impl Serialize, kind: &str) -> (String, String, String) {
    let found = conditions(object).into_iter().find(|(found, ..)| found == kind);
    found.map(|(_, status, reason, message)| (status, reason, message)).unwrap_or_default()
}

/// Type, status, reason and message of all conditions, in their order.
pub fn conditions(object: &impl Serialize) -> Vec<(String, String, String, String)> {
    let object = serde_json::to_value(object).expect("an object");
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    conditions
        .iter()
        .map(|condition| {
            let part = |name: &str| text(&condition[name]);
            (part("type"), part("status"), part("reason"), part("message"))
        })
        .collect()
}

/// Fails unless a condition has this status and reason, and a message with all of these words.
#[track_caller]
pub fn assert_condition(object: &impl Serialize, kind: &str, status: &str, reason: &str, words: &[&str]) {
    let (found_status, found_reason, message) = condition(object, kind);
    assert_eq!((found_status.as_str(), found_reason.as_str()), (status, reason), "{kind}: {message}");
    for word in words {
        assert!(message.contains(word), "{kind} doesn't say {word:?}: {message}");
    }
}

impl Tenant {
    /// Reasons of all events about an object, in alphabetical order.
    pub async fn told(&self, name: &str) -> Vec<String> {
        let mut reasons: Vec<_> = self.events(name).await.into_iter().map(|(_, reason, _)| reason).collect();
        reasons.sort();
        reasons
    }

    /// Type, reason and note of the events about an object, oldest first.
    pub async fn events(&self, name: &str) -> Vec<(String, String, String)> {
        let events = self.api::<Event>().list(&ListParams::default()).await.expect("events");
        let mut events = events.items;
        events.retain(|event| event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(name));
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        let text = |text: Option<String>| text.unwrap_or_default();
        events.into_iter().map(|event| (text(event.type_), text(event.reason), text(event.note))).collect()
    }

    /// How many events about an object have this reason.
    pub async fn count_events(&self, name: &str, reason: &str) -> usize {
        self.events(name).await.iter().filter(|(_, found, _)| found == reason).count()
    }

    /// What the operator's metrics say now.
    pub async fn metrics(&self) -> Metrics {
        let answer = self.process().get("metrics", "/metrics").await;
        let (status, text) = answer.unwrap_or_else(|| panic!("no metrics\n{}", self.process().tail()));
        assert_eq!(status, 200, "metrics: {text}");
        Metrics(text)
    }

    /// Asks for the metrics until this holds; nothing else tells when. `what` ends the sentence "the metrics …".
    pub async fn until_metrics(&self, what: &str, holds: impl Fn(&Metrics) -> bool) -> Metrics {
        let asked = async {
            loop {
                let metrics = self.metrics().await;
                if holds(&metrics) {
                    return metrics;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, asked).await;
        found.unwrap_or_else(|_| panic!("it isn't so that the metrics {what}\n{}", self.process().tail()))
    }

    /// All that the operator has logged.
    pub fn log(&self) -> String {
        self.process().log()
    }
}

/// Metrics as they stood at a moment.
#[derive(Clone, Debug)]
pub struct Metrics(pub String);

impl Metrics {
    /// The value of the series of this name and these labels, whatever other labels it has; the sum where there are
    /// several, nothing where there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let is_meant = |series: &str| {
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            // Each label stands between a comma or brace and another.
            let rest = format!(",{}", rest.replace('}', ","));
            found == name && labels.iter().all(|label| rest.contains(&format!(",{label},")))
        };
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            // What follows is an exemplar.
            let line = line.split(" # {").next()?;
            // Label values may hold blanks; what follows the last brace or the name doesn't.
            let end = line.rfind('}').map_or_else(|| line.find(' '), |brace| Some(brace + 1))?;
            let value = line[end..].split_whitespace().next()?.parse::<f64>().ok()?;
            is_meant(&line[..end]).then_some(value)
        });
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }
}
