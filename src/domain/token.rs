//! What is known about the token in the Secret, and what CredentialsValid and ScopesSufficient say about it.

use std::collections::BTreeSet;

use super::{
    conditions::{Judgement, Reason},
    credential::{CredentialProblem, Fingerprint},
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
                match sufficiency(accepted, spec).reason.status() {
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
        Token::Invalid(problem) => {
            let key = if problem.is_about_email() { &keys.email } else { &keys.token };
            Judgement::new(Reason::SecretInvalid, format!("Key {key} of Secret {secret} {problem}."))
        }
        Token::RefusedBefore { judgement, .. } => judgement.clone(),
        Token::Asked { verdict: Verdict::Refused(refusal), .. } => refused(refusal, keys, expired),
        Token::Asked { verdict: Verdict::Unknown(unknown), .. } => unavailable(unknown),
        Token::Asked { verdict: Verdict::Accepted(accepted), .. } => match &accepted.foreign_credential_type {
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

/// Whose a token is that was given with another's e-mail; no name where the token may not tell it.
fn owner(account: Option<&Account>) -> Option<String> {
    let Account { username, display_name, .. } = account?;
    match (username, display_name) {
        (Some(name), Some(shown)) if name != shown => Some(format!("{name} ({shown})")),
        (Some(name), _) | (None, Some(name)) => Some(name.clone()),
        (None, None) => None,
    }
}

fn refused(refusal: &Refusal, keys: &SecretKeys, expired: bool) -> Judgement {
    const CREATE: &str =
        "create one at id.atlassian.com (Security, API tokens, Create API token with scopes, app Bitbucket)";
    let SecretKeys { name: secret, email, token, .. } = keys;
    match refusal {
        Refusal::InvalidOrExpired | Refusal::Dead if expired => Judgement::new(
            Reason::TokenExpired,
            format!(
                "Bitbucket refuses the token, and its declared end has passed: it has probably expired. To renew it, {CREATE} and put it with its date into Secret {secret}."
            ),
        ),
        Refusal::InvalidOrExpired => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket refuses e-mail and token (401). Either the token was revoked or has expired, or key {email} of Secret {secret} is not the e-mail address of the account that made it. Check the address; if it is right, {CREATE} and put it into key {token}."
            ),
        ),
        Refusal::Dead => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket refuses the token (401), with its e-mail and without it: the token itself is dead. It was revoked, has expired, or was not copied whole. To replace it, {CREATE} and put it into key {token} of Secret {secret}."
            ),
        ),
        Refusal::WrongEmail(account) => {
            let (of, whom) = owner(account.as_ref()).map_or_else(
                || ("another account".to_owned(), "that account".to_owned()),
                |name| (format!("the account {name}"), name),
            );
            Judgement::new(
                Reason::CredentialsRejected,
                format!(
                    "Bitbucket refuses e-mail and token together (401), but takes the token alone: it is alive and belongs to {of}, whose e-mail address is not the one in key {email} of Secret {secret}. Write there the address with which {whom} logs in to Atlassian, or put a token of the right account into key {token}."
                ),
            )
        }
        Refusal::NotARegisteredEmail => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket says that key {email} of Secret {secret} is no registered Atlassian e-mail address. Write the address with which the account that made the token logs in, not its user name or an alias."
            ),
        ),
        Refusal::NoBitbucketScopes => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket says that the token has no Bitbucket scopes: it was made with \"Create API token\" instead of \"Create API token with scopes\". Scopes can't be added later; {CREATE} and put it into key {token} of Secret {secret}."
            ),
        ),
        Refusal::NotAnApiToken(kind) => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket says that this kind of token can't be used here: it is {}. The KMS needs an API token of an Atlassian account; {CREATE} and put it into key {token} of Secret {secret}.",
                kind.as_deref()
                    .map_or_else(|| "probably an access token of a repository, project or workspace".to_owned(), named)
            ),
        ),
        Refusal::AppPassword => Judgement::new(
            Reason::CredentialsRejected,
            format!(
                "Bitbucket says that this is an app password; those ended on 2026-07-28. Replace it by an API token: {CREATE} and put it into key {token} of Secret {secret}."
            ),
        ),
    }
}

