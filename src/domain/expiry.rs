//! When a token ends, how that is known, and when to warn.
//!
//! No call lets a token read its own expiry: it is declared by people, or inferred from Atlassian's limit.

pub mod source;

use jiff::{Timestamp, civil, tz::TimeZone};

use super::{
    conditions::{Judgement, Reason},
    duration::Span,
    place::Place,
};
pub use source::ExpirySource;

/// Atlassian's limit: a token ends at most a year after it was made.
const LIMIT: Span = Span::from_days(365);
/// A declared date is called implausible when it lies this much beyond the limit: a date has no time of day.
const TOLERANCE: Span = Span::from_days(2);

/// What people wrote about the expiry of the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared<'a> {
    /// The Secret's key.
    pub secret: Option<&'a str>,
    /// The Secret's annotation.
    pub annotation: Option<&'a str>,
    /// The spec.
    pub spec: Option<&'a str>,
}

/// When the token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At that time, known from there.
    At(Timestamp, ExpirySource),
    /// What is written there can't be read; there is no silent fallback to another source.
    Unreadable(ExpirySource),
}

impl Expiry {
    /// The time, where there is one.
    pub fn time(self) -> Option<Timestamp> {
        match self {
            Self::At(at, _) => Some(at),
            Self::Unreadable(_) => None,
        }
    }

    /// The time that people declared to have passed; an inferred one is no declaration.
    pub fn declared_and_passed(self, now: Timestamp) -> bool {
        matches!(self, Self::At(at, source) if source != ExpirySource::Inferred && at <= now)
    }

    /// Whether a declared time lies beyond what Atlassian allows for a token that was there at `first_seen`.
    pub fn implausible(self, first_seen: Timestamp) -> bool {
        let latest = later(first_seen, Span::from_secs(LIMIT.as_secs() + TOLERANCE.as_secs()));
        matches!(self, Self::At(at, source) if source != ExpirySource::Inferred && at > latest)
    }
}

/// Decides when a token ends that was first seen then.
pub fn determine(declared: Declared<'_>, first_seen: Timestamp) -> Expiry {
    let sources = [
        (declared.secret, ExpirySource::Secret),
        (declared.annotation, ExpirySource::Annotation),
        (declared.spec, ExpirySource::Spec),
    ];
    let written = sources.into_iter().find_map(|(text, source)| text.map(|text| (text.trim(), source)));
    match written {
        Some((text, source)) => parse(text).map_or(Expiry::Unreadable(source), |at| Expiry::At(at, source)),
        None => Expiry::At(later(first_seen, LIMIT), ExpirySource::Inferred),
    }
}

/// Reads an RFC 3339 time, or a date, which is 00:00 UTC of that day; in whole seconds, as the status keeps it and as it
/// will be compared.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() == 10 {
        let date: civil::Date = text.parse().ok()?;
        return Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    let at: Timestamp = text.parse().ok()?;
    let is_time = text.as_bytes().get(10).is_some_and(|b| matches!(b, b'T' | b't' | b' '));
    Timestamp::from_second(at.as_second()).ok().filter(|_| is_time)
}

/// What the condition ExpiringSoon says, and what else follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The condition.
    pub judgement: Judgement,
    /// The smallest threshold that has been passed.
    pub passed: Option<Span>,
    /// When the judgement changes by itself.
    pub changes_at: Option<Timestamp>,
}

