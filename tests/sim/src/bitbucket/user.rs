//! Who is this token, and what may it do?

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::token::{State, Token};
use super::{error_body, gone};
use crate::front::Answer;
use crate::journal::{Auth, Entry};

const INVALID: &str = "Token is invalid, expired, or not supported for this endpoint.";
const NOT_AN_EMAIL: &str = "API token must be used with an atlassian registered email";

/// The token that a request stands for, or why it is refused.
pub(super) fn authenticate<'a>(tokens: &'a HashMap<String, Arc<Token>>, auth: &Auth) -> Result<&'a Arc<Token>, Answer> {
    let refuse = |status, message| Err(Answer::json(status, &error_body(status, message)));
    let (email, secret) = match auth {
        Auth::Basic { email, token } => (Some(email), token),
        Auth::Bearer(token) => (None, token),
        Auth::None | Auth::Other(_) => {
            return refuse(401, "Authentication required.");
        }
    };
    let Some(token) = tokens.get(secret) else {
        return refuse(401, INVALID);
    };
    match &token.state {
        State::Good | State::Forbidden => {}
        State::Revoked => return refuse(401, INVALID),
        State::RevokedBareString => {
            return Err(Answer::json(401, &json!({"type": "error", "error": INVALID})));
        }
        State::NoBitbucketScopes => {
            return refuse(401, "API Token provided has no Bitbucket scopes");
        }
        State::NotRegisteredEmail => return refuse(401, NOT_AN_EMAIL),
        State::BearerOnly if email.is_some() => return refuse(401, INVALID),
        State::BearerOnly => {}
        State::IpBlocked => {
            return refuse(403, "Your IP address is not on the allow list of this workspace.");
        }
        State::WrongMechanism => {
            return refuse(403, "This API is not accessible by this authentication mechanism");
        }
        State::AppPassword(status) => {
            return refuse(
                *status,
                "App passwords are no longer supported. See CHANGE-3222 in the changelog: \
                 https://developer.atlassian.com/cloud/bitbucket/changelog/#CHANGE-3222",
            );
        }
        State::EndpointGone => return Err(Answer::json(410, &gone())),
        State::Custom(status, body) => return Err(Answer::json(*status, body)),
    }
    // Atlassian ignores the case of e-mail addresses.
    match email {
        Some(email) if !email.contains('@') => refuse(401, NOT_AN_EMAIL),
        Some(email) if !email.eq_ignore_ascii_case(&token.email) => refuse(401, INVALID),
        _ => Ok(token),
    }
}

/// `GET /2.0/user`.
pub(super) fn user(token: &Token) -> Answer {
    if let Err(refusal) = allow(token, "read:user:bitbucket", "account") {
        return refusal;
    }
    let account = &token.account;
    let id = account.uuid.trim_matches(['{', '}']);
    let body = json!({
        "type": "user",
        "uuid": account.uuid,
        "username": account.username,
        "nickname": account.username,
        "display_name": account.display_name,
        "account_id": format!("712020:{id}"),
        "account_status": "active",
        "created_on": "2021-06-01T08:00:00.000000+00:00",
        "has_2fa_enabled": null,
        "is_staff": false,
        "links": {"html": {"href": format!("https://bitbucket.org/{}/", account.uuid)}},
        "futureField": {"a": 1},
    });
    describe(Answer::json(200, &body), token, "account")
}

/// `GET /2.0/user/workspaces`, paged.
pub(super) fn workspaces(token: &Token, request: &Entry, origin: &str) -> Answer {
    if let Err(refusal) = allow(token, "read:workspace:bitbucket", "account") {
        return refusal;
    }
    let number = |name| request.query(name).and_then(|text| text.parse::<usize>().ok()).filter(|n| *n > 0);
    let length = number("pagelen").unwrap_or(10).min(100);
    let page = number("page").unwrap_or(1);
    let values: Vec<Value> = token
        .workspaces
        .iter()
        .skip((page - 1).saturating_mul(length))
        .take(length)
        .map(|slug| {
            json!({
                "type": "workspace_access",
                "administrator": false,
                "workspace": {"type": "workspace_base", "slug": slug},
            })
        })
        .collect();
    let mut body = json!({
        "values": values, "page": page, "pagelen": length, "size": token.workspaces.len(),
    });
    if page.saturating_mul(length) < token.workspaces.len() {
        let next = page + 1;
        body["next"] = json!(format!("{origin}/2.0/user/workspaces?pagelen={length}&page={next}"));
    }
    describe(Answer::json(200, &body), token, "account")
}

/// Refuses a token that lacks `required`, as Bitbucket does: the answer still tells what is granted.
fn allow(token: &Token, required: &str, classic: &str) -> Result<(), Answer> {
    let refusal = if token.state == State::Forbidden {
        error_body(403, "You do not have access to this resource.")
    } else if token.scopes.iter().any(|scope| scope == required) {
        return Ok(());
    } else {
        json!({"type": "error", "error": {
            "message": "Your credentials lack one or more required privilege scopes.",
            "detail": {"required": [required], "granted": token.scopes},
        }})
    };
    Err(describe(Answer::json(403, &refusal), token, classic))
}

/// The headers that describe a token. `x-accepted-oauth-scopes` speaks the classic vocabulary.
fn describe(mut answer: Answer, token: &Token, classic: &str) -> Answer {
    if !token.hide_scopes {
        let joined = token.scopes.join(", ");
        let header = token.scopes_header.as_deref().unwrap_or(&joined);
        answer = answer.header("x-oauth-scopes", header);
    }
    answer
        .header("x-accepted-oauth-scopes", classic)
        .header("x-credential-type", &token.credential_type)
        .header("x-token-id", &token.token_id)
}
