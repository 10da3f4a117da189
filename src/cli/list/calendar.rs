//! The ends of tokens as a calendar (RFC 5545) that people subscribe to: a day for each token, with alarms before it.
//!
//! A token is in a Secret, and several connections may share it: they share the day, too.

use std::collections::{BTreeMap, BTreeSet};

use icalendar::{Alarm, Calendar, Component, Event, EventLike, Property};
use jiff::{Timestamp, tz::TimeZone};

use super::row::Row;
use crate::domain::duration::Span;

/// How often who subscribes should look again.
const REFRESH: &str = "PT1H";
/// The right-hand side of ids, which have to be unique in the world.
const DOMAIN: &str = "connections.kms.hanzo.ai";

/// The whole calendar.
pub(super) fn calendar(rows: &[Row], now: Timestamp) -> String {
    let mut tokens: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.ends.is_some()) {
        tokens.entry((&row.namespace, &row.secret)).or_default().push(row);
    }
    // Connections may declare different ends for the one token: the first of them counts.
    let first_end = |sharers: &[&Row]| sharers.iter().filter_map(|row| row.ends).min();
    let mut tokens: Vec<_> = tokens
        .into_iter()
        .filter_map(|((namespace, secret), sharers)| Some((first_end(&sharers)?, namespace, secret, sharers)))
        .collect();
    tokens.sort_by_key(|(at, ..)| *at);
    let mut calendar = Calendar::empty();
    for (key, value) in [
        ("VERSION", "2.0"),
        ("PRODID", "-//Hanzo//Bitbucket Connection Operator//EN"),
        ("CALSCALE", "GREGORIAN"),
        ("METHOD", "PUBLISH"),
    ] {
        calendar.append_property(Property::new(key, value));
    }
    calendar.name("Bitbucket tokens").description("When the API tokens of Bitbucket connections end");
    calendar.append_property(Property::new("REFRESH-INTERVAL", REFRESH).add_parameter("VALUE", "DURATION").done());
    calendar.append_property(Property::new("X-PUBLISHED-TTL", REFRESH));
    for (at, namespace, secret, sharers) in tokens {
        calendar.push(event(at, namespace, secret, &sharers, now));
    }
    calendar.to_string()
}

/// The day on which a token ends.
fn event(at: Timestamp, namespace: &str, secret: &str, sharers: &[&Row], now: Timestamp) -> Event {
    let utc = |time: Timestamp, form: &str| time.to_zoned(TimeZone::UTC).strftime(form).to_string();
    let named = |of: fn(&Row) -> Option<&String>| -> BTreeSet<&str> {
        sharers.iter().filter_map(|row| of(row)).map(String::as_str).filter(|text| !text.is_empty()).collect()
    };
    let listed = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
    let (accounts, contacts) = (named(|row| row.account.as_ref()), named(|row| row.contact.as_ref()));
    let inferred = sharers.iter().filter(|row| row.ends == Some(at)).all(|row| row.inferred());
    let ends = if inferred { "ends by today at the latest" } else { "ends" };
    // The name comes first: a calendar of a month shows little more.
    let mut summary = format!("{namespace}/{secret}: Bitbucket token {ends}");
    if !accounts.is_empty() {
        summary = format!("{summary} ({})", listed(accounts));
    }
    let begin = if contacts.is_empty() { "Create".to_owned() } else { format!("{}: create", listed(contacts)) };
    let mut lines = vec![format!(
        "{begin} a new API token with the same scopes at id.atlassian.com (Security, API tokens, Create API token with \
         scopes), and put it into the Secret {secret} of the namespace {namespace}, with its end under expiresAt."
    )];
    if inferred {
        lines.push(
            "This day is the latest that is possible, a year after the token was first seen: the Secret has no \
             expiresAt."
                .to_owned(),
        );
    }
    lines.push("Connections with this token:".to_owned());
    lines.extend(sharers.iter().map(|row| format!("- {} (Ready {}, {})", row.name, row.ready, row.reason)));
    let mut event = Event::new();
    let uid = format!("{secret}.{namespace}@{DOMAIN}");
    event
        .uid(&uid)
        .summary(&summary)
        .description(&lines.join("\n"))
        // No end: a date alone is a whole day.
        .append_property(Property::new("DTSTART", utc(at, "%Y%m%d")).add_parameter("VALUE", "DATE").done())
        .add_property("DTSTAMP", utc(now, "%Y%m%dT%H%M%SZ"))
        // Nobody is busy on that day because of it.
        .add_property("TRANSP", "TRANSPARENT");
    let thresholds: BTreeSet<Span> = sharers.iter().flat_map(|row| row.thresholds.iter().copied()).collect();
    for threshold in thresholds.into_iter().rev() {
        // The same each time: an alarm that somebody has dismissed stays dismissed, as long as the token is the same.
        let id = format!("{}.{}.{uid}", threshold.as_secs(), utc(at, "%Y%m%d"));
        event.alarm(alarm(threshold, &summary).uid(&id).done());
    }
    event.done()
}

