//! What CredentialsValid, ScopesSufficient and ExpiringSoon say.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Example, asked, every_variant, judged, spec, spec_of, values};
use crate::domain::{
    conditions::types,
    credential::CredentialProblem,
    duration::Span,
    expiry::{self, Advice, Declared, ExpirySource},
    place::Place,
    scopes,
    token::{self, Token},
    verdict::{Accepted, Account, NoVerdict, Reach, Refusal, Verdict},
};

/// What can be wrong with the values of a Secret.
fn problems() -> Vec<(&'static str, CredentialProblem)> {
    vec![
        ("a user name", CredentialProblem::NotAnEmail),
        ("Git's user name", CredentialProblem::GitUserName),
        ("a long e-mail", CredentialProblem::EmailTooLong),
        ("white space for a token", CredentialProblem::TokenEmpty),
        ("a long token", CredentialProblem::TokenTooLong),
        ("two words for a token", CredentialProblem::TokenNotOneWord),
    ]
}

/// Why Bitbucket refuses.
fn refusals() -> Vec<(&'static str, Refusal)> {
    let account = |username: Option<&str>, shown: Option<&str>| {
        let (username, display_name) = (username.map(str::to_owned), shown.map(str::to_owned));
        Refusal::WrongEmail(Some(Account { username, display_name, ..Account::default() }))
    };
    let kind = |kind: &str| Refusal::NotAnApiToken(Some(kind.to_owned()));
    vec![
        ("a dead token", Refusal::Dead),
        ("an unexplained refusal", Refusal::InvalidOrExpired),
        ("another account's token", account(Some("ada"), None)),
        ("another account's token, without a name", Refusal::WrongEmail(None)),
        ("an alias", Refusal::NotARegisteredEmail),
        ("the wrong button", Refusal::NoBitbucketScopes),
        ("an access token", kind("repo_access_token")),
        ("an unknown kind of token", Refusal::NotAnApiToken(None)),
        ("a new kind of token", kind("shiny_token")),
        ("an app password", Refusal::AppPassword),
    ]
}

/// Why there is no verdict.
fn no_verdicts() -> Vec<(&'static str, NoVerdict)> {
    vec![
        ("an outage of Bitbucket", NoVerdict::Unavailable("HTTP 503".to_owned())),
        ("an allow list", NoVerdict::Forbidden),
        ("Bitbucket's limit", NoVerdict::RateLimited { retry_after: None }),
        ("our own limit for Bitbucket", NoVerdict::NotYet { wait: Duration::from_secs(60) }),
    ]
}

fn accepted(foreign: Option<&str>) -> Token {
    let granted = Some(spec().required);
    let foreign_credential_type = foreign.map(str::to_owned);
    asked(Verdict::Accepted(Accepted { granted, foreign_credential_type, ..Accepted::default() }))
}

fn tokens() -> Vec<(&'static str, Token)> {
    let fixed = [
        ("a good token", accepted(None)),
        ("a good token of another kind", accepted(Some("workspace_access_token"))),
        ("no Secret", Token::NoSecret),
        ("no key", Token::NoKey("token".to_owned())),
    ];
    let invalid = problems().into_iter().map(|(case, problem)| (case, Token::Invalid(problem)));
    let refused = refusals().into_iter().map(|(case, refusal)| (case, asked(Verdict::Refused(refusal))));
    let unknown = no_verdicts().into_iter().map(|(case, why)| (case, asked(Verdict::Unknown(why))));
    fixed.into_iter().chain(invalid).chain(refused).chain(unknown).collect()
}

/// What CredentialsValid says.
pub fn credentials() -> Vec<Example> {
    let keys = spec().secret;
    let mut all: Vec<_> =
        tokens().iter().map(|(case, token)| (*case, token::credentials_valid(token, &keys, false))).collect();
    let dead = asked(Verdict::Refused(Refusal::Dead));
    all.push(("an expired token", token::credentials_valid(&dead, &keys, true)));
    judged(types::CREDENTIALS_VALID, all)
}

