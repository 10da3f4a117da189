//! What holds for whatever people and servers write: headers, dates, durations, specs, descriptions.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use url::Host;

use super::{
    duration::Span,
    expiry::{self, Advice, Declared, Expiry, ExpirySource},
    host::{self, AllowedHosts},
    login::Login,
    ownership::{
        DESCRIPTION_MAX, KMS_DESCRIPTION_MAX, Origin, Owner, OwnerId, Ownership, describe, origin_of, owner_named_in,
        ownership, without_mark,
    },
    place::Place,
    scopes::{self, SCOPES_MAX, Scope, UseCase, parse_header},
    spec::{SpecProblem, deletion_policy, instance_ref, management, validate},
    text,
};
use crate::api::{
    BitbucketConnection, BitbucketConnectionSpec, ClusterKmsInstance, ClusterKmsInstanceSpec, KmsInstance,
    KmsInstanceSpec,
};

/// Longest full name of a scope.
const SCOPE_MAX: usize = 100;
/// Longest duration that is taken for one.
const SPAN_MAX: i64 = 36_525 * 86_400;

/// A header with scopes.
pub fn scope_header(data: &[u8]) {
    let header = String::from_utf8_lossy(data);
    let granted = parse_header(&header);
    assert!(granted.len() <= SCOPES_MAX);
    for scope in &granted {
        let name = scope.as_str();
        assert!((1..=SCOPE_MAX).contains(&name.len()) && name.is_ascii(), "{name:?}");
        assert_eq!(Scope::parse(name).as_ref(), Some(scope), "its full name names it");
        let short = name.strip_suffix(":bitbucket").unwrap_or(name);
        let says = |word: &str| word == name || word == short;
        assert!(header.split(|c: char| c == ',' || c.is_whitespace()).any(says), "{name} is not in {header:?}");
    }
    let names: Vec<&str> = granted.iter().map(Scope::as_str).collect();
    for separator in [", ", ",", " "] {
        assert_eq!(parse_header(&names.join(separator)), granted, "what is printed reads the same");
    }

    let required = scopes::required(&UseCase::ALL, &[]);
    let compared = scopes::compare(&required, &granted);
    assert!(compared.missing.is_disjoint(&granted) && compared.excess.is_disjoint(&required));
    assert_eq!(required.len() - compared.missing.len(), granted.len() - compared.excess.len(), "what both have");
    for missing in &compared.missing {
        let near = scopes::near_miss(missing, &granted);
        assert!(near.is_none_or(|near| granted.contains(near) && near != missing), "{missing}: {near:?}");
    }
}

/// A date or time at which a token ends.
pub fn expiry_date(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let first_seen = Timestamp::UNIX_EPOCH;
    let expiry = expiry::determine(Declared { secret: Some(text), ..Declared::default() }, first_seen);
    let Some(at) = expiry::parse(text) else {
        assert_eq!(expiry, Expiry::Unreadable(ExpirySource::Secret), "no other source steps in");
        is_told(expiry, first_seen);
        return;
    };
    assert_eq!(expiry, Expiry::At(at, ExpirySource::Secret));
    assert_eq!(at.subsec_nanosecond(), 0, "the status keeps whole seconds");
    assert_eq!(expiry::parse(&at.to_string()), Some(at), "what is printed reads the same");
    let day = expiry::parse(&expiry::day(at)).expect("a day");
    assert!((0..86_400).contains(&at.duration_since(day).as_secs()), "{at} is on {day}");
    let text = text.trim().as_bytes();
    let is_date = |at: usize| if matches!(at, 4 | 7) { text[at] == b'-' } else { text[at].is_ascii_digit() };
    assert!((0..10).all(is_date), "it begins with a date as RFC 3339 has it");

    for seconds in [i64::MIN, -86_400 * 366, -86_400, 0, 1, 86_400 * 366, i64::MAX] {
        let now = at.as_second().saturating_add(seconds);
        is_told(expiry, Timestamp::from_second(now).unwrap_or(Timestamp::MAX));
    }
}

