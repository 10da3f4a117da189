//! When credentials are written to the KMS.

use super::Wanted;
use crate::domain::{connection::KmsConnection, token::Token};

/// Why the credentials in the KMS are not those of the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The status doesn't know what was written: the answer to our write was lost.
    NotRecorded,
    /// The Secret has another token.
    NewToken,
    /// The Secret has another e-mail.
    NewEmail,
    /// Somebody else wrote credentials.
    Drift,
}

/// Whether the credentials of a Secret have to be written over those in the KMS, and why.
pub(super) fn need(wanted: &Wanted<'_>, connection: &KmsConnection) -> Option<Need> {
    let Wanted { token, recorded, .. } = *wanted;
    let (fingerprint, email) = match token {
        Token::Asked { fingerprint, email, .. } | Token::RefusedBefore { fingerprint, email, .. } => {
            (fingerprint, email)
        }
        // What can't be a token can't be the one in the KMS either.
        Token::Invalid(_) => return Some(Need::NewToken),
        Token::NoSecret | Token::NoKey(_) => return None,
    };
    let written = recorded.filter(|recorded| recorded.id == connection.id && recorded.token_fingerprint.is_some());
    let Some(recorded) = written else { return Some(Need::NotRecorded) };
    let drifted = match (&recorded.credentials_hash, &connection.credentials_hash) {
        (Some(ours), Some(theirs)) => ours != theirs,
        // Servers without hashes leave nothing to compare.
        (_, None) | (None, _) => false,
    };
    if recorded.token_fingerprint.as_deref() != Some(fingerprint.as_str()) {
        return Some(Need::NewToken);
    }
    if drifted {
        // After a change of the Secret it may be our own write of another e-mail, which the status doesn't know.
        return Some(if wanted.secret_changed { Need::NewEmail } else { Need::Drift });
    }
    let same_email = connection.email.as_ref().is_none_or(|stored| stored == email);
    (!same_email).then_some(Need::NewEmail)
}