fn unavailable(unknown: &NoVerdict) -> Judgement {
    match unknown {
        NoVerdict::Unavailable(what) => Judgement::new(
            Reason::BitbucketUnavailable,
            format!(
                "Bitbucket gave no answer about the token ({what}). It is asked again by itself; if this lasts, see whether the cluster reaches Bitbucket and whether Bitbucket reports an incident."
            ),
        ),
        NoVerdict::Forbidden => Judgement::new(
            Reason::BitbucketForbidden,
            "Bitbucket refuses the request (403) without saying that the token is wrong. Usual causes are an IP allow list of the workspace that lacks this cluster, or a restriction of the account; ask a workspace administrator. It is tried again by itself.",
        ),
        NoVerdict::RateLimited { .. } => Judgement::new(
            Reason::RateLimited,
            "Bitbucket's hourly limit for this account is used up; it is shared by all tokens of the account. The token is verified when Bitbucket allows; a dedicated account keeps others from using the limit up.",
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
        Some(accepted) => sufficiency(accepted, spec),
        None => Judgement::not_evaluated("Bitbucket tells the scopes of a token that it accepts"),
    }
}

/// How the token's scopes compare with the required ones, where they are known.
pub fn comparison(token: &Token, spec: &ConnectionSpec) -> Option<Comparison> {
    let granted = token.accepted()?.granted.as_ref()?;
    Some(scopes::compare(&spec.required, granted))
}

fn sufficiency(accepted: &Accepted, spec: &ConnectionSpec) -> Judgement {
    let stays = match spec.on_missing {
        Policy::Block => "Nothing new is written to the KMS until it does; what is there stays.",
        Policy::Warn => "It is used nevertheless, because spec.scopes.onMissing is Warn.",
    };
    let Some(granted) = &accepted.granted else {
        return Judgement::new(
            Reason::ScopesNotReported,
            format!(
                "Bitbucket accepts the token, but did not say which scopes it has. {stays} It is asked again by itself; if this lasts, see whether a proxy removes the header x-oauth-scopes."
            ),
        );
    };
    let Comparison { missing, excess } = scopes::compare(&spec.required, granted);
    let unusable = missing.contains(&Scope::read_user());
    if !missing.is_empty() && (unusable || spec.on_missing == Policy::Block) {
        return Judgement::new(Reason::ScopesMissing, missing_text(&missing, granted));
    }
    if !excess.is_empty() && spec.on_excess == Policy::Block {
        return Judgement::new(
            Reason::ScopesExcess,
            format!(
                "The token has scopes that nothing here needs: {}. Create a token without them, or set spec.scopes.onExcess: Warn, or name them in spec.scopes.additional.",
                list(&excess)
            ),
        );
    }
    let mut lacks: Vec<_> = (!missing.is_empty()).then(|| missing_text(&missing, granted)).into_iter().collect();
    match workspaces::compare(&spec.workspaces, accepted) {
        Compared::Reached => {}
        Compared::Missing(text) if spec.on_missing == Policy::Block => {
            return Judgement::new(Reason::WorkspacesMissing, text);
        }
        Compared::Missing(text) => lacks.push(text),
        // A missing scope, of which people chose to be warned alone, is why.
        Compared::Unknown(_) if !workspaces::may_be_asked(accepted) => {
            lacks.push("So nobody can tell whether it reaches the workspaces of spec.workspaces.".to_owned());
        }
        Compared::Unknown(why) => {
            return Judgement::new(
                Reason::ScopesNotReported,
                format!(
                    "Bitbucket accepts the token, but did not say which workspaces it reaches ({why}). {stays} It is asked again by itself."
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

/// Names every missing scope and what breaks without it, and look-alikes that may have been taken for it.
fn missing_text(missing: &BTreeSet<Scope>, granted: &BTreeSet<Scope>) -> String {
    let one = |scope: &Scope| {
        let buys = scope.buys().map(|buys| format!(" (to {buys})")).unwrap_or_default();
        let near = scopes::near_miss(scope, granted)
            .map(|near| format!(", which {near} does not include"))
            .unwrap_or_default();
        format!("{scope}{buys}{near}")
    };
    let named: Vec<_> = missing.iter().map(one).collect();
    format!(
        "The token lacks {}. Scopes of a token can't be changed: create a new one with them (id.atlassian.com, Security, API tokens, Create API token with scopes) and put it into the Secret.",
        named.join("; ")
    )
}

fn list(scopes: &BTreeSet<Scope>) -> String {
    scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{super::verdict::Reach, *};
    use serde_json::json;

    fn spec(scopes: serde_json::Value) -> ConnectionSpec {
        let raw = json!({
            "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78",
            "secretRef": {"name": "bitbucket-token"},
            "scopes": scopes,
        });
        super::super::spec::validate("payments", &serde_json::from_value(raw).expect("a spec")).expect("a good spec")
    }

    fn asked(verdict: Verdict) -> Token {
        let credentials =
            super::super::credential::Credentials::parse("bot@example.com", "token").expect("good values");
        let owner = super::super::ownership::OwnerId::new("cluster").expect("good id");
        Token::Asked { verdict, fingerprint: credentials.fingerprint(&owner), email: "bot@example.com".to_owned() }
    }

    fn with_scopes(header: &str) -> Token {
        asked(Verdict::Accepted(Accepted { granted: Some(scopes::parse_header(header)), ..Accepted::default() }))
    }

    #[test]
    fn what_may_reach_the_kms() {
        use Push::*;
        use Reason::*;
        let use_case = || json!({"additional": ["read:repository:bitbucket"]});
        let with = |change: serde_json::Value| {
            let mut scopes = use_case();
            scopes.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            scopes
        };
        let (exact, more, less, blind) = (
            "read:user, read:repository",
            "read:user, read:repository, write:repository",
            "read:user, write:repository",
            "read:repository",
        );
        let table = [
            (with_scopes(exact), use_case(), AllGranted, Allowed),
            (with_scopes(more), use_case(), WarnOnly, Allowed),
            (with_scopes(more), with(json!({"onExcess": "Block"})), ScopesExcess, Refused),
            (with_scopes(less), use_case(), ScopesMissing, Refused),
            (with_scopes(less), with(json!({"onMissing": "Warn"})), WarnOnly, Allowed),
            (with_scopes(blind), with(json!({"onMissing": "Warn"})), ScopesMissing, Refused),
            (asked(Verdict::Accepted(Accepted::default())), use_case(), ScopesNotReported, Undecided),
            (
                asked(Verdict::Accepted(Accepted::default())),
                with(json!({"onMissing": "Warn"})),
                ScopesNotReported,
                Allowed,
            ),
            (asked(Verdict::Refused(Refusal::AppPassword)), use_case(), NotEvaluated, Refused),
            (asked(Verdict::Unknown(NoVerdict::Forbidden)), use_case(), NotEvaluated, Undecided),
            (Token::NoSecret, use_case(), NotEvaluated, Nothing),
            (Token::NoKey("email".to_owned()), use_case(), NotEvaluated, Nothing),
            (Token::Invalid(CredentialProblem::NotAnEmail), use_case(), NotEvaluated, Refused),
        ];
        for (token, scopes, reason, push) in table {
            let spec = spec(scopes);
            assert_eq!(scopes_sufficient(&token, &spec).reason, reason, "{token:?}");
            assert_eq!(token.push(&spec), push, "{token:?}");
        }
    }

    #[test]
    fn workspaces_are_needed_as_scopes_are() {
        use Push::*;
        use Reason::*;
        let known = |slugs: &[&str]| Reach::Known(slugs.iter().map(|slug| (*slug).to_owned()).collect());
        let unknown = || Reach::Unknown(NoVerdict::Unavailable("HTTP 503".to_owned()));
        let (exact, more, less) = ("read:user, read:workspace", "read:user, read:workspace, read:issue", "read:user");
        let table = [
            (exact, known(&["a", "b"]), "Block", "Warn", AllGranted, Allowed),
            (exact, known(&["b"]), "Block", "Warn", WorkspacesMissing, Refused),
            (exact, known(&[]), "Block", "Warn", WorkspacesMissing, Refused),
            (exact, known(&[]), "Warn", "Warn", WarnOnly, Allowed),
            (exact, unknown(), "Block", "Warn", ScopesNotReported, Undecided),
            (exact, unknown(), "Warn", "Warn", ScopesNotReported, Allowed),
            (exact, Reach::NotAsked, "Block", "Warn", ScopesNotReported, Undecided),
            (more, known(&[]), "Block", "Block", ScopesExcess, Refused),
            (more, known(&[]), "Block", "Warn", WorkspacesMissing, Refused),
            (less, Reach::NotAsked, "Block", "Warn", ScopesMissing, Refused),
            (less, Reach::NotAsked, "Warn", "Warn", WarnOnly, Allowed),
        ];
        for (granted, reach, on_missing, on_excess, reason, push) in table {
            let mut spec = spec(json!({
                "additional": ["read:workspace:bitbucket"], "onMissing": on_missing, "onExcess": on_excess,
            }));
            spec.workspaces = ["a".to_owned()].into();
            let granted = Some(scopes::parse_header(granted));
            let token = asked(Verdict::Accepted(Accepted { granted, reach, ..Accepted::default() }));
            let judgement = scopes_sufficient(&token, &spec);
            assert_eq!((judgement.reason, token.push(&spec)), (reason, push), "{token:?} {}", judgement.message);
        }
    }

    #[test]
    fn every_missing_scope_is_named_with_what_breaks_and_what_looks_like_it() {
        let spec = spec(json!({"useCases": ["SecretScanning"]}));
        let message =
            scopes_sufficient(&with_scopes("read:account, read:workspace, read:repository, write:webhook"), &spec)
                .message;
        for words in [
            "read:user:bitbucket (to identify the account), which read:account:bitbucket does not include",
            "delete:webhook:bitbucket (to remove webhooks when they are no longer needed)",
            "read:webhook:bitbucket (to see webhooks), which write:webhook:bitbucket does not include",
        ] {
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn expiry_explains_only_what_is_not_explained() {
        let keys = spec(json!({"useCases": ["SecretScanning"]})).secret;
        let reason = |refusal, expired| credentials_valid(&asked(Verdict::Refused(refusal)), &keys, expired).reason;
        assert_eq!(reason(Refusal::InvalidOrExpired, false), Reason::CredentialsRejected);
        assert_eq!(reason(Refusal::InvalidOrExpired, true), Reason::TokenExpired);
        assert_eq!(reason(Refusal::NoBitbucketScopes, true), Reason::CredentialsRejected);
        assert_eq!(reason(Refusal::Dead, false), Reason::CredentialsRejected);
        assert_eq!(reason(Refusal::Dead, true), Reason::TokenExpired);
        assert_eq!(reason(Refusal::WrongEmail(None), true), Reason::CredentialsRejected, "it lives");
    }

    #[test]
    fn the_owner_of_a_token_is_named_where_it_is_known() {
        let keys = spec(json!({"useCases": ["SecretScanning"]})).secret;
        let message = |account: Option<Account>| {
            credentials_valid(&asked(Verdict::Refused(Refusal::WrongEmail(account))), &keys, false).message
        };
        let account = |username: Option<&str>, shown: Option<&str>| {
            Some(Account {
                username: username.map(str::to_owned),
                display_name: shown.map(str::to_owned),
                ..Account::default()
            })
        };
        for (account, words) in [
            (account(Some("bot"), Some("The Bot")), "the account bot (The Bot), whose"),
            (account(Some("bot"), Some("bot")), "the account bot, whose"),
            (account(Some("bot"), None), "the account bot, whose"),
            (account(None, Some("The Bot")), "the account The Bot, whose"),
            (account(None, None), "another account, whose"),
            (None, "another account, whose"),
        ] {
            assert!(message(account).contains(words), "{words}");
        }
    }

    #[test]
    fn kinds_of_tokens_are_told_in_words() {
        let keys = spec(json!({"useCases": ["SecretScanning"]})).secret;
        let told = |verdict| credentials_valid(&asked(verdict), &keys, false);
        for (kind, words) in [
            ("repo_access_token", "an access token of a repository (repo_access_token)"),
            ("project_access_token", "an access token of a project (project_access_token)"),
            ("workspace_access_token", "an access token of a workspace (workspace_access_token)"),
            ("apppassword", "an app password (apppassword)"),
            ("new_thing", "new_thing"),
        ] {
            let accepted = Accepted { foreign_credential_type: Some(kind.to_owned()), ..Accepted::default() };
            let accepted = told(Verdict::Accepted(accepted));
            assert_eq!(accepted.reason, Reason::Authenticated);
            assert!(accepted.message.contains(&format!("calls it {words}, not api_token")), "{}", accepted.message);
            let refused = told(Verdict::Refused(Refusal::NotAnApiToken(Some(kind.to_owned()))));
            assert_eq!(refused.reason, Reason::CredentialsRejected);
            assert!(refused.message.contains(&format!("it is {words}. ")), "{}", refused.message);
        }
    }
}
