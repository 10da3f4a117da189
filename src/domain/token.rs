//! What is known about the token in the Secret, and what CredentialsValid and ScopesSufficient say about it.

use std::collections::BTreeSet;

use super::{
    conditions::{Judgement, Reason},
    credential::{CredentialProblem, Fingerprint},
    place::{Place, capitalized},
    scopes::{self, Comparison, Scope},
    spec::{ConnectionSpec, Policy, SecretKeys},
    verdict::{self, Accepted, Account, NoVerdict, Refusal, Verdict},
    workspaces::{self, Compared},
};

/// What was found where the credentials should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// There is no such Secret.
    NoSecret,
    /// The Secret lacks a key, by its name, or has nothing in it.
    NoKey(String),
    /// The values can't be credentials; nobody was asked.
    Invalid(CredentialProblem),
    /// Bitbucket was asked.
    Asked {
        /// Its answer.
        verdict: Verdict,
        /// By which the token is compared with the one in the KMS. To be published for an accepted one alone.
        fingerprint: Fingerprint,
        /// The e-mail that goes with it.
        email: String,
    },
    /// Bitbucket refused these very credentials within the interval; it isn't asked again.
    RefusedBefore {
        /// What CredentialsValid said then.
        judgement: Judgement,
        /// By which the token is compared with the one in the KMS.
        fingerprint: Fingerprint,
        /// The e-mail that goes with it.
        email: String,
    },
}

/// Whether the token may be written to the KMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// It is good, and has the scopes.
    Allowed,
    /// There is a negative verdict: it must never reach the KMS.
    Refused,
    /// There is no verdict yet.
    Undecided,
    /// There is no token.
    Nothing,
}

impl Token {
    /// The verdict of an accepted token.
    pub fn accepted(&self) -> Option<&Accepted> {
        match self {
            Self::Asked { verdict: Verdict::Accepted(accepted), .. } => Some(accepted),
            _ => None,
        }
    }

    /// Whether it may be written to the KMS.
    pub fn push(&self, spec: &ConnectionSpec) -> Push {
        match self {
            Self::NoSecret | Self::NoKey(_) => Push::Nothing,
            Self::Invalid(_) | Self::RefusedBefore { .. } => Push::Refused,
            Self::Asked { verdict: Verdict::Refused(_), .. } => Push::Refused,
            Self::Asked { verdict: Verdict::Unknown(_), .. } => Push::Undecided,
            Self::Asked { verdict: Verdict::Accepted(accepted), .. } => {
                match sufficiency(accepted, &spec.into()).reason.status() {
                    super::conditions::Status::True => Push::Allowed,
                    super::conditions::Status::False => Push::Refused,
                    // Only someone who chose to be warned alone lets an unknown token pass.
                    super::conditions::Status::Unknown if spec.on_missing == Policy::Warn => Push::Allowed,
                    super::conditions::Status::Unknown => Push::Undecided,
                }
            }
        }
    }
}

/// The condition CredentialsValid. `expired` says that the declared expiry has passed.
pub fn credentials_valid(token: &Token, keys: &SecretKeys, expired: bool) -> Judgement {
    let secret = &keys.name;
    match token {
        Token::NoSecret => Judgement::new(
            Reason::SecretNotFound,
            format!(
                "There is no Secret {secret} in this namespace. Create it with the keys {} and {}; it is picked up at once.",
                keys.email, keys.token
            ),
        ),
        Token::NoKey(key) => Judgement::new(
            Reason::SecretKeyMissing,
            format!(
                "Secret {secret} has no key {key}, or nothing in it. Add it, or name another key in spec.secretRef; it is picked up at once."
            ),
        ),
        Token::Invalid(problem) => invalid(*problem, keys.into()),
        Token::RefusedBefore { judgement, .. } => judgement.clone(),
        Token::Asked { verdict, .. } => validity(verdict, keys.into(), expired),
    }
}

/// What CredentialsValid says of values that can't be credentials.
pub fn invalid(problem: CredentialProblem, place: Place<'_>) -> Judgement {
    let at = if problem.is_about_email() { place.email() } else { place.token() };
    Judgement::new(Reason::SecretInvalid, format!("{} {problem}.", capitalized(&at)))
}

/// What CredentialsValid says of a verdict. `expired` says that the declared expiry has passed.
pub fn validity(verdict: &Verdict, place: Place<'_>, expired: bool) -> Judgement {
    match verdict {
        Verdict::Refused(refusal) => refused(refusal, place, expired),
        Verdict::Unknown(unknown) => unavailable(unknown, place),
        Verdict::Accepted(accepted) => match &accepted.foreign_credential_type {
            None => Judgement::new(Reason::Authenticated, "Bitbucket accepts the token."),
            Some(kind) => Judgement::new(
                Reason::Authenticated,
                format!(
                    "Bitbucket accepts the token, but calls it {}, not api_token. The KMS expects an API token of an Atlassian account; replace it before it causes trouble.",
                    named(kind)
                ),
            ),
        },
    }
}

