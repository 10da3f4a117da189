//! Adoption and its inverse.

use super::*;
use crate::domain::spec::AdoptionPolicy;

#[test]
fn what_was_adopted_stays_unless_its_deletion_is_asked_for() {
    let with = |origin: Origin| {
        let connection = KmsConnection { description: ownership::describe("Payments", &owner(), origin), ..held() };
        (Remote::Ours(connection), ConnectionStatus { origin: origin.as_str().to_owned(), ..recorded() })
    };
    let down = || Remote::Unreadable(Judgement::new(Reason::KmsUnavailable, "The KMS is down."));
    let (delete, strip) = (vec!["delete connection".to_owned()], vec!["update description".to_owned()]);
    for (origin, policy, steps, released_in_outage) in [
        (Origin::Created, None, &delete, false),
        (Origin::Created, Some(DeletionPolicy::Retain), &strip, true),
        (Origin::Adopted, None, &strip, true),
        (Origin::Adopted, Some(DeletionPolicy::Retain), &strip, true),
        (Origin::Adopted, Some(DeletionPolicy::Delete), &delete, false),
    ] {
        let (remote, recorded) = with(origin);
        // The mark is enough, whatever became of the status.
        for status in [Some(&recorded), None] {
            let plan = deletion(policy, status, &remote);
            assert_eq!((&shown(&plan).0, plan.release), (steps, true), "{origin:?} {policy:?}");
        }
        let plan = deletion(policy, Some(&recorded), &down());
        assert_eq!(plan.release, released_in_outage, "{origin:?} {policy:?}");
    }
    let (remote, _) = with(Origin::Adopted);
    let plan = deletion(None, None, &remote);
    let Some(Stage { step: Step::Update { changes, credentials: false, .. }, .. }) = plan.stages.first() else {
        panic!("{plan:?}")
    };
    assert_eq!(changes, &Changes { name: None, description: Some("Payments".to_owned()) });
    let gone = deletion(None, None, &Remote::Adoptable(held()));
    assert_eq!((gone.stages.len(), gone.release), (0, true), "another's of that name is left alone");
}

/// An unmarked connection of somebody else.
fn unmarked(text: &str) -> KmsConnection {
    KmsConnection { description: text.to_owned(), credentials_hash: Some("theirs".to_owned()), ..held() }
}

fn wanting<'a>(spec: &'a ConnectionSpec, owner: &'a Owner, token: &'a Token) -> Wanted<'a> {
    Wanted {
        spec,
        owner,
        token,
        recorded: None,
        spec_changed: false,
        secret_changed: false,
        adoption_granted: true,
        lost: &[],
        finalizer: false,
    }
}

#[test]
fn an_unmarked_connection_is_adopted_where_spec_instance_and_token_allow_it() {
    let policy = |adoption: AdoptionPolicy| ConnectionSpec { adoption, ..spec() };
    let (adopt, never, owner) = (policy(AdoptionPolicy::Adopt), policy(AdoptionPolicy::Never), owner());
    let plan_for = |spec: &ConnectionSpec, granted: bool, token: &Token| {
        let wanted = Wanted { adoption_granted: granted, ..wanting(spec, &owner, token) };
        plan(&wanted, &Remote::Adoptable(unmarked("By hand")))
    };
    let steps = vec!["add finalizer".to_owned(), "adopt connection".to_owned()];
    assert_eq!(shown(&plan_for(&adopt, true, &good("one"))), (steps, vec![Intent::Adopted], Reason::InSync));
    let bad = asked("one", Verdict::Refused(Refusal::InvalidOrExpired));
    // What is told: the way that is open, and only that.
    for (spec, granted, token, reason, words) in [
        (&never, true, good("one"), Reason::NameConflict, "set spec.adoptionPolicy: Adopt"),
        (&adopt, false, good("one"), Reason::AdoptionNotAllowed, "a grant with adoption: true"),
        (&adopt, false, bad.clone(), Reason::AdoptionNotAllowed, "ClusterKmsInstance/default"),
        (&adopt, true, bad, Reason::NotEvaluated, "once there is a token"),
        (&adopt, true, Token::NoSecret, Reason::NotEvaluated, "once there is a token"),
    ] {
        let plan = plan_for(spec, granted, &token);
        assert_eq!(shown(&plan), (vec![], vec![], reason), "{token:?}");
        assert!(plan.synced.message.contains(words), "{}", plan.synced.message);
    }
    assert!(!name_conflict(&never).message.contains("adoptionPolicy"), "there is nothing to take over");
}

