use super::*;
use crate::domain::spec::DeletionPolicy;
use crate::domain::{
    credential::Credentials,
    ownership::OwnerId,
    scopes,
    verdict::{Accepted, NoVerdict, Refusal, Verdict},
};
use serde_json::json;

mod adoption;
mod lost;
mod misplaced;
mod news;

const ID: &str = "11111111-1111-4111-8111-111111111111";

fn spec() -> ConnectionSpec {
    let raw = json!({
        "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78",
        "secretRef": {"name": "bitbucket-token"},
        "description": "Payments",
        "scopes": {"additional": ["read:repository:bitbucket"]},
    });
    crate::domain::spec::validate("payments", &serde_json::from_value(raw).expect("a spec")).expect("a good spec")
}

fn owner() -> Owner {
    Owner::of(&OwnerId::new("cluster").expect("good id"), "team-a", "payments")
}

fn credentials(token: &str) -> Credentials {
    Credentials::parse("bot@example.com", token).expect("good values")
}

fn asked(token: &str, verdict: Verdict) -> Token {
    let fingerprint = credentials(token).fingerprint(&OwnerId::new("cluster").expect("good id"));
    Token::Asked { verdict, fingerprint, email: "bot@example.com".to_owned() }
}

fn good(token: &str) -> Token {
    let granted = Some(scopes::parse_header("read:user, read:repository"));
    asked(token, Verdict::Accepted(Accepted { granted, ..Accepted::default() }))
}

/// Which steps write to the KMS, and which of them credentials.
#[test]
fn a_step_says_what_it_writes() {
    let id = || "one".to_owned();
    let update = |credentials| Step::Update { id: id(), changes: Changes::default(), credentials };
    let new = NewConnection {
        name: id(),
        description: String::new(),
        scope: crate::domain::connection::KmsScope::Organization,
    };
    let table = [
        (Step::AddFinalizer, false, false),
        (Step::Create(new), true, true),
        (Step::Adopt { id: id(), seen: String::new(), changes: Changes::default() }, true, true),
        (update(true), true, true),
        (update(false), true, false),
        (Step::Delete { id: id() }, true, false),
    ];
    for (step, writes, pushes) in table {
        assert_eq!((step.writes_to_kms(), step.pushes()), (writes, pushes), "{step}");
    }
}

#[test]
fn of_an_object_that_cannot_be_read_an_outage_of_the_kms_is_still_told() {
    let down = Judgement::new(Reason::KmsUnavailable, "down");
    assert_eq!(unplanned(&Remote::Unreadable(down.clone())).synced, down);
    assert_eq!(unplanned(&Remote::Absent).synced.reason, Reason::NotEvaluated);
}

/// What the KMS holds after a creation with the token `one`.
fn held() -> KmsConnection {
    KmsConnection {
        id: ID.to_owned(),
        name: "payments".to_owned(),
        description: ownership::describe("Payments", &owner(), Origin::Created),
        app: "bitbucket".to_owned(),
        org_id: None,
        project_id: Some("7ffbb072-2575-495a-b5b0-127f88caef78".to_owned()),
        email: Some("bot@example.com".to_owned()),
        credentials_hash: Some("hash-1".to_owned()),
        updated_at: Some("then".to_owned()),
    }
}

/// What the status tells after a creation with the token `one`.
fn recorded() -> ConnectionStatus {
    let fingerprint = credentials("one").fingerprint(&OwnerId::new("cluster").expect("good id"));
    ConnectionStatus {
        id: ID.to_owned(),
        name: "payments".to_owned(),
        description: Some(held().description),
        credentials_hash: Some("hash-1".to_owned()),
        token_fingerprint: Some(fingerprint.to_string()),
        ..ConnectionStatus::default()
    }
}

/// Steps, what is told, and the reason of Synced, as a test reads them.
fn shown(plan: &Plan) -> (Vec<String>, Vec<Intent>, Reason) {
    let steps = plan.stages.iter().map(|stage| stage.step.to_string()).collect();
    let tells = plan.tells.iter().chain(plan.stages.iter().flat_map(|stage| &stage.tells)).cloned().collect();
    (steps, tells, plan.synced.reason)
}

