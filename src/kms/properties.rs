//! What holds for every answer of a KMS, however odd.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    KmsError, LoginError,
    error::{Operation, classify, classify_probe, ends_session, message},
    login,
    wire::{self, Place},
};
use crate::{
    domain::{
        connection::{KmsConnection, KmsScope},
        login::AuthMethod,
    },
    http::{
        Answer, BadShape, Body,
        properties::{SECRET, answer, assert_short_line, assert_silent},
    },
};

/// A project of the corpus.
const PROJECT: &str = "7ffbb072-2575-495a-b5b0-127f88caef78";
/// Longest text of a server that is repeated.
const TEXT_MAX: usize = 200;
/// Longest wait that a server may ask for, in seconds.
const WAIT_MAX: u64 = 3_600;

/// Reads an answer as whatever it could be the answer to.
pub fn kms_body(data: &[u8]) {
    let Some(answer) = answer(data) else { return };
    if let Ok((connection, place)) = wire::one(&answer.body) {
        is_read_whole(&connection, &place);
    }
    for scope in [KmsScope::Organization, KmsScope::Project(PROJECT.to_owned())] {
        for connection in list(&answer.body, &scope).unwrap_or_default() {
            // An older server tells no project.
            let here = connection.project_id.is_none() || connection.project_id.as_deref() == scope.project_id();
            assert!(here, "{connection:?} is not in {scope}");
        }
    }
    if answer.status != 200 {
        errors(&answer);
    }
    for method in AuthMethod::ALL {
        match login::read(&answer, method, &[SECRET]) {
            Ok(granted) => {
                assert_eq!(answer.status, 200);
                assert_eq!(format!("{:?}", granted.header), "Sensitive");
            }
            Err(error) => is_said_of_a_login(&error),
        }
        if let Err(error) = classify_probe(&answer, method, &[SECRET]) {
            is_said_of_a_login(&error);
        }
    }
}

/// The list in a body, whole.
pub(super) fn list(body: &Body, scope: &KmsScope) -> Result<Vec<KmsConnection>, BadShape> {
    wire::list(body, scope)?.collect()
}

/// An id is one, a secret doesn't stay, and what was read and is written again reads the same.
fn is_read_whole(connection: &KmsConnection, place: &Place) {
    assert_eq!(Uuid::parse_str(&connection.id).map(|id| id.to_string()).as_ref(), Ok(&connection.id));
    assert_silent(&format!("{:?}", wire::masked(connection.clone(), &[SECRET])));
    let mut written = json!({
        "id": connection.id,
        "name": connection.name,
        "description": connection.description,
        "app": connection.app,
        "orgId": connection.org_id,
        "credentials": {"email": connection.email},
        "credentialsHash": connection.credentials_hash,
        "updatedAt": connection.updated_at,
    });
    match place {
        Place::Untold => {}
        Place::At(project_id) => written["projectId"] = project_id.clone().into(),
    }
    let one = json!({ "appConnection": written });
    let many = json!({ "appConnections": [written] });
    assert_eq!(wire::one(&body(&one)), Ok((connection.clone(), place.clone())));
    let scope = connection.project_id.clone().map_or(KmsScope::Organization, KmsScope::Project);
    assert_eq!(list(&body(&many), &scope), Ok(vec![connection.clone()]));
}

fn body(json: &Value) -> Body {
    Body::Json(json.to_string().into_bytes())
}

fn errors(answer: &Answer) {
    let operations = [
        Operation::List,
        Operation::Get,
        Operation::GetByName,
        Operation::Create,
        Operation::Update,
        Operation::Delete,
    ];
    for operation in operations {
        let error = classify(operation, answer, &[SECRET]);
        assert_silent(&format!("{error} {error:?}"));
        // A server that fails doesn't know what it did; 501 says that it knows no such request.
        let fails = matches!(answer.status, 500 | 502..=599);
        assert!(!fails || error.may_have_taken_effect(), "{error:?} after {}", answer.status);
        match error {
            KmsError::PermissionDenied { action } => assert_short_line(&action, 40),
            KmsError::CredentialsRefused { status } => assert!(matches!(status, 401 | 403)),
            KmsError::RateLimited { retry_after } => {
                assert_eq!(answer.status, 429);
                assert!(retry_after.is_none_or(|wait| wait.as_secs() <= WAIT_MAX));
            }
            KmsError::Unavailable { what } => assert_eq!(what, format!("HTTP {}", answer.status)),
            KmsError::Rejected { status, message } => {
                assert_eq!(status, answer.status);
                assert_short_line(&message, TEXT_MAX);
            }
            KmsError::NotFound => assert_eq!(answer.status, 404),
            KmsError::NameTaken
            | KmsError::UnknownProject
            | KmsError::InUse
            | KmsError::CredentialsNotChecked
            | KmsError::OtherApp => assert!((400..500).contains(&answer.status)),
            KmsError::NotOffered => assert!(matches!(answer.status, 404 | 405 | 501)),
            KmsError::Login(_) | KmsError::NotYet { .. } => unreachable!("no login, no limit"),
        }
    }
    if ends_session(answer) {
        assert!(matches!(answer.status, 401 | 403));
        let message = message(&answer.body, &[SECRET]);
        assert_silent(&message);
        assert_short_line(&message, TEXT_MAX);
    }
}

fn is_said_of_a_login(error: &LoginError) {
    assert_silent(&format!("{error} {error:?}"));
    match error {
        LoginError::Refused { message, .. } | LoginError::SessionRefused { message } => {
            assert_short_line(message, TEXT_MAX);
        }
        LoginError::RateLimited { retry_after } => {
            assert!(retry_after.is_none_or(|wait| wait.as_secs() <= WAIT_MAX));
        }
        LoginError::NoProof(_) => unreachable!("the proof is at hand"),
        LoginError::InvalidCredentials { .. }
        | LoginError::Locked
        | LoginError::SecretExpired
        | LoginError::UsageLimitReached
        | LoginError::NotOffered
        | LoginError::Unavailable { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_answer_of_the_kms_is_understood() {
        crate::corpus::holds("kms_body", super::kms_body);
    }
}
