//! Answers and statuses that were lost: what took effect is neither done twice nor taken for somebody else's.

use super::*;

#[test]
fn a_lost_answer_loses_neither_credentials_nor_the_event() {
    // The connection was made, and the status doesn't know.
    let (steps, tells, _) = planned(&good("one"), None, &Remote::Ours(held()));
    assert_eq!((steps.last().map(String::as_str), tells), (Some("update credentials"), vec![Intent::Created]));
    // Nor does a status that found it again before the KMS failed once more.
    let found = ConnectionStatus { credentials_hash: None, token_fingerprint: None, ..recorded() };
    assert_eq!(planned(&good("one"), Some(&found), &Remote::Ours(held())).1, [Intent::Created]);
    // It was made again after somebody deleted it, and the status tells of the old one.
    let old = ConnectionStatus { id: "old".to_owned(), ..recorded() };
    assert_eq!(planned(&good("one"), Some(&old), &Remote::Ours(held())).1, [Intent::Recreated]);
    // It was renamed, and the status tells of the old name.
    let old = ConnectionStatus { name: "old".to_owned(), ..recorded() };
    assert_eq!(
        planned(&good("one"), Some(&old), &Remote::Ours(held())),
        (vec![], vec![Intent::Updated], Reason::InSync)
    );
    // Somebody else had renamed it, and the answer to putting the name back was lost: that alone is told.
    let lost = [drift("name")];
    let (spec, token, owner) = (spec(), good("one"), owner());
    let put_back = Wanted {
        spec: &spec,
        owner: &owner,
        token: &token,
        recorded: Some(&old),
        spec_changed: true,
        secret_changed: false,
        adoption_granted: true,
        lost: &lost,
        finalizer: true,
    };
    assert_eq!(shown(&plan(&put_back, &Remote::Ours(held()))), (vec![], lost.to_vec(), Reason::InSync));
    // The same of its description. What the status of an older version doesn't tell is no news.
    let description = |text: &str| Some(ownership::describe(text, &owner, Origin::Created));
    for (before, tells) in [(description("Old"), vec![Intent::Updated]), (None, vec![])] {
        let old = ConnectionStatus { description: before, ..recorded() };
        assert_eq!(planned(&good("one"), Some(&old), &Remote::Ours(held())), (vec![], tells, Reason::InSync));
    }
}

#[test]
fn what_our_own_lost_write_did_is_not_taken_for_drift() {
    let (spec, owner, token, recorded) = (spec(), owner(), good("one"), recorded());
    let wanted = Wanted {
        spec: &spec,
        owner: &owner,
        token: &token,
        recorded: Some(&recorded),
        spec_changed: false,
        secret_changed: false,
        adoption_granted: true,
        lost: &[],
        finalizer: true,
    };
    let remote = Remote::Ours(KmsConnection { credentials_hash: Some("hash-2".to_owned()), ..held() });
    let push = vec!["update credentials".to_owned()];
    // A crash after the Secret got another e-mail.
    let crashed = Wanted { secret_changed: true, ..wanted };
    assert_eq!(shown(&plan(&crashed, &remote)), (push.clone(), vec![Intent::Updated], Reason::InSync));
    // The same without a crash; and a correction of drift whose answer was lost.
    for lost in [Intent::Updated, drift("credentials")] {
        let retried = Wanted { lost: std::slice::from_ref(&lost), ..wanted };
        assert_eq!(shown(&plan(&retried, &remote)), (push.clone(), vec![lost.clone()], Reason::InSync));
    }
    // A description that was written, and one that was not.
    let lost = [Intent::Updated];
    let retried = Wanted { lost: &lost, spec_changed: true, ..wanted };
    assert_eq!(shown(&plan(&retried, &Remote::Ours(held()))), (vec![], vec![Intent::Updated], Reason::InSync));
    let old = KmsConnection { description: held().description.replace("Payments", "Old"), ..held() };
    let again = vec!["update description".to_owned()];
    assert_eq!(shown(&plan(&retried, &Remote::Ours(old))), (again, vec![Intent::Updated], Reason::InSync));
}

#[test]
fn drift_of_credentials_is_told_once_whatever_our_own_write_changed() {
    let told = |hash: &str, time: &str| {
        let (credentials_hash, updated_at) = (Some(hash.to_owned()), Some(time.to_owned()));
        let remote = Remote::Ours(KmsConnection { credentials_hash, updated_at, ..held() });
        planned(&good("one"), Some(&recorded()), &remote).1
    };
    // Somebody wrote them; we wrote them back, and the process ended before the status told.
    assert_eq!(told("of-somebody", "then"), told("of-ours", "later"));
}
