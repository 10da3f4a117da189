//! E-mail and API token: how they are recognized, told apart, and kept from being seen.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::{hex::hex, ownership::OwnerId, text};

/// Longest e-mail address that the KMS takes, in characters.
const EMAIL_MAX: usize = 255;
/// Longest API token that the KMS takes, in characters.
const TOKEN_MAX: usize = 255;
/// User names that Git clients use with a token; Bitbucket's API knows neither.
const GIT_USER_NAMES: [&str; 2] = ["x-token-auth", "x-bitbucket-api-token-auth"];

/// An Atlassian API token. It can be neither printed nor serialized; [`ApiToken::expose`] is for the Authorization
/// header to Bitbucket and the credentials body to the KMS alone.
#[derive(Clone)]
pub struct ApiToken(SecretString);

impl ApiToken {
    /// The token itself. Look at the callers before adding one.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The e-mail address of an Atlassian account: not secret, but nothing for logs either.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a connection authenticates with.
#[derive(Clone)]
pub struct Credentials {
    /// E-mail address of the account that made the token.
    pub email: Email,
    /// The token.
    pub token: ApiToken,
}

/// Why the values of a Secret can't be credentials, found before anybody is called. The texts never repeat a value: it
/// may be a password that was put behind the wrong key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialProblem {
    /// Git's user name for tokens.
    #[error(
        "holds a Git user name, which Bitbucket's API doesn't take; write there the e-mail address of the Atlassian account that made the token"
    )]
    GitUserName,
    /// Not an address at all.
    #[error(
        "is no e-mail address such as bot@example.com; write there the e-mail address of the Atlassian account that made the token, not its user name"
    )]
    NotAnEmail,
    /// Longer than the KMS takes.
    #[error(
        "is longer than the 255 characters that the KMS takes for an e-mail address; write there the address of the Atlassian account that made the token, and nothing else"
    )]
    EmailTooLong,
    /// Nothing but white space.
    #[error("is empty; put the API token there")]
    TokenEmpty,
    /// Longer than the KMS takes.
    #[error(
        "is longer than the 255 characters that the KMS takes for an API token; write there the token, and nothing else"
    )]
    TokenTooLong,
    /// A token is one word.
    #[error(
        "holds white space or control characters inside the token; write there the token, and nothing else: one word of letters, digits and signs"
    )]
    TokenNotOneWord,
}

impl CredentialProblem {
    /// Whether the problem is with the e-mail; otherwise it is with the token.
    pub fn is_about_email(self) -> bool {
        matches!(self, Self::GitUserName | Self::NotAnEmail | Self::EmailTooLong)
    }
}

impl Credentials {
    /// Reads the two values of a Secret, with white space around them trimmed (a trailing newline is what `echo` and
    /// editors leave behind).
    pub fn parse(email: &str, token: &str) -> Result<Self, CredentialProblem> {
        let (email, token) = (text::trim(email), text::trim(token));
        if GIT_USER_NAMES.contains(&email) {
            return Err(CredentialProblem::GitUserName);
        }
        let host = email.split_once('@').filter(|(name, _)| !name.is_empty()).map(|(_, host)| host);
        let plausible = host.is_some_and(|host| host.contains('.') && !host.contains('@') && !host.starts_with('.'));
        if !plausible || email.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(CredentialProblem::NotAnEmail);
        }
        if email.chars().count() > EMAIL_MAX {
            return Err(CredentialProblem::EmailTooLong);
        }
        if token.is_empty() {
            return Err(CredentialProblem::TokenEmpty);
        }
        if token.chars().count() > TOKEN_MAX {
            return Err(CredentialProblem::TokenTooLong);
        }
        if token.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(CredentialProblem::TokenNotOneWord);
        }
        Ok(Self { email: Email(email.to_owned()), token: ApiToken(token.to_owned().into()) })
    }

    /// What is published about the token: a truncated HMAC under the owner id, so that two clusters show different
    /// values for one token. Call it for tokens that Bitbucket accepted alone: of anything else, such as a password
    /// behind the wrong key, it would let people guess.
    pub fn fingerprint(&self, owner: &OwnerId) -> Fingerprint {
        let digest = keyed_hash(owner.as_str().as_bytes(), &[self.token.expose().as_bytes()]);
        Fingerprint(hex(&digest[..8]))
    }

    /// By what equal credentials are recognized within this process; `key` must be random and stay in memory.
    pub fn key(&self, key: &ProcessKey) -> CredentialKey {
        CredentialKey(keyed_hash(&key.0, &[self.email.0.as_bytes(), self.token.expose().as_bytes()]))
    }
}

