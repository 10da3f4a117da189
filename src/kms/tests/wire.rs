//! What is read and written.

use serde_json::json;

use super::{
    super::{properties::list, wire},
    ID, NAME, credentials,
};
use crate::{
    domain::connection::{Changes, KmsScope, NewConnection},
    http::{BadShape, Body},
};

fn body(value: &serde_json::Value) -> Body {
    Body::Json(value.to_string().into_bytes())
}

#[test]
fn only_id_and_name_make_a_connection() {
    let least = json!({ "appConnection": { "id": ID, "name": "a" } });
    let (connection, place) = wire::one(&body(&least)).expect("a connection");
    assert_eq!(
        (connection.id.as_str(), connection.app.as_str(), connection.description.as_str()),
        (ID, "bitbucket", "")
    );
    assert_eq!((connection.project_id, connection.email, connection.credentials_hash), (None, None, None));
    assert!(place.is_in(&KmsScope::Organization) && place.is_in(&KmsScope::Project("p".to_owned())));

    let odd = json!({ "appConnection": {
        "id": ID, "name": "a", "description": null, "app": "github", "orgId": 7, "projectId": "p", "version": 1,
        "credentials": "odd", "credentialsHash": null, "updatedAt": {}, "gatewayId": null, "new": [1, {"a": 2}],
        "isPlatformManagedCredentials": null,
    }});
    let (connection, place) = wire::one(&body(&odd)).expect("a connection");
    assert_eq!((connection.app.as_str(), connection.org_id, connection.email), ("github", None, None));
    assert!(place.is_in(&KmsScope::Project("p".to_owned())) && !place.is_in(&KmsScope::Organization));
}

#[test]
fn what_is_no_connection_is_refused() {
    let table = [
        (body(&json!({ "appConnection": { "id": "../../users", "name": "a" } })), BadShape::Foreign),
        (body(&json!({ "appConnection": { "id": ID } })), BadShape::Foreign),
        (body(&json!({ "id": ID, "name": "a" })), BadShape::Foreign),
        (body(&json!([])), BadShape::Foreign),
        (Body::Json(br#"{"appConnection":{"id":"#.to_vec()), BadShape::Truncated),
        (Body::Json(b"<html>".to_vec()), BadShape::Foreign),
        (Body::Other, BadShape::Foreign),
        (Body::Empty, BadShape::Foreign),
    ];
    for (body, expected) in table {
        assert_eq!(wire::one(&body).err(), Some(expected));
    }
    assert_eq!(list(&body(&json!({})), &KmsScope::Organization).err(), Some(BadShape::Foreign));
    // One row that isn't a connection: then nobody knows what the list lacks.
    let rows = json!({ "appConnections": [{ "id": ID, "name": "a" }, { "id": "../../users", "name": "b" }] });
    assert_eq!(list(&body(&rows), &KmsScope::Organization), Err(BadShape::Foreign));
    let broken = Body::Json(br#"{"appConnections":[{"id":"7ffbb072-2575-495a-b5b0-127f88caef78","na"#.to_vec());
    assert_eq!(list(&broken, &KmsScope::Organization), Err(BadShape::Truncated));
}

#[test]
fn a_list_is_cut_to_its_scope() {
    let id = |n: u8| format!("7ffbb072-2575-495a-b5b0-127f88caef7{n}");
    let all = body(&json!({ "appConnections": [
        { "id": id(1), "name": "organization", "projectId": null },
        { "id": id(2), "name": "p", "projectId": "p" },
        { "id": id(3), "name": "q", "projectId": "q" },
        { "id": id(4), "name": "older-server" },
    ]}));
    let names = |scope: &KmsScope| -> Vec<String> {
        list(&all, scope).expect("a list").into_iter().map(|connection| connection.name).collect()
    };
    assert_eq!(names(&KmsScope::Organization), ["organization", "older-server"]);
    assert_eq!(names(&KmsScope::Project("p".to_owned())), ["p", "older-server"]);
}

#[test]
fn bodies_hold_what_the_kms_takes_and_no_more() {
    let token = credentials();
    let given = json!({ "email": "bot@example.com", "apiToken": super::TOKEN });
    let new = |scope| NewConnection { name: NAME.to_owned(), description: "d".to_owned(), scope };
    assert_eq!(
        wire::create_body(&new(KmsScope::Organization), &token),
        json!({ "name": NAME, "description": "d", "method": "api-token", "credentials": given })
    );
    assert_eq!(wire::create_body(&new(KmsScope::Project("p".to_owned())), &token)["projectId"], "p");
    assert_eq!(wire::update_body(&Changes::default(), None), json!({}));
    let changes = Changes { name: Some("b".to_owned()), description: Some(String::new()) };
    assert_eq!(wire::update_body(&changes, None), json!({ "name": "b", "description": null }));
    assert_eq!(wire::update_body(&Changes::default(), Some(&token)), json!({ "credentials": given }));
}

proptest::proptest! {
    #[test]
    fn no_body_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let body = Body::Json(bytes);
        proptest::prop_assert!(wire::one(&body).is_err());
        proptest::prop_assert!(list(&body, &KmsScope::Organization).is_err());
    }
}
