//! `check`: what the operator would say of a token, before anybody commits it.
//!
//! The rules, the client and the words are the operator's own. `token` reads the token · `report` says what it is worth ·
//! `text` shows that to a person.

mod report;
mod text;
mod token;

use std::{collections::BTreeSet, process::ExitCode, sync::Arc};

use clap::{
    Args,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};
use jiff::Timestamp;
use url::Url;

use super::{
    output, parse,
    screen::{Format, Screen},
};
use crate::{
    bitbucket::{Accounts, BadBaseUrl, Bitbucket},
    domain::{
        credential::{CredentialProblem, Credentials},
        limit::Priority,
        scopes::{Scope, UseCase},
        verdict::Verdict,
        workspaces,
    },
    http::{self, NoClient},
};
use report::{Found, Question, Report};

/// Exit code for a wrong command line, EX_USAGE of sysexits.h: the usual 2 has another meaning here.
pub(super) const USAGE: u8 = 64;

/// What `check` takes. The token is not among it: whatever is on a command line can be seen in lists of processes.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Exit codes:
  0   fine: the operator would use this token (warnings don't count, unless --strict is given)
  1   findings: it lacks a scope or a workspace, or its declared end is wrong
  2   rejected: Bitbucket refuses it, or e-mail and token can't be credentials at all
  3   could not tell: an outage, a limit, scopes that are not reported; try again later
  64  the command line is wrong, or there is no token (EX_USAGE, since 2 is taken)

Examples:
  The token of a Secret, for one use case:
    kubectl get secret bitbucket-token -o jsonpath='{.data.token}' | base64 -d |
      bitbucket-connection-operator check --email bot@example.com --use-case SecretScanning

  A token in a file, with all that can be asked:
    bitbucket-connection-operator check --email bot@example.com --use-case SecretSync,CodeReview \\
      --workspace hanzo-payments --expires-at 2027-03-01 < token.txt

  A step of CI that fails on warnings too (no list of processes shows what printf prints):
    printf %s \"$TOKEN\" |
      bitbucket-connection-operator check --strict --email \"$EMAIL\" --use-case SecretScanning")]
pub struct CheckOptions {
    /// E-mail address of the Atlassian account that made the token
    ///
    /// Its owner logs in with it at id.atlassian.com. It is not the user name.
    #[arg(long, value_name = "EMAIL", help_heading = "The token, which is read from standard input")]
    email: String,

    /// When the token ends, as id.atlassian.com shows it: a date, or an RFC 3339 time
    ///
    /// No call lets a token read its own end. Left out, all that is known is Atlassian's limit of a year.
    #[arg(
        long,
        value_name = "DATE",
        value_parser = parse::expiry,
        help_heading = "The token, which is read from standard input"
    )]
    expires_at: Option<Timestamp>,

    /// What the token is for, separated by commas; its scopes are compared with what that needs
    ///
    /// As spec.scopes.useCases. Where neither this nor --scope is given, nothing is compared, and the use cases for which
    /// the token has all scopes are listed.
    #[arg(
        long = "use-case",
        value_name = "USE_CASES",
        value_delimiter = ',',
        ignore_case = true,
        value_parser = parse::use_case(),
        help_heading = "What is wanted of it"
    )]
    use_cases: Vec<UseCase>,

    /// More scopes that it needs, by their full names, separated by commas; as spec.scopes.additional
    #[arg(
        long = "scope",
        value_name = "SCOPES",
        value_delimiter = ',',
        value_parser = parse::scope,
        help_heading = "What is wanted of it"
    )]
    scopes: Vec<Scope>,

    /// Workspaces that it must reach, by their slugs, separated by commas; as spec.workspaces
    #[arg(
        long = "workspace",
        value_name = "SLUGS",
        value_delimiter = ',',
        value_parser = parse::workspace,
        help_heading = "What is wanted of it"
    )]
    workspaces: Vec<String>,

    /// Take warnings for findings: scopes that nothing needs, an end in less than 30 days, another kind of token
    #[arg(long, help_heading = "What is wanted of it")]
    strict: bool,

    /// Address of the Bitbucket API, path included
    ///
    /// https; http only to a loopback address.
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://api.bitbucket.org/2.0",
        value_parser = parse::bitbucket_url,
        help_heading = "Server and output"
    )]
    bitbucket_url: Url,

    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_enum, help_heading = "Server and output")]
    output: Format,
}