#[test]
fn an_adopted_connection_keeps_its_text_unless_the_spec_has_one() {
    let with = |description: Option<&str>| ConnectionSpec {
        adoption: AdoptionPolicy::Adopt,
        description: description.map(str::to_owned),
        ..spec()
    };
    let (owner, token, recorded) = (owner(), good("one"), recorded());
    let mark = owner.mark(Origin::Adopted);
    let longest = "😀".repeat(115) + "x";
    // spec.description, text in the KMS → description
    let table = [
        (Some("Ours"), "By hand", Some(format!("Ours {mark}"))),
        (Some(""), "By hand", Some(mark.clone())),
        (None, " By hand ", Some(format!("By hand {mark}"))),
        (None, "", Some(mark.clone())),
        (None, &longest, Some(format!("{longest} {mark}"))),
        (Some("Ours"), &"x".repeat(256), Some(format!("Ours {mark}"))),
        (None, &format!("{longest}x"), None),
    ];
    for (description, text, expected) in table {
        let spec = with(description);
        let wanted = wanting(&spec, &owner, &token);
        let adoption = plan(&wanted, &Remote::Adoptable(unmarked(text)));
        let Some(expected) = expected else {
            assert_eq!(shown(&adoption), (vec![], vec![], Reason::DescriptionTooLong));
            let words = ["Set spec.description", "to 231 units"];
            assert!(words.iter().all(|words| adoption.synced.message.contains(words)), "{}", adoption.synced.message);
            continue;
        };
        let Some(Stage { step: Step::Adopt { changes, .. }, .. }) = adoption.stages.last() else {
            panic!("{adoption:?}")
        };
        assert_eq!(changes, &Changes { name: None, description: Some(expected.clone()) }, "{description:?} {text}");

        // From then on it is in step, whatever is granted; after a lost answer the credentials are written once more.
        let recorded = ConnectionStatus { description: Some(expected.clone()), ..recorded.clone() };
        let adopted = Remote::Ours(KmsConnection { description: expected, ..held() });
        for (recorded, steps, tells) in
            [(Some(&recorded), vec![], vec![]), (None, vec!["update credentials".to_owned()], vec![Intent::Adopted])]
        {
            let wanted = Wanted { recorded, adoption_granted: false, finalizer: true, ..wanted };
            assert_eq!(shown(&plan(&wanted, &adopted)), (steps, tells, Reason::InSync));
        }
        // Another text on record is one that was ours to write, or people's own business.
        let recorded = ConnectionStatus { description: Some(format!("Before {mark}")), ..recorded };
        let wanted = Wanted { recorded: Some(&recorded), finalizer: true, ..wanted };
        let tells = if description.is_some() { vec![Intent::Updated] } else { vec![] };
        assert_eq!(shown(&plan(&wanted, &adopted)), (vec![], tells, Reason::InSync));
    }
}

#[test]
fn a_mark_to_put_back_says_how_the_connection_came_to_be_ours() {
    let (spec, owner, token) = (spec(), owner(), good("one"));
    for origin in [Origin::Created, Origin::Adopted] {
        let recorded = ConnectionStatus { origin: origin.as_str().to_owned(), ..recorded() };
        let wanted = Wanted { recorded: Some(&recorded), ..wanting(&spec, &owner, &token) };
        for remote in [
            Remote::NotOurs(held(), Ownership::Unmarked),
            Remote::NotOurs(held(), Ownership::Another),
            Remote::Ambiguous,
        ] {
            let message = plan(&wanted, &remote).synced.message;
            assert!(message.contains(&owner.mark(origin)), "{message}");
        }
    }
}