/// Judges an expiry. `thresholds` are sorted, longest first.
pub fn outlook(expiry: Expiry, thresholds: &[Span], now: Timestamp, advice: &Advice<'_>) -> Outlook {
    let (at, source) = match expiry {
        Expiry::At(at, source) => (at, source),
        Expiry::Unreadable(source) => {
            let message = format!(
                "No date can be read from {}; write there a date such as 2027-03-01 or an RFC 3339 time such as 2027-03-01T12:00:00Z. Until then nobody is warned before the token ends.",
                advice.place.expiry(source)
            );
            return Outlook {
                judgement: Judgement::new(Reason::ExpiryInvalid, message),
                passed: None,
                changes_at: None,
            };
        }
    };
    let starts = |threshold: &Span| warning_starts(at, *threshold);
    let passed = thresholds.iter().copied().filter(|threshold| starts(threshold) <= now).min();
    let next = thresholds.iter().map(starts).filter(|start| *start > now).min();
    let ended = at <= now && source != ExpirySource::Inferred;
    let changes_at = next.or((at > now && source != ExpirySource::Inferred).then_some(at));
    let date = day(at);
    let judgement = if ended {
        let message = format!(
            "The token was declared to end on {date} ({}). {}, or correct the date if the token still works.",
            advice.place.expiry(source),
            advice.renew()
        );
        Judgement::new(Reason::Expired, message)
    } else if passed.is_some() {
        let by = if source == ExpirySource::Inferred { "ends by" } else { "ends on" };
        Judgement::new(
            Reason::WarningWindow,
            format!("The token {by} {date} ({}). {}.", advice.place.expiry(source), advice.renew()),
        )
    } else {
        let message = match source {
            ExpirySource::Inferred => format!(
                "The token ends by {date} at the latest ({}). {} to be warned in time.",
                advice.place.expiry(source),
                advice.place.declare_expiry()
            ),
            _ => format!("The token ends on {date} ({}).", advice.place.expiry(source)),
        };
        Judgement::new(Reason::OutsideWindow, message)
    };
    Outlook { judgement, passed, changes_at }
}

/// What is needed to tell a person how to renew a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice<'a> {
    /// Where the token and its end are written down.
    pub place: Place<'a>,
    /// Who must act.
    pub contact: Option<&'a str>,
}

impl Advice<'_> {
    fn renew(&self) -> String {
        let begin = self.contact.map_or_else(|| "Create".to_owned(), |contact| format!("{contact}: create"));
        format!(
            "{begin} a new API token with the same scopes at id.atlassian.com (Security, API tokens, Create API token with scopes, app Bitbucket) and {}",
            self.place.take_with_date()
        )
    }
}

/// What to say of a declared end that is [implausible](Expiry::implausible).
pub fn implausible(at: Timestamp) -> String {
    format!(
        "The declared end of the token, {}, is more than a year ahead; Atlassian lets no API token live that long. Look the date up at id.atlassian.com (Security, API tokens) and correct it, or nobody is warned in time.",
        day(at)
    )
}

/// When people are warned first of an end, so long before it.
pub fn warning_starts(at: Timestamp, longest: Span) -> Timestamp {
    at.checked_sub(longest.signed()).unwrap_or(Timestamp::MIN)
}

/// Which threshold an event is still owed for: the smallest one passed, unless the last event was about it or a
/// smaller one. After several were passed at once there is one event.
pub fn owed(passed: Option<Span>, last_notified: Option<Span>) -> Option<Span> {
    passed.filter(|passed| last_notified.is_none_or(|last| *passed < last))
}

/// The day of a time, in UTC.
pub fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string()
}

