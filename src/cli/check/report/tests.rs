use super::*;
use crate::domain::verdict::{NoVerdict, Refusal};

const SCANNING: &str = "read:workspace, read:user, read:webhook, write:webhook, delete:webhook, read:repository";

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

fn scanning() -> Question {
    Question { use_cases: [UseCase::SecretScanning].into(), ..Question::default() }
}

fn strictly(question: Question) -> Question {
    Question { strict: true, ..question }
}

fn reaching(slug: &str) -> Question {
    Question { workspaces: [slug.to_owned()].into(), ..scanning() }
}

fn ending(date: &str) -> Question {
    Question { expires_at: Some(expiry::parse(date).expect("a date")), ..scanning() }
}

fn with(granted: &str) -> Accepted {
    let reach = Reach::Known(["hanzo".to_owned()].into());
    Accepted { granted: Some(scopes_of(granted)), reach, ..Accepted::default() }
}

fn scopes_of(granted: &str) -> BTreeSet<Scope> {
    crate::domain::scopes::parse_header(granted)
}

fn accepted(granted: &str) -> Found {
    Found::Asked(Verdict::Accepted(with(granted)))
}

fn foreign() -> Found {
    let kind = Some("repo_access_token".to_owned());
    Found::Asked(Verdict::Accepted(Accepted { foreign_credential_type: kind, ..with(SCANNING) }))
}

fn unreached() -> Found {
    let reach = Reach::Unknown(NoVerdict::Forbidden);
    Found::Asked(Verdict::Accepted(Accepted { reach, ..with(SCANNING) }))
}

fn unsaid() -> Found {
    Found::Asked(Verdict::Accepted(Accepted::default()))
}

fn refused() -> Found {
    Found::Asked(Verdict::Refused(Refusal::Dead))
}

fn unknown() -> Found {
    Found::Asked(Verdict::Unknown(NoVerdict::Forbidden))
}

#[test]
fn what_was_found_decides_the_exit_code() {
    let more = format!("{SCANNING}, read:issue");
    let table = [
        ("all that is needed", scanning(), accepted(SCANNING), 0),
        ("nothing wanted", Question::default(), accepted(SCANNING), 0),
        ("nothing wanted, and not even a name", Question::default(), accepted("read:issue"), 1),
        ("a scope is missing", scanning(), accepted("read:user, read:repository"), 1),
        ("one too many", scanning(), accepted(&more), 0),
        ("one too many, strictly", strictly(scanning()), accepted(&more), 1),
        ("one too many where nothing is wanted, strictly", strictly(Question::default()), accepted(&more), 0),
        ("within reach", reaching("hanzo"), accepted(SCANNING), 0),
        ("out of reach", reaching("other"), accepted(SCANNING), 1),
        ("nobody knows the reach, which matters", reaching("hanzo"), unreached(), 3),
        ("nobody knows the reach, which doesn't matter", scanning(), unreached(), 0),
        ("scopes that nobody reports", scanning(), unsaid(), 3),
        ("scopes that nobody reports, and nobody wants", Question::default(), unsaid(), 3),
        ("a kind that is no API token", scanning(), foreign(), 0),
        ("a kind that is no API token, strictly", strictly(scanning()), foreign(), 1),
        ("a good while", ending("2027-03-01"), accepted(SCANNING), 0),
        ("ends soon", ending("2026-12-01"), accepted(SCANNING), 0),
        ("ends soon, strictly", strictly(ending("2026-12-01")), accepted(SCANNING), 1),
        ("declared to have ended, and works", ending("2026-11-01"), accepted(SCANNING), 1),
        ("longer than any token", ending("2030-01-01"), accepted(SCANNING), 1),
        ("a wrong date outweighs what is not told", ending("2030-01-01"), unsaid(), 1),
        ("refused", scanning(), refused(), 2),
        ("refused, with a wrong date", ending("2030-01-01"), refused(), 2),
        ("no credentials", scanning(), Found::Impossible(CredentialProblem::NotAnEmail), 2),
        ("no answer", scanning(), unknown(), 3),
        ("no answer, strictly", strictly(scanning()), unknown(), 3),
        ("no answer, with a wrong date", ending("2030-01-01"), unknown(), 3),
    ];
    for (what, question, found, code) in table {
        let report = Report::of(&question, &found, now());
        assert_eq!((report.exit_code, report.outcome.exit_code()), (code, code), "{what}: {:#?}", report.messages);
    }
}

#[test]
fn reasons_are_the_operators() {
    use Level::*;
    let reasons = |question: &Question, found: &Found| -> Vec<_> {
        Report::of(question, found, now()).messages.iter().map(|said| (said.level, said.reason)).collect()
    };
    let table = [
        (scanning(), accepted(SCANNING), vec![(Good, "Authenticated"), (Good, "AllGranted"), (Good, "OutsideWindow")]),
        (Question::default(), accepted(SCANNING), vec![(Good, "Authenticated"), (Good, "OutsideWindow")]),
        (
            strictly(ending("2026-12-01")),
            accepted(&format!("{SCANNING}, read:issue")),
            vec![(Good, "Authenticated"), (Finding, "ScopesExcess"), (Finding, "WarningWindow")],
        ),
        (
            ending("2030-01-01"),
            accepted("read:user"),
            vec![(Good, "Authenticated"), (Finding, "ScopesMissing"), (Finding, "ExpiryImplausible")],
        ),
        (ending("2026-11-01"), refused(), vec![(Finding, "TokenExpired")]),
        (ending("2027-03-01"), unknown(), vec![(Unknown, "BitbucketForbidden"), (Good, "OutsideWindow")]),
        (scanning(), unknown(), vec![(Unknown, "BitbucketForbidden")]),
    ];
    for (question, found, expected) in table {
        assert_eq!(reasons(&question, &found), expected);
    }
}

#[test]
fn every_scope_that_is_there_or_needed_has_a_line() {
    use ScopeStatus::*;
    let question = Question { scopes: [Scope::parse("read:issue").expect("a scope")].into(), ..reaching("hanzo") };
    let report = Report::of(&question, &accepted("read:user, read:workspace, read:repository, read:wiki"), now());
    let lines: Vec<_> =
        report.scopes.iter().map(|line| (line.scope.as_str(), line.status, line.needed_by.join(" "))).collect();
    let expected = [
        ("delete:webhook:bitbucket", Missing, "SecretScanning"),
        ("read:issue:bitbucket", Missing, "--scope"),
        ("read:webhook:bitbucket", Missing, "SecretScanning"),
        ("write:webhook:bitbucket", Missing, "SecretScanning"),
        ("read:repository:bitbucket", Granted, "SecretScanning"),
        ("read:user:bitbucket", Granted, "SecretScanning"),
        ("read:workspace:bitbucket", Granted, "SecretScanning --workspace"),
        ("read:wiki:bitbucket", Excess, ""),
    ];
    assert_eq!(lines, expected.map(|(scope, status, by)| (scope, status, by.to_owned())));
}

#[test]
fn days_are_counted_whole() {
    for (date, days) in [
        ("2026-11-22T12:00:00Z", 0),
        ("2026-11-23T11:59:59Z", 0),
        ("2026-11-23T12:00:00Z", 1),
        ("2026-11-22T11:59:59Z", -1),
        ("2027-03-01", 98),
    ] {
        assert_eq!(Report::of(&ending(date), &accepted(SCANNING), now()).expiry.days_left, days, "{date}");
    }
}