/// What ScopesSufficient says.
pub fn scopes() -> Vec<Example> {
    const EXACT: &str = "read:user, read:workspace, read:repository, read:webhook, write:webhook, delete:webhook";
    const LOOK_ALIKE: &str =
        "read:account, read:workspace, read:repository, read:webhook, write:webhook, delete:webhook";
    const LESS: &str = "read:user, read:workspace, read:repository, read:webhook, write:webhook";
    const BLIND: &str = "read:user, read:repository, read:webhook, write:webhook, delete:webhook";
    const MORE: &str =
        "read:user, read:workspace, read:repository, read:webhook, write:webhook, delete:webhook, admin:repository";
    let slugs = |slugs: &[&str]| Reach::Known(slugs.iter().map(|slug| (*slug).to_owned()).collect());
    let (block, warn) = (json!({}), json!({"onMissing": "Warn"}));
    let no_excess = json!({"onExcess": "Block"});
    let unreached = || Reach::Unknown(NoVerdict::Unavailable("HTTP 503".to_owned()));
    let here: &[&str] = &["hanzo-payments"];
    let both: &[&str] = &["hanzo-payments", "hanzo-web"];
    let none: &[&str] = &[];
    // case, scopes of the token, spec.scopes, spec.workspaces, what the token reaches
    let table = [
        ("exact scopes", Some(EXACT), &block, none, Reach::NotAsked),
        ("scopes in excess", Some(MORE), &block, none, Reach::NotAsked),
        ("a scope that is missing, with a warning", Some(LESS), &warn, none, Reach::NotAsked),
        ("a workspace out of reach, with a warning", Some(EXACT), &warn, here, slugs(&[])),
        ("reach that can't be told, with a warning", Some(BLIND), &warn, here, Reach::NotAsked),
        ("a scope that is missing", Some(LOOK_ALIKE), &block, none, Reach::NotAsked),
        ("scopes in excess, blocked", Some(MORE), &no_excess, none, Reach::NotAsked),
        ("a workspace out of reach", Some(EXACT), &block, here, slugs(&[])),
        ("two workspaces out of reach", Some(EXACT), &block, both, slugs(&["hanzo-docs"])),
        ("scopes not reported", None, &block, none, Reach::NotAsked),
        ("scopes not reported, with a warning", None, &warn, none, Reach::NotAsked),
        ("reach not reported", Some(EXACT), &block, here, unreached()),
        (
            "reach that waits for its turn",
            Some(EXACT),
            &block,
            here,
            Reach::Unknown(NoVerdict::NotYet { wait: Duration::from_secs(60) }),
        ),
        ("reach forbidden", Some(EXACT), &block, here, Reach::Unknown(NoVerdict::Forbidden)),
        ("reach limited", Some(EXACT), &warn, here, Reach::Unknown(NoVerdict::RateLimited { retry_after: None })),
    ];
    let told = |(case, granted, policy, workspaces, reach): (&'static str, Option<&str>, &Value, _, _)| {
        let mut scopes = json!({"useCases": ["SecretScanning"]});
        let fields = scopes.as_object_mut().expect("an object");
        fields.extend(policy.as_object().cloned().unwrap_or_default());
        let spec = spec_of(&json!({"scopes": scopes, "workspaces": workspaces}));
        let granted = granted.map(scopes::parse_header);
        let token = asked(Verdict::Accepted(Accepted { granted, reach, ..Accepted::default() }));
        (case, token::scopes_sufficient(&token, &spec))
    };
    let mut all: Vec<_> = table.into_iter().map(told).collect();
    let every = spec_of(&json!({"scopes": {"useCases": ["SecretScanning", "SecretSync", "CodeReview"]}}));
    let nothing = asked(Verdict::Accepted(Accepted { granted: Some([].into()), ..Accepted::default() }));
    all.push(("all scopes missing", token::scopes_sufficient(&nothing, &every)));
    all.push(("scopes of a refused token", token::scopes_sufficient(&asked(Verdict::Refused(Refusal::Dead)), &spec())));
    judged(types::SCOPES_SUFFICIENT, all)
}

