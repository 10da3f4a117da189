//! What events say, and the steps of `status.plan`.

use super::{asked, every_variant, of_connections, owner, spec, values};
use crate::{
    api::{BitbucketConnectionStatus, ConnectionStatus},
    domain::{
        conditions::{self, Judgement, Reason, types},
        connection::{Changes, NewConnection},
        events::{self, Announcement, EventReason},
        expiry::Declared,
        ownership::{self, Origin},
        plan::{Identity, Intent, Step},
        spec::Management,
        status::{self, Findings, Pass},
        token::Token,
        verdict::{Accepted, Refusal, Verdict},
    },
};

fn identity() -> Identity {
    let super::KmsConnection { id, name, .. } = super::connection();
    Identity { id, name }
}

fn intents() -> Vec<(&'static str, Intent)> {
    let retained = |with_mark| Intent::Retained { connection: identity(), with_mark };
    let left = |connection, policy| Intent::LeftAsItIs { connection, policy };
    vec![
        ("made", Intent::Created),
        ("changed", Intent::Updated),
        ("taken over", Intent::Adopted),
        ("gone with its object", Intent::Deleted(identity())),
        ("stays without the mark", retained(false)),
        ("stays with the mark", retained(true)),
        ("stays under Observe", left(Some(identity()), Management::Observe)),
        ("stays under Suspended, if there is one", left(None, Management::Suspended)),
        ("a new token", Intent::Rotated),
        (
            "put back",
            Intent::DriftCorrected { fields: "description, credentials".to_owned(), since: "then".to_owned() },
        ),
        ("made again", Intent::Recreated),
        ("left alone", Intent::LeftAlone(identity())),
    ]
}

/// The events of a pass on 2026-03-01 over an object that was Ready with another token, found with this one and this
/// declared end. `tells` is what it did.
fn pass(
    token: &Token,
    version: &str,
    declared: &str,
    before: &BitbucketConnectionStatus,
    tells: &[Intent],
) -> status::Report {
    let (spec, now) = (spec(), "2026-03-01T00:00:00Z".parse().expect("a time"));
    let connection = ConnectionStatus { id: identity().id, name: identity().name, ..ConnectionStatus::default() };
    let findings = Findings {
        token: Some(token),
        secret_version: Some(version),
        declared: Declared { secret: Some(declared), ..Declared::default() },
        synced: Judgement::new(Reason::InSync, ""),
        connection: Some(connection),
        tells,
        pending: &[],
        verified_at: Some(now),
        requested: None,
        release: false,
    };
    let findings = Some(findings);
    status::report(&Pass {
        now,
        uid: "uid",
        generation: Some(1),
        before,
        spec: Some(&spec),
        interval: spec.interval,
        started: now,
        findings,
    })
}

fn good(word: &str) -> Token {
    let credentials = crate::domain::credential::Credentials::parse("bot@example.com", word).expect("good values");
    let verdict = Verdict::Accepted(Accepted { granted: Some(spec().required), ..Accepted::default() });
    Token::Asked {
        verdict,
        fingerprint: credentials.fingerprint(&super::owner_id()),
        email: "bot@example.com".to_owned(),
    }
}

/// Events about what was done, and about the end of the token.
pub fn told() -> Vec<(&'static str, Announcement)> {
    let fresh = BitbucketConnectionStatus::default();
    let one = |report: status::Report, reason: EventReason| {
        report.announcements.into_iter().find(|event| event.reason == reason).expect("it is told")
    };
    let mut all: Vec<_> = intents()
        .into_iter()
        .map(|(case, intent)| {
            let mut told = pass(&good("one"), "1", "2027-02-01", &fresh, &[intent]).announcements;
            (case, told.remove(0))
        })
        .collect();
    let before = pass(&good("one"), "1", "2026-09-01", &fresh, &[]).status;
    let dead = asked(Verdict::Refused(Refusal::Dead));
    let of = |token: &Token, version: &str, declared: &str, reason| {
        one(pass(token, version, declared, &before, &[]), reason)
    };
    all.extend([
        ("a month ahead", of(&good("one"), "1", "2026-03-30", EventReason::TokenExpiring)),
        ("days ahead", of(&good("one"), "1", "2026-03-05", EventReason::TokenExpiring)),
        ("refused after its end", of(&dead, "2", "2026-02-01", EventReason::TokenExpired)),
        ("accepted after its end", of(&good("one"), "1", "2026-02-01", EventReason::TokenExpired)),
        ("a new token with the old date", of(&good("two"), "2", "2026-09-01", EventReason::ExpiryNotUpdated)),
        ("a date too far away", of(&good("one"), "1", "2036-03-01", EventReason::ExpiryImplausible)),
    ]);
    all
}

