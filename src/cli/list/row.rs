//! What is known of one connection, read from its object alone.

use std::cmp::Ordering;

use jiff::{Timestamp, tz::TimeZone};
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::BitbucketConnection,
    domain::{
        conditions::{self, Reason, types},
        duration::Span,
        expiry::{self, ExpirySource},
        spec,
        // Whoever may write an object may write anything into some of its fields: none of it steers a terminal.
        text::one_line,
    },
};

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub namespace: String,
    pub name: String,
    /// For calendars: the same for as long as the object lives.
    #[serde(skip)]
    pub uid: String,
    /// When the token in the Secret ends; absent where nobody knows yet.
    pub ends: Option<Timestamp>,
    /// Days on the calendar (UTC) from today until that day; negative after it.
    pub days_left: Option<i64>,
    /// How the end is known: Secret, Annotation, Spec; Inferred is the latest day that is possible.
    pub source: Option<&'static str>,
    pub urgency: Urgency,
    /// Status of the condition Ready: True, False, Unknown.
    pub ready: String,
    /// Reason of the condition Ready.
    pub reason: String,
    /// What its message says.
    pub message: String,
    /// What somebody must do now; absent where nobody must do anything.
    pub what_to_do: Option<String>,
    /// User name of the Bitbucket account.
    pub account: Option<String>,
    /// Who must act.
    pub contact: Option<String>,
    /// Where the token is.
    pub secret: String,
    /// Name of the connection in the KMS.
    pub connection: Option<String>,
    /// The instance through which it is reached.
    pub kms: Option<String>,
    pub missing_scopes: Vec<String>,
    pub excess_scopes: Vec<String>,
    /// How long before the end people are warned; longest first.
    #[serde(skip)]
    pub thresholds: Vec<Span>,
}

/// How soon somebody must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Urgency {
    /// It was declared to end, and the day has come.
    Ended,
    /// A threshold of warnBefore has passed.
    Soon,
    /// There is time.
    Later,
    /// Nobody knows when it ends.
    Unknown,
}

impl Row {
    pub fn of(object: &BitbucketConnection, now: Timestamp) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let ready = conditions::find(&status.conditions, types::READY);
        let expiry = conditions::find(&status.conditions, types::EXPIRING_SOON);
        let token = status.token.unwrap_or_default();
        let scopes = status.scopes.unwrap_or_default();
        let ends = token.expires_at.map(|time| time.0);
        let source = token.expiry_source.as_deref().and_then(ExpirySource::parse);
        let thresholds = spec::warn_before(&object.spec).unwrap_or_default();
        let list = |names: Vec<String>| names.iter().map(|name| one_line(name)).collect();
        let mut row = Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            ends,
            days_left: ends.map(|at| days_between(now, at)),
            source: source.map(ExpirySource::as_str),
            urgency: Urgency::of(ends, source, &thresholds, now),
            ready: ready.map_or("Unknown", |ready| ready.status.as_str()).to_owned(),
            reason: ready.map_or_else(|| "NotSeen".to_owned(), |ready| one_line(&ready.reason)),
            message: ready.map_or_else(
                || "The operator has not looked at this object yet; does it run, and serve this namespace?".to_owned(),
                |ready| one_line(&ready.message),
            ),
            what_to_do: None,
            account: status.account.and_then(|account| account.username).as_deref().map(one_line),
            contact: object.spec.contact.as_deref().map(one_line),
            secret: object.spec.secret_ref.name.clone(),
            connection: status.connection.as_ref().map(|connection| one_line(&connection.name)),
            kms: status.connection.map(|connection| one_line(&connection.kms_ref)),
            missing_scopes: list(scopes.missing),
            excess_scopes: list(scopes.excess),
            thresholds,
        };
        let no_date = expiry.filter(|it| it.reason == Reason::ExpiryInvalid.as_str());
        let kept = conditions::find(&status.conditions, types::SYNCED).is_some_and(|synced| {
            synced.reason == Reason::CredentialsNotPushed.as_str() && synced.reason != row.reason
        });
        row.what_to_do = match no_date {
            _ if row.ready != "True" && kept => {
                Some(format!("{}: {} Don't revoke the old token yet: the KMS still uses it.", row.reason, row.message))
            }
            _ if row.ready != "True" => Some(format!("{}: {}", row.reason, row.message)),
            Some(it) => Some(format!("{}: {}", one_line(&it.reason), one_line(&it.message))),
            None if matches!(row.urgency, Urgency::Ended | Urgency::Soon) => {
                Some(format!("Put a new token into the Secret {}, with its date.", row.secret))
            }
            None => None,
        };
        row
    }

    /// Whether the token ends within this time, or has ended.
    pub fn ends_within(&self, time: Span, now: Timestamp) -> bool {
        self.ends.is_some_and(|at| at.duration_since(now) <= time.signed())
    }

    /// What ends first comes first, what nobody knows comes last.
    pub fn by_end(&self, other: &Self) -> Ordering {
        let key = |row: &Self| row.ends.unwrap_or(Timestamp::MAX);
        let name = |row: &Self| (row.namespace.clone(), row.name.clone());
        key(self).cmp(&key(other)).then_with(|| name(self).cmp(&name(other)))
    }

    /// Whether the end is only the latest that is possible.
    pub fn inferred(&self) -> bool {
        self.source == Some(ExpirySource::Inferred.as_str())
    }

    /// The day of the end.
    pub fn day(&self) -> Option<String> {
        self.ends.map(expiry::day)
    }

    /// The days that are left, in words.
    pub fn left(&self) -> Option<String> {
        Some(match self.days_left? {
            -1 => "1 day ago".to_owned(),
            days @ ..=-2 => format!("{} days ago", -days),
            0 => "today".to_owned(),
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        })
    }
}

