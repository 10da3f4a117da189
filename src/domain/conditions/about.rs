//! What each reason means, for people who look a word up: docs/conditions.md is written from this.

use super::{Reason, types};

/// A reason in words that hold for every object; the message says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// What it says.
    pub meaning: &'static str,
    /// What usually brings it about.
    pub cause: &'static str,
    /// What to do.
    pub cure: &'static str,
}

impl About {
    /// What is as it should be.
    pub(crate) const fn good(meaning: &'static str, cause: &'static str) -> Self {
        Self { meaning, cause, cure: "Nothing to do." }
    }
}

const fn about(meaning: &'static str, cause: &'static str, cure: &'static str) -> About {
    About { meaning, cause, cure }
}

const CREDENTIALS: &[&str] = &[types::CREDENTIALS_VALID];
const SCOPES: &[&str] = &[types::SCOPES_SUFFICIENT];
const SYNCED: &[&str] = &[types::SYNCED];
const READY: &[&str] = &[types::READY];
const EXPIRY: &[&str] = &[types::EXPIRING_SOON];

impl Reason {
    /// The conditions that say it of their own. Ready repeats what its children say, Reconciling and Stalled what Ready
    /// says.
    pub const fn conditions(self) -> &'static [&'static str] {
        match self {
            Self::Authenticated
            | Self::SecretNotFound
            | Self::SecretKeyMissing
            | Self::SecretInvalid
            | Self::CredentialsRejected
            | Self::TokenExpired
            | Self::BitbucketUnavailable
            | Self::BitbucketForbidden => CREDENTIALS,
            Self::RateLimited => &[types::CREDENTIALS_VALID, types::SYNCED],
            Self::AllGranted
            | Self::WarnOnly
            | Self::ScopesMissing
            | Self::ScopesExcess
            | Self::WorkspacesMissing
            | Self::ScopesNotReported => SCOPES,
            Self::InSync
            | Self::SpecInvalid
            | Self::KmsRefNotFound
            | Self::KmsRefNotAllowed
            | Self::ProjectNotAllowed
            | Self::AdoptionNotAllowed
            | Self::KmsInstanceNotReady
            | Self::InvalidName
            | Self::DescriptionTooLong
            | Self::KmsChanged
            | Self::OwnershipAmbiguous
            | Self::NameConflict
            | Self::OwnedByAnother
            | Self::OwnershipMarkMissing
            | Self::KmsPermissionDenied
            | Self::KmsRejected
            | Self::CredentialsNotPushed
            | Self::ChangesPending
            | Self::DeletionBlocked
            | Self::KmsUnavailable
            | Self::CredentialsNotVerified => SYNCED,
            Self::Succeeded | Self::VerificationStale | Self::Suspended => READY,
            Self::NotEvaluated => {
                &[types::CREDENTIALS_VALID, types::SCOPES_SUFFICIENT, types::SYNCED, types::EXPIRING_SOON]
            }
            Self::WarningWindow | Self::Expired | Self::OutsideWindow | Self::ExpiryInvalid => EXPIRY,
        }
    }

    /// What it means.
    pub const fn about(self) -> About {
        match self {
            Self::Authenticated => About::good(
                "Bitbucket accepts the e-mail and the token of the Secret.",
                "Bitbucket was asked with exactly these two, at the latest one interval ago.",
            ),
            Self::SecretNotFound => about(
                "The Secret that `spec.secretRef` names isn't there. Nobody was asked.",
                "It was not created yet, has another name, or is in another namespace; it is never read from there.",
                "Create it in the namespace of the object. The order doesn't matter, and nothing has to be triggered.",
            ),
            Self::SecretKeyMissing => about(
                "The Secret lacks the key of the e-mail or of the token, or has nothing in it. Nobody was asked.",
                "Tools name keys as they like (`API_TOKEN`, `password`), and some write an empty value first.",
                "Add the key, or name yours in `spec.secretRef.emailKey` or `spec.secretRef.tokenKey`.",
            ),
            Self::SecretInvalid => about(
                "What is in the Secret can't be an e-mail and an API token. Nobody was asked.",
                "A user name stands where the e-mail address belongs, or more than the token behind its key.",
                "Correct the value that the message names.",
            ),
            Self::CredentialsRejected => about(
                "Bitbucket refuses the e-mail and the token, and the message says why as far as Bitbucket tells.",
                "The token was revoked, belongs to another account, was made without scopes, or is no API token.",
                "What the message says; mostly create a new token and put it into the Secret.",
            ),
            Self::TokenExpired => about(
                "Bitbucket refuses the token, and the end that was declared for it has passed.",
                "Atlassian's tokens live a year at most, and this one was not replaced in time.",
                "Create a new token with the same scopes, and put it into the Secret together with its date.",
            ),
            Self::BitbucketUnavailable => about(
                "Bitbucket gave no answer that says anything about the token.",
                "An outage, a proxy, or a NetworkPolicy that keeps the operator from reaching `api.bitbucket.org`.",
                "Nothing as long as it passes by itself. If it lasts, look at the way from the cluster to Bitbucket.",
            ),
            Self::BitbucketForbidden => about(
                "Bitbucket refuses the request, not the token.",
                "An IP allow list of the workspace that lacks the cluster, or a restriction of the account.",
                "Have a workspace administrator add the addresses of the cluster and of the KMS.",
            ),
            Self::RateLimited => about(
                "Bitbucket (CredentialsValid) or the KMS (Synced) takes no more requests for now, or it isn't this object's turn.",
                "Others use the same account of Bitbucket, or the same KMS; or the operator keeps within the limits of its flags.",
                "Nothing; it goes on by itself. A Bitbucket account of its own keeps others from using its limit up.",
            ),
            Self::AllGranted => About::good(
                "The token has exactly the scopes that it needs, and reaches the workspaces of `spec.workspaces`.",
                "Bitbucket named its scopes. They don't include the rights of the account.",
            ),
            Self::WarnOnly => about(
                "The token has scopes in excess, or lacks something, and is used all the same.",
                "`spec.scopes.onExcess` or `spec.scopes.onMissing` is `Warn`; the first is so where nothing is written.",
                "Nothing has to be done. A token with exactly the required scopes is the safer one.",
            ),
            Self::ScopesMissing => about(
                "The token lacks scopes, so it is never written to the KMS.",
                "Scopes include nothing: who may write a webhook may not read it. Names that look alike are others.",
                "Create a new token with the scopes that the message names; those of an old one can't be changed.",
            ),
            Self::ScopesExcess => about(
                "The token has scopes that nothing here needs, so it is never written to the KMS.",
                "It was made for something else, and `spec.scopes.onExcess` is `Block`.",
                "Create a token with the scopes of `status.scopes.required` alone, or allow the others.",
            ),
            Self::WorkspacesMissing => about(
                "The token doesn't reach a workspace of `spec.workspaces`, so it is never written to the KMS.",
                "The account is no member there, the token was limited to another workspace, or the slug is misspelt.",
                "Have the account invited, or correct `spec.workspaces`; `status.workspaces` shows what is reached.",
            ),
            Self::ScopesNotReported => about(
                "Bitbucket accepts the token, but didn't say which scopes it has, or which workspaces it reaches.",
                "A proxy takes the header `x-oauth-scopes` away, or the second question met an outage.",
                "Nothing as long as it passes by itself. If it lasts, have the proxy pass the header.",
            ),
            Self::InSync => About::good(
                "The connection in the KMS is as the object wants it.",
                "It was compared with what the KMS holds, at the latest one interval ago.",
            ),
            Self::SpecInvalid => about(
                "The spec can't be acted on. What is in the KMS stays as it is.",
                "The schema refuses nearly all of this; it was changed, or the object is older than a rule.",
                "Correct the field that the message names.",
            ),
            Self::KmsRefNotFound => about(
                "The instance that `spec.kmsRef` names isn't there.",
                "It was not created yet, or deleted; or the name is misspelt.",
                "Create it. `spec.kmsRef` can't be changed: a misspelt one takes a new object.",
            ),
            Self::KmsRefNotAllowed => about(
                "The instance is there, but not for this namespace. Nobody was asked.",
                "No grant of the ClusterKmsInstance selects the namespace, or the operator serves some namespaces only.",
                "Ask whoever runs the instance for a grant, or use a KmsInstance of the namespace.",
            ),
            Self::ProjectNotAllowed => about(
                "The namespace may use the instance, but not for this project, or not for the whole organization.",
                "No grant that selects the namespace names the project, `\"*\"`, or `organizationScope: true`.",
                "Ask whoever runs the instance for a grant, or create the object anew with the right project.",
            ),
            Self::AdoptionNotAllowed => about(
                "There is a connection of the wanted name, and the instance doesn't let this namespace take it over.",
                "`spec.adoptionPolicy` is `Adopt`, and no grant for the project says `adoption: true`.",
                "Ask whoever runs the instance for such a grant, or set another `spec.connectionName`.",
            ),
            Self::KmsInstanceNotReady => about(
                "The instance is there, but can't be used before somebody sees to it.",
                "Its condition Ready says why; often a client secret that was revoked or has expired.",
                "Its owner cures the instance; all objects that use it go on by themselves.",
            ),
            Self::InvalidName => about(
                "The connection can't have that name in the KMS.",
                "`metadata.name` holds a dot, and `spec.connectionName` is absent.",
                "Write lower-case letters and digits in groups joined by hyphens into `spec.connectionName`.",
            ),
            Self::DescriptionTooLong => about(
                "The description doesn't fit into the KMS.",
                "The KMS counts as JavaScript does: an emoji is two. When a connection is taken over, the mark comes on top.",
                "Shorten `spec.description`, or set it where the connection has a long text of its own.",
            ),
            Self::KmsChanged => about(
                "The instance leads to another KMS than the one in which the connection was made, or to another organization of it. Nothing was written there.",
                "`spec.host` of the instance was changed, or its credentials are those of another organization.",
                "Set host and credentials back, or delete the object and create it anew for the new KMS.",
            ),
            Self::OwnershipAmbiguous => about(
                "Several connections bear the mark of this object, so none of them is touched.",
                "Somebody copied a description, or restored a connection that had been created again.",
                "Keep the one that is in use, and remove the mark from the description of the others.",
            ),
            Self::NameConflict => about(
                "The KMS has a connection of the wanted name, and this object didn't make it.",
                "It was made by hand, by another object, or for another app: names are shared by all apps.",
                "Choose another `spec.connectionName`, or have it taken over with `spec.adoptionPolicy: Adopt`.",
            ),
            Self::OwnedByAnother => about(
                "The connection bears the mark of another object or cluster now, so it is not touched.",
                "It was adopted elsewhere, or the object came here from another cluster or under another name.",
                "Decide who shall have it, and delete the other object with `spec.deletionPolicy: Retain`.",
            ),
            Self::OwnershipMarkMissing => about(
                "The description of the connection lost the mark of this object, so it is not touched.",
                "Somebody edited the description in the KMS.",
                "End the description with the mark again; the message has it.",
            ),
            Self::KmsPermissionDenied => about(
                "The machine identity of the instance may not do that where the connection lives.",
                "It was added to the project as a viewer, or to the organization alone.",
                "Give it a role that may read, create, edit and delete app connections there.",
            ),
            Self::KmsRejected => about(
                "The KMS refuses the request; the message has its words.",
                "An unknown project, a token that Bitbucket refuses to the KMS, or a rule of the KMS.",
                "What the message says; it is about the project, the identity or the token.",
            ),
            Self::CredentialsNotPushed => about(
                "The Secret holds a token that may not be used; the one in the KMS stays.",
                "The Secret was changed, and the new token is refused or lacks something.",
                "Put a good token into the Secret; CredentialsValid and ScopesSufficient say what is wrong with this one.",
            ),
            Self::ChangesPending => about(
                "The connection is not as the object wants it, and the policy forbids to write.",
                "`spec.managementPolicy` is `Observe`; `status.plan` lists what would be done.",
                "Set `spec.managementPolicy: Full` to have it done, or change the object.",
            ),
            Self::DeletionBlocked => about(
                "The object is being deleted, and its connection can't be deleted in the KMS.",
                "Syncs or scanners still use the connection, or the KMS or the instance refuses.",
                "Remove what the message names, or set `spec.deletionPolicy: Retain` to leave the connection there.",
            ),
            Self::KmsUnavailable => about(
                "The KMS gave no answer that says anything about the connection.",
                "An outage, a proxy, a NetworkPolicy, a locked identity, or a KMS that can't reach Bitbucket.",
                "Nothing as long as it passes by itself. If it lasts, look at the instance's condition Ready.",
            ),
            Self::CredentialsNotVerified => about(
                "The Secret holds other credentials than the KMS, and Bitbucket hasn't judged them yet.",
                "Bitbucket has an outage during a rotation, or doesn't tell the scopes.",
                "Don't revoke the old token; the new one is written once Bitbucket accepts it.",
            ),
            Self::Succeeded => About::good(
                "The token is good, and the connection in the KMS is in step with the object.",
                "CredentialsValid, ScopesSufficient and Synced are True, or were so when an outage began.",
            ),
            Self::VerificationStale => about(
                "An outage has lasted for three intervals: nobody knows whether all is still well.",
                "What the message goes on to say; it is that of the condition that can't be judged.",
                "See to the outage. What is in the KMS stays there.",
            ),
            Self::Suspended => about(
                "Nothing is verified or written, and it is too long ago to tell how things are.",
                "`spec.managementPolicy` is `Suspended`, for three intervals or from the beginning.",
                "Set `spec.managementPolicy` to `Full` or `Observe`.",
            ),
            Self::NotEvaluated => about(
                "This condition can't be judged before something else is known.",
                "Another condition says what is missing, or nobody has looked at the object yet.",
                "Look at the conditions that are False.",
            ),
            Self::WarningWindow => about(
                "The token ends soon. Ready is not touched by this.",
                "It is nearer than the longest duration of `spec.expiry.warnBefore`.",
                "Create a new token with the same scopes, and put it into the Secret together with its date.",
            ),
            Self::Expired => about(
                "The declared end of the token has passed. Bitbucket may still accept it: CredentialsValid tells.",
                "The token was not replaced in time, or the date was not.",
                "Replace the token together with its date; if it still works, correct the date.",
            ),
            Self::OutsideWindow => About::good(
                "The end of the token is farther away than the first warning.",
                "The date was declared, or is the latest possible one: a year after the token was first seen.",
            ),
            Self::ExpiryInvalid => about(
                "What was declared as the end of the token can't be read, and no other source is used instead.",
                "`01.03.2027`, `in a year`, or a date that doesn't exist.",
                "Write a date such as 2027-03-01 or an RFC 3339 time where the message says.",
            ),
        }
    }
}