/// What people are told of an expiry fits what it is.
fn is_told(expiry: Expiry, now: Timestamp) {
    let thresholds = [Span::from_days(30), Span::from_days(1), Span::from_secs(0)];
    let advice = Advice { place: Place::CommandLine, contact: None };
    let outlook = expiry::outlook(expiry, &thresholds, now, &advice);
    assert!(outlook.passed.is_none_or(|passed| thresholds.contains(&passed)));
    assert!(outlook.changes_at.is_none_or(|at| at > now), "{outlook:?} at {now}");
    assert!(outlook.judgement.message.len() < 1_000 && !outlook.judgement.message.contains(char::is_control));
}

/// A duration.
pub fn duration(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(span) = text.parse::<Span>() else { return };
    assert!((0..=SPAN_MAX).contains(&span.as_secs()), "{span:?}");
    assert_eq!(span.to_string().parse(), Ok(span), "what is printed reads the same");
    assert_eq!(sum(text), Some(span.as_secs()), "{text}");
    let units: Vec<char> = text.chars().filter(|c| !c.is_ascii_digit()).collect();
    let ordered = "dhms".chars().filter(|unit| units.contains(unit));
    assert!(units.iter().copied().eq(ordered), "{text} has the largest unit first, and each once");
}

/// How many seconds these are, added up otherwise.
fn sum(text: &str) -> Option<i64> {
    let parts = text.split_inclusive(|c: char| !c.is_ascii_digit());
    parts.map(|part| part[..part.len() - 1].parse::<i64>().ok()?.checked_mul(seconds(part)?)).sum()
}

fn seconds(part: &str) -> Option<i64> {
    match part.chars().last()? {
        'd' => Some(86_400),
        'h' => Some(3_600),
        'm' => Some(60),
        's' => Some(1),
        _ => None,
    }
}

/// Any JSON as the object or spec of each kind.
pub fn spec(data: &[u8]) {
    reads_itself::<BitbucketConnection>(data);
    reads_itself::<KmsInstance>(data);
    reads_itself::<ClusterKmsInstance>(data);
    if let Some(raw) = reads_itself::<BitbucketConnectionSpec>(data) {
        connection(&raw);
    }
    if let Some(raw) = reads_itself::<KmsInstanceSpec>(data) {
        instance(raw.host.as_deref(), Login::of(&raw.auth));
    }
    if let Some(raw) = reads_itself::<ClusterKmsInstanceSpec>(data) {
        instance(raw.host.as_deref(), Login::of(&raw.auth));
    }
}

/// What is read and written again reads the same.
fn reads_itself<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(data).ok()?;
    let written = serde_json::to_vec(&read).expect("JSON");
    assert_eq!(serde_json::from_slice::<T>(&written).as_ref().ok(), Some(&read));
    Some(read)
}

fn connection(raw: &BitbucketConnectionSpec) {
    let problem = match validate("payments", raw) {
        Ok(spec) => {
            assert_eq!(instance_ref(raw), Ok(spec.kms_ref.clone()));
            assert_eq!(management(raw), Ok(spec.management));
            assert!((60..=86_400).contains(&spec.interval.as_secs()), "{:?}", spec.interval);
            assert!(spec.warn_before.is_sorted_by(|one, next| one > next), "{:?}", spec.warn_before);
            assert!((1..=64).contains(&spec.name.len()) && !spec.name.contains("--"), "{:?}", spec.name);
            assert!(spec.required.contains(&Scope::read_user()));
            assert!(spec.workspaces.is_empty() || spec.required.contains(&Scope::read_workspace()));
            assert!(spec.contact.is_none_or(|contact| !contact.is_empty() && !contact.contains(char::is_control)));
            assert!(!spec.secret.name.contains('/') && !spec.kms_ref.name.contains('/'), "no way out of a namespace");
            let described = describe(spec.description.as_deref().unwrap_or_default(), &owner("a"), Origin::Created);
            assert!(described.encode_utf16().count() <= KMS_DESCRIPTION_MAX, "{described}");
            return;
        }
        Err(problem) => problem,
    };
    // Also of what can't be acted on it is told how it is deleted.
    let _ = deletion_policy(raw);
    let told = problem.judgement().message;
    match problem {
        SpecProblem::InvalidName(_) => assert!(told.contains("spec.connectionName")),
        SpecProblem::DescriptionTooLong => assert!(told.contains("spec.description")),
        SpecProblem::Invalid { field, .. } => assert!(told.starts_with(field) && field.starts_with("spec")),
    }
}