/// Events that repeat the words of a condition when it turns.
pub fn turned() -> Vec<(&'static str, Announcement)> {
    let now = "2026-03-01T00:00:00Z".parse().expect("a time");
    let condition = |kind: &str, judgement: &Judgement| vec![conditions::condition(kind, judgement, Some(1), &[], now)];
    let before = condition(types::READY, &Judgement::new(Reason::CredentialsRejected, ""));
    let all = of_connections().into_iter().flat_map(|example| {
        let reason = Reason::parse(example.reason).expect("one of ours");
        let after = condition(example.condition, &Judgement::new(reason, example.message));
        events::transitions(&before, &after).into_iter().map(move |event| (example.case, event))
    });
    all.collect()
}

fn steps() -> Vec<(&'static str, Step)> {
    let id = || identity().id;
    let changes = |name: Option<&str>, description: Option<&str>| Changes {
        name: name.map(str::to_owned),
        description: description.map(str::to_owned),
    };
    let update = |changes, credentials| Step::Update { id: id(), changes, credentials };
    let new = NewConnection {
        name: "payments".to_owned(),
        description: ownership::describe("", &owner(), Origin::Created),
        scope: spec().scope,
    };
    vec![
        ("the finalizer, which a plan doesn't show", Step::AddFinalizer),
        ("a new connection", Step::Create(new)),
        ("one to take over", Step::Adopt { id: id(), seen: String::new(), changes: changes(None, Some("text")) }),
        ("another name", update(changes(Some("payments"), None), false)),
        ("another text and token", update(changes(None, Some("text")), true)),
        ("a deletion, which a plan doesn't show", Step::Delete { id: id() }),
    ]
}

/// The steps as `status.plan` shows them.
pub fn planned() -> Vec<(&'static str, String)> {
    steps().into_iter().map(|(case, step)| (case, step.to_string())).collect()
}

#[test]
fn every_intent_and_step_is_told() {
    every_variant!(
        Intent,
        values(intents()),
        Intent::Created,
        Intent::Adopted,
        Intent::Updated,
        Intent::Rotated,
        Intent::DriftCorrected { .. },
        Intent::Recreated,
        Intent::Deleted(_),
        Intent::Retained { with_mark: true, .. },
        Intent::Retained { with_mark: false, .. },
        Intent::LeftAsItIs { connection: Some(_), .. },
        Intent::LeftAsItIs { connection: None, .. },
        Intent::LeftAlone(_),
    );
    every_variant!(
        Step,
        values(steps()),
        Step::AddFinalizer,
        Step::Create(_),
        Step::Adopt { .. },
        Step::Update { .. },
        Step::Delete { .. },
    );
}

#[test]
fn every_event_is_told() {
    let told: Vec<_> = told().into_iter().chain(turned()).map(|(_, event)| event.reason).collect();
    for reason in EventReason::ALL {
        assert!(told.contains(reason), "there is no example of the event {}", reason.as_str());
    }
}

#[test]
fn no_event_is_cut_but_one_with_a_long_list() {
    for (case, event) in told().into_iter().chain(turned()) {
        assert!(event.note.len() <= 1_024, "{case}: {}", event.note);
        let cut = event.note.ends_with('…');
        assert_eq!(cut, case == "all scopes missing", "{case}: {}", event.note);
        assert!(!cut || event.note.contains("put it into key token"), "what to do is lost: {}", event.note);
    }
}
