//! What an answer to `GET /user` says about a token. The texts are those of Bitbucket Cloud in 2026.

use std::collections::BTreeSet;

use ::http::HeaderMap;
use serde_json::Value;

use crate::{
    domain::{
        scopes::{self, SCOPES_MAX, Scope},
        verdict::{self, Accepted, Account, NoVerdict, Reach, Refusal, Verdict},
    },
    http::{self, Body},
};

/// Scopes of the token, in granular names. (`x-accepted-oauth-scopes` speaks the classic vocabulary: useless here.)
const SCOPES_HEADER: &str = "x-oauth-scopes";
/// What kind of credential Bitbucket saw.
const KIND_HEADER: &str = "x-credential-type";
/// The kind that connections want.
const API_TOKEN: &str = "api_token";
/// Names the end of app passwords, whatever the status.
const APP_PASSWORDS_ENDED: &str = "CHANGE-3222";
/// Longest value that is kept of an account, in characters.
const VALUE_MAX: usize = 200;

/// A body that is no JSON where only JSON says something.
pub(super) const NO_JSON: &str = "an answer that is no JSON";
/// JSON with status 200 that describes no user.
const NO_USER: &str = "an answer that describes no user";

/// Judges an answer. `secrets` are taken out of all that is kept of it: a server may echo what it was sent.
pub(super) fn judge(status: u16, headers: &HeaderMap, body: &Body, secrets: &[&str]) -> Verdict {
    let json: Option<Value> = body.parse().ok();
    // A good answer is searched in its error alone: an account may have any name.
    let telling = json.as_ref().and_then(|json| if status == 200 { json.get("error") } else { Some(json) });
    if telling.is_some_and(|json| any_text(json, &|text| text.contains(APP_PASSWORDS_ENDED))) {
        return Verdict::Refused(Refusal::AppPassword);
    }
    match (status, json, body) {
        (200, Some(json), _) => accepted(&json, headers, secrets),
        (401, Some(json), _) => Verdict::Refused(refusal(&json, headers, secrets).unwrap_or(Refusal::InvalidOrExpired)),
        (401, None, Body::Empty) => Verdict::Refused(Refusal::InvalidOrExpired),
        (403, json @ Some(_), _) | (403, json @ None, Body::Empty) => forbidden(json.as_ref(), headers, secrets),
        // A page in place of the API: a proxy's, or that of an outage.
        (200 | 401 | 403, None, _) => unavailable(NO_JSON),
        (429, ..) => Verdict::Unknown(NoVerdict::RateLimited { retry_after: http::retry_after(headers) }),
        (other, ..) => unavailable(&format!("HTTP {other}")),
    }
}

/// What an unexplained 401 meant, by the verdict on the same token without its e-mail.
pub(super) fn diagnose(without_email: Verdict) -> Refusal {
    match without_email {
        Verdict::Accepted(Accepted { foreign_credential_type: Some(kind), .. }) => of_kind(Some(kind)),
        Verdict::Accepted(Accepted { account, .. }) => Refusal::WrongEmail(account),
        Verdict::Refused(Refusal::InvalidOrExpired) => Refusal::Dead,
        Verdict::Refused(told @ (Refusal::NoBitbucketScopes | Refusal::NotAnApiToken(_) | Refusal::AppPassword)) => {
            told
        }
        // What is asked for here is an answer without an e-mail; words about e-mails are none.
        Verdict::Refused(Refusal::NotARegisteredEmail | Refusal::WrongEmail(_) | Refusal::Dead)
        | Verdict::Unknown(_) => Refusal::InvalidOrExpired,
    }
}

/// A credential that is no API token.
fn of_kind(kind: Option<String>) -> Refusal {
    match kind {
        Some(kind) if kind.eq_ignore_ascii_case(verdict::APP_PASSWORD) => Refusal::AppPassword,
        kind => Refusal::NotAnApiToken(kind),
    }
}

fn unavailable(what: &str) -> Verdict {
    Verdict::Unknown(NoVerdict::Unavailable(what.to_owned()))
}