/// A kind of credential by its name, and by Bitbucket's.
fn named(kind: &str) -> String {
    verdict::kind_in_words(kind).map_or_else(|| kind.to_owned(), |words| format!("{words} ({kind})"))
}

/// Where tokens are made.
const WHERE: &str = "id.atlassian.com (Security, API tokens, Create API token with scopes, app Bitbucket)";

fn refused(refusal: &Refusal, place: Place<'_>, expired: bool) -> Judgement {
    let (email, take) = (place.email(), place.take());
    let create = format!("create one{} at {WHERE}", place.with_scopes());
    match refusal {
        Refusal::InvalidOrExpired | Refusal::Dead if expired => Judgement::new(
            Reason::TokenExpired,
            format!(
                "Bitbucket refuses the token, and its declared end has passed: it has probably expired. To renew it, {create} and {}.",
                place.take_with_date()
            ),
        ),
        Refusal::InvalidOrExpired => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket refuses e-mail and token (401). Either the token was revoked or has expired, or {email} is not the e-mail address of the account that made it. Check the address; if it is right, {create} and {}.",
                place.take_there()
            ),
        ),
        Refusal::Dead => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket refuses the token (401), with its e-mail and without it: the token itself is dead. It was revoked, has expired, or was not copied whole. To replace it, {create} and {take}."
            ),
        ),
        Refusal::WrongEmail(account) => {
            let (of, whom) = match (place, account.as_ref().and_then(Account::named)) {
                // Messages go on to events, logs and chats, so they name nobody; the status does.
                (Place::Connection(_), Some(_)) => {
                    ("another account (see status.account)".to_owned(), "that account".to_owned())
                }
                (Place::CommandLine, Some(name)) => (format!("the account {name}"), name),
                (Place::Connection(_) | Place::CommandLine, None) => {
                    ("another account".to_owned(), "that account".to_owned())
                }
            };
            Judgement::new(
                Reason::CredentialsRejected,
                format!(
                    "Bitbucket refuses e-mail and token together (401), but takes the token alone: it is alive and belongs to {of}, whose e-mail address is not the one in {email}. Write there the address with which {whom} logs in to Atlassian, or {}.",
                    place.take_another()
                ),
            )
        }
        Refusal::NotARegisteredEmail => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket says that {email} is no registered Atlassian e-mail address. Write the address with which the account that made the token logs in, not its user name or an alias."
            ),
        ),
        Refusal::NoBitbucketScopes => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket says that the token has no Bitbucket scopes: it was made with \"Create API token\" instead of \"Create API token with scopes\". Scopes can't be added later; {create} and {take}."
            ),
        ),
        Refusal::NotAnApiToken(kind) => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket says that this kind of token can't be used here: it is {}. The KMS needs an API token of an Atlassian account; {create} and {take}.",
                kind.as_deref()
                    .map_or_else(|| "probably an access token of a repository, project or workspace".to_owned(), named)
            ),
        ),
        Refusal::AppPassword => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket says that this is an app password; those ended on 2026-07-28. Replace it by an API token: {create} and {take}."
            ),
        ),
    }
}

fn unavailable(unknown: &NoVerdict, place: Place<'_>) -> Judgement {
    let (again, asker) = (place.again(), place.asker());
    match unknown {
        NoVerdict::Unavailable(what) => Judgement::new(
            Reason::BitbucketUnavailable,
            format!(
                "Bitbucket gave no answer about the token ({what}). {again}; if this lasts, see whether the {asker} reaches Bitbucket and whether Bitbucket reports an incident."
            ),
        ),
        NoVerdict::Forbidden => Judgement::new(
            Reason::BitbucketForbidden,
            format!(
                "Bitbucket refuses the request (403) without saying that the token is wrong. Usual causes are an IP allow list of the workspace that lacks this {asker}, or a restriction of the account; ask a workspace administrator. {}.",
                place.retried()
            ),
        ),
        NoVerdict::RateLimited { .. } => Judgement::new(
            Reason::RateLimited,
            format!(
                "Bitbucket's hourly limit for this account is used up; it is shared by all tokens of the account. {}; a dedicated account keeps others from using the limit up.",
                place.when_allowed()
            ),
        ),
        NoVerdict::NotYet { .. } => Judgement::new(
            Reason::RateLimited,
            "The operator keeps Bitbucket's hourly limit of this account, and the token's turn has not come yet. It comes by itself; several accounts instead of one, or a higher --bitbucket-requests-per-hour of the operator, bring it sooner.",
        ),
    }
}

/// The condition ScopesSufficient.
pub fn scopes_sufficient(token: &Token, spec: &ConnectionSpec) -> Judgement {
    match token.accepted() {
        Some(accepted) => sufficiency(accepted, &spec.into()),
        None => {
            Judgement::not_evaluated("Bitbucket tells the scopes of a token once it accepts it (see CredentialsValid)")
        }
    }
}