/// Only to hosts that are allowed, and by one method.
fn instance(host: Option<&str>, login: Option<Login>) {
    let names = vec![Host::parse("app.kms.hanzo.ai").expect("a host")];
    for insecure in [false, true] {
        let allowed = AllowedHosts { names: names.clone(), insecure };
        let Ok(url) = host::check(host, &allowed) else { continue };
        assert_eq!(url.host().map(|host| host.to_owned()), names.first().cloned());
        assert!(url.scheme() == "https" || insecure && url.scheme() == "http", "{url}");
        assert!(url.path() == "/" && url.query().is_none() && url.username().is_empty(), "{url}");
        assert_eq!(host::check(Some(&host::display(&url)), &allowed), Ok(url), "what is shown leads to the same");
    }
    if let Some(login) = login {
        assert!(login.secret().is_none() || login.method.field() != "kubernetes");
    }
}

/// A description in the KMS.
pub fn description_mark(data: &[u8]) {
    let description = String::from_utf8_lossy(data);
    let (ours, theirs) = (owner("a"), owner("b"));
    let plain = without_mark(&description);
    assert_eq!(ownership(plain, &ours), Ownership::Unmarked, "what a mark uncovers is no mark");
    assert_eq!(text::trim(plain), plain);

    match (owner_named_in(&description), origin_of(&description)) {
        (Some(digits), Some(origin)) => {
            let letter = match origin {
                Origin::Created => 'c',
                Origin::Adopted => 'a',
            };
            let mark = format!("[k8s:{digits}:{letter}]");
            assert!(text::trim(&description).ends_with(&mark), "{mark} ends {description:?}");
            assert!(digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{digits}");
            assert_ne!(ownership(&description, &ours), Ownership::Unmarked);
        }
        (None, None) => assert_eq!(ownership(&description, &ours), Ownership::Unmarked),
        half => unreachable!("half a mark: {half:?}"),
    }

    for origin in [Origin::Created, Origin::Adopted] {
        let described = describe(&description, &ours, origin);
        assert_eq!(ownership(&described, &ours), Ownership::Ours(origin));
        assert_eq!(ownership(&described, &theirs), Ownership::Another);
        assert!(described.ends_with(&ours.mark(origin)), "a mark that was read prints the same");
        assert_eq!(without_mark(&described), plain);
        assert_eq!(describe(&described, &ours, origin), described, "once is enough");
        assert_eq!(text::trim(&described), described, "the KMS trims: it would look like drift for ever");
        let long = text::trim(&description).encode_utf16().count() > DESCRIPTION_MAX;
        assert!(long || described.encode_utf16().count() <= KMS_DESCRIPTION_MAX, "{described}");
    }
}

fn owner(name: &str) -> Owner {
    Owner::of(&OwnerId::new("3c1f").expect("a good id"), "team-a", name)
}

#[cfg(test)]
mod tests {
    use crate::corpus::holds;

    #[test]
    fn every_scope_header_is_read() {
        holds("scope_header", super::scope_header);
    }

    #[test]
    fn every_date_is_read_or_told() {
        holds("expiry_date", super::expiry_date);
    }

    #[test]
    fn every_duration_is_read_or_refused() {
        holds("duration", super::duration);
    }

    #[test]
    fn every_spec_is_validated_or_refused() {
        holds("spec", super::spec);
    }

    #[test]
    fn every_description_has_one_owner_at_most() {
        holds("description_mark", super::description_mark);
    }
}
