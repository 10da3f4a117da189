//! Tokens, and what each is good for.

/// The scopes that SecretScanning needs, by the KMS's documents.
const SCANNING: [&str; 6] = [
    "read:workspace:bitbucket",
    "read:user:bitbucket",
    "read:webhook:bitbucket",
    "write:webhook:bitbucket",
    "delete:webhook:bitbucket",
    "read:repository:bitbucket",
];
/// What a connection may ask for besides.
pub const ADDITIONAL: &str = "read:issue:bitbucket";

/// What a token is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Exactly the scopes of SecretScanning, and the workspace.
    Good,
    /// Good, and with the additional scope.
    Better,
    /// Lacks scopes.
    Few,
    /// Has more than anybody needs.
    Broad,
    /// Lacks `read:user:bitbucket`, without which nothing works.
    NoUser,
    /// Reaches no workspace.
    Alone,
    /// Bitbucket doesn't say what scopes it has.
    Mute,
    /// Refused by an allow list.
    Blocked,
    /// Another account's: the e-mail in the Secret isn't its owner's.
    Stolen,
    /// Good, but with a user name in the place of the e-mail.
    UserName,
    /// Nothing.
    Empty,
}

impl Kind {
    /// What Bitbucket grants to it.
    pub fn scopes(self) -> Vec<&'static str> {
        let mut scopes = SCANNING.to_vec();
        match self {
            Self::Good | Self::Alone | Self::Mute | Self::Blocked | Self::Stolen | Self::UserName | Self::Empty => {}
            Self::Better => scopes.push(ADDITIONAL),
            Self::Few => scopes.retain(|scope| !scope.contains("webhook")),
            Self::Broad => scopes.extend([ADDITIONAL, "admin:workspace:bitbucket"]),
            Self::NoUser => scopes.retain(|scope| !scope.contains(":user:")),
        }
        scopes
    }
}

/// A token that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What it is like.
    pub kind: Kind,
    /// The e-mail that stands beside it in the Secret.
    pub email: String,
    /// The secret.
    pub text: String,
    /// Whether Bitbucket doesn't know it any more.
    pub revoked: bool,
    /// The order in which tokens came into Secrets: larger is newer.
    pub serial: u64,
}

/// What a connection demands of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Demands {
    /// The additional scope.
    pub additional: bool,
    /// The workspace.
    pub workspace: bool,
    /// Whether missing scopes keep a token out; else people are warned alone.
    pub block_missing: bool,
    /// Whether scopes in excess do.
    pub block_excess: bool,
}

/// What is to be said of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opinion {
    /// It may be used.
    Fine,
    /// It may not, for this reason.
    Bad(&'static str),
    /// Nobody can tell, for this reason; whether it may be used nevertheless.
    Unclear(&'static str, bool),
}

/// What is to be said of a token in a Secret.
pub fn opinion(token: &Issued, demands: Demands) -> Opinion {
    match token.kind {
        Kind::Empty => return Opinion::Bad("SecretKeyMissing"),
        Kind::UserName => return Opinion::Bad("SecretInvalid"),
        Kind::Stolen => return Opinion::Bad("CredentialsRejected"),
        _ if token.revoked => return Opinion::Bad("CredentialsRejected"),
        Kind::Blocked => return Opinion::Unclear("BitbucketForbidden", false),
        Kind::Mute => return Opinion::Unclear("ScopesNotReported", !demands.block_missing),
        Kind::Good | Kind::Better | Kind::Few | Kind::Broad | Kind::NoUser | Kind::Alone => {}
    }
    let mut required = SCANNING.to_vec();
    if demands.additional {
        required.push(ADDITIONAL);
    }
    let granted = token.kind.scopes();
    let missing = required.iter().any(|scope| !granted.contains(scope));
    let excess = granted.iter().any(|scope| !required.contains(scope));
    if token.kind == Kind::NoUser || (missing && demands.block_missing) {
        Opinion::Bad("ScopesMissing")
    } else if excess && demands.block_excess {
        Opinion::Bad("ScopesExcess")
    } else if token.kind == Kind::Alone && demands.workspace && demands.block_missing {
        Opinion::Bad("WorkspacesMissing")
    } else {
        Opinion::Fine
    }
}
