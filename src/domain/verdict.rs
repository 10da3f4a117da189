//! What Bitbucket says about a token.

use std::{collections::BTreeSet, time::Duration};

use super::scopes::Scope;

/// The answer to the one question: who is this token, and what may it do?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The token is good.
    Accepted(Accepted),
    /// The token is refused; trying again with the same credentials is of no use.
    Refused(Refusal),
    /// Bitbucket gave no answer about the token; try again later.
    Unknown(NoVerdict),
}

impl Verdict {
    /// Whether it says all that there is to say for now. Otherwise it answers nobody who asks later: an outage passes,
    /// and scopes that were not told may be told then.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Accepted(accepted) => accepted.granted.is_some() && !matches!(accepted.reach, Reach::Unknown(_)),
            Self::Refused(_) => true,
            Self::Unknown(_) => false,
        }
    }
}

/// A token that Bitbucket takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Whose it is; unknown where the token lacks `read:user:bitbucket`.
    pub account: Option<Account>,
    /// What it may do; `None` where Bitbucket did not say.
    pub granted: Option<BTreeSet<Scope>>,
    /// `x-credential-type`, where it is another than `api_token` (`repo_access_token`, …).
    pub foreign_credential_type: Option<String>,
    /// Which workspaces it reaches; asked only for who wants to know.
    pub reach: Reach,
}

/// Which workspaces a token reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nobody wanted to know, or the token may not tell.
    #[default]
    NotAsked,
    /// Exactly these, by their slugs.
    Known(BTreeSet<String>),
    /// Bitbucket gave no answer.
    Unknown(NoVerdict),
}

/// A Bitbucket account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Bitbucket's id, in braces.
    pub uuid: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// Name as people see it.
    pub display_name: Option<String>,
}

impl Account {
    /// What people call it: the user name, and in brackets the name as people see it where that is another.
    pub fn named(&self) -> Option<String> {
        match (&self.username, &self.display_name) {
            (Some(name), Some(shown)) if name != shown => Some(format!("{name} ({shown})")),
            (Some(name), _) | (None, Some(name)) => Some(name.clone()),
            (None, None) => None,
        }
    }
}

/// Why a token is refused. Each has one cause and one next step for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 401 "Token is invalid, expired, or not supported for this endpoint.", or any 401 that says no more: wrong
    /// e-mail, revoked, expired. What remains where the second question brought no answer.
    InvalidOrExpired,
    /// Refused with the e-mail, accepted without it: the token lives, and is another account's. Whose, where the token
    /// may tell.
    WrongEmail(Option<Account>),
    /// Refused with the e-mail and without it: revoked, expired, or never a whole token.
    Dead,
    /// 401 "API token must be used with an atlassian registered email".
    NotARegisteredEmail,
    /// 401 "API Token provided has no Bitbucket scopes": made with "Create API token" instead of "… with scopes".
    NoBitbucketScopes,
    /// 403 "This API is not accessible by this authentication mechanism", or a token that Bitbucket takes without an
    /// e-mail alone: an access token of a repository, project or workspace; its `x-credential-type`, where told.
    NotAnApiToken(Option<String>),
    /// Any status whose body names CHANGE-3222: app passwords ended on 2026-07-28.
    AppPassword,
}

impl Refusal {
    /// Whether the token may be good, and the e-mail address is what has to be corrected.
    pub const fn is_about_email(&self) -> bool {
        match self {
            Self::WrongEmail(_) | Self::NotARegisteredEmail => true,
            Self::InvalidOrExpired
            | Self::Dead
            | Self::NoBitbucketScopes
            | Self::NotAnApiToken(_)
            | Self::AppPassword => false,
        }
    }
}

/// What people call an `x-credential-type`; `None` for one that nobody described.
pub fn kind_in_words(credential_type: &str) -> Option<&'static str> {
    match credential_type.to_ascii_lowercase().as_str() {
        "repo_access_token" => Some("an access token of a repository"),
        "project_access_token" => Some("an access token of a project"),
        "workspace_access_token" => Some("an access token of a workspace"),
        APP_PASSWORD => Some("an app password"),
        _ => None,
    }
}

/// The `x-credential-type` of app passwords.
pub const APP_PASSWORD: &str = "apppassword";

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoVerdict {
    /// 410, 5xx, a timeout, HTML, no connection: nothing is known about the token. The text names what happened in a
    /// few words that don't change from one attempt to the next, such as `HTTP 503` or `no connection`.
    Unavailable(String),
    /// 403 for another reason than scopes: an IP allow list, the account.
    Forbidden,
    /// 429; the time is what the server asked for.
    RateLimited {
        /// `Retry-After`, if present.
        retry_after: Option<Duration>,
    },
    /// It isn't our turn: nothing was sent, so that the account's limit lasts for all who share it.
    NotYet {
        /// How long to wait.
        wait: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_asked_again() {
        let accepted = |granted| Verdict::Accepted(Accepted { granted, ..Accepted::default() });
        assert!(accepted(Some(BTreeSet::new())).is_complete());
        assert!(!accepted(None).is_complete());
        let reach = Reach::Unknown(NoVerdict::Forbidden);
        let unreached = Accepted { granted: Some(BTreeSet::new()), reach, ..Accepted::default() };
        assert!(!Verdict::Accepted(unreached).is_complete());
        assert!(Verdict::Refused(Refusal::InvalidOrExpired).is_complete());
        assert!(!Verdict::Unknown(NoVerdict::Forbidden).is_complete());
    }
}
