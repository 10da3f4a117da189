//! Conditions, their reasons, and how Ready follows from its children.
//!
//! A reason stands for exactly one status and at most one class; the class says what kstatus makes of the object and
//! when it is tried again. [`readiness`] is the one place where both are decided.

mod about;

pub use about::About;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Types of conditions, in the order in which they are shown.
pub mod types {
    /// Bitbucket takes the credentials.
    pub const CREDENTIALS_VALID: &str = "CredentialsValid";
    /// The token has what the spec requires.
    pub const SCOPES_SUFFICIENT: &str = "ScopesSufficient";
    /// The connection in the KMS is as the spec wants it.
    pub const SYNCED: &str = "Synced";
    /// All of the three.
    pub const READY: &str = "Ready";
    /// The token ends soon; abnormal when true, and no part of Ready.
    pub const EXPIRING_SOON: &str = "ExpiringSoon";
    /// kstatus: something is under way.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: a person must act.
    pub const STALLED: &str = "Stalled";
    /// Of an instance: its deletion waits for connections that use it. There only while it is so.
    pub const DELETION_WAITING: &str = "DeletionWaiting";
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// So it is.
    True,
    /// So it is not.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Status {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a reason asks of the operator and of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Something is not there yet; a watch tells when it appears.
    Waiting,
    /// A person must act; looked at again on a change and every interval.
    Stalled,
    /// Tried again with backoff.
    Transient,
}

macro_rules! reasons {
    ($($reason:ident $status:ident $class:expr;)*) => {
        /// Why a condition of a BitbucketConnection is as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the words are the documentation; messages say the rest")]
        pub enum Reason { $($reason,)* }

        impl Reason {
            /// All of them, in table order.
            pub const ALL: &[Self] = &[$(Self::$reason,)*];

            /// The word in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason),)* }
            }

            /// The status that the reason stands for.
            pub const fn status(self) -> Status {
                match self { $(Self::$reason => Status::$status,)* }
            }

            /// The class; good news and `NotEvaluated` have none.
            pub const fn class(self) -> Option<Class> {
                match self { $(Self::$reason => $class,)* }
            }

            /// The reason of that word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
            }
        }
    };
}

const WAITING: Option<Class> = Some(Class::Waiting);
const STALLED: Option<Class> = Some(Class::Stalled);
const TRANSIENT: Option<Class> = Some(Class::Transient);

reasons! {
    // CredentialsValid
    Authenticated True None;
    SecretNotFound False WAITING;
    SecretKeyMissing False WAITING;
    SecretInvalid False STALLED;
    CredentialsRejected False STALLED;
    TokenExpired False STALLED;
    BitbucketUnavailable Unknown TRANSIENT;
    BitbucketForbidden Unknown TRANSIENT;
    RateLimited Unknown TRANSIENT;
    // ScopesSufficient
    AllGranted True None;
    WarnOnly True None;
    ScopesMissing False STALLED;
    ScopesExcess False STALLED;
    WorkspacesMissing False STALLED;
    ScopesNotReported Unknown TRANSIENT;
    // Synced
    InSync True None;
    SpecInvalid False STALLED;
    KmsRefNotFound False WAITING;
    KmsRefNotAllowed False STALLED;
    ProjectNotAllowed False STALLED;
    AdoptionNotAllowed False STALLED;
    KmsInstanceNotReady False WAITING;
    InvalidName False STALLED;
    DescriptionTooLong False STALLED;
    KmsChanged False STALLED;
    OwnershipAmbiguous False STALLED;
    NameConflict False STALLED;
    OwnedByAnother False STALLED;
    OwnershipMarkMissing False STALLED;
    KmsPermissionDenied False STALLED;
    KmsRejected False STALLED;
    CredentialsNotPushed False STALLED;
    ChangesPending False STALLED;
    DeletionBlocked False STALLED;
    KmsUnavailable Unknown TRANSIENT;
    CredentialsNotVerified Unknown TRANSIENT;
    // Ready
    Succeeded True None;
    VerificationStale Unknown None;
    Suspended Unknown None;
    // Any child
    NotEvaluated Unknown None;
    // ExpiringSoon
    WarningWindow True None;
    Expired True None;
    OutsideWindow False None;
    ExpiryInvalid Unknown None;
}

/// A reason and the sentence that tells a person about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Why.
    pub reason: Reason,
    /// What is wrong, where, and what to do next. Nothing in it changes from one attempt to the next.
    pub message: String,
}

