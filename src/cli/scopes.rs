//! `scopes`: what to tick in Atlassian's dialog, and why.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;

use super::{
    Error, output, parse,
    screen::{Format, Screen, Tone, header, plain},
};
use crate::domain::scopes::{self, Scope, UseCase};

/// What `scopes` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
        bitbucket-connection-operator scopes\n  \
        bitbucket-connection-operator scopes --use-case SecretScanning\n  \
        bitbucket-connection-operator scopes --use-case SecretScanning -o json | jq '.scopes[].scope'")]
pub struct ScopesOptions {
    /// What the token is for, separated by commas; all if left out
    #[arg(
        long = "use-case",
        value_name = "USE_CASES",
        value_delimiter = ',',
        ignore_case = true,
        value_parser = parse::use_case()
    )]
    use_cases: Vec<UseCase>,

    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_enum)]
    output: Format,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    use_cases: Vec<Case>,
    scopes: Vec<Tick>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: &'static str,
    purpose: &'static str,
    scopes: Vec<Scope>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tick {
    scope: Scope,
    buys: Option<&'static str>,
    needed_by: Vec<&'static str>,
}

/// Prints the scopes of some use cases, or of all.
pub(super) fn scopes(options: &ScopesOptions) -> Result<(), Error> {
    let chosen: BTreeSet<UseCase> = options.use_cases.iter().copied().collect();
    let all = chosen.is_empty();
    let cases: Vec<UseCase> = if all { UseCase::ALL.to_vec() } else { chosen.into_iter().collect() };
    let listing = Listing::of(&cases);
    output::print(&match options.output {
        Format::Json => output::json(&listing),
        Format::Text => text(&listing, all, Screen::stdout()),
    })
}

impl Listing {
    fn of(cases: &[UseCase]) -> Self {
        let case = |case: &UseCase| Case {
            name: case.as_str(),
            purpose: case.purpose(),
            scopes: case.scopes().into_iter().collect(),
        };
        let needed = |scope: Scope| Tick {
            buys: scope.buys(),
            needed_by: cases.iter().filter(|case| case.scopes().contains(&scope)).map(|case| case.as_str()).collect(),
            scope,
        };
        Self {
            use_cases: cases.iter().map(case).collect(),
            scopes: scopes::required(cases, &[]).into_iter().map(needed).collect(),
        }
    }
}

fn text(listing: &Listing, all: bool, screen: Screen) -> String {
    let mut out = String::new();
    let several = listing.use_cases.len() > 1;
    if several {
        let case = |case: &Case| vec![plain(case.name), plain(case.scopes.len().to_string()), plain(case.purpose)];
        let rows = [header(["USE CASE", "SCOPES", "WHAT FOR"])].into_iter().chain(listing.use_cases.iter().map(case));
        out += &screen.table(rows);
        out.push('\n');
    }
    if several {
        let row =
            |it: &Tick| vec![plain(it.scope.as_str()), plain(it.needed_by.join(", ")), plain(it.buys.unwrap_or("–"))];
        let rows = [header(["SCOPE", "NEEDED BY", "WHAT IT BUYS"])];
        out += &screen.table(rows.into_iter().chain(listing.scopes.iter().map(row)));
    } else {
        let row = |it: &Tick| vec![plain(it.scope.as_str()), plain(it.buys.unwrap_or("–"))];
        let rows = [header(["SCOPE", "WHAT IT BUYS"])];
        out += &screen.table(rows.into_iter().chain(listing.scopes.iter().map(row)));
    }
    out.push('\n');
    let next = if all {
        "A token needs the scopes of its use cases, and no others: list those alone with --use-case. "
    } else {
        "Tick exactly these at id.atlassian.com: Security, API tokens, Create API token with scopes, app Bitbucket. "
    };
    let rules = "Scopes include nothing: write does not include read. They can't be changed later.";
    out + &screen.text(format!("{next}{rules}"), Tone::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_what_is_required() {
        for cases in [&[UseCase::SecretScanning][..], &[UseCase::SecretSync, UseCase::CodeReview], &UseCase::ALL] {
            let listing = Listing::of(cases);
            let listed: BTreeSet<_> = listing.scopes.iter().map(|needed| needed.scope.clone()).collect();
            assert_eq!(listed, scopes::required(cases, &[]));
            assert!(listing.scopes.iter().all(|needed| !needed.needed_by.is_empty() && needed.buys.is_some()));
        }
    }
}