/// What ExpiringSoon says on 2026-03-01 of a token that was seen that day first.
pub fn expiry() -> Vec<Example> {
    let today = "2026-03-01T00:00:00Z".parse().expect("a time");
    let keys = spec().secret;
    let of = |declared: Declared<'_>, contact| {
        let advice = Advice { place: (&keys).into(), contact };
        expiry::outlook(expiry::determine(declared, today), &[Span::from_days(30)], today, &advice).judgement
    };
    let secret = |date| of(Declared { secret: Some(date), ..Declared::default() }, None);
    let annotation = |date| of(Declared { annotation: Some(date), ..Declared::default() }, None);
    let in_spec = |date| of(Declared { spec: Some(date), ..Declared::default() }, None);
    let inferred = expiry::determine(Declared::default(), "2025-03-10T00:00:00Z".parse().expect("a time"));
    let advice = Advice { place: (&keys).into(), contact: Some("#team-a") };
    let all = vec![
        ("a date that is far away", secret("2027-02-01")),
        ("a date that nobody wrote", of(Declared::default(), None)),
        ("a date that is near", secret("2026-03-20")),
        (
            "a date that is near, with a contact",
            of(Declared { secret: Some("2026-03-20"), ..Declared::default() }, Some("#team-a")),
        ),
        (
            "a date that is near, and that nobody wrote",
            expiry::outlook(inferred, &[Span::from_days(30)], today, &advice).judgement,
        ),
        ("a date that has passed", in_spec("2026-02-01")),
        ("a date that can't be read", secret("01.03.2027")),
        ("an annotation that can't be read", annotation("soon")),
        ("a date in the spec that can't be read", in_spec("soon")),
    ];
    judged(types::EXPIRING_SOON, all)
}

#[test]
fn every_kind_of_token_is_told() {
    every_variant!(
        CredentialProblem,
        values(problems()),
        CredentialProblem::GitUserName,
        CredentialProblem::NotAnEmail,
        CredentialProblem::EmailTooLong,
        CredentialProblem::TokenEmpty,
        CredentialProblem::TokenTooLong,
        CredentialProblem::TokenNotOneWord,
    );
    every_variant!(
        Refusal,
        values(refusals()),
        Refusal::InvalidOrExpired,
        Refusal::WrongEmail(Some(_)),
        Refusal::WrongEmail(None),
        Refusal::Dead,
        Refusal::NotARegisteredEmail,
        Refusal::NoBitbucketScopes,
        Refusal::NotAnApiToken(Some(_)),
        Refusal::NotAnApiToken(None),
        Refusal::AppPassword,
    );
    every_variant!(
        NoVerdict,
        values(no_verdicts()),
        NoVerdict::Unavailable(_),
        NoVerdict::Forbidden,
        NoVerdict::RateLimited { .. },
        NoVerdict::NotYet { .. },
    );
    // What was refused before says what it said then.
    let before = Token::RefusedBefore {
        judgement: token::credentials_valid(&Token::NoSecret, &spec().secret, false),
        fingerprint: match accepted(None) {
            Token::Asked { fingerprint, .. } => fingerprint,
            _ => unreachable!("it was asked about"),
        },
        email: String::new(),
    };
    every_variant!(
        Token,
        values(tokens()).chain([before]),
        Token::NoSecret,
        Token::NoKey(_),
        Token::Invalid(_),
        Token::Asked { verdict: Verdict::Accepted(_), .. },
        Token::Asked { verdict: Verdict::Refused(_), .. },
        Token::Asked { verdict: Verdict::Unknown(_), .. },
        Token::RefusedBefore { .. },
    );
}

#[test]
fn every_source_of_an_end_is_told() {
    let told: String = expiry().into_iter().map(|example| example.message).collect();
    for source in ExpirySource::ALL {
        let place = Place::from(&spec().secret).expiry(source);
        assert!(told.to_lowercase().contains(&place.to_lowercase()), "{place}");
    }
}