/// Published fingerprint of an accepted token: 16 hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A random key that lives as long as the process.
pub struct ProcessKey([u8; 32]);

impl ProcessKey {
    /// A new random key.
    pub fn random() -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        key[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        Self(key)
    }

    /// By what equal contents of a Secret are recognized within this process. Never published.
    pub fn content(&self, parts: &[Option<&str>]) -> ContentKey {
        // A part that is absent is another than one that is empty.
        let marks = parts.iter().map(|part| if part.is_some() { "+" } else { "-" });
        let texts = parts.iter().map(|part| part.unwrap_or_default());
        let parts: Vec<_> = marks.chain(texts).map(str::as_bytes).collect();
        ContentKey(keyed_hash(&self.0, &parts))
    }
}

/// By what equal contents of a Secret are recognized in memory. Never published.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContentKey([u8; 32]);

/// By what equal credentials are recognized in memory. Never published.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CredentialKey([u8; 32]);

impl CredentialKey {
    /// A name by which they are told apart in memory.
    pub fn name(&self) -> String {
        hex(&self.0[..8])
    }
}

fn keyed_hash(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_trimmed_and_judged() {
        use CredentialProblem::*;
        let table = [
            (" bot@example.com\n", " ATATT3x \n", None),
            // Some editors begin a file with a byte order mark.
            ("\u{feff}bot@example.com\r\n", "\u{feff}ATATT3x", None),
            ("x-token-auth", "t", Some(GitUserName)),
            ("x-bitbucket-api-token-auth", "t", Some(GitUserName)),
            ("bot", "t", Some(NotAnEmail)),
            ("@example.com", "t", Some(NotAnEmail)),
            ("bot@example", "t", Some(NotAnEmail)),
            ("bot@a@example.com", "t", Some(NotAnEmail)),
            ("bo t@example.com", "t", Some(NotAnEmail)),
            ("", "t", Some(NotAnEmail)),
            ("bot@example.com", " \n", Some(TokenEmpty)),
            ("bot@example.com", "a b", Some(TokenNotOneWord)),
            ("bot@example.com", "a\u{0}b", Some(TokenNotOneWord)),
        ];
        for (email, token, expected) in table {
            assert_eq!(Credentials::parse(email, token).err(), expected, "{email:?} {token:?}");
        }
        let long = format!("{}@example.com", "a".repeat(250));
        assert_eq!(Credentials::parse(&long, "t").err(), Some(EmailTooLong));
        assert_eq!(Credentials::parse("bot@example.com", &"t".repeat(256)).err(), Some(TokenTooLong));
        assert!(Credentials::parse("bot@example.com", &"t".repeat(255)).is_ok());
        let longest = format!("{}@example.com", "a".repeat(243));
        let read = Credentials::parse(&format!(" {longest}\n"), "t").expect("good values");
        assert_eq!(read.email.as_str(), longest);
    }

    #[test]
    fn fingerprint_depends_on_token_and_owner_alone() {
        let of = |email: &str, token: &str, owner: &str| {
            let credentials = Credentials::parse(email, token).expect("good values");
            credentials.fingerprint(&OwnerId::new(owner).expect("good owner id")).to_string()
        };
        let one = of("a@example.com", "token-1", "cluster-1");
        assert_eq!(one.len(), 16);
        assert_eq!(one, of("b@example.com", "token-1", "cluster-1"));
        assert_ne!(one, of("a@example.com", "token-2", "cluster-1"));
        assert_ne!(one, of("a@example.com", "token-1", "cluster-2"));
        assert!(!one.contains("token"));
    }

    #[test]
    fn key_tells_equal_credentials_from_others() {
        let (key, other) = (ProcessKey::random(), ProcessKey::random());
        let of = |email: &str, token: &str| Credentials::parse(email, token).expect("good values");
        assert!(of("a@example.com", "t").key(&key) == of("a@example.com", "t").key(&key));
        assert!(of("a@example.com", "t").key(&key) != of("b@example.com", "t").key(&key));
        assert!(of("a@example.com", "t").key(&key) != of("a@example.com", "t").key(&other));
        let name = |email: &str| of(email, "t").key(&key).name();
        assert_eq!((name("a@example.com"), name("a@example.com").len()), (name("a@example.com"), 16));
        assert_ne!(name("a@example.com"), name("b@example.com"));
    }
}