/// How the token's scopes compare with the required ones, where they are known.
pub fn comparison(token: &Token, spec: &ConnectionSpec) -> Option<Comparison> {
    let granted = token.accepted()?.granted.as_ref()?;
    Some(scopes::compare(&spec.required, granted))
}

/// What is wanted of a token.
#[derive(Clone, Copy, Debug)]
pub struct Demands<'a> {
    /// The scopes that it must have.
    pub required: &'a BTreeSet<Scope>,
    /// The workspaces that it must reach.
    pub workspaces: &'a BTreeSet<String>,
    /// What to do about scopes and workspaces that are missing.
    pub on_missing: Policy,
    /// What to do about scopes in excess.
    pub on_excess: Policy,
    /// Where all this was written down.
    pub place: Place<'a>,
}

impl<'a> From<&'a ConnectionSpec> for Demands<'a> {
    fn from(spec: &'a ConnectionSpec) -> Self {
        Self {
            required: &spec.required,
            workspaces: &spec.workspaces,
            on_missing: spec.on_missing,
            on_excess: spec.on_excess,
            place: (&spec.secret).into(),
        }
    }
}

/// What ScopesSufficient says of an accepted token.
pub fn sufficiency(accepted: &Accepted, demands: &Demands<'_>) -> Judgement {
    let place = demands.place;
    let (again, unsaid) = (place.again(), place.unsaid(demands.on_missing));
    let Some(granted) = &accepted.granted else {
        return Judgement::new(
            Reason::ScopesNotReported,
            format!(
                "Bitbucket accepts the token, but did not say which scopes it has. {unsaid}{again}; if this lasts, see whether a proxy removes the header x-oauth-scopes."
            ),
        );
    };
    let Comparison { missing, excess } = scopes::compare(demands.required, granted);
    let unusable = missing.contains(&Scope::read_user());
    if !missing.is_empty() && (unusable || demands.on_missing == Policy::Block) {
        return Judgement::new(Reason::ScopesMissing, missing_text(&missing, granted, place));
    }
    if !excess.is_empty() && demands.on_excess == Policy::Block {
        return Judgement::new(
            Reason::ScopesExcess,
            format!(
                "The token has scopes that nothing here needs. Create a token without them, or {}. In excess: {}.",
                place.allow_excess(),
                list(&excess)
            ),
        );
    }
    let mut lacks: Vec<_> = (!missing.is_empty()).then(|| missing_text(&missing, granted, place)).into_iter().collect();
    match workspaces::compare(demands.workspaces, accepted, place) {
        Compared::Reached => {}
        Compared::Missing(text) if demands.on_missing == Policy::Block => {
            return Judgement::new(Reason::WorkspacesMissing, text);
        }
        Compared::Missing(text) => lacks.push(text),
        // A missing scope, of which people chose to be warned alone, is why.
        Compared::Unknown(_) if !workspaces::may_be_asked(accepted) => {
            lacks.push(format!("So nobody can tell whether it reaches the workspaces of {}.", place.workspaces()));
        }
        Compared::Unknown(why) => {
            return Judgement::new(
                Reason::ScopesNotReported,
                format!(
                    "Bitbucket accepts the token, but did not say which workspaces it reaches ({why}). {unsaid}{again}."
                ),
            );
        }
    }
    match (lacks.is_empty(), excess.is_empty()) {
        (true, true) => Judgement::new(
            Reason::AllGranted,
            "The token has exactly the required scopes. Scopes don't include the rights of the account: what it may not do in a workspace, the token may not either.",
        ),
        (true, false) => Judgement::new(
            Reason::WarnOnly,
            format!(
                "The token has all required scopes, and more than are needed: {}. A token with fewer does less harm when it leaks.",
                list(&excess)
            ),
        ),
        (false, _) => {
            Judgement::new(Reason::WarnOnly, format!("Used because spec.scopes.onMissing is Warn. {}", lacks.join(" ")))
        }
    }
}

/// Names every missing scope and what breaks without it, and look-alikes that may have been taken for it. The list comes
/// last: where a note is too long, people lose the end of it, and not what to do.
fn missing_text(missing: &BTreeSet<Scope>, granted: &BTreeSet<Scope>, place: Place<'_>) -> String {
    let one = |scope: &Scope| {
        let buys = scope.buys().map(|buys| format!(" (to {buys})")).unwrap_or_default();
        let near = scopes::near_miss(scope, granted)
            .map(|near| format!(", which {near} does not include"))
            .unwrap_or_default();
        format!("{scope}{buys}{near}")
    };
    let named: Vec<_> = missing.iter().map(one).collect();
    format!(
        "The token lacks scopes, and those of a token can't be changed: create a new one {} at {WHERE} and {}. Missing: {}.",
        place.with_all_scopes(),
        place.take(),
        named.join("; ")
    )
}

fn list(scopes: &BTreeSet<Scope>) -> String {
    scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