fn planned(token: &Token, recorded: Option<&ConnectionStatus>, remote: &Remote) -> (Vec<String>, Vec<Intent>, Reason) {
    let (spec, owner) = (spec(), owner());
    let finalizer = recorded.is_some();
    let (spec_changed, secret_changed) = (false, false);
    let wanted = Wanted {
        spec: &spec,
        owner: &owner,
        token,
        recorded,
        spec_changed,
        secret_changed,
        adoption_granted: true,
        lost: &[],
        finalizer,
    };
    shown(&plan(&wanted, remote))
}

fn drift(fields: &str) -> Intent {
    let since = if fields.contains("credentials") { "hash-1".to_owned() } else { format!("then {fields}") };
    Intent::DriftCorrected { fields: fields.to_owned(), since }
}

#[test]
fn a_good_token_makes_a_connection_and_another_does_not() {
    let (create, created) = (vec!["add finalizer".to_owned(), "create connection".to_owned()], vec![Intent::Created]);
    assert_eq!(planned(&good("one"), None, &Remote::Absent), (create, created, Reason::InSync));
    for token in [
        Token::NoSecret,
        asked("one", Verdict::Refused(Refusal::InvalidOrExpired)),
        asked("one", Verdict::Unknown(NoVerdict::Forbidden)),
        asked("one", Verdict::Accepted(Accepted::default())),
    ] {
        assert_eq!(planned(&token, None, &Remote::Absent), (vec![], vec![], Reason::NotEvaluated), "{token:?}");
    }
}

#[test]
fn what_is_in_step_is_left_alone() {
    let quiet = (vec![], vec![], Reason::InSync);
    assert_eq!(planned(&good("one"), Some(&recorded()), &Remote::Ours(held())), quiet);
    let older = KmsConnection { credentials_hash: None, email: None, ..held() };
    assert_eq!(planned(&good("one"), Some(&recorded()), &Remote::Ours(older)), quiet, "servers that tell less");
    let revoked = asked("one", Verdict::Refused(Refusal::InvalidOrExpired));
    assert_eq!(planned(&revoked, Some(&recorded()), &Remote::Ours(held())), quiet, "the same token, revoked");
    assert_eq!(planned(&Token::NoSecret, Some(&recorded()), &Remote::Ours(held())), quiet);
}

#[test]
fn a_new_token_replaces_the_old_one_only_if_it_is_good() {
    let replaced = (vec!["update credentials".to_owned()], vec![Intent::Rotated], Reason::InSync);
    assert_eq!(planned(&good("two"), Some(&recorded()), &Remote::Ours(held())), replaced);
    for (token, reason) in [
        (asked("two", Verdict::Refused(Refusal::AppPassword)), Reason::CredentialsNotPushed),
        (asked("two", Verdict::Unknown(NoVerdict::Forbidden)), Reason::CredentialsNotVerified),
        (Token::Invalid(crate::domain::credential::CredentialProblem::NotAnEmail), Reason::CredentialsNotPushed),
    ] {
        assert_eq!(planned(&token, Some(&recorded()), &Remote::Ours(held())), (vec![], vec![], reason), "{token:?}");
    }
}

#[test]
fn what_was_left_undone_is_no_drift() {
    let (spec, owner, recorded, token) = (spec(), owner(), recorded(), good("one"));
    let mut connection = held();
    connection.description = connection.description.replace("Payments", "Before");
    for (synced, told) in [
        (Reason::InSync, drift("description")),
        (Reason::CredentialsNotPushed, drift("description")),
        (Reason::OwnershipMarkMissing, drift("description")),
        (Reason::KmsUnavailable, Intent::Updated),
        (Reason::KmsPermissionDenied, Intent::Updated),
        (Reason::KmsInstanceNotReady, Intent::Updated),
        (Reason::DescriptionTooLong, Intent::Updated),
        (Reason::ChangesPending, Intent::Updated),
    ] {
        let spec_changed = left_undone(synced);
        let wanted = Wanted {
            spec: &spec,
            owner: &owner,
            token: &token,
            recorded: Some(&recorded),
            spec_changed,
            secret_changed: false,
            adoption_granted: true,
            lost: &[],
            finalizer: true,
        };
        let (_, tells, _) = shown(&plan(&wanted, &Remote::Ours(connection.clone())));
        assert_eq!(tells, [told], "{synced:?}");
    }
}

