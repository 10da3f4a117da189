use super::*;
use crate::domain::verdict::Reach;
use serde_json::json;

fn spec(scopes: serde_json::Value) -> ConnectionSpec {
    let raw = json!({
        "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78",
        "secretRef": {"name": "bitbucket-token"},
        "scopes": scopes,
    });
    crate::domain::spec::validate("payments", &serde_json::from_value(raw).expect("a spec")).expect("a good spec")
}

fn asked(verdict: Verdict) -> Token {
    let credentials = crate::domain::credential::Credentials::parse("bot@example.com", "token").expect("good values");
    let owner = crate::domain::ownership::OwnerId::new("cluster").expect("good id");
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
        (asked(Verdict::Accepted(Accepted::default())), with(json!({"onMissing": "Warn"})), ScopesNotReported, Allowed),
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
        scopes_sufficient(&with_scopes("read:account, read:workspace, read:repository, write:webhook"), &spec).message;
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
fn the_owner_of_a_token_is_named_at_a_terminal_and_in_no_condition() {
    let keys = spec(json!({"useCases": ["SecretScanning"]})).secret;
    let message = |place: Place<'_>, account: &Option<Account>| {
        validity(&Verdict::Refused(Refusal::WrongEmail(account.clone())), place, false).message
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
        assert!(message(Place::CommandLine, &account).contains(words), "{words}");
        let condition = message((&keys).into(), &account);
        assert!(!condition.contains("bot") && !condition.contains("Bot"), "{condition}");
        assert_eq!(condition.contains("(see status.account)"), words != "another account, whose", "{condition}");
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

#[test]
fn on_a_command_line_nobody_is_sent_to_a_cluster() {
    let place = Place::CommandLine;
    let refusals = [
        Refusal::InvalidOrExpired,
        Refusal::WrongEmail(None),
        Refusal::Dead,
        Refusal::NotARegisteredEmail,
        Refusal::NoBitbucketScopes,
        Refusal::NotAnApiToken(None),
        Refusal::AppPassword,
    ];
    let unknown = [
        NoVerdict::Unavailable("HTTP 503".to_owned()),
        NoVerdict::Forbidden,
        NoVerdict::RateLimited { retry_after: None },
    ];
    let verdicts = refusals.map(Verdict::Refused).into_iter().chain(unknown.map(Verdict::Unknown));
    let mut told: Vec<_> = verdicts
        .flat_map(|verdict| [false, true].map(|expired| validity(&verdict, place, expired)))
        .chain([CredentialProblem::NotAnEmail, CredentialProblem::TokenNotOneWord].map(|it| invalid(it, place)))
        .collect();
    let (required, workspaces) = (scopes::parse_header("read:user, read:workspace"), ["a".to_owned()].into());
    let known = |slugs: &[&str]| Reach::Known(slugs.iter().map(|slug| (*slug).to_owned()).collect());
    for on_excess in [Policy::Block, Policy::Warn] {
        let demands =
            Demands { required: &required, workspaces: &workspaces, on_missing: Policy::Block, on_excess, place };
        for granted in
            [None, Some("read:user"), Some("read:user, read:workspace"), Some("read:user, read:workspace, x")]
        {
            for reach in [known(&["a"]), known(&[]), Reach::Unknown(NoVerdict::Forbidden)] {
                let granted = granted.map(scopes::parse_header);
                told.push(sufficiency(&Accepted { granted, reach, ..Accepted::default() }, &demands));
            }
        }
    }
    for Judgement { reason, message } in told {
        for word in ["Secret", "spec.", "status.", "cluster", "by itself"] {
            assert!(!message.contains(word), "{word} in {}: {message}", reason.as_str());
        }
    }
}
