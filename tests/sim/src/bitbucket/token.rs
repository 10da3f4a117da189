//! API tokens, and the many ways in which Bitbucket refuses one.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// How a token is answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    /// As its scopes and its e-mail deserve.
    #[default]
    Good,
    /// 401 `Token is invalid, expired, or not supported for this endpoint.`, to Basic and Bearer.
    Revoked,
    /// The same, with `error` as a bare string instead of an object.
    RevokedBareString,
    /// 401 `API Token provided has no Bitbucket scopes`: made with "Create API token", without scopes.
    NoBitbucketScopes,
    /// 401 `API token must be used with an atlassian registered email`. A user name instead of the e-mail is
    /// answered like this whatever the state.
    NotRegisteredEmail,
    /// 401 to Basic for no visible reason, while Bearer is accepted.
    BearerOnly,
    /// 403 without any header: an IP allow list.
    IpBlocked,
    /// 403 with the scopes header, but without `detail`: refused for a reason that isn't a scope.
    Forbidden,
    /// 403 `This API is not accessible by this authentication mechanism`: an access token.
    WrongMechanism,
    /// This status with a body that names `CHANGE-3222`: an app password, which ended on 2026-07-28.
    AppPassword(u16),
    /// 410 with `CHANGE-2770`: the endpoint is gone, and nothing is known about the token.
    EndpointGone,
    /// This status and body.
    Custom(u16, Value),
}

/// The owner of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// `username`, unique.
    pub username: String,
    /// `display_name`.
    pub display_name: String,
    /// `uuid`, in braces.
    pub uuid: String,
}

/// An API token with its owner.
#[derive(Clone, Debug)]
pub struct Token {
    /// The Atlassian e-mail of its owner.
    pub email: String,
    /// The secret.
    pub token: String,
    /// The granted scopes, as the header lists them.
    pub scopes: Vec<String>,
    /// The owner.
    pub account: Account,
    /// `x-credential-type`, `api_token` at first.
    pub credential_type: String,
    /// `x-token-id`: another one for another secret.
    pub token_id: String,
    /// Slugs of the workspaces it reaches.
    pub workspaces: Vec<String>,
    /// How it is answered.
    pub state: State,
    pub(crate) hide_scopes: bool,
    pub(crate) scopes_header: Option<String>,
}

impl Token {
    /// A good token without scopes, whose account is made from the e-mail.
    pub fn new(email: &str, token: &str) -> Self {
        let username = email.split('@').next().unwrap_or(email).to_owned();
        let digest = Sha256::digest(email);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let token_id: String = Sha256::digest(token)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            email: email.to_owned(),
            token: token.to_owned(),
            scopes: Vec::new(),
            account: Account {
                display_name: username.clone(),
                username,
                uuid: Uuid::from_bytes(bytes).braced().to_string(),
            },
            credential_type: "api_token".to_owned(),
            token_id,
            workspaces: Vec::new(),
            state: State::Good,
            hide_scopes: false,
            scopes_header: None,
        }
    }

    /// Grants exactly these scopes.
    #[must_use]
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the owner.
    #[must_use]
    pub fn account(mut self, username: &str, display_name: &str, uuid: &str) -> Self {
        self.account =
            Account { username: username.to_owned(), display_name: display_name.to_owned(), uuid: uuid.to_owned() };
        self
    }

    /// Sets `x-credential-type`: `repo_access_token`, `apppassword`, …
    #[must_use]
    pub fn credential_type(mut self, kind: &str) -> Self {
        kind.clone_into(&mut self.credential_type);
        self
    }

    /// Sets `x-token-id`.
    #[must_use]
    pub fn token_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.token_id);
        self
    }

    /// Reaches exactly these workspaces.
    #[must_use]
    pub fn workspaces<S: Into<String>>(mut self, slugs: impl IntoIterator<Item = S>) -> Self {
        self.workspaces = slugs.into_iter().map(Into::into).collect();
        self
    }

    /// Leaves `x-oauth-scopes` out of every answer.
    #[must_use]
    pub fn hide_scopes(mut self, hide: bool) -> Self {
        self.hide_scopes = hide;
        self
    }

    /// Sends this as `x-oauth-scopes`, whatever the scopes are.
    #[must_use]
    pub fn scopes_header(mut self, header: &str) -> Self {
        self.scopes_header = Some(header.to_owned());
        self
    }

    /// How it is answered.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }
}