#[test]
fn drift_is_corrected_and_named() {
    let other = |change: fn(&mut KmsConnection)| {
        let mut connection = held();
        change(&mut connection);
        Remote::Ours(connection)
    };
    let table = [
        (other(|it| it.name = "renamed".to_owned()), vec!["update name"], vec![drift("name")]),
        (
            other(|it| it.description = it.description.replace("Payments", "Other")),
            vec!["update description"],
            vec![drift("description")],
        ),
        (
            other(|it| it.credentials_hash = Some("hash-2".to_owned())),
            vec!["update credentials"],
            vec![drift("credentials")],
        ),
        (
            other(|it| {
                it.description = it.description.replace("Payments", "Other");
                it.credentials_hash = Some("hash-2".to_owned());
            }),
            vec!["update description, credentials"],
            vec![drift("description, credentials")],
        ),
    ];
    for (remote, steps, tells) in table {
        let steps = steps.into_iter().map(str::to_owned).collect();
        assert_eq!(planned(&good("one"), Some(&recorded()), &remote), (steps, tells, Reason::InSync), "{remote:?}");
    }
    assert_eq!(planned(&good("one"), Some(&recorded()), &Remote::Absent).1, [Intent::Recreated]);
}

#[test]
fn a_bad_token_does_not_keep_other_drift_from_being_corrected() {
    let connection = KmsConnection { name: "renamed".to_owned(), ..held() };
    let bad = asked("two", Verdict::Refused(Refusal::InvalidOrExpired));
    let (steps, tells, reason) = planned(&bad, Some(&recorded()), &Remote::Ours(connection));
    assert_eq!(
        (steps, tells, reason),
        (vec!["update name".to_owned()], vec![drift("name")], Reason::CredentialsNotPushed)
    );
}

#[test]
fn the_mark_of_an_earlier_owner_id_is_replaced() {
    let id = |text: &str| OwnerId::new(text).expect("good id");
    let (spec, token, recorded) = (spec(), good("one"), recorded());
    let owner = owner().with_previous(&[id("before")], "team-a", "payments");
    let former = Owner::of(&id("before"), "team-a", "payments");
    let remote = |text: &str| {
        let description = ownership::describe(text, &former, Origin::Created);
        Remote::Ours(KmsConnection { description, ..held() })
    };
    // Status, text in the KMS → steps
    let table = [
        (Some(&recorded), "Payments", "update description"),
        (Some(&recorded), "Of somebody", "update description"),
        (None, "Payments", "update description, credentials"),
    ];
    for (recorded, text, step) in table {
        let wanted = Wanted {
            spec: &spec,
            owner: &owner,
            token: &token,
            recorded,
            spec_changed: false,
            secret_changed: false,
            adoption_granted: true,
            lost: &[],
            finalizer: true,
        };
        let plan = plan(&wanted, &remote(text));
        assert_eq!(shown(&plan), (vec![step.to_owned()], vec![Intent::Updated], Reason::InSync), "{text}");
        let Some(Stage { step: Step::Update { changes, .. }, .. }) = plan.stages.first() else { panic!("{plan:?}") };
        assert_eq!(changes.description, Some(ownership::describe("Payments", &owner, Origin::Created)));
    }
}

#[test]
fn a_taken_name_keeps_no_token_out() {
    let old = ConnectionStatus { name: "old".to_owned(), ..recorded() };
    let connection = KmsConnection { name: "old".to_owned(), ..held() };
    let (steps, tells, _) = planned(&good("two"), Some(&old), &Remote::Ours(connection));
    assert_eq!(steps, ["update credentials", "update name"]);
    assert_eq!(tells, [Intent::Rotated, Intent::Updated]);
}