fn alarm(before: Span, summary: &str) -> Alarm {
    let seconds = before.as_secs();
    let duration = if seconds % 86_400 == 0 { format!("-P{}D", seconds / 86_400) } else { format!("-PT{seconds}S") };
    let text = format!("In {before}: {summary}");
    // The library writes days as seconds, which not every calendar reads: its trigger is replaced.
    Alarm::display(&text, chrono::TimeDelta::zero()).add_property("TRIGGER", duration).done()
}

#[cfg(test)]
mod tests {
    use icalendar::CalendarComponent;
    use serde_json::json;

    use super::{
        super::row::tests::{ending, now, row},
        *,
    };

    /// What a reader that isn't ours makes of it.
    fn read(rows: &[Row]) -> Vec<Event> {
        let text = calendar(rows, now());
        for line in text.split("\r\n") {
            assert!(line.len() <= 75 && !line.contains('\n'), "RFC 5545, 3.1: {line:?}");
        }
        let calendar: Calendar = text.parse().expect("a calendar");
        let event = |component: &CalendarComponent| component.as_event().cloned();
        calendar.components.iter().filter_map(event).collect()
    }

    #[test]
    fn a_token_that_is_shared_has_one_day() {
        let other = json!({"spec": {"secretRef": {"name": "other"}}});
        let unknown = json!({"status": {"token": null}});
        let rows = [row("a", json!({})), row("b", json!({})), row("c", other), row("d", unknown)];
        let events = read(&rows);
        let uids: Vec<_> = events.iter().filter_map(|event| event.get_uid()).collect();
        assert_eq!(uids, ["bitbucket-token.team-a@connections.kms.hanzo.ai", "other.team-a@connections.kms.hanzo.ai"]);
        let description = events[0].get_description().expect("a description");
        assert!(description.contains("- a (Ready True, Succeeded)\n- b (Ready True"), "{description}");
        assert!(description.starts_with("#team-a: create a new API token"), "{description}");
    }

    #[test]
    fn a_token_has_one_day_even_if_its_ends_are_declared_otherwise() {
        let rows = [
            ending("a", "2027-06-01T00:00:00Z", "Inferred"),
            ending("b", "2027-03-01T00:00:00Z", "Spec"),
            ending("c", "2027-04-01T00:00:00Z", "Spec"),
        ];
        let events = read(&rows);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].properties()["DTSTART"].value(), "20270301");
        assert!(events[0].get_summary().is_some_and(|summary| summary.contains(": Bitbucket token ends (")));
    }

    #[test]
    fn the_day_is_whole_and_its_alarms_are_the_thresholds() {
        let change = json!({"spec": {"expiry": {"warnBefore": ["14d", "36h"]}}});
        let events = read(&[row("payments", change)]);
        let start = events[0].properties()["DTSTART"].clone();
        assert_eq!(start.value(), "20270301");
        assert_eq!(start.params()["VALUE"].value(), "DATE");
        assert_eq!(events[0].property_value("DTEND"), None);
        let text = calendar(&[row("payments", json!({}))], now());
        let triggers: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("TRIGGER:")).collect();
        assert_eq!(triggers, ["-P30D", "-P14D", "-P7D", "-P3D", "-P1D"]);
        let text = calendar(&[row("payments", json!({"spec": {"expiry": {"warnBefore": ["36h"]}}}))], now());
        assert!(text.contains("TRIGGER:-PT129600S\r\n"), "{text}");
        assert_eq!(text, calendar(&[row("payments", json!({"spec": {"expiry": {"warnBefore": ["36h"]}}}))], now()));
    }

    #[test]
    fn the_latest_possible_day_is_called_so() {
        let events = read(&[ending("payments", "2027-11-01T00:00:00Z", "Inferred")]);
        let summary = events[0].get_summary().expect("a summary");
        assert_eq!(summary, "team-a/bitbucket-token: Bitbucket token ends by today at the latest (hanzo-bot)");
    }

    #[test]
    fn what_people_write_stays_text() {
        let events = read(&[row("payments", json!({"spec": {"contact": "a;b,c\\n\r\nBEGIN:VEVENT"}}))]);
        assert_eq!(events.len(), 1);
        let description = events[0].get_description().expect("a description");
        assert!(description.starts_with("a;b,c\\n  BEGIN:VEVENT: create"), "{description}");
    }
}
