//! When each event is sent, for people who look a word up: docs/conditions.md is written from this.

use super::EventReason;

impl EventReason {
    /// When it is sent.
    pub const fn when(self) -> &'static str {
        match self {
            Self::ConnectionCreated => "A connection was made in the KMS.",
            Self::ConnectionUpdated => "Name, description, e-mail or mark of the connection followed the object.",
            Self::ConnectionAdopted => "A connection that was there before was taken over.",
            Self::ConnectionDeleted => "The object is gone, and its connection too.",
            Self::ConnectionRetained => "The object is gone, and its connection stays in the KMS.",
            Self::CredentialsRotated => "A new token replaced the old one in the KMS; the old one can be revoked.",
            Self::DriftCorrected => "Somebody had changed or deleted the connection in the KMS; it is put back.",
            Self::Recovered => "The object is Ready again after something that a person had to mend, or a long outage.",
            Self::TokenExpiring => {
                "Once for each duration of `spec.expiry.warnBefore` and each token; a warning under 30 days."
            }
            Self::TokenExpired => "The declared end has passed, or Bitbucket refuses the token after it.",
            Self::ExpiryNotUpdated => "The token changed, and its declared end didn't.",
            Self::ExpiryImplausible => "The declared end is more than a year ahead.",
            Self::ExpiryInvalid => "The declared end can't be read any more.",
            Self::CredentialsRejected => "Bitbucket began to refuse the token.",
            Self::ScopesMissing => "A token that lacks scopes came into the Secret, or the spec asks for more.",
            Self::ScopesExcess => "A token with too many scopes came into the Secret, under `onExcess: Block`.",
            Self::WorkspacesMissing => "The token stopped reaching a workspace of `spec.workspaces`, or never did.",
            Self::NameConflict => "The wanted name turned out to be taken.",
            Self::OwnershipMarkMissing => {
                "The connection lost its mark, or was left alone for that when its object went."
            }
            Self::DeletionBlocked => "A deletion began to wait for something that a person must do.",
        }
    }
}
