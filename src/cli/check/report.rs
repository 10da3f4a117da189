//! What a token is worth, by the operator's own rules: pure, from what was asked for and what was found.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::Names;
use crate::{
    api::AccountStatus,
    domain::{
        conditions::{Judgement, Reason, Status},
        credential::CredentialProblem,
        duration::Span,
        events::EventReason,
        expiry::{self, Advice, Expiry, ExpirySource},
        place::Place,
        scopes::{Scope, UseCase},
        spec::{DEFAULT_WARN_BEFORE, Policy},
        token::{self, Demands},
        verdict::{Accepted, Reach, Verdict},
    },
};

/// Seconds of a day.
const DAY: i64 = Span::from_days(1).as_secs();

/// What is wanted of the token.
#[derive(Debug, Default)]
pub(super) struct Question {
    pub use_cases: BTreeSet<UseCase>,
    pub scopes: BTreeSet<Scope>,
    pub workspaces: Names,
    pub expires_at: Option<Timestamp>,
    pub strict: bool,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// The values can't be credentials; nobody was asked.
    Impossible(CredentialProblem),
    /// Bitbucket's answer.
    Asked(Verdict),
}

/// What `-o json` prints; docs/check.md describes it. Without any secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The result in a word.
    pub outcome: Outcome,
    /// What the process exits with.
    pub exit_code: u8,
    /// Whether Bitbucket takes it.
    pub accepted: bool,
    /// Whose token it is, where Bitbucket says so.
    pub account: Option<AccountStatus>,
    /// All scopes that it has or needs.
    pub scopes: Vec<ScopeLine>,
    /// The use cases for which it has all scopes; none where its scopes are unknown.
    pub suffices_for: Option<Vec<&'static str>>,
    /// Which workspaces it reaches, where that is known.
    pub workspaces: Option<Workspaces>,
    /// When it ends.
    pub expiry: End,
    /// What there is to say, in sentences.
    pub messages: Vec<Said>,
    /// Whether a new token has to be made: not where another e-mail address, or the whole token, is all that is wanted.
    #[serde(skip)]
    pub new_token: bool,
}

/// The result in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Outcome {
    /// The operator would use it.
    Fine,
    /// Something is to be corrected first.
    Findings,
    /// It can't be used at all.
    Rejected,
    /// Nothing is known.
    CouldNotTell,
}

impl Outcome {
    /// What the process exits with.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Findings => 1,
            Self::Rejected => 2,
            Self::CouldNotTell => 3,
        }
    }
}

/// A scope that the token has or needs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScopeLine {
    pub scope: Scope,
    pub status: ScopeStatus,
    /// What it lets one do, as far as that is known.
    pub buys: Option<&'static str>,
    /// Use cases, and flags.
    pub needed_by: Vec<&'static str>,
}

/// How a scope that the token has compares with those that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum ScopeStatus {
    /// Needed, and not there.
    Missing,
    /// There, and needed; or there, and nobody said what is needed.
    Granted,
    /// There, and not needed.
    Excess,
    /// Needed; Bitbucket did not say whether it is there.
    Unknown,
}

/// Which workspaces the token reaches.
#[derive(Debug, Serialize)]
pub(super) struct Workspaces {
    pub reached: Names,
    pub missing: Names,
}

/// When the token ends.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct End {
    pub at: Timestamp,
    /// Whole days from now; negative when it is past.
    pub days_left: i64,
    pub source: EndSource,
}

/// Where the end is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum EndSource {
    /// `--expires-at`.
    Declared,
    /// Atlassian's limit of a year: the latest that it can be.
    Inferred,
}

/// A sentence or more.
#[derive(Debug, Serialize)]
pub(super) struct Said {
    pub level: Level,
    /// The word by which the operator calls it, in conditions and events.
    pub reason: &'static str,
    pub message: String,
}

/// What a message means for the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Level {
    /// Nothing is to be done.
    Good,
    /// Something to think about.
    Warning,
    /// Something to correct.
    Finding,
    /// Something that nobody could tell.
    Unknown,
}