fn accepted(json: &Value, headers: &HeaderMap, secrets: &[&str]) -> Verdict {
    let text = |key: &str| {
        let value = json.get(key)?.as_str()?.trim();
        (!value.is_empty()).then(|| http::line(value, VALUE_MAX, secrets))
    };
    if ["uuid", "account_id", "username", "nickname"].iter().all(|key| text(key).is_none()) {
        return unavailable(NO_USER);
    }
    let account = Account {
        uuid: text("uuid"),
        username: text("username").or_else(|| text("nickname")),
        display_name: text("display_name"),
    };
    Verdict::Accepted(Accepted {
        account: Some(account),
        // An empty header contradicts the 200, for which a scope was needed.
        granted: granted_in(headers, secrets).filter(|granted| !granted.is_empty()),
        foreign_credential_type: foreign_kind(headers, secrets),
        reach: Reach::NotAsked,
    })
}

/// 403 is a good token without `read:user:bitbucket`, a credential of another kind, or no word about the token at all.
fn forbidden(json: Option<&Value>, headers: &HeaderMap, secrets: &[&str]) -> Verdict {
    if let Some(refusal) = json.and_then(|json| refusal(json, headers, secrets)) {
        return Verdict::Refused(refusal);
    }
    let detail = json.and_then(|json| json.get("error")?.get("detail"));
    let list = |key: &str| detail.and_then(|detail| detail.get(key)?.as_array());
    let granted = match granted_in(headers, secrets) {
        Some(granted) if granted.contains(&Scope::read_user()) => None,
        Some(granted) => Some(Some(granted)),
        None => list("required").map(|_| {
            let of_list = |names: &Vec<Value>| {
                names.iter().filter_map(Value::as_str).filter_map(Scope::parse).take(SCOPES_MAX).collect()
            };
            list("granted").map(of_list).map(|granted| without(granted, secrets))
        }),
    };
    match granted {
        Some(granted) => Verdict::Accepted(Accepted {
            account: None,
            granted,
            foreign_credential_type: foreign_kind(headers, secrets),
            reach: Reach::NotAsked,
        }),
        None => Verdict::Unknown(NoVerdict::Forbidden),
    }
}

/// The reasons that Bitbucket gives in words; the same words come with 401 and 403.
fn refusal(json: &Value, headers: &HeaderMap, secrets: &[&str]) -> Option<Refusal> {
    let words = [
        ("no bitbucket scopes", Refusal::NoBitbucketScopes),
        ("registered email", Refusal::NotARegisteredEmail),
        ("not accessible by this authentication mechanism", of_kind(foreign_kind(headers, secrets))),
    ];
    let says = |words: &str| any_text(json, &|text| text.to_lowercase().contains(words));
    words.into_iter().find(|(words, _)| says(words)).map(|(_, refusal)| refusal)
}

/// Whether any string of a value passes: `error` and its `detail` may be texts, lists or objects.
fn any_text(value: &Value, passes: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => passes(text),
        Value::Array(values) => values.iter().any(|value| any_text(value, passes)),
        Value::Object(members) => members.values().any(|value| any_text(value, passes)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The scopes that the header lists; `None` without the header.
fn granted_in(headers: &HeaderMap, secrets: &[&str]) -> Option<BTreeSet<Scope>> {
    let mut values = headers.get_all(SCOPES_HEADER).iter().filter_map(|value| value.to_str().ok()).peekable();
    values.peek()?;
    Some(without(values.flat_map(scopes::parse_header).take(SCOPES_MAX).collect(), secrets))
}

/// Scopes without those that an echoing server made of a secret.
fn without(mut scopes: BTreeSet<Scope>, secrets: &[&str]) -> BTreeSet<Scope> {
    scopes.retain(|scope| http::mask(scope.as_str(), secrets) == scope.as_str());
    scopes
}

fn foreign_kind(headers: &HeaderMap, secrets: &[&str]) -> Option<String> {
    let kind = headers.get(KIND_HEADER)?.to_str().ok()?.trim();
    let foreign = !kind.is_empty() && !kind.eq_ignore_ascii_case(API_TOKEN);
    foreign.then(|| http::line(kind, 40, secrets))
}
