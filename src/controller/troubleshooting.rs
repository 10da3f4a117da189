//! docs/troubleshooting.md tells failures in the operator's own words. Here these words are made, and compared.

use serde_json::json;

use super::errors;
use crate::{
    domain::{
        conditions::{Judgement, Says, types},
        connection::KmsConnection,
        credential::{CredentialProblem, Credentials},
        duration::Span,
        expiry::{self, Advice, Declared},
        ownership::{Owner, OwnerId, Ownership},
        plan::{self, Remote, Wanted},
        spec::{ConnectionSpec, DeletionPolicy, InstanceRef},
        token::{self, Token},
        verdict::{Accepted, Account, NoVerdict, Reach, Refusal, Verdict},
    },
    kms::{KmsError, LoginError},
};

const DOC: &str = include_str!("../../docs/troubleshooting.md");

fn spec() -> ConnectionSpec {
    let raw = json!({
        "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78",
        "secretRef": {"name": "bitbucket-token"},
        "scopes": {"useCases": ["SecretScanning"], "onExcess": "Block"},
    });
    crate::domain::spec::validate("payments", &serde_json::from_value(raw).expect("a spec")).expect("a good spec")
}

fn owner_id() -> OwnerId {
    OwnerId::new("cluster").expect("a good id")
}

fn asked(verdict: Verdict) -> Token {
    let credentials = Credentials::parse("bot@example.com", "token").expect("good values");
    Token::Asked { verdict, fingerprint: credentials.fingerprint(&owner_id()), email: "bot@example.com".to_owned() }
}

fn connection() -> KmsConnection {
    let owner = Owner::of(&owner_id(), "team-a", "payments");
    KmsConnection {
        id: "11111111-1111-4111-8111-111111111111".to_owned(),
        name: "payments".to_owned(),
        description: crate::domain::ownership::describe("", &owner, crate::domain::ownership::Origin::Created),
        app: "bitbucket".to_owned(),
        org_id: None,
        project_id: spec().scope.project_id().map(str::to_owned),
        email: None,
        credentials_hash: None,
        updated_at: None,
    }
}

/// What `CredentialsValid` says.
fn credentials(token: &Token, expired: bool) -> (&'static str, Judgement) {
    (types::CREDENTIALS_VALID, token::credentials_valid(token, &spec().secret, expired))
}

fn refused(refusal: Refusal) -> (&'static str, Judgement) {
    credentials(&asked(Verdict::Refused(refusal)), false)
}

fn unknown(verdict: NoVerdict) -> (&'static str, Judgement) {
    credentials(&asked(Verdict::Unknown(verdict)), false)
}

/// What `ScopesSufficient` says of a token with these scopes.
fn scopes(granted: Option<&str>) -> (&'static str, Judgement) {
    let granted = granted.map(crate::domain::scopes::parse_header);
    let token = asked(Verdict::Accepted(Accepted { granted, ..Accepted::default() }));
    (types::SCOPES_SUFFICIENT, token::scopes_sufficient(&token, &spec()))
}

/// What `ScopesSufficient` says of a token that sees nothing.
fn out_of_reach() -> (&'static str, Judgement) {
    let mut spec = spec();
    spec.workspaces = ["hanzo-payments".to_owned()].into();
    let granted = Some(spec.required.clone());
    let token = asked(Verdict::Accepted(Accepted { granted, reach: Reach::Known([].into()), ..Accepted::default() }));
    (types::SCOPES_SUFFICIENT, token::scopes_sufficient(&token, &spec))
}

/// What `Synced` says while the Secret holds a refused token.
fn planned(remote: &Remote) -> (&'static str, Judgement) {
    let wanted = Wanted {
        spec: &spec(),
        owner: &Owner::of(&owner_id(), "team-a", "payments"),
        token: &asked(Verdict::Refused(Refusal::Dead)),
        recorded: None,
        spec_changed: false,
        secret_changed: true,
        adoption_granted: false,
        lost: &[],
        finalizer: true,
    };
    (types::SYNCED, plan::plan(&wanted, remote).synced)
}

fn instance() -> InstanceRef {
    spec().kms_ref
}

fn kms(error: &KmsError) -> (&'static str, Judgement) {
    (types::SYNCED, errors::synced(error, &instance(), &spec().scope))
}

/// What `ExpiringSoon` says on 2026-03-01 of a token that was seen that day first.
fn expiry(declared: Option<&str>) -> (&'static str, Judgement) {
    let today = "2026-03-01T00:00:00Z".parse().expect("a time");
    let expiry = expiry::determine(Declared { secret: declared, ..Declared::default() }, today);
    let spec = spec();
    let advice = Advice { place: (&spec.secret).into(), contact: None };
    (types::EXPIRING_SOON, expiry::outlook(expiry, &[Span::from_days(30)], today, &advice).judgement)
}

