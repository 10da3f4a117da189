//! Events: what people are told once, when something changed.
//!
//! An event's name is a hash of the object's uid, the reason, and what it is about. It is created before the status is
//! written, so a crash in between repeats it under the same name, which the API server refuses: none is lost, none is
//! there twice.

mod about;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use sha2::{Digest, Sha256};

use super::{
    conditions::{self, Class, Reason, types},
    duration::Span,
    hex::hex,
};

/// Longest note that events.k8s.io/v1 takes, in bytes.
const NOTE_MAX: usize = 1_024;

macro_rules! reasons {
    ($($reason:ident)*) => {
        /// Why an event is sent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the words are the documentation")]
        pub enum EventReason { $($reason,)* }

        impl EventReason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$reason,)*];

            /// The word in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason),)* }
            }
        }
    };
}

reasons! {
    ConnectionCreated
    ConnectionUpdated
    ConnectionAdopted
    ConnectionDeleted
    ConnectionRetained
    CredentialsRotated
    DriftCorrected
    Recovered
    TokenExpiring
    TokenExpired
    ExpiryNotUpdated
    ExpiryImplausible
    ExpiryInvalid
    CredentialsRejected
    ScopesMissing
    ScopesExcess
    WorkspacesMissing
    NameConflict
    OwnershipMarkMissing
    DeletionBlocked
}

impl EventReason {
    /// What the operator was doing, in the words of events.k8s.io.
    pub const fn action(self) -> &'static str {
        match self {
            Self::ConnectionCreated => "Create",
            Self::ConnectionUpdated | Self::ConnectionAdopted | Self::CredentialsRotated | Self::DriftCorrected => {
                "Update"
            }
            Self::ConnectionDeleted | Self::ConnectionRetained | Self::DeletionBlocked => "Delete",
            Self::NameConflict | Self::OwnershipMarkMissing => "Synchronize",
            Self::Recovered
            | Self::TokenExpiring
            | Self::TokenExpired
            | Self::ExpiryNotUpdated
            | Self::ExpiryImplausible
            | Self::ExpiryInvalid
            | Self::CredentialsRejected
            | Self::ScopesMissing
            | Self::ScopesExcess
            | Self::WorkspacesMissing => "Verify",
        }
    }

    const fn is_good_news(self) -> bool {
        match self {
            Self::ConnectionCreated
            | Self::ConnectionUpdated
            | Self::ConnectionAdopted
            | Self::ConnectionDeleted
            | Self::ConnectionRetained
            | Self::CredentialsRotated
            | Self::DriftCorrected
            | Self::Recovered => true,
            Self::TokenExpiring
            | Self::TokenExpired
            | Self::ExpiryNotUpdated
            | Self::ExpiryImplausible
            | Self::ExpiryInvalid
            | Self::CredentialsRejected
            | Self::ScopesMissing
            | Self::ScopesExcess
            | Self::WorkspacesMissing
            | Self::NameConflict
            | Self::OwnershipMarkMissing
            | Self::DeletionBlocked => false,
        }
    }
}

/// An event to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Why.
    pub reason: EventReason,
    /// Normal or Warning.
    pub warning: bool,
    /// What tells it from others of the same reason: goes into its name.
    pub about: String,
    /// The sentence for people.
    pub note: String,
}

impl Announcement {
    /// An event; a warning unless its reason is good news.
    pub fn new(reason: EventReason, about: impl Into<String>, note: impl Into<String>) -> Self {
        Self { reason, warning: !reason.is_good_news(), about: about.into(), note: cut(note.into()) }
    }

    /// The one event about a threshold before a token's end. A month ahead there is nothing to warn about yet.
    pub fn token_expiring(token: &str, threshold: Span, note: &str) -> Self {
        let event = Self::new(EventReason::TokenExpiring, format!("{token} {threshold}"), note);
        Self { warning: threshold < Span::from_days(30), ..event }
    }

    /// The name under which the API server knows it. Two events of one name are one event.
    pub fn name(&self, object: &str, uid: &str) -> String {
        let mut hash = Sha256::new();
        for part in [uid, self.reason.as_str(), &self.about] {
            hash.update(part.as_bytes());
            hash.update(b"\n");
        }
        let object: String = object.chars().take(200).collect();
        format!("{}.{}", object.trim_end_matches(['.', '-']), hex(&hash.finalize()[..12]))
    }
}

/// Events that follow from conditions that changed: `before` and `after` are those of the status.
pub fn transitions(before: &[Condition], after: &[Condition]) -> Vec<Announcement> {
    let watched = [
        (types::CREDENTIALS_VALID, Reason::CredentialsRejected, EventReason::CredentialsRejected),
        (types::SCOPES_SUFFICIENT, Reason::ScopesMissing, EventReason::ScopesMissing),
        (types::SCOPES_SUFFICIENT, Reason::ScopesExcess, EventReason::ScopesExcess),
        (types::SCOPES_SUFFICIENT, Reason::WorkspacesMissing, EventReason::WorkspacesMissing),
        (types::SYNCED, Reason::NameConflict, EventReason::NameConflict),
        (types::SYNCED, Reason::OwnershipMarkMissing, EventReason::OwnershipMarkMissing),
        (types::SYNCED, Reason::DeletionBlocked, EventReason::DeletionBlocked),
        (types::EXPIRING_SOON, Reason::ExpiryInvalid, EventReason::ExpiryInvalid),
    ];
    let turned = |kind: &str, reason: Reason| {
        let now = conditions::find(after, kind).filter(|condition| condition.reason == reason.as_str())?;
        let old = conditions::find(before, kind);
        (old.map(|old| old.reason.as_str()) != Some(reason.as_str())).then(|| (about(old), now.message.clone()))
    };
    let mut events: Vec<_> = watched
        .into_iter()
        .filter_map(|(kind, reason, event)| {
            turned(kind, reason).map(|(about, note)| Announcement::new(event, about, note))
        })
        .collect();
    if let Some((about, note)) = turned(types::READY, Reason::Succeeded)
        && conditions::recorded(before, types::READY).is_some_and(|old| is_worth_recovering(old.reason))
    {
        events.push(Announcement::new(EventReason::Recovered, about, note));
    }
    events
}

