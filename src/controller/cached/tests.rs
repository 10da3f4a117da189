use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use kube::ResourceExt;
use serde_json::json;

use super::*;
use crate::{
    api::{BitbucketConnectionStatus, RECONCILE_REQUESTED_AT},
    controller::{
        pruned::Pruned,
        words::dictionary::{good, lacking},
    },
};

fn pack(object: BitbucketConnection) -> CachedConnection {
    CachedConnection::pack(object, &Texts::default())
}

/// Whether what comes out is what went in.
fn comes_back(object: &BitbucketConnection) -> bool {
    pack(object.clone()).unpack().as_ref() == Some(object)
}

/// A connection of another team, with ids, times and texts of its own.
fn another() -> BitbucketConnection {
    let text = serde_json::to_string(&good()).expect("JSON");
    let changed = [
        ("team-a", "warehouse"),
        ("payments", "stock"),
        ("bot", "robot-7"),
        ("11111111-1111-4111-8111-111111111111", "1f7a52c0-9d3e-4b8f-a5c6-0e4d2b719f83"),
        ("33333333-3333-4333-8333-333333333333", "9c04e1d7-62fb-4a35-8e90-b7d15a3c6f28"),
        ("44444444-4444-4444-8444-444444444444", "d85b20f6-17ce-4e94-b3a8-5f60c92e7d41"),
        ("55555555-5555-4555-8555-555555555555", "3ea96c81-f054-4d7b-92c3-a81e7f4d05b6"),
        ("66666666-6666-4666-8666-666666666666", "70d2b94f-5ac8-4163-bf1e-c936e80a7d52"),
        ("7ffbb072-2575-495a-b5b0-127f88caef78", "b4186fd3-0e7a-4c29-95d8-63ca1f82e70b"),
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "5fd924625f6ab16a19cc9807c7c506ae1813490e4ba675f843d5a10e0baacdb8",
        ),
        ("2026-03-01T00:00:00Z", "2026-07-19T13:46:08Z"),
        ("2027-03-01T00:00:00Z", "2027-02-11T09:30:00Z"),
    ];
    let text = changed.iter().fold(text, |text, (from, to)| text.replace(from, to));
    serde_json::from_str(&text).expect("an object")
}

#[test]
fn what_is_unpacked_is_what_was_packed() {
    let mut asked_for = good();
    asked_for.annotations_mut().insert(RECONCILE_REQUESTED_AT.to_owned(), "now".to_owned());
    let mut going = good();
    going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let mut long = lacking();
    long.spec.description = Some("\u{1f600}\u{0}\"".repeat(20_000));
    let new = BitbucketConnection { status: None, ..good() };
    let bare = BitbucketConnection { metadata: ObjectMeta::default(), ..new.clone() };
    let cases = [good(), another(), lacking(), asked_for, going, long, new, bare, BitbucketConnection::default()];
    for object in cases {
        assert!(comes_back(&object), "{object:?}");
    }
}

#[test]
fn of_metadata_stays_what_the_operator_reads() {
    let mut object = good();
    object.labels_mut().insert("team".to_owned(), "a".to_owned());
    object.managed_fields_mut().push(ManagedFieldsEntry::default());
    assert_eq!(pack(object).unpack(), Some(good()));
}

#[test]
fn what_is_pruned_where_it_is_read_is_packed_as_if_it_had_been_whole() {
    let requested = |mut object: BitbucketConnection| {
        object.annotations_mut().insert(RECONCILE_REQUESTED_AT.to_owned(), "now".to_owned());
        object
    };
    let going = |mut object: BitbucketConnection| {
        object.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        object
    };
    let new = BitbucketConnection { status: None, ..good() };
    for object in [good(), another(), lacking(), new, requested(good()), going(good()), BitbucketConnection::default()]
    {
        let mut told = object.clone();
        told.labels_mut().insert("team".to_owned(), "a".to_owned());
        told.managed_fields_mut().push(ManagedFieldsEntry::default());
        if !told.annotations().is_empty() {
            told.annotations_mut()
                .insert("kubectl.kubernetes.io/last-applied-configuration".to_owned(), "{}".to_owned());
        }
        let text = serde_json::to_string(&told).expect("JSON");
        let Pruned(pruned) = serde_json::from_str(&text).expect("an object");
        assert_eq!(pack(pruned).unpack(), Some(object));
    }
}

#[test]
fn a_packed_object_names_itself() {
    let (object, mut packed) = (good(), pack(good()));
    assert_eq!((packed.name_any(), packed.namespace()), (object.name_any(), object.namespace()));
    assert_eq!((packed.uid(), packed.resource_version()), (object.uid(), object.resource_version()));
    packed.meta_mut().resource_version = Some("1001".to_owned());
    assert_eq!(packed.resource_version().as_deref(), Some("1001"));
}

#[test]
fn a_connection_is_small() {
    let plain = serde_json::to_vec(&another()).expect("JSON").len();
    let packed = pack(another()).packed.len();
    assert!(packed < 600 && plain > 4 * packed, "{plain} bytes became {packed}");
}

#[test]
fn what_is_damaged_is_not_unpacked() {
    let whole = pack(good());
    for packed in [&[][..], &[1, 2, 3], &whole.packed[..whole.packed.len() / 2]] {
        assert_eq!(CachedConnection { packed: packed.into(), ..whole.clone() }.unpack(), None);
    }
}

#[test]
fn an_object_is_looked_at_for_what_somebody_asks() {
    type Change = fn(&mut BitbucketConnection);
    let asks = |change: Change| {
        let mut newer = good();
        newer.metadata.resource_version = Some("1001".to_owned());
        change(&mut newer);
        pack(good()).is_asked_for_more_by(&pack(newer))
    };
    let cases: [(&str, Change, bool); 8] = [
        ("a new version", |_| (), false),
        ("a write of our own", |it| it.status = lacking().status, false),
        ("a label", |it| drop(it.labels_mut().insert("team".to_owned(), "a".to_owned())), false),
        ("a new spec", |it| it.metadata.generation = Some(2), true),
        ("another object of that name", |it| it.metadata.uid = Some("another".to_owned()), true),
        ("a deletion", |it| it.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH)), true),
        (
            "a request",
            |it| drop(it.annotations_mut().insert(RECONCILE_REQUESTED_AT.to_owned(), "now".to_owned())),
            true,
        ),
        (
            "a status that was taken away",
            |it| {
                let default = json!({"observedGeneration": UNPROCESSED});
                it.status = serde_json::from_value::<BitbucketConnectionStatus>(default).ok();
            },
            true,
        ),
    ];
    for (case, change, looked_at) in cases {
        assert_eq!(asks(change), looked_at, "{case}");
    }
}

#[test]
fn it_names_the_kind_that_it_stands_for() {
    let kind = |kind: [Cow<'static, str>; 4]| kind.join(" ");
    assert_eq!(
        kind([
            CachedConnection::group(&()),
            CachedConnection::version(&()),
            CachedConnection::kind(&()),
            CachedConnection::plural(&()),
        ]),
        "connections.kms.hanzo.ai v1alpha1 BitbucketConnection bitbucketconnections"
    );
}
