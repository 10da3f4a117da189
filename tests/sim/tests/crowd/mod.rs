//! Many requests in little time and space, without a network.

use std::time::Duration;

use serde_json::{Value, json};
use sim::{Bitbucket, Caller, Closed, Fault, Kms, Match, Operation, Token};

use crate::common::*;

const BASE: &str = "/api/v1/app-connections/bitbucket";
const SESSION: (&str, &str) = ("authorization", "Bearer static");

fn services() -> (Bitbucket, Kms, Hands) {
    let bitbucket = Bitbucket::new();
    bitbucket.add(Token::new(EMAIL, TOKEN).scopes(["read:user:bitbucket"]));
    let kms = Kms::new(&bitbucket);
    kms.add_access_token("static");
    kms.add_project(PROJECT);
    let hands = Hands::of(&bitbucket, &kms);
    (bitbucket, kms, hands)
}

/// Nothing waits for sockets, so that a paused clock moves only when somebody sleeps.
#[tokio::test(start_paused = true)]
async fn a_stand_in_can_be_called_without_a_network() {
    let (_, kms, hands) = services();
    let list = async || ask(&kms, "GET", BASE, &[SESSION], None).await.0;
    let begin = tokio::time::Instant::now();
    assert_eq!(list().await, 200);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    kms.fail_next(1, Fault::Delay(Duration::from_secs(3_600)));
    assert_eq!(list().await, 200);
    assert_eq!(begin.elapsed(), Duration::from_secs(3_600));
    kms.fail_next(1, Fault::Reset);
    let request = axum::http::Request::get(BASE).body(axum::body::Body::empty()).expect("a request");
    assert_eq!(kms.call(request).await.expect_err("no answer"), Closed);

    // All times are those of the clock that was set.
    ask(&kms, "POST", BASE, &[SESSION], Some(create_body("made"))).await;
    let inserted = kms.insert(sim::Connection::new("put"));
    hands.forward(60);
    kms.edit(&inserted, |row| row.description = Some("new".to_owned()));
    let (made, put) = (kms.connection("made").expect("a row"), kms.connection("put").expect("a row"));
    assert_eq!(
        [made.created_at, made.updated_at, put.created_at, put.updated_at]
            .map(|at| hands.now().duration_since(at).as_secs()),
        [60, 60, 60, 0]
    );
    assert!(kms.journal().iter().all(|entry| entry.time <= hands.now()));
}

#[tokio::test(start_paused = true)]
async fn without_a_journal_every_request_still_counts() {
    const CONNECTIONS: usize = 10_000;
    let (bitbucket, kms, hands) = services();
    kms.keep_journal(false);
    bitbucket.keep_journal(false);
    for index in 0..CONNECTIONS {
        let created = ask(&kms, "POST", BASE, &[SESSION], Some(create_body(&format!("c-{index}")))).await;
        assert_eq!(created.0, 200);
        if index % 100 == 99 {
            hands.forward(30);
        }
    }
    // 100 half minutes with 100 each.
    let creates = kms.tally().of([Operation::Create]);
    assert_eq!((creates.total(), creates.ended(200)), (CONNECTIONS, CONNECTIONS));
    assert_eq!((creates.per_minute().len(), creates.busiest_minute()), (50, 200));
    assert_eq!((creates.per_hour().len(), creates.busiest_hour()), (1, CONNECTIONS));
    assert_eq!((kms.writes(), kms.lists(), kms.count(&Match::any())), (CONNECTIONS, 0, CONNECTIONS));
    assert_eq!((bitbucket.calls_by(Caller::Kms), bitbucket.calls_by(Caller::Operator)), (CONNECTIONS, 0));

    // A list is written out once, however often it is asked for: the bytes are the same ones.
    let project = format!("{BASE}?projectId={PROJECT}");
    let first = ask(&kms, "GET", &project, &[SESSION], None).await.2;
    for _ in 0..CONNECTIONS {
        let again = ask(&kms, "GET", &project, &[SESSION], None).await.2;
        assert_eq!((again.as_ptr(), again.len()), (first.as_ptr(), first.len()));
    }
    let list: Value = serde_json::from_slice(&first).expect("JSON");
    assert_eq!(list["appConnections"].as_array().map(Vec::len), Some(CONNECTIONS));
    let mut names: Vec<_> = kms.connections().into_iter().map(|row| row.name).collect();
    assert!(names.is_sorted() && names.len() == CONNECTIONS);
    names.dedup();
    assert_eq!(names.len(), CONNECTIONS);
    let id = kms.connection("c-7").expect("a row").id;
    ask(&kms, "PATCH", &format!("{BASE}/{id}"), &[SESSION], Some(json!({"description": "new"}))).await;
    let changed = ask(&kms, "GET", &project, &[SESSION], None).await.2;
    assert_ne!(changed, first);
    assert_eq!(kms.lists(), CONNECTIONS + 2);

    kms.clear_journal();
    assert_eq!((kms.count(&Match::any()), kms.tally().total()), (0, 0));
}

#[tokio::test]
#[should_panic(expected = "no journal is kept")]
async fn without_a_journal_nobody_looks_for_a_single_request() {
    let (_, kms, _) = services();
    kms.keep_journal(false);
    kms.count(&Match::any().path("/connection-name/"));
}
