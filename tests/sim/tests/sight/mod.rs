//! What an identity or a server doesn't show.

use serde_json::{Value, json};
use sim::{Connection, Flavor, Kms};

use crate::common::*;

async fn names(kms: &Kms, session: &str, path: &str) -> String {
    let body = call(kms, session, "GET", path, None).await.expect("an answer").json();
    let rows = body["appConnections"].as_array().expect("rows").clone();
    rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn a_list_omits_what_an_identity_may_not_read() {
    let (_, kms, session) = world().await;
    kms.add_access_token("other");
    let other = "Bearer other";
    let ids = ["a", "b", "c"].map(|name| kms.insert(Connection::new(name).project(PROJECT)));
    kms.hide_from("client", &ids[0]);
    kms.hide(&ids[1]);
    assert_eq!((names(&kms, &session, "").await, names(&kms, other, "").await), ("c".to_owned(), "ac".to_owned()));

    let get = async |session: &str, path: String| call(&kms, session, "GET", &path, None).await.expect("an answer");
    let by_name = |name: &str| format!("/connection-name/{name}?projectId={PROJECT}");
    for path in [format!("/{}", ids[0]), by_name("a")] {
        let denied = get(&session, path.clone()).await;
        assert_eq!((denied.status, denied.json()["error"].clone()), (403, json!("PermissionDenied")));
        assert_eq!(get(other, path).await.status, 200);
    }
    // Its name is taken all the same, and what isn't there is a 404 to everybody.
    let taken = call(&kms, &session, "POST", "", Some(create_body("a"))).await.expect("an answer");
    assert!(taken.message().ends_with("already exists"));
    assert_eq!(get(&session, format!("/{}", uuid::Uuid::new_v4())).await.status, 404);

    kms.unhide(&ids[0]);
    kms.unhide(&ids[1]);
    assert_eq!(names(&kms, &session, "").await, "abc");
    kms.deny_to("client", "read");
    assert_eq!((get(&session, String::new()).await.status, names(&kms, other, "").await), (403, "abc".to_owned()));
}

#[tokio::test]
async fn a_list_tells_of_each_change() {
    let (_, kms, session) = world().await;
    let list = async || names(&kms, &session, "").await;
    assert_eq!(list().await, "");
    let created = call(&kms, &session, "POST", "", Some(create_body("b"))).await.expect("an answer").json();
    let path = format!("/{}", created["appConnection"]["id"].as_str().expect("an id"));
    let other = kms.insert(Connection::new("c"));
    assert_eq!(list().await, "bc");
    call(&kms, &session, "PATCH", &path, Some(json!({"name": "d"}))).await.expect("an answer");
    assert_eq!(list().await, "cd");
    kms.edit(&other, |row| row.name = "e".to_owned());
    assert_eq!(list().await, "de");
    assert!(kms.connection("c").is_none() && kms.connection("e").is_some());
    call(&kms, &session, "DELETE", &path, None).await.expect("an answer");
    assert_eq!(list().await, "e");
    kms.hide_credentials_hash(true);
    let body = call(&kms, &session, "GET", "", None).await.expect("an answer").json();
    assert_eq!(body["appConnections"][0]["credentialsHash"], Value::Null);
    kms.insert(Connection::new("p").project(PROJECT));
    assert_eq!(names(&kms, &session, &format!("?projectId={PROJECT}")).await, "p");
    kms.remove_project(PROJECT);
    assert_eq!(list().await, "e");
    kms.remove(&other);
    assert_eq!(list().await, "");
}

#[tokio::test]
async fn an_older_server_knows_neither_projects_nor_long_names() {
    let (_, kms, session) = world().await;
    kms.insert(Connection::new("before"));
    kms.set_flavor(Flavor::Older);
    // The project is dropped without a word, be it one that doesn't exist.
    let mut body = create_body("a");
    body["projectId"] = json!("no project at all");
    let answer = call(&kms, &session, "POST", "", Some(body)).await.expect("an answer");
    let answer = answer.json()["appConnection"].clone();
    let fields = answer.as_object().expect("an object");
    assert!(!fields.contains_key("projectId") && !fields.contains_key("credentialsHash"), "{answer}");
    assert_eq!(kms.connection("a").expect("a row").project_id, None);
    // So is the one in questions.
    assert_eq!(names(&kms, &session, &format!("?projectId={PROJECT}")).await, "abefore");
    let get = async |name: &str| {
        let path = format!("/connection-name/{name}?projectId={PROJECT}");
        call(&kms, &session, "GET", &path, None).await.expect("an answer")
    };
    assert_eq!(get("a").await.status, 200);
    assert_eq!(get("b").await.message(), "Could not find App Connection with name b");

    for (length, status) in [(32, 200), (33, 422)] {
        let answer = call(&kms, &session, "POST", "", Some(create_body(&"n".repeat(length)))).await.expect("an answer");
        assert_eq!(answer.status, status, "{length}");
        if status == 422 {
            let issue = &answer.json()["message"][0];
            assert_eq!(
                (&issue["path"], &issue["message"]),
                (&json!(["name"]), &json!("name field must be at most 32 characters"))
            );
        }
    }
    kms.set_flavor(Flavor::Current);
    for (length, status) in [(64, 200), (65, 422)] {
        let answer = call(&kms, &session, "POST", "", Some(create_body(&"n".repeat(length)))).await.expect("an answer");
        assert_eq!(answer.status, status, "{length}");
    }
}

#[tokio::test]
async fn the_go_rewrite_answers_with_its_page() {
    let (_, kms, session) = world().await;
    kms.set_flavor(Flavor::Go);
    for path in ["", "/connection-name/a", "/no-id"] {
        let page = call(&kms, &session, "GET", path, None).await.expect("an answer");
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{path}");
    }
    let written = call(&kms, &session, "POST", "", Some(create_body("a"))).await.expect("an answer");
    assert_eq!(written.status, 405);
    assert_eq!(login(&kms, "secret").await.status, 405);
    let health = send("GET", &format!("{}/healthz", kms.url()), None, None).await.expect("an answer");
    assert_eq!(health.json()["status"], "ok");
    assert!(kms.connections().is_empty());
}