/// Whether the end of it is news: what merely waited for something to be applied, or for being let, is not.
fn is_worth_recovering(reason: Reason) -> bool {
    let waited = reason == Reason::ChangesPending;
    reason == Reason::VerificationStale || (reason.class() == Some(Class::Stalled) && !waited)
}

/// A change is told from an earlier one of the same kind by what was before, and since when.
fn about(old: Option<&Condition>) -> String {
    old.map(|old| format!("{} {}", old.reason, old.last_transition_time.0)).unwrap_or_default()
}

fn cut(mut note: String) -> String {
    if note.len() > NOTE_MAX {
        let mut end = NOTE_MAX - "…".len();
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push('…');
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::conditions::Judgement;
    use jiff::Timestamp;

    fn conditions_of(kind: &str, reason: Reason, second: i64) -> Vec<Condition> {
        let now = Timestamp::from_second(second).expect("a time");
        vec![conditions::condition(kind, &Judgement::new(reason, "words"), Some(1), &[], now)]
    }

    #[test]
    fn only_transitions_are_told() {
        let good = conditions_of(types::CREDENTIALS_VALID, Reason::Authenticated, 1);
        let bad = conditions_of(types::CREDENTIALS_VALID, Reason::CredentialsRejected, 2);
        assert_eq!(transitions(&good, &bad).len(), 1);
        assert_eq!(transitions(&bad, &bad), []);
        assert_eq!(transitions(&[], &bad).len(), 1);
        assert_eq!(transitions(&bad, &good), []);
    }

    #[test]
    fn recovery_is_told_after_what_a_person_had_to_mend() {
        let ready = conditions_of(types::READY, Reason::Succeeded, 5);
        for (before, told) in [
            (Reason::CredentialsRejected, 1),
            (Reason::VerificationStale, 1),
            (Reason::SecretNotFound, 0),
            (Reason::KmsUnavailable, 0),
            (Reason::ChangesPending, 0),
            (Reason::Suspended, 0),
            (Reason::Succeeded, 0),
        ] {
            assert_eq!(transitions(&conditions_of(types::READY, before, 1), &ready).len(), told, "{before:?}");
        }
        assert_eq!(transitions(&[], &ready), [], "the first time is no recovery");
    }

    #[test]
    fn what_happens_again_is_told_again() {
        let bad = conditions_of(types::CREDENTIALS_VALID, Reason::CredentialsRejected, 9);
        let after = |reason: Reason, second: i64| {
            let before = conditions_of(types::CREDENTIALS_VALID, reason, second);
            transitions(&before, &bad).first().map(|event| event.name("payments", "uid"))
        };
        assert_eq!(after(Reason::Authenticated, 1), after(Reason::Authenticated, 1));
        assert_ne!(after(Reason::Authenticated, 1), after(Reason::Authenticated, 2));
        assert_ne!(after(Reason::Authenticated, 1), after(Reason::SecretNotFound, 1));
    }

    #[test]
    fn an_event_says_what_was_being_done() {
        let table = [
            (EventReason::ConnectionCreated, "Create"),
            (EventReason::CredentialsRotated, "Update"),
            (EventReason::DeletionBlocked, "Delete"),
            (EventReason::NameConflict, "Synchronize"),
            (EventReason::TokenExpired, "Verify"),
        ];
        for (reason, action) in table {
            assert_eq!(reason.action(), action, "{reason:?}");
        }
    }

    #[test]
    fn a_name_stands_for_one_occurrence() {
        let event = |about: &str| Announcement::new(EventReason::CredentialsRotated, about, "");
        assert_eq!(event("a").name("payments", "uid"), event("a").name("payments", "uid"));
        assert_ne!(event("a").name("payments", "uid"), event("b").name("payments", "uid"));
        assert_ne!(event("a").name("payments", "uid"), event("a").name("payments", "other"));
        assert!(event("a").name(&"x".repeat(253), "uid").len() <= 253);
    }

    #[test]
    fn notes_are_cut_between_characters() {
        let note = Announcement::new(EventReason::Recovered, "", "😀".repeat(400)).note;
        assert!((NOTE_MAX - 3..=NOTE_MAX).contains(&note.len()) && note.ends_with('…'));
        let fits = "a".repeat(NOTE_MAX);
        assert_eq!(Announcement::new(EventReason::Recovered, "", fits.as_str()).note, fits);
    }

    #[test]
    fn a_month_ahead_is_no_warning() {
        assert!(!Announcement::token_expiring("t", Span::from_days(30), "").warning);
        assert!(Announcement::token_expiring("t", Span::from_days(14), "").warning);
    }
}