impl Judgement {
    /// A judgement.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// A child that can't be judged yet; `until` says what has to come first.
    pub fn not_evaluated(until: &str) -> Self {
        Self::new(Reason::NotEvaluated, format!("Not judged yet: {until}."))
    }
}

/// What a condition can be written from.
pub trait Says {
    /// Status of the condition.
    fn status(&self) -> Status;
    /// Its reason.
    fn reason(&self) -> &'static str;
    /// Its message.
    fn message(&self) -> &str;
}

impl Says for Judgement {
    fn status(&self) -> Status {
        self.reason.status()
    }

    fn reason(&self) -> &'static str {
        self.reason.as_str()
    }

    fn message(&self) -> &str {
        &self.message
    }
}

/// The three conditions that Ready is made of, each judged on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Children {
    /// `CredentialsValid`.
    pub credentials: Judgement,
    /// `ScopesSufficient`.
    pub scopes: Judgement,
    /// `Synced`.
    pub synced: Judgement,
}

impl Children {
    /// In table order.
    fn in_order(&self) -> [&Judgement; 3] {
        [&self.credentials, &self.scopes, &self.synced]
    }
}

/// What the object was like before, as far as Ready depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// It was Ready, with the spec that it has now.
    pub was_ready: bool,
    /// Nothing could be verified for three effective intervals.
    pub stale: bool,
}

/// Ready, and what kstatus is told besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The condition Ready.
    pub ready: Judgement,
    /// The class of the object: that of what keeps it from being Ready.
    pub class: Option<Class>,
    /// Whether kstatus shall say InProgress.
    pub reconciling: bool,
    /// Whether kstatus shall say Failed.
    pub stalled: bool,
}

/// Decides Ready: False with the first False child; else Unknown with the first child that is Unknown for a reason
/// with a class; else True. An outage of an object that was Ready changes nothing until its verification is stale:
/// kstatus would take it for not ready, and what is in the KMS still works.
pub fn readiness(children: &Children, history: History) -> Readiness {
    let first = |status: Status| {
        let matching = |child: &&&Judgement| child.reason.status() == status && child.reason.class().is_some();
        children.in_order().iter().find(matching).copied()
    };
    if let Some(child) = first(Status::False) {
        let class = child.reason.class();
        let stalled = class == STALLED;
        return Readiness { ready: child.clone(), class, reconciling: !stalled, stalled };
    }
    if let Some(child) = first(Status::Unknown) {
        let (ready, reconciling) = match history {
            History { stale: true, was_ready: true } => (stale(child), false),
            History { was_ready: true, .. } => (succeeded(), false),
            History { was_ready: false, .. } => (child.clone(), true),
        };
        return Readiness { ready, class: child.reason.class(), reconciling, stalled: false };
    }
    Readiness { ready: succeeded(), class: None, reconciling: false, stalled: false }
}

fn succeeded() -> Judgement {
    Judgement::new(Reason::Succeeded, "The token is good and the connection in the KMS is in step with this object.")
}

fn stale(child: &Judgement) -> Judgement {
    Judgement::new(
        Reason::VerificationStale,
        format!("Nothing could be verified for three intervals; what is in the KMS stays there. {}", child.message),
    )
}

/// A condition of the API. Its transition time moves only when its status does.
pub fn condition(
    kind: &str,
    says: &impl Says,
    generation: Option<i64>,
    before: &[Condition],
    now: Timestamp,
) -> Condition {
    let status = says.status().as_str();
    let same = find(before, kind).filter(|old| old.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: says.reason().to_owned(),
        message: says.message().to_owned(),
        observed_generation: generation,
        last_transition_time: same.map_or(Time(now), |old| old.last_transition_time.clone()),
    }
}