fn later(at: Timestamp, span: Span) -> Timestamp {
    at.checked_add(span.signed()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADVICE: Advice<'_> = Advice { place: Place::CommandLine, contact: Some("#team-a") };

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn dates_and_times_are_read() {
        for (text, expected) in [
            ("2027-03-01", Some("2027-03-01T00:00:00Z")),
            (" 2027-03-01\n", Some("2027-03-01T00:00:00Z")),
            ("2027-03-01T12:00:00Z", Some("2027-03-01T12:00:00Z")),
            ("2027-03-01T12:00:00+02:00", Some("2027-03-01T10:00:00Z")),
            ("2027-03-01T12:00:00.987Z", Some("2027-03-01T12:00:00Z")),
            ("2027-02-30", None),
            ("2027-03-01T12:00:00", None),
            ("01.03.2027", None),
            ("", None),
            ("99999-01-01", None),
            ("1772323200", None),
        ] {
            assert_eq!(parse(text), expected.map(time), "{text}");
        }
    }

    #[test]
    fn the_first_source_wins_even_when_it_cannot_be_read() {
        let seen = time("2026-11-22T00:00:00Z");
        let all = Declared { secret: Some("2027-01-01"), annotation: Some("2027-02-01"), spec: Some("2027-03-01") };
        let at = |date: &str, source| Expiry::At(parse(date).expect("a date"), source);
        assert_eq!(determine(all, seen), at("2027-01-01", ExpirySource::Secret));
        assert_eq!(determine(Declared { secret: None, ..all }, seen), at("2027-02-01", ExpirySource::Annotation));
        assert_eq!(
            determine(Declared { spec: all.spec, ..Declared::default() }, seen),
            at("2027-03-01", ExpirySource::Spec)
        );
        assert_eq!(determine(Declared::default(), seen), at("2027-11-22", ExpirySource::Inferred));
        assert_eq!(determine(Declared { secret: Some("soon"), ..all }, seen), Expiry::Unreadable(ExpirySource::Secret));
    }

    #[test]
    fn the_outlook_darkens() {
        let thresholds = [Span::from_days(30), Span::from_days(7)];
        let expiry = Expiry::At(time("2027-03-01T00:00:00Z"), ExpirySource::Secret);
        let table = [
            ("2027-01-01T00:00:00Z", Reason::OutsideWindow, None, Some("2027-01-30T00:00:00Z")),
            ("2027-01-30T00:00:00Z", Reason::WarningWindow, Some(30), Some("2027-02-22T00:00:00Z")),
            ("2027-02-28T00:00:00Z", Reason::WarningWindow, Some(7), Some("2027-03-01T00:00:00Z")),
            ("2027-03-01T00:00:00Z", Reason::Expired, Some(7), None),
        ];
        for (now, reason, passed, changes_at) in table {
            let outlook = outlook(expiry, &thresholds, time(now), &ADVICE);
            assert_eq!(outlook.judgement.reason, reason, "{now}");
            assert_eq!(outlook.passed, passed.map(Span::from_days), "{now}");
            assert_eq!(outlook.changes_at, changes_at.map(time), "{now}");
        }
    }

    #[test]
    fn whoever_must_act_is_addressed() {
        let expiry = Expiry::At(time("2027-03-01T00:00:00Z"), ExpirySource::Secret);
        for (now, contact, words) in [
            ("2027-02-28T00:00:00Z", Some("#team-a"), "(--expires-at). #team-a: create a new API token"),
            ("2027-02-28T00:00:00Z", None, "(--expires-at). Create a new API token"),
            ("2027-03-02T00:00:00Z", None, "(--expires-at). Create a new API token"),
        ] {
            let advice = Advice { contact, ..ADVICE };
            let message = outlook(expiry, &[Span::from_days(30)], time(now), &advice).judgement.message;
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn an_inferred_date_never_says_expired() {
        let expiry = Expiry::At(time("2027-03-01T00:00:00Z"), ExpirySource::Inferred);
        let now = time("2027-04-01T00:00:00Z");
        assert_eq!(outlook(expiry, &[Span::from_days(7)], now, &ADVICE).judgement.reason, Reason::WarningWindow);
        assert!(!expiry.declared_and_passed(now));
    }

    #[test]
    fn one_event_for_each_threshold() {
        let days = |n| Some(Span::from_days(n));
        for (passed, last, expected) in [
            (None, None, None),
            (days(30), None, days(30)),
            (days(30), days(30), None),
            (days(7), days(30), days(7)),
            (days(3), None, days(3)),
            (days(7), days(3), None),
        ] {
            assert_eq!(owed(passed, last), expected);
        }
    }

    #[test]
    fn more_than_a_year_is_implausible() {
        let seen = time("2026-11-22T00:00:00Z");
        let of = |date: &str| determine(Declared { secret: Some(date), ..Declared::default() }, seen).implausible(seen);
        assert!(of("2030-01-01"));
        assert!(!of("2027-11-23"));
        assert!(!determine(Declared::default(), seen).implausible(seen));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
