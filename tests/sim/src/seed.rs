//! An example of everything, with the names and credentials of the manifests in `examples/`.

use crate::{Bitbucket, Kms, State, Token};

/// Where `cargo run -p sim` and the demo have Bitbucket listen, if the port is free.
pub const BITBUCKET_PORT: u16 = 7990;
/// Where `cargo run -p sim` and the demo have the KMS listen, if the port is free.
pub const KMS_PORT: u16 = 7991;
/// The e-mail address to which all tokens belong.
pub const EMAIL: &str = "bot@example.com";
/// The machine identity's client id.
pub const CLIENT_ID: &str = "sim-client-id";
/// The machine identity's client secret.
pub const CLIENT_SECRET: &str = "sim-client-secret";
/// The only project.
pub const PROJECT: &str = "7ffbb072-2575-495a-b5b0-127f88caef78";

/// An access token that works without a login, for trying the KMS's API by hand.
pub const ACCESS_TOKEN: &str = "sim-access-token";

/// A token with just the scopes of the use case SecretScanning.
pub const GOOD: &str = "ATATT3x-good";
/// As good as [`GOOD`]: the one to rotate to.
pub const NEXT: &str = "ATATT3x-next";
/// As good as the others: one that somebody has at hand.
pub const OTHER: &str = "ATATT3x-other";
/// A token with the scopes of all use cases, and one more.
pub const BROAD: &str = "ATATT3x-broad";
/// A token that lacks most scopes.
pub const FEW_SCOPES: &str = "ATATT3x-few-scopes";
/// A token that lacks even read:user.
pub const NO_USER: &str = "ATATT3x-no-user";
/// A token that was revoked.
pub const REVOKED: &str = "ATATT3x-revoked";
/// A token without scopes for Bitbucket.
pub const NO_SCOPES: &str = "ATATT3x-no-scopes";
/// A token whose calls come from an address that isn't allowed.
pub const BLOCKED: &str = "ATATT3x-blocked";

/// All tokens, and what each is good for.
pub const TOKENS: [(&str, &str); 9] = [
    (GOOD, "has the scopes of the use case SecretScanning"),
    (NEXT, "as good; to rotate to"),
    (OTHER, "as good; for changes by hand"),
    (BROAD, "has the scopes of all use cases, and one more"),
    (FEW_SCOPES, "has read:user and read:repository only"),
    (NO_USER, "lacks even read:user"),
    (REVOKED, "was revoked"),
    (NO_SCOPES, "was made with the wrong button"),
    (BLOCKED, "comes from an address that isn't allowed"),
];

/// The scopes of [`GOOD`].
pub const SCANNING: [&str; 6] = [
    "read:user:bitbucket",
    "read:workspace:bitbucket",
    "read:repository:bitbucket",
    "read:webhook:bitbucket",
    "write:webhook:bitbucket",
    "delete:webhook:bitbucket",
];

const ALL: [&str; 17] = [
    "read:user:bitbucket",
    "read:workspace:bitbucket",
    "admin:workspace:bitbucket",
    "read:project:bitbucket",
    "read:repository:bitbucket",
    "write:repository:bitbucket",
    "admin:repository:bitbucket",
    "read:pullrequest:bitbucket",
    "write:pullrequest:bitbucket",
    "read:issue:bitbucket",
    "read:webhook:bitbucket",
    "write:webhook:bitbucket",
    "delete:webhook:bitbucket",
    "read:pipeline:bitbucket",
    "write:pipeline:bitbucket",
    "admin:pipeline:bitbucket",
    "read:permission:bitbucket",
];

/// Issues the tokens, and creates the identity and the project. There are no connections yet.
pub fn seed(bitbucket: &Bitbucket, kms: &Kms) {
    for (secret, _) in TOKENS {
        let scopes = match secret {
            FEW_SCOPES => vec!["read:user:bitbucket", "read:repository:bitbucket"],
            NO_USER => SCANNING[1..].to_vec(),
            BROAD => ALL.to_vec(),
            _ => SCANNING.to_vec(),
        };
        let state = match secret {
            REVOKED => State::Revoked,
            NO_SCOPES => State::NoBitbucketScopes,
            BLOCKED => State::IpBlocked,
            _ => State::Good,
        };
        let token = Token::new(EMAIL, secret)
            .scopes(scopes)
            .account("example-bot", "Example Bot", "{0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9}")
            .workspaces(["example"])
            .state(state);
        bitbucket.add(token);
    }
    kms.add_identity(CLIENT_ID, CLIENT_SECRET);
    kms.add_access_token(ACCESS_TOKEN);
    kms.add_project(PROJECT);
}
