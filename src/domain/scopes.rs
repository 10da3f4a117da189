//! Bitbucket's scopes: what each buys, what each use needs, and how granted and required ones compare.
//!
//! Granular scopes imply nothing: `write:repository:bitbucket` does not grant `read:repository:bitbucket`. They are
//! compared as sets.

use std::{collections::BTreeSet, fmt};

/// Ends the full name of every scope.
const SUFFIX: &str = ":bitbucket";
/// Longest full name of a scope that is kept, in bytes; names come from a server's header.
const SCOPE_MAX: usize = 100;
/// Most scopes that are kept of one answer.
pub const SCOPES_MAX: usize = 200;

/// A scope by its full name, such as `read:user:bitbucket`. Names that nobody knows yet are scopes too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Scope(String);

impl Scope {
    /// The scope without which not even the KMS can use a token: it asks `GET /2.0/user` on every write.
    pub fn read_user() -> Self {
        Self("read:user:bitbucket".to_owned())
    }

    /// The scope without which a token doesn't say which workspaces it reaches.
    pub fn read_workspace() -> Self {
        Self("read:workspace:bitbucket".to_owned())
    }

    /// Takes a name from a header or a spec. Some servers leave the suffix out: `read:me` is `read:me:bitbucket`.
    /// Nothing is a scope that is empty, overlong, or holds other signs than letters, digits, `:`, `-`, `_` and `.`.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.trim();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.');
        let suffix = if name.contains(':') && !name.ends_with(SUFFIX) { SUFFIX } else { "" };
        let short = name.len() + suffix.len() <= SCOPE_MAX;
        (!name.is_empty() && short && name.bytes().all(plain)).then(|| Self(format!("{name}{suffix}")))
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a token can do with it; for scopes that nobody described: the name alone has to do.
    pub fn buys(&self) -> Option<&'static str> {
        let short = self.0.strip_suffix(SUFFIX)?;
        CATALOGUE.iter().find(|(name, _)| *name == short).map(|(_, buys)| *buys)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a list of scopes as `x-oauth-scopes` holds it: separated by commas, white space, or both. What can't be a
/// scope is left out.
pub fn parse_header(value: &str) -> BTreeSet<Scope> {
    value.split(|c: char| c == ',' || c.is_whitespace()).filter_map(Scope::parse).take(SCOPES_MAX).collect()
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UseCase {
    /// The KMS looks for leaked secrets in repositories.
    SecretScanning,
    /// The KMS writes secrets into pipelines.
    SecretSync,
    /// Code review tools such as Kody.
    CodeReview,
}

impl UseCase {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SecretScanning, Self::SecretSync, Self::CodeReview];

    /// Its word in the spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecretScanning => "SecretScanning",
            Self::SecretSync => "SecretSync",
            Self::CodeReview => "CodeReview",
        }
    }

    /// What it is for, as a clause.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::SecretScanning => "the KMS looks for leaked secrets in repositories",
            Self::SecretSync => "the KMS writes secrets into pipelines",
            Self::CodeReview => "code review tools such as Kody read and comment",
        }
    }

    /// The scopes it needs.
    pub fn scopes(self) -> BTreeSet<Scope> {
        self.needs().iter().map(|short| Scope(format!("{short}{SUFFIX}"))).collect()
    }

    /// The use case of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|case| case.as_str() == word)
    }

    /// The scopes it needs, without their suffix; from the KMS's and Kody's own documents.
    const fn needs(self) -> &'static [&'static str] {
        match self {
            Self::SecretScanning => {
                &["read:workspace", "read:user", "read:webhook", "write:webhook", "delete:webhook", "read:repository"]
            }
            Self::SecretSync => &[
                "read:workspace",
                "admin:workspace",
                "read:user",
                "read:repository",
                "read:pipeline",
                "write:pipeline",
                "admin:pipeline",
            ],
            Self::CodeReview => &[
                "read:user",
                "read:workspace",
                "read:project",
                "read:repository",
                "write:repository",
                "admin:repository",
                "read:pullrequest",
                "write:pullrequest",
                "read:issue",
                "read:webhook",
                "write:webhook",
                "read:pipeline",
            ],
        }
    }
}

/// Everything that use cases and additional scopes ask for, `read:user:bitbucket` always among it.
pub fn required(use_cases: &[UseCase], additional: &[Scope]) -> BTreeSet<Scope> {
    let of_uses = use_cases.iter().flat_map(|case| case.scopes());
    of_uses.chain(additional.iter().cloned()).chain([Scope::read_user()]).collect()
}

/// How granted scopes compare with required ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Required, not granted.
    pub missing: BTreeSet<Scope>,
    /// Granted, not required.
    pub excess: BTreeSet<Scope>,
}

/// Compares as sets.
pub fn compare(required: &BTreeSet<Scope>, granted: &BTreeSet<Scope>) -> Comparison {
    Comparison {
        missing: required.difference(granted).cloned().collect(),
        excess: granted.difference(required).cloned().collect(),
    }
}

