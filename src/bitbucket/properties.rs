//! What holds for every answer of Bitbucket, however odd.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    judge::{diagnose, judge},
    workspaces::page,
};
use crate::{
    domain::{
        names,
        place::Place,
        scopes::{SCOPES_MAX, UseCase, required},
        spec::Policy,
        token::{Demands, sufficiency, validity},
        verdict::{Accepted, Account, NoVerdict, Refusal, Verdict},
    },
    http::{
        Answer,
        properties::{SECRET, answer, assert_short_line, assert_silent},
    },
};

/// Names the end of app passwords, whatever the status.
const APP_PASSWORDS_ENDED: &str = "CHANGE-3222";
/// Longest value of an account.
const VALUE_MAX: usize = 200;

/// Judges an answer to `GET /user`, and reads it as a page of workspaces.
pub fn bitbucket_body(data: &[u8]) {
    let Some(answer) = answer(data) else { return };
    let verdict = judge(answer.status, &answer.headers, &answer.body, &[SECRET]);
    assert_silent(&format!("{verdict:?}"));
    match &verdict {
        Verdict::Accepted(accepted) => is_earned(accepted, &answer),
        Verdict::Refused(refusal) => {
            let told = matches!(answer.status, 401 | 403) || says(&answer, APP_PASSWORDS_ENDED);
            assert!(told, "{refusal:?} after {}", answer.status);
            is_short(refusal);
        }
        Verdict::Unknown(no_verdict) => is_about(no_verdict, answer.status),
    }
    is_told(&verdict);
    let diagnosis = diagnose(verdict);
    assert_silent(&format!("{diagnosis:?}"));
    is_told(&Verdict::Refused(diagnosis));
    match page(&answer, SECRET) {
        Ok(page) => {
            assert_eq!(answer.status, 200);
            assert!(page.slugs.iter().all(|slug| names::is_workspace_slug(slug)), "{:?}", page.slugs);
            assert_silent(&page.slugs.join(" "));
        }
        Err(no_verdict) => is_about(&no_verdict, answer.status),
    }
}

/// A good token has a user (200) or lacks the scope to tell (403), and no scope that Bitbucket didn't name.
fn is_earned(accepted: &Accepted, answer: &Answer) {
    match &accepted.account {
        Some(account) => {
            assert_eq!(answer.status, 200);
            is_short_account(account);
            assert!(accepted.granted.as_ref().is_none_or(|granted| !granted.is_empty()), "200 takes a scope");
        }
        None => assert_eq!(answer.status, 403),
    }
    if let Some(kind) = &accepted.foreign_credential_type {
        assert_short_line(kind, 40);
    }
    let granted = accepted.granted.iter().flatten();
    let named = named_scopes(answer);
    for scope in granted {
        let short = scope.as_str().strip_suffix(":bitbucket").unwrap_or(scope.as_str());
        assert!(named.contains(short) || named.contains(scope.as_str()), "{scope} is none of {named:?}");
    }
    assert!(accepted.granted.as_ref().is_none_or(|granted| granted.len() <= SCOPES_MAX));
}

/// All that Bitbucket can have meant: the words of the header, or, where there is none, of the list in the body.
fn named_scopes(answer: &Answer) -> BTreeSet<String> {
    let headers = answer.headers.get_all("x-oauth-scopes").iter().filter_map(|value| value.to_str().ok());
    let separates = |c: char| c == ',' || c.is_whitespace();
    let mut named: BTreeSet<String> = headers.flat_map(|value| value.split(separates)).map(str::to_owned).collect();
    if named.is_empty() {
        let json: Value = answer.body.parse().unwrap_or_default();
        let list = json["error"]["detail"]["granted"].as_array().cloned().unwrap_or_default();
        named.extend(list.iter().filter_map(Value::as_str).map(|name| name.trim().to_owned()));
    }
    named
}

fn is_short(refusal: &Refusal) {
    match refusal {
        Refusal::WrongEmail(Some(account)) => is_short_account(account),
        Refusal::NotAnApiToken(Some(kind)) => assert_short_line(kind, 40),
        Refusal::InvalidOrExpired
        | Refusal::WrongEmail(None)
        | Refusal::Dead
        | Refusal::NotARegisteredEmail
        | Refusal::NoBitbucketScopes
        | Refusal::NotAnApiToken(None)
        | Refusal::AppPassword => {}
    }
}

fn is_short_account(account: &Account) {
    for value in [&account.uuid, &account.username, &account.display_name].into_iter().flatten() {
        assert_short_line(value, VALUE_MAX);
    }
}

/// An outage says nothing of the server's but its status, so that it reads the same the next time.
fn is_about(no_verdict: &NoVerdict, status: u16) {
    match no_verdict {
        NoVerdict::Unavailable(what) => assert!(
            *what == format!("HTTP {status}")
                || what.starts_with("an answer that ") && !what.contains(char::is_numeric),
            "{what}"
        ),
        NoVerdict::Forbidden => assert_eq!(status, 403),
        NoVerdict::RateLimited { retry_after } => {
            assert_eq!(status, 429);
            assert!(retry_after.is_none_or(|wait| wait.as_secs() <= 3600));
        }
        NoVerdict::NotYet { .. } => unreachable!("there is no limit here"),
    }
}

/// What people are told is a short text without a secret.
fn is_told(verdict: &Verdict) {
    let place = Place::CommandLine;
    for expired in [false, true] {
        let told = validity(verdict, place, expired).message;
        assert_silent(&told);
        assert_short_line(&told, 2_000);
    }
    let Verdict::Accepted(accepted) = verdict else { return };
    let (required, workspaces) = (required(&UseCase::ALL, &[]), ["hanzo".to_owned()].into());
    for on_missing in [Policy::Block, Policy::Warn] {
        for on_excess in [Policy::Block, Policy::Warn] {
            let demands = Demands { required: &required, workspaces: &workspaces, on_missing, on_excess, place };
            let told = sufficiency(accepted, &demands).message;
            assert_silent(&told);
            // The API server takes 32,768 characters.
            assert_short_line(&told, 32_768);
        }
    }
}

fn says(answer: &Answer, words: &str) -> bool {
    answer.body.parse::<Value>().is_ok_and(|json| any_text(&json, words))
}

fn any_text(value: &Value, words: &str) -> bool {
    match value {
        Value::String(text) => text.contains(words),
        Value::Array(values) => values.iter().any(|value| any_text(value, words)),
        Value::Object(members) => members.values().any(|value| any_text(value, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_answer_of_bitbucket_is_judged() {
        crate::corpus::holds("bitbucket_body", super::bitbucket_body);
    }
}