#[test]
fn what_is_not_ours_is_not_touched() {
    for (remote, reason) in [
        (Remote::NotOurs(held(), Ownership::Unmarked), Reason::OwnershipMarkMissing),
        (Remote::NotOurs(held(), Ownership::Another), Reason::OwnedByAnother),
        (Remote::Ambiguous, Reason::OwnershipAmbiguous),
        (Remote::NameTaken, Reason::NameConflict),
        (Remote::HostChanged, Reason::KmsChanged),
        (Remote::Unreadable(Judgement::new(Reason::KmsUnavailable, "down")), Reason::KmsUnavailable),
    ] {
        assert_eq!(planned(&good("two"), Some(&recorded()), &remote), (vec![], vec![], reason));
    }
}

#[test]
fn deletion_ends_or_says_what_blocks_it() {
    use DeletionPolicy::{Delete, Retain};
    let me = || Identity { id: ID.to_owned(), name: "payments".to_owned() };
    let retained = |with_mark| vec![Intent::Retained { connection: me(), with_mark }];
    let down = || Remote::Unreadable(Judgement::new(Reason::KmsUnavailable, "The KMS is down."));
    let denied = || Remote::Unreadable(Judgement::new(Reason::KmsPermissionDenied, "Not allowed."));
    // It may be called otherwise by now, and that is its owner's business.
    let another = || Remote::NotOurs(KmsConnection { name: "theirs".to_owned(), ..held() }, Ownership::Another);
    let unmarked = || Remote::NotOurs(held(), Ownership::Unmarked);
    let table = [
        (Delete, Remote::Ours(held()), vec!["delete connection"], vec![Intent::Deleted(me())], true),
        (Delete, Remote::Absent, vec![], vec![Intent::Deleted(me())], true),
        (Delete, unmarked(), vec![], vec![Intent::LeftAlone(me())], true),
        (Delete, another(), vec![], vec![Intent::LeftAlone(me())], true),
        (Delete, down(), vec![], vec![], false),
        (Delete, denied(), vec![], vec![], false),
        (Delete, Remote::Ambiguous, vec![], vec![], false),
        (Delete, Remote::HostChanged, vec![], vec![], false),
        (Retain, Remote::Ours(held()), vec!["update description"], retained(false), true),
        (Retain, Remote::Absent, vec![], vec![], true),
        (Retain, unmarked(), vec![], retained(false), true),
        (Retain, another(), vec![], retained(false), true),
        (Retain, down(), vec![], retained(true), true),
        (Retain, Remote::HostChanged, vec![], retained(true), true),
    ];
    for (policy, remote, steps, tells, release) in table {
        let plan = deletion(Some(policy), Some(&recorded()), &remote);
        let (shown_steps, shown_tells, reason) = shown(&plan);
        assert_eq!(
            (shown_steps, shown_tells),
            (steps.iter().map(|step| (*step).to_owned()).collect(), tells),
            "{policy:?} {remote:?}"
        );
        assert_eq!(plan.release, release, "{policy:?} {remote:?}");
        if !release {
            assert!(plan.synced.message.contains("spec.deletionPolicy: Retain"), "the way out");
            let outage = matches!(&remote, Remote::Unreadable(why) if why.reason == Reason::KmsUnavailable);
            assert_eq!(reason, if outage { Reason::KmsUnavailable } else { Reason::DeletionBlocked });
        }
    }
}

#[test]
fn a_deletion_that_has_its_turn_soon_waits_and_is_not_blocked() {
    let why = Judgement::new(Reason::RateLimited, "The KMS answers again in a minute.");
    for policy in [DeletionPolicy::Delete, DeletionPolicy::Retain] {
        let plan = deletion(Some(policy), Some(&recorded()), &Remote::Unreadable(why.clone()));
        assert_eq!((&plan.synced, plan.release), (&why, false), "{policy:?}");
        assert_eq!((plan.tells, plan.stages.len()), (vec![], 0), "{policy:?}");
    }
}