impl Report {
    /// Judges what was found.
    pub fn of(question: &Question, found: &Found, now: Timestamp) -> Self {
        let declared = question.expires_at;
        let expiry = declared.map_or_else(
            || expiry::determine(expiry::Declared::default(), now),
            |at| Expiry::At(at, ExpirySource::Secret),
        );
        let accepted = match found {
            Found::Asked(Verdict::Accepted(accepted)) => Some(accepted),
            Found::Asked(Verdict::Refused(_) | Verdict::Unknown(_)) | Found::Impossible(_) => None,
        };
        let messages = question.messages(found, accepted, expiry, now);
        let outcome = outcome(found, &messages);
        let granted = accepted.and_then(|accepted| accepted.granted.as_ref());
        let at = expiry.time().unwrap_or(now);
        let lines = question.scope_lines(granted);
        let new_token = match found {
            Found::Impossible(_) | Found::Asked(Verdict::Unknown(_)) => false,
            Found::Asked(Verdict::Refused(refusal)) => !refusal.is_about_email(),
            Found::Asked(Verdict::Accepted(_)) => lines.iter().any(|line| line.status == ScopeStatus::Missing),
        };
        Self {
            outcome,
            exit_code: outcome.exit_code(),
            accepted: accepted.is_some(),
            account: accepted.and_then(|accepted| accepted.account.as_ref()).map(|account| AccountStatus {
                uuid: account.uuid.clone(),
                username: account.username.clone(),
                display_name: account.display_name.clone(),
            }),
            scopes: lines,
            suffices_for: granted.map(|granted| {
                UseCase::ALL.iter().filter(|case| case.scopes().is_subset(granted)).map(|case| case.as_str()).collect()
            }),
            workspaces: accepted.and_then(|accepted| match &accepted.reach {
                Reach::Known(reached) => Some(Workspaces {
                    reached: reached.clone(),
                    missing: question.workspaces.difference(reached).cloned().collect(),
                }),
                Reach::NotAsked | Reach::Unknown(_) => None,
            }),
            expiry: End {
                at,
                days_left: at.duration_since(now).as_secs().div_euclid(DAY),
                source: if declared.is_some() { EndSource::Declared } else { EndSource::Inferred },
            },
            new_token,
            messages,
        }
    }

    /// How many messages are of this level.
    pub fn count(&self, level: Level) -> usize {
        self.messages.iter().filter(|message| message.level == level).count()
    }
}

impl Question {
    /// Whether anybody said what the token is for.
    pub fn compares(&self) -> bool {
        !self.use_cases.is_empty() || !self.scopes.is_empty()
    }

