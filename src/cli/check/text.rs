//! The report as a person reads it.

use super::{
    Names,
    report::{EndSource, Level, Outcome, Question, Report, ScopeLine, ScopeStatus},
};
use crate::{
    cli::{
        name,
        screen::{Cell, Screen, Tone, header, plain},
    },
    domain::{expiry, verdict::Account},
};

/// Most workspaces that are named; `-o json` names all.
const NAMED_MAX: usize = 10;

/// The whole output.
pub(super) fn text(report: &Report, question: &Question, screen: Screen) -> String {
    let mut parts = Vec::new();
    if report.accepted {
        parts.push(screen.table(facts(report, question)));
    }
    if report.suffices_for.is_some() {
        let rows = [header(["SCOPE", "STATUS", "WHAT IT BUYS"])];
        parts.push(screen.table(rows.into_iter().chain(report.scopes.iter().map(scope))));
    }
    let message = |message: &super::report::Said| {
        let (sign, tone) = sign(message.level);
        vec![(sign.to_owned(), tone), plain(format!("{}: {}", message.reason, message.message))]
    };
    parts.push(screen.table(report.messages.iter().map(message)));
    if let Some(hint) = hint(report, question) {
        parts.push(screen.text(hint, Tone::Plain));
    }
    let (verdict, tone) = verdict(report, question);
    parts.push(screen.text(verdict, tone));
    parts.join("\n")
}

fn facts(report: &Report, question: &Question) -> Vec<Vec<Cell>> {
    let fact = |name: &str, value: String| vec![(name.to_owned(), Tone::Strong), plain(value)];
    let mut facts = Vec::new();
    if let Some(account) = &report.account {
        let account = Account {
            uuid: account.uuid.clone(),
            username: account.username.clone(),
            display_name: account.display_name.clone(),
        };
        facts.push(fact("Account", account.named().unwrap_or_else(|| "(without a name)".to_owned())));
    }
    facts.push(fact("Ends", ends(report)));
    if let Some(workspaces) = &report.workspaces {
        let reached = format!("reached: {}", named(&workspaces.reached));
        facts.push(fact("Workspaces", reached));
        if !workspaces.missing.is_empty() {
            facts.push(fact("", format!("missing: {}", named(&workspaces.missing))));
        }
    }
    if let Some(cases) = report.suffices_for.as_ref().filter(|_| !question.compares()) {
        let cases = if cases.is_empty() { "no use case".to_owned() } else { cases.join(", ") };
        facts.push(fact("Suffices for", cases));
    }
    facts
}

/// Such as "on 2027-03-01, in 99 days (--expires-at)".
fn ends(report: &Report) -> String {
    let end = &report.expiry;
    let days = match end.days_left {
        ..=-1 => "which is past".to_owned(),
        0 => "within a day".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    };
    let day = expiry::day(end.at);
    match end.source {
        EndSource::Declared => format!("on {day}, {days} (--expires-at)"),
        EndSource::Inferred => format!("by {day} at the latest (Atlassian's limit of a year)"),
    }
}

fn named(slugs: &Names) -> String {
    let named: Vec<_> = slugs.iter().take(NAMED_MAX).map(String::as_str).collect();
    match slugs.len() {
        0 => "none".to_owned(),
        all if all > NAMED_MAX => format!("{} and {} more", named.join(", "), all - NAMED_MAX),
        _ => named.join(", "),
    }
}

fn scope(line: &ScopeLine) -> Vec<Cell> {
    let (status, tone, before) = match line.status {
        ScopeStatus::Granted => ("granted", Tone::Good, ""),
        ScopeStatus::Missing => ("missing", Tone::Bad, "without it nobody can "),
        ScopeStatus::Excess => ("excess", Tone::Warning, ""),
        ScopeStatus::Unknown => ("unknown", Tone::Warning, ""),
    };
    let what = line.buys.map_or_else(|| "–".to_owned(), |buys| format!("{before}{buys}"));
    vec![plain(line.scope.as_str()), (status.to_owned(), tone), plain(what)]
}

fn sign(level: Level) -> (&'static str, Tone) {
    match level {
        Level::Good => ("✓", Tone::Good),
        Level::Warning => ("!", Tone::Warning),
        Level::Finding => ("✗", Tone::Bad),
        Level::Unknown => ("?", Tone::Warning),
    }
}

/// How to get the list of scopes for a new token, where one has to be made.
fn hint(report: &Report, question: &Question) -> Option<String> {
    if !report.new_token || question.use_cases.is_empty() {
        return None;
    }
    let cases: Vec<_> = question.use_cases.iter().map(|case| case.as_str()).collect();
    Some(format!("What to tick for a new token: {} scopes --use-case {}", name::called(), cases.join(",")))
}

fn verdict(report: &Report, question: &Question) -> (String, Tone) {
    let warnings = match report.count(Level::Warning) {
        0 => String::new(),
        1 => ", with a warning".to_owned(),
        several => format!(", with {several} warnings"),
    };
    let would = if question.compares() {
        "the operator would use this token"
    } else {
        "Bitbucket accepts this token; say what it is for (--use-case) to have its scopes compared"
    };
    match report.outcome {
        Outcome::Fine if warnings.is_empty() => (format!("Fine: {would}."), Tone::Good),
        Outcome::Fine => (format!("Fine{warnings}: {would}."), Tone::Warning),
        Outcome::Findings => {
            (format!("Findings{warnings}: correct what is marked ✗ before this token is committed."), Tone::Bad)
        }
        Outcome::Rejected => ("Rejected: this e-mail and this token can't be used.".to_owned(), Tone::Bad),
        Outcome::CouldNotTell => {
            ("Could not tell: nothing is known against this token; check it again.".to_owned(), Tone::Warning)
        }
    }
}