/// A granted scope that looks like the missing one, and is another: `read:account` grants no `read:user:bitbucket`.
pub fn near_miss<'a>(missing: &Scope, granted: &'a BTreeSet<Scope>) -> Option<&'a Scope> {
    let of_name = |scope: &'a Scope| scope.0.split(':').nth(1);
    let wanted = missing.0.split(':').nth(1)?;
    let look_alike = |name: &str| name == wanted || (wanted == "user" && matches!(name, "account" | "me"));
    // A level below or above (write for read) is the commonest mistake; of several, the first by name.
    granted.iter().find(|scope| *scope != missing && of_name(scope).is_some_and(look_alike))
}

/// What each scope buys, by its name without the suffix.
const CATALOGUE: [(&str, &str); 43] = [
    ("read:user", "identify the account"),
    ("write:user", "change the account's settings"),
    ("read:workspace", "list workspaces, projects and members"),
    ("admin:workspace", "manage workspace-level pipeline variables and settings"),
    ("read:project", "read project metadata"),
    ("admin:project", "manage project settings"),
    ("read:repository", "read code and list repositories"),
    ("write:repository", "change repository contents"),
    ("admin:repository", "manage repository settings, webhooks and permissions"),
    ("delete:repository", "delete repositories"),
    ("read:pullrequest", "see pull requests and comment on them"),
    ("write:pullrequest", "create, approve, decline and merge pull requests"),
    ("read:issue", "read the issue tracker"),
    ("write:issue", "create and change issues"),
    ("delete:issue", "delete issues"),
    ("read:webhook", "see webhooks"),
    ("write:webhook", "create and change webhooks"),
    ("delete:webhook", "remove webhooks when they are no longer needed"),
    ("read:pipeline", "see pipeline runs and variables"),
    ("write:pipeline", "run and stop pipelines"),
    ("admin:pipeline", "create and change pipeline and deployment variables"),
    ("read:runner", "see pipeline runners"),
    ("write:runner", "register and change pipeline runners"),
    ("read:snippet", "read snippets"),
    ("write:snippet", "create and change snippets"),
    ("delete:snippet", "delete snippets"),
    ("read:ssh-key", "see SSH keys"),
    ("write:ssh-key", "add and change SSH keys"),
    ("delete:ssh-key", "remove SSH keys"),
    ("read:gpg-key", "see GPG keys"),
    ("write:gpg-key", "add and change GPG keys"),
    ("delete:gpg-key", "remove GPG keys"),
    ("read:permission", "see permissions"),
    ("write:permission", "grant and change permissions"),
    ("delete:permission", "revoke permissions"),
    ("read:wiki", "read wikis"),
    ("write:wiki", "change wikis"),
    ("delete:wiki", "delete wiki pages"),
    ("read:package", "read packages"),
    ("write:package", "publish packages"),
    ("read:test", "read test reports"),
    ("write:test", "write test reports"),
    ("read:me", "read the account's own profile"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<Scope> {
        names.iter().map(|name| Scope::parse(name).expect("good scope")).collect()
    }

    #[test]
    fn a_header_is_read_in_every_spelling() {
        let expected = set(&["read:user:bitbucket", "read:repository:bitbucket"]);
        for header in [
            "read:user:bitbucket, read:repository:bitbucket",
            "read:user:bitbucket,read:repository:bitbucket",
            "read:user:bitbucket read:repository:bitbucket",
            "  read:user ,, read:repository:bitbucket ,\t",
        ] {
            assert_eq!(parse_header(header), expected, "{header}");
        }
        assert_eq!(parse_header(""), BTreeSet::new());
        assert_eq!(parse_header("<script>, read:user:bitbucket"), set(&["read:user:bitbucket"]));
        assert_eq!(parse_header("account"), set(&["account"]), "a classic word stays what it is");
    }

    #[test]
    fn nothing_is_implied() {
        let comparison = compare(
            &set(&["read:repository:bitbucket"]),
            &set(&["write:repository:bitbucket", "admin:repository:bitbucket"]),
        );
        assert_eq!(comparison.missing, set(&["read:repository:bitbucket"]));
        assert_eq!(comparison.excess.len(), 2);
    }

    #[test]
    fn reading_the_user_is_always_required() {
        assert_eq!(required(&[], &[]), set(&["read:user:bitbucket"]));
        let all = required(&UseCase::ALL, &[Scope::parse("read:wiki:bitbucket").expect("good scope")]);
        assert_eq!(all.len(), 17);
        assert!(all.iter().all(|scope| scope.buys().is_some()), "every required scope says what breaks without it");
    }

    #[test]
    fn look_alikes_are_named() {
        let granted = set(&["read:account", "write:webhook:bitbucket"]);
        let near = |name: &str| near_miss(&Scope::parse(name).expect("good scope"), &granted).map(Scope::as_str);
        assert_eq!(near("read:user:bitbucket"), Some("read:account:bitbucket"));
        assert_eq!(near("delete:webhook:bitbucket"), Some("write:webhook:bitbucket"));
        assert_eq!(near("read:pipeline:bitbucket"), None);
    }

    #[test]
    fn the_catalogue_has_each_scope_once() {
        let names: BTreeSet<_> = CATALOGUE.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(value in "\\PC*") {
            proptest::prop_assert!(parse_header(&value).len() <= SCOPES_MAX);
        }
    }
}