/// One of the two conditions that are there only while they are true; it repeats Ready's words.
pub fn marker(
    kind: &str,
    ready: &impl Says,
    generation: Option<i64>,
    before: &[Condition],
    now: Timestamp,
) -> Condition {
    let since = find(before, kind).map(|old| old.last_transition_time.clone());
    Condition {
        status: Status::True.as_str().to_owned(),
        last_transition_time: since.unwrap_or(Time(now)),
        ..condition(kind, ready, generation, &[], now)
    }
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// The judgement that a condition of the API tells of, if its reason is one of ours.
pub fn recorded(conditions: &[Condition], kind: &str) -> Option<Judgement> {
    let condition = find(conditions, kind)?;
    Some(Judgement::new(Reason::parse(&condition.reason)?, condition.message.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reason::*;

    const NEVER: History = History { was_ready: false, stale: false };
    const READY: History = History { was_ready: true, stale: false };
    const STALE: History = History { was_ready: true, stale: true };

    fn children(credentials: Reason, scopes: Reason, synced: Reason) -> Children {
        let of = |reason: Reason| Judgement::new(reason, reason.as_str());
        Children { credentials: of(credentials), scopes: of(scopes), synced: of(synced) }
    }

    #[test]
    fn a_marker_keeps_since_when_it_is_there() {
        let (then, now) = (Timestamp::from_second(1).expect("a time"), Timestamp::from_second(2).expect("a time"));
        let ready = Judgement::new(SecretNotFound, "words");
        let first = marker(types::STALLED, &ready, Some(1), &[], then);
        let later = marker(types::STALLED, &ready, Some(2), std::slice::from_ref(&first), now);
        assert_eq!((first.last_transition_time.0, first.status.as_str()), (then, "True"));
        assert_eq!((later.last_transition_time.0, later.observed_generation), (then, Some(2)));
    }

    #[test]
    fn ready_follows_from_its_children() {
        // credentials, scopes, synced, history → Ready, reconciling, stalled
        let table = [
            (Authenticated, AllGranted, InSync, NEVER, Succeeded, false, false),
            (Authenticated, WarnOnly, InSync, NEVER, Succeeded, false, false),
            (SecretNotFound, NotEvaluated, NotEvaluated, READY, SecretNotFound, true, false),
            (SecretNotFound, NotEvaluated, KmsRejected, READY, SecretNotFound, true, false),
            (CredentialsRejected, NotEvaluated, CredentialsNotPushed, READY, CredentialsRejected, false, true),
            (Authenticated, ScopesMissing, NotEvaluated, NEVER, ScopesMissing, false, true),
            (BitbucketUnavailable, NotEvaluated, NameConflict, READY, NameConflict, false, true),
            (BitbucketUnavailable, NotEvaluated, NotEvaluated, NEVER, BitbucketUnavailable, true, false),
            (BitbucketUnavailable, NotEvaluated, InSync, READY, Succeeded, false, false),
            (BitbucketUnavailable, NotEvaluated, CredentialsNotVerified, READY, Succeeded, false, false),
            (Authenticated, AllGranted, KmsUnavailable, STALE, VerificationStale, false, false),
            (Authenticated, ScopesNotReported, KmsUnavailable, NEVER, ScopesNotReported, true, false),
            (Authenticated, AllGranted, ChangesPending, READY, ChangesPending, false, true),
            (BitbucketUnavailable, NotEvaluated, ChangesPending, READY, ChangesPending, false, true),
            (Authenticated, AllGranted, KmsInstanceNotReady, READY, KmsInstanceNotReady, true, false),
        ];
        for (credentials, scopes, synced, history, ready, reconciling, stalled) in table {
            let children = children(credentials, scopes, synced);
            let readiness = readiness(&children, history);
            assert_eq!(readiness.ready.reason, ready, "{children:?} {history:?}");
            assert_eq!((readiness.reconciling, readiness.stalled), (reconciling, stalled), "{children:?} {history:?}");
        }
    }

    #[test]
    fn every_combination_is_consistent() {
        for &credentials in Reason::ALL {
            for &scopes in Reason::ALL {
                for &synced in Reason::ALL {
                    for history in [NEVER, READY, STALE] {
                        let it = readiness(&children(credentials, scopes, synced), history);
                        assert!(!(it.reconciling && it.stalled), "never both");
                        let any_false = [credentials, scopes, synced]
                            .iter()
                            .any(|r| r.status() == Status::False && r.class().is_some());
                        assert_eq!(it.ready.reason.status() == Status::False, any_false);
                    }
                }
            }
        }
    }

    #[test]
    fn the_transition_time_moves_with_the_status_alone() {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        let judge = |reason| Judgement::new(reason, "words");
        let first = condition(types::READY, &judge(KmsUnavailable), Some(1), &[], at(1));
        let second = condition(types::READY, &judge(RateLimited), Some(2), std::slice::from_ref(&first), at(2));
        assert_eq!(second.last_transition_time, Time(at(1)));
        let third = condition(types::READY, &judge(Succeeded), Some(2), &[second], at(3));
        assert_eq!(third.last_transition_time, Time(at(3)));
    }

    #[test]
    fn words_lead_back_to_their_reason() {
        for &reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::parse("Tomorrow"), None);
    }
}
