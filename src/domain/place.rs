//! Where a token and what is wanted of it were written down, in the words of whoever has to correct them.
//!
//! What is wrong with a token is the same everywhere. What to do next is not: a connection's reader edits a Secret, and
//! waits; a reader of `check` edits a command line, and runs it again.

use super::{
    expiry::source::ExpirySource,
    spec::{Policy, SecretKeys},
};
use crate::api::EXPIRES_AT;

/// Where things were written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// In a BitbucketConnection, and in the Secret that it names.
    Connection(&'a SecretKeys),
    /// On the command line of `check`, with the token on its standard input.
    CommandLine,
}

impl<'a> From<&'a SecretKeys> for Place<'a> {
    fn from(keys: &'a SecretKeys) -> Self {
        Self::Connection(keys)
    }
}

impl Place<'_> {
    /// The e-mail address, within a sentence.
    pub fn email(self) -> String {
        match self {
            Self::Connection(keys) => format!("key {} of Secret {}", keys.email, keys.name),
            Self::CommandLine => "--email".to_owned(),
        }
    }

    /// The token, within a sentence.
    pub fn token(self) -> String {
        match self {
            Self::Connection(keys) => format!("key {} of Secret {}", keys.token, keys.name),
            Self::CommandLine => "the token on standard input".to_owned(),
        }
    }

    /// With which scopes a new token is made, with a space before it; follows "create one". `check` lists them besides.
    pub const fn with_scopes(self) -> &'static str {
        match self {
            Self::Connection(_) => " with the scopes in status.scopes.required",
            Self::CommandLine => "",
        }
    }

    /// The same where it would be wrong to choose those alone that the old token lacks; follows "create a new one".
    pub const fn with_all_scopes(self) -> &'static str {
        match self {
            Self::Connection(_) => "with all that are in status.scopes.required",
            Self::CommandLine => "with all that are needed",
        }
    }

    /// What to do with a new token that was just made; follows "create one at …".
    pub fn take(self) -> String {
        match self {
            Self::Connection(_) => format!("put it into {}", self.token()),
            Self::CommandLine => "check that one".to_owned(),
        }
    }

    /// The same, where the Secret was named before.
    pub fn take_there(self) -> String {
        match self {
            Self::Connection(keys) => format!("put it into key {}", keys.token),
            Self::CommandLine => self.take(),
        }
    }

    /// The same for a token whose predecessor came to its end.
    pub fn take_with_date(self) -> String {
        match self {
            Self::Connection(keys) => format!("put it with its date into Secret {}", keys.name),
            Self::CommandLine => "check that one with its date".to_owned(),
        }
    }

    /// How to have a token of another account looked at; follows "or".
    pub fn take_another(self) -> String {
        match self {
            Self::Connection(keys) => format!("put a token of the right account into key {}", keys.token),
            Self::CommandLine => "check a token of the right account".to_owned(),
        }
    }

    /// Where to write an expiry, or where it was written.
    pub fn expiry(self, source: ExpirySource) -> String {
        match (self, source) {
            (_, ExpirySource::Inferred) => "Atlassian's limit of a year".to_owned(),
            (Self::CommandLine, _) => "--expires-at".to_owned(),
            (Self::Connection(keys), ExpirySource::Secret) => {
                format!("key {} of Secret {}", keys.expires_at, keys.name)
            }
            (Self::Connection(keys), ExpirySource::Annotation) => {
                format!("annotation {EXPIRES_AT} of Secret {}", keys.name)
            }
            (Self::Connection(_), ExpirySource::Spec) => "spec.expiry.notAfter".to_owned(),
        }
    }

    /// How to declare an expiry that nobody wrote down: a sentence's beginning.
    pub fn declare_expiry(self) -> String {
        match self {
            Self::Connection(_) => format!("Declare the real date in {}", self.expiry(ExpirySource::Secret)),
            Self::CommandLine => "Give the real date with --expires-at, and write it next to the token".to_owned(),
        }
    }

    /// How to get an answer that a server didn't give: a sentence's beginning.
    pub const fn again(self) -> &'static str {
        match self {
            Self::Connection(_) => "It is asked again by itself",
            Self::CommandLine => "Check again",
        }
    }

    /// The same after a refusal of the request.
    pub const fn retried(self) -> &'static str {
        match self {
            Self::Connection(_) => "It is tried again by itself",
            Self::CommandLine => "Then check again",
        }
    }

    /// The same after too many requests.
    pub const fn when_allowed(self) -> &'static str {
        match self {
            Self::Connection(_) => "The token is verified when Bitbucket allows",
            Self::CommandLine => "Check again within the hour",
        }
    }

    /// What follows from an answer that doesn't say all, with a space behind it.
    pub const fn unsaid(self, on_missing: Policy) -> &'static str {
        match (self, on_missing) {
            (Self::Connection(_), Policy::Block) => {
                "Nothing new is written to the KMS until it does; what is there stays. "
            }
            (Self::Connection(_), Policy::Warn) => "It is used nevertheless, because spec.scopes.onMissing is Warn. ",
            (Self::CommandLine, Policy::Block | Policy::Warn) => "",
        }
    }

    /// How to have scopes taken that nothing needs; follows "or".
    pub const fn allow_excess(self) -> &'static str {
        match self {
            Self::Connection(_) => "set spec.scopes.onExcess: Warn, or name them in spec.scopes.additional",
            Self::CommandLine => "name them with --scope, or leave --strict out",
        }
    }

    /// Who asks Bitbucket.
    pub const fn asker(self) -> &'static str {
        match self {
            Self::Connection(_) => "cluster",
            Self::CommandLine => "machine",
        }
    }

    /// Where the wanted workspaces are listed.
    pub const fn workspaces(self) -> &'static str {
        match self {
            Self::Connection(_) => "spec.workspaces",
            Self::CommandLine => "--workspace",
        }
    }

    /// Where all workspaces that the token reaches are listed; none where a message is all there is.
    pub const fn all_workspaces(self) -> Option<&'static str> {
        match self {
            Self::Connection(_) => Some("status.workspaces"),
            Self::CommandLine => None,
        }
    }
}

/// A text at the beginning of a sentence; a flag stays as it is.
pub fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_begins_with_a_capital_or_a_flag() {
        for (text, expected) in [("key email", "Key email"), ("--email", "--email"), ("", ""), ("äh", "Äh")] {
            assert_eq!(capitalized(text), expected);
        }
    }
}
