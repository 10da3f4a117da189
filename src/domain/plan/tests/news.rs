//! What is told of a change, and what isn't.

use super::*;

/// What is told of a good token and what the KMS holds.
fn told(token: &str, recorded: Option<&ConnectionStatus>, spec_changed: bool, held: KmsConnection) -> Vec<Intent> {
    let (spec, token, owner) = (spec(), good(token), owner());
    let wanted = Wanted {
        spec: &spec,
        owner: &owner,
        token: &token,
        recorded,
        spec_changed,
        secret_changed: false,
        adoption_granted: true,
        lost: &[],
        finalizer: true,
    };
    shown(&plan(&wanted, &Remote::Ours(held))).1
}

fn of_another_text() -> KmsConnection {
    KmsConnection { description: held().description.replace("Payments", "Old"), ..held() }
}

#[test]
fn of_a_new_spec_with_a_new_token_both_are_told() {
    assert_eq!(told("two", Some(&recorded()), true, of_another_text()), [Intent::Updated, Intent::Rotated]);
    assert_eq!(told("one", Some(&recorded()), true, of_another_text()), [Intent::Updated]);
}

#[test]
fn what_is_put_right_in_a_connection_that_is_not_on_record_is_nobodys_drift() {
    let renamed = KmsConnection { name: "old".to_owned(), ..held() };
    for found in [of_another_text(), renamed] {
        for spec_changed in [false, true] {
            assert_eq!(told("one", None, spec_changed, found.clone()), [Intent::Created], "{found:?}");
        }
    }
}

#[test]
fn a_kms_is_another_by_its_host_or_by_its_organization() {
    let made = |org_id: Option<&str>| ConnectionStatus {
        host: "https://kms.example.com".to_owned(),
        org_id: org_id.map(str::to_owned),
        ..recorded()
    };
    let (here, there) = ("https://kms.example.com", "https://other.example.com");
    let table = [
        (Some("one"), here, Some("one"), false),
        (Some("one"), here, Some("two"), true),
        (Some("one"), there, Some("one"), true),
        // Who doesn't tell is no other.
        (None, here, Some("one"), false),
        (Some("one"), here, None, false),
        (None, here, None, false),
        (None, there, None, true),
    ];
    for (then, host, now, another) in table {
        assert_eq!(is_another_kms(&made(then), host, now), another, "{then:?} {host} {now:?}");
    }
}