#[test]
fn what_may_only_be_observed_is_pending_and_told_as_nothing() {
    let (spec, owner, recorded) = (spec(), owner(), recorded());
    let renamed = KmsConnection { name: "renamed".to_owned(), ..held() };
    let revoked = || asked("two", Verdict::Refused(Refusal::InvalidOrExpired));
    let down = Remote::Unreadable(Judgement::new(Reason::KmsUnavailable, "down"));
    let unknown = || asked("two", Verdict::Unknown(NoVerdict::Forbidden));
    // Token, what the status records, what the KMS holds; what is pending, Synced.
    let table = [
        (good("one"), None, Remote::Absent, vec!["create connection"], Reason::ChangesPending),
        (Token::NoSecret, None, Remote::Absent, vec![], Reason::NotEvaluated),
        (good("one"), Some(&recorded), Remote::Ours(held()), vec![], Reason::InSync),
        (good("two"), Some(&recorded), Remote::Ours(held()), vec!["update credentials"], Reason::ChangesPending),
        (
            good("two"),
            Some(&recorded),
            Remote::Ours(renamed.clone()),
            vec!["update credentials", "update name"],
            Reason::ChangesPending,
        ),
        (good("one"), Some(&recorded), Remote::Absent, vec!["create connection"], Reason::ChangesPending),
        // The reason that comes first stays.
        (revoked(), Some(&recorded), Remote::Ours(renamed.clone()), vec!["update name"], Reason::CredentialsNotPushed),
        (unknown(), Some(&recorded), Remote::Ours(renamed), vec!["update name"], Reason::ChangesPending),
        (unknown(), Some(&recorded), Remote::Ours(held()), vec![], Reason::CredentialsNotVerified),
        (good("two"), Some(&recorded), Remote::NameTaken, vec![], Reason::NameConflict),
        (good("two"), Some(&recorded), down, vec![], Reason::KmsUnavailable),
    ];
    for (token, recorded, remote, pending, reason) in table {
        let wanted = Wanted {
            spec: &spec,
            owner: &owner,
            token: &token,
            recorded,
            spec_changed: true,
            secret_changed: true,
            adoption_granted: false,
            lost: &[Intent::Updated],
            finalizer: false,
        };
        let full = plan(&wanted, &remote);
        let plan = observed(full.clone());
        assert_eq!(shown(&plan), (vec![], vec![], reason), "{remote:?}");
        let pending: Vec<String> = pending.into_iter().map(str::to_owned).collect();
        assert!(pending.iter().all(|step| reason != Reason::ChangesPending || plan.synced.message.contains(step)));
        assert_eq!(plan.pending, Some(pending), "{remote:?}");
        assert_eq!((plan.holds, plan.release), (full.holds, false));
    }
}

#[test]
fn what_was_written_last_stays_on_record_while_nothing_may_be_written() {
    let carried_out = Plan::nothing(Judgement::new(Reason::InSync, ""), true);
    let only_shown = observed(carried_out.clone());
    let description = Some("Of somebody".to_owned());
    let found =
        ConnectionStatus { name: "renamed".to_owned(), description, host: "https://new".to_owned(), ..recorded() };
    let other = ConnectionStatus { id: "other".to_owned(), ..recorded() };
    assert_eq!(carried_out.record(Some(&recorded()), found.clone()), found);
    let kept = ConnectionStatus { host: "https://new".to_owned(), ..recorded() };
    assert_eq!(only_shown.record(Some(&recorded()), found.clone()), kept);
    assert_eq!(only_shown.record(Some(&recorded()), other), recorded(), "what is told later hangs on the old id");
    assert_eq!(only_shown.record(None, found.clone()), found);
}

#[test]
fn an_object_that_may_not_call_is_let_go_without_a_step() {
    let me = Identity { id: ID.to_owned(), name: "payments".to_owned() };
    for (recorded, connection) in [(Some(recorded()), Some(me)), (None, None)] {
        let plan = let_go(Management::Suspended, recorded.as_ref());
        let told = Intent::LeftAsItIs { connection, policy: Management::Suspended };
        assert_eq!((plan.stages.len(), plan.release, &plan.tells), (0, true, &vec![told]));
    }
}