/// Takes out of a refusal whatever may be a token: somebody put it where it doesn't belong, and standard error is often
/// kept for long.
pub(super) fn hide_the_token(mut error: clap::Error) -> clap::Error {
    let given = [ContextKind::InvalidArg, ContextKind::InvalidValue];
    for kind in given {
        let Some(ContextValue::String(text)) = error.get(kind) else { continue };
        let word = !text.starts_with('-') && !text.starts_with('<');
        let hidden = if error.kind() == ErrorKind::UnknownArgument && word {
            HIDDEN.to_owned()
        } else {
            http::server_text(text, &[])
        };
        error.insert(kind, ContextValue::String(hidden));
    }
    let about_token = matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(arg))
        if arg == HIDDEN || arg.starts_with("--token"));
    if about_token {
        let tip = "the token is read from standard input, so that no list of processes shows it: … check … < token.txt";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
        error.remove(ContextKind::SuggestedArg);
    }
    error
}

/// Stands where a word was that may be a token.
const HIDDEN: &str = "…";

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no token.
    #[error(transparent)]
    Token(#[from] token::NoToken),
    /// The runtime can't start.
    #[error("can't start the runtime ({0}): raise the limits on threads and open files of this process")]
    Runtime(std::io::Error),
    /// No TLS connection can be made.
    #[error(transparent)]
    Client(#[from] NoClient),
    /// The address can't be one of Bitbucket.
    #[error("{0}; correct --bitbucket-url")]
    Address(#[from] BadBaseUrl),
    /// The result can't be printed.
    #[error(transparent)]
    Output(Box<super::Error>),
}

impl Error {
    /// Nothing is known about a token that wasn't checked.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Token(_) | Self::Address(_) => ExitCode::from(USAGE),
            Self::Runtime(_) | Self::Client(_) | Self::Output(_) => report::Outcome::CouldNotTell.exit_code().into(),
        }
    }
}

/// Checks a token, and prints what there is to say.
pub(super) fn check(options: CheckOptions) -> Result<ExitCode, Error> {
    let token = token::read()?;
    let found = match Credentials::parse(&options.email, &token) {
        Err(CredentialProblem::TokenEmpty) => return Err(token::NoToken::Empty.into()),
        Err(problem) => Found::Impossible(problem),
        Ok(credentials) => {
            // One check needs no limit of its own.
            let accounts = Accounts::new(None, Arc::new(|| {}));
            let url = options.bitbucket_url.as_str();
            let bitbucket = Bitbucket::new(url, http::client()?, accounts, Arc::new(|_, _, _| {}))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
            Found::Asked(runtime.block_on(ask(&bitbucket, &credentials)))
        }
    };
    let question = Question {
        use_cases: options.use_cases.into_iter().collect(),
        scopes: options.scopes.into_iter().collect(),
        workspaces: options.workspaces.into_iter().collect(),
        expires_at: options.expires_at,
        strict: options.strict,
    };
    let report = Report::of(&question, &found, Timestamp::now());
    let shown = match options.output {
        Format::Json => output::json(&report),
        Format::Text => text::text(&report, &question, Screen::stdout()),
    };
    output::print(&shown).map_err(|error| Error::Output(Box::new(error)))?;
    Ok(report.outcome.exit_code().into())
}

/// Who the token is, what it may do, and, if it may tell, which workspaces it reaches.
async fn ask(bitbucket: &Bitbucket, credentials: &Credentials) -> Verdict {
    let mut verdict = bitbucket.verify(credentials, Priority::AtOnce).await;
    if let Verdict::Accepted(accepted) = &mut verdict
        && workspaces::may_be_asked(accepted)
    {
        accepted.reach = bitbucket.workspaces(credentials, Priority::AtOnce).await;
    }
    verdict
}

/// What names are made of here.
type Names = BTreeSet<String>;