/// Days on the calendar: what ends tomorrow at noon ends in one day, late in the evening too.
fn days_between(now: Timestamp, at: Timestamp) -> i64 {
    let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
    day(at).duration_since(day(now)).as_hours() / 24
}

impl Urgency {
    fn of(ends: Option<Timestamp>, source: Option<ExpirySource>, thresholds: &[Span], now: Timestamp) -> Self {
        let Some(at) = ends else { return Self::Unknown };
        let declared = source != Some(ExpirySource::Inferred);
        if at <= now && declared {
            Self::Ended
        } else if thresholds.iter().any(|threshold| expiry::warning_starts(at, *threshold) <= now) {
            Self::Soon
        } else {
            Self::Later
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub fn now() -> Timestamp {
        "2026-12-01T12:00:00Z".parse().expect("a time")
    }

    /// A row of an object with these differences.
    pub fn row(name: &str, change: Value) -> Row {
        let mut object = json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnection",
            "metadata": {"name": name, "namespace": "team-a", "uid": format!("uid-of-{name}")},
            "spec": {
                "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78", "secretRef": {"name": "bitbucket-token"},
                "scopes": {"useCases": ["SecretScanning"]}, "contact": "#team-a",
            },
            "status": {
                "token": {"expiresAt": "2027-03-01T00:00:00Z", "expirySource": "Secret"},
                "account": {"username": "hanzo-bot"},
                "connection": {"id": "1", "name": name, "origin": "Created", "kmsRef": "ClusterKmsInstance/default",
                    "host": "https://app.kms.hanzo.ai"},
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "Succeeded", "message": "All is well.",
                    "lastTransitionTime": "2026-11-01T00:00:00Z",
                }],
            },
        });
        merge(&mut object, change);
        Row::of(&serde_json::from_value(object).expect("an object"), now())
    }

    fn merge(value: &mut Value, change: Value) {
        match (value, change) {
            (Value::Object(old), Value::Object(new)) => {
                new.into_iter().for_each(|(key, change)| merge(old.entry(key).or_insert(Value::Null), change));
            }
            (old, new) => *old = new,
        }
    }

    pub fn ending(name: &str, at: &str, source: &str) -> Row {
        row(name, json!({"status": {"token": {"expiresAt": at, "expirySource": source}}}))
    }

    #[test]
    fn how_soon_somebody_must_act() {
        let table = [
            ("2027-03-01T00:00:00Z", "Secret", Urgency::Later, Some(90), "90 days"),
            ("2026-12-31T12:00:00Z", "Secret", Urgency::Soon, Some(30), "30 days"),
            ("2026-12-31T12:00:01Z", "Secret", Urgency::Later, Some(30), "30 days"),
            ("2026-12-02T13:00:00Z", "Spec", Urgency::Soon, Some(1), "1 day"),
            ("2026-12-01T13:00:00Z", "Spec", Urgency::Soon, Some(0), "today"),
            ("2026-12-01T12:00:00Z", "Spec", Urgency::Ended, Some(0), "today"),
            ("2026-12-01T11:00:00Z", "Annotation", Urgency::Ended, Some(0), "today"),
            ("2026-12-02T00:00:00Z", "Annotation", Urgency::Soon, Some(1), "1 day"),
            ("2026-11-30T23:59:59Z", "Annotation", Urgency::Ended, Some(-1), "1 day ago"),
            ("2026-11-01T00:00:00Z", "Annotation", Urgency::Ended, Some(-30), "30 days ago"),
            ("2026-11-01T00:00:00Z", "Inferred", Urgency::Soon, Some(-30), "30 days ago"),
        ];
        for (at, source, urgency, days, words) in table {
            let row = ending("payments", at, source);
            assert_eq!(
                (row.urgency, row.days_left, row.left().as_deref()),
                (urgency, days, Some(words)),
                "{at} {source}"
            );
        }
        let unknown = row("payments", json!({"status": {"token": null}}));
        assert_eq!((unknown.urgency, unknown.left()), (Urgency::Unknown, None));
    }

    #[test]
    fn what_ends_first_comes_first_and_what_nobody_knows_last() {
        let mut rows = [
            row("unknown", json!({"status": {"token": null}})),
            ending("late", "2027-03-01T00:00:00Z", "Secret"),
            ending("b", "2026-12-31T00:00:00Z", "Secret"),
            ending("a", "2026-12-31T00:00:00Z", "Secret"),
        ];
        rows.sort_by(Row::by_end);
        assert_eq!(rows.each_ref().map(|row| row.name.as_str()), ["a", "b", "late", "unknown"]);
        let soon = rows.iter().filter(|row| row.ends_within(Span::from_days(30), now()));
        assert_eq!(soon.map(|row| row.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_somebody_must_do_is_said() {
        let condition = |kind: &str, status: &str, reason: &str, message: &str| {
            json!({"type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-11-01T00:00:00Z"})
        };
        let ready = condition("Ready", "True", "Succeeded", "All is well.");
        let lacking = condition("Ready", "False", "ScopesMissing", "The token lacks a scope.");
        let no_date = condition("ExpiringSoon", "Unknown", "ExpiryInvalid", "No date can be read.");
        let near = condition("ExpiringSoon", "True", "WarningWindow", "It ends.");
        let at = |day: &str| json!({"expiresAt": format!("{day}T00:00:00Z"), "expirySource": "Secret"});
        let refused = condition("Ready", "False", "CredentialsRejected", "The token is dead.");
        let kept = condition("Synced", "False", "CredentialsNotPushed", "It was not written to the KMS.");
        let keep =
            Some("CredentialsRejected: The token is dead. Don't revoke the old token yet: the KMS still uses it.");
        let in_sync = condition("Synced", "True", "InSync", "All is well.");
        let new_token = Some("Put a new token into the Secret bitbucket-token, with its date.");
        let table = [
            (vec![&ready], at("2027-06-01"), None),
            (vec![&ready, &near], at("2026-12-10"), new_token),
            (vec![&ready, &near], at("2026-11-10"), new_token),
            (vec![&ready, &no_date], Value::Null, Some("ExpiryInvalid: No date can be read.")),
            (vec![&lacking, &near], at("2026-12-10"), Some("ScopesMissing: The token lacks a scope.")),
            (vec![&refused, &kept], at("2027-06-01"), keep),
            (vec![&refused, &in_sync], at("2027-06-01"), Some("CredentialsRejected: The token is dead.")),
        ];
        for (conditions, token, expected) in table {
            let row = row("payments", json!({"status": {"conditions": conditions, "token": token}}));
            assert_eq!(row.what_to_do.as_deref(), expected, "{conditions:?}");
        }
    }

    #[test]
    fn an_object_that_nobody_has_looked_at_says_so() {
        let row = row("payments", json!({"status": null}));
        assert_eq!((row.ready.as_str(), row.reason.as_str()), ("Unknown", "NotSeen"));
    }

    #[test]
    fn nobody_steers_a_terminal_by_a_field() {
        let row = row("payments", json!({"spec": {"contact": "\u{1b}[2J\u{202e}#team\u{7}"}}));
        assert_eq!(row.contact.as_deref(), Some("[2J#team"));
    }
}