    /// The scopes that it needs, and what for.
    fn required(&self) -> BTreeMap<Scope, Vec<&'static str>> {
        let mut required: BTreeMap<Scope, Vec<&'static str>> = BTreeMap::new();
        for case in &self.use_cases {
            case.scopes().into_iter().for_each(|scope| required.entry(scope).or_default().push(case.as_str()));
        }
        self.scopes.iter().for_each(|scope| required.entry(scope.clone()).or_default().push("--scope"));
        if !self.workspaces.is_empty() {
            required.entry(Scope::read_workspace()).or_default().push("--workspace");
        }
        // Whatever it is for.
        required.entry(Scope::read_user()).or_default();
        required
    }

    fn scope_lines(&self, granted: Option<&BTreeSet<Scope>>) -> Vec<ScopeLine> {
        let required = self.required();
        let all: BTreeSet<&Scope> = required.keys().chain(granted.into_iter().flatten()).collect();
        let status = |scope: &Scope| match granted {
            None => ScopeStatus::Unknown,
            Some(granted) if !granted.contains(scope) => ScopeStatus::Missing,
            Some(_) if required.contains_key(scope) || !self.compares() => ScopeStatus::Granted,
            Some(_) => ScopeStatus::Excess,
        };
        let line = |scope: &Scope| ScopeLine {
            scope: scope.clone(),
            status: status(scope),
            buys: scope.buys(),
            needed_by: required.get(scope).cloned().unwrap_or_default(),
        };
        let mut lines: Vec<_> = all.into_iter().map(line).collect();
        lines.sort_by_key(|line| line.status);
        lines
    }

    fn messages(&self, found: &Found, accepted: Option<&Accepted>, expiry: Expiry, now: Timestamp) -> Vec<Said> {
        let place = Place::CommandLine;
        let credentials = match found {
            Found::Impossible(problem) => token::invalid(*problem, place),
            Found::Asked(verdict) => token::validity(verdict, place, expiry.declared_and_passed(now)),
        };
        let foreign = accepted.is_some_and(|accepted| accepted.foreign_credential_type.is_some());
        let warned = if foreign { Some(Level::Warning) } else { None };
        let mut messages = vec![self.message(credentials, warned)];
        messages.extend(accepted.and_then(|accepted| self.sufficiency(accepted)).map(|said| self.message(said, None)));
        // Of a token that can't be used it doesn't matter when it ends; of one that nobody knows only what people say.
        let refused = matches!(found, Found::Impossible(_) | Found::Asked(Verdict::Refused(_)));
        if accepted.is_some() || (!refused && self.expires_at.is_some()) {
            messages.push(self.end(expiry, now));
        }
        messages
    }

    /// What is said of its scopes and workspaces; nothing where nobody wants any, and it has what everybody needs.
    fn sufficiency(&self, accepted: &Accepted) -> Option<Judgement> {
        let mut required: BTreeSet<Scope> = self.required().into_keys().collect();
        let compares = self.compares();
        if !compares {
            required.extend(accepted.granted.iter().flatten().cloned());
        }
        let demands = Demands {
            required: &required,
            workspaces: &self.workspaces,
            on_missing: Policy::Block,
            on_excess: if self.strict { Policy::Block } else { Policy::Warn },
            place: Place::CommandLine,
        };
        let judgement = token::sufficiency(accepted, &demands);
        (compares || judgement.reason != Reason::AllGranted).then_some(judgement)
    }

    fn end(&self, expiry: Expiry, now: Timestamp) -> Said {
        if let Some(at) = expiry.time().filter(|_| expiry.implausible(now)) {
            let reason = EventReason::ExpiryImplausible.as_str();
            return Said { level: Level::Finding, reason, message: expiry::implausible(at) };
        }
        let advice = Advice { place: Place::CommandLine, contact: None };
        self.message(expiry::outlook(expiry, &DEFAULT_WARN_BEFORE, now, &advice).judgement, None)
    }

    /// A judgement as a message, of the level of its reason or of that one.
    fn message(&self, Judgement { reason, message }: Judgement, level: Option<Level>) -> Said {
        let level = match level.unwrap_or_else(|| level_of(reason)) {
            Level::Warning if self.strict => Level::Finding,
            level => level,
        };
        Said { level, reason: reason.as_str(), message }
    }
}

/// What a reason means for who checks a token.
fn level_of(reason: Reason) -> Level {
    match (reason, reason.status()) {
        // Abnormal when they are true.
        (Reason::WarningWindow, _) => Level::Warning,
        (Reason::Expired, _) => Level::Finding,
        (Reason::OutsideWindow, _) => Level::Good,
        (Reason::WarnOnly, _) => Level::Warning,
        (_, Status::True) => Level::Good,
        (_, Status::False) => Level::Finding,
        (_, Status::Unknown) => Level::Unknown,
    }
}

fn outcome(found: &Found, messages: &[Said]) -> Outcome {
    let any = |level| messages.iter().any(|message| message.level == level);
    match found {
        Found::Impossible(_) | Found::Asked(Verdict::Refused(_)) => Outcome::Rejected,
        Found::Asked(Verdict::Unknown(_)) => Outcome::CouldNotTell,
        // What is found for sure is not undone by what nobody could tell.
        Found::Asked(Verdict::Accepted(_)) if any(Level::Finding) => Outcome::Findings,
        Found::Asked(Verdict::Accepted(_)) if any(Level::Unknown) => Outcome::CouldNotTell,
        Found::Asked(Verdict::Accepted(_)) => Outcome::Fine,
    }
}

#[cfg(test)]
mod tests;