/// All that is told in the document, in its order.
fn stories() -> Vec<(&'static str, (&'static str, Judgement))> {
    let account = Account { username: Some("ada".to_owned()), ..Account::default() };
    let in_use = errors::synced(&KmsError::InUse, &instance(), &spec().scope);
    let deletion = plan::deletion(Some(DeletionPolicy::Delete), None, &Remote::Unreadable(in_use));
    vec![
        ("no-secret", credentials(&Token::NoSecret, false)),
        ("no-key", credentials(&Token::NoKey("token".to_owned()), false)),
        ("user-name", credentials(&Token::Invalid(CredentialProblem::NotAnEmail), false)),
        ("git-user-name", credentials(&Token::Invalid(CredentialProblem::GitUserName), false)),
        ("two-words", credentials(&Token::Invalid(CredentialProblem::TokenNotOneWord), false)),
        ("dead", refused(Refusal::Dead)),
        ("expired", credentials(&asked(Verdict::Refused(Refusal::Dead)), true)),
        ("wrong-email", refused(Refusal::WrongEmail(Some(account)))),
        ("alias", refused(Refusal::NotARegisteredEmail)),
        ("wrong-button", refused(Refusal::NoBitbucketScopes)),
        ("access-token", refused(Refusal::NotAnApiToken(Some("repo_access_token".to_owned())))),
        ("app-password", refused(Refusal::AppPassword)),
        ("unexplained", refused(Refusal::InvalidOrExpired)),
        (
            "scope-missing",
            scopes(Some("read:account, read:workspace, read:repository, read:webhook, write:webhook, delete:webhook")),
        ),
        (
            "scope-excess",
            scopes(Some(
                "read:user, read:workspace, read:repository, read:webhook, write:webhook, delete:webhook, admin:repository",
            )),
        ),
        ("not-reported", scopes(None)),
        ("workspace", out_of_reach()),
        ("ip-blocked", unknown(NoVerdict::Forbidden)),
        ("rate-limited", unknown(NoVerdict::RateLimited { retry_after: None })),
        ("unavailable", unknown(NoVerdict::Unavailable("HTTP 503".to_owned()))),
        ("not-pushed", planned(&Remote::Ours(connection()))),
        ("kms-refused", kms(&KmsError::CredentialsRefused { status: 401 })),
        ("name-taken", planned(&Remote::NameTaken)),
        ("mark-missing", planned(&Remote::NotOurs(connection(), Ownership::Unmarked))),
        ("kms-permission", kms(&KmsError::PermissionDenied { action: "create".to_owned() })),
        ("unknown-project", kms(&KmsError::UnknownProject)),
        (
            "instance",
            kms(&KmsError::Login(LoginError::InvalidCredentials {
                method: crate::domain::login::AuthMethod::Universal,
            })),
        ),
        ("deletion-blocked", (types::SYNCED, deletion.synced)),
        ("expiry-invalid", expiry(Some("01.03.2027"))),
        ("inferred", expiry(None)),
    ]
}

/// A condition as the document shows it.
fn shown((kind, judgement): &(&'static str, Judgement)) -> String {
    let (status, reason) = (judgement.status().as_str(), judgement.reason());
    format!("- **Here:** `{kind}={status}`, `{reason}`:\n  > {}\n", judgement.message)
}

#[test]
fn the_document_has_the_words_of_the_code() {
    let stories = stories();
    for (name, condition) in &stories {
        let shown = shown(condition);
        assert!(DOC.contains(&shown), "docs/troubleshooting.md lacks the words of {name}; write there:\n{shown}");
    }
    let told = DOC.lines().filter(|line| line.starts_with("- **Here:**")).count();
    assert_eq!(told, stories.len(), "each story is made here, or nobody sees when its words change");
}

#[test]
fn every_story_is_whole_and_can_be_found() {
    let anchor = |title: &str| {
        let kept = title.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>()
    };
    for story in DOC.split("\n### ").skip(1) {
        let title = story.lines().next().unwrap_or_default();
        for part in ["**In Bitbucket", "**Here:**", "**Cause:**", "**Next:**"] {
            assert!(story.contains(part), "{title} lacks {part}");
        }
        assert!(story.contains("in the KMS:**") || story.contains("**In the KMS:**"), "{title} lacks the KMS");
        assert!(DOC.contains(&format!("](#{})", anchor(title))), "nothing leads to {title}: #{}", anchor(title));
    }
    let titles: Vec<_> = DOC.lines().filter_map(|line| line.strip_prefix("### ")).map(anchor).collect();
    for link in DOC.split("](#").skip(1) {
        let target = link.split(')').next().unwrap_or_default();
        assert!(titles.iter().any(|title| title == target), "a link leads nowhere: #{target}");
    }
}
