//! Requests fail as a test wants.

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use memory_api::{Fault, Match, Outcome, Verb};
use serde_json::json;

use crate::{config, configs, refusal, server, stored, waits};

/// The same write again and again.
async fn write(client: &kube::Client, value: &str) -> kube::Result<()> {
    let patch = Patch::Merge(json!({"data": {"value": value}}));
    configs(client).patch("a", &PatchParams::default(), &patch).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn each_fault_does_what_it_says_once() {
    let rows = [
        // The fault, code of the answer if there is one, what is stored after it, how it is noted.
        (Fault::Status(409), Some(409), "old", Outcome::Failed),
        (Fault::Status(429), Some(429), "old", Outcome::Failed),
        (Fault::Status(500), Some(500), "old", Outcome::Failed),
        (Fault::StatusAfter(500), Some(500), "new", Outcome::AnswerLost(200)),
        (Fault::Unreachable, None, "old", Outcome::Failed),
        (Fault::LoseAnswer, None, "new", Outcome::AnswerLost(200)),
    ];
    for (fault, code, after, outcome) in rows {
        let (api, client) = server();
        api.create(&config("a", "old"));
        api.fail_when(Match::verb(Verb::Patch).resource("configmaps").times(1), fault.clone());
        let answered = match write(&client, "new").await {
            Ok(()) => panic!("{fault:?} did nothing"),
            Err(kube::Error::Api(status)) => Some(status.code),
            Err(_) => None,
        };
        assert_eq!(answered, code, "{fault:?}");
        assert_eq!(stored(&api).as_deref(), Some(after), "{fault:?}");
        let noted = api.journal().remove(0);
        assert_eq!((noted.outcome, noted.changed), (outcome, after == "new"), "{fault:?}");
        assert!(write(&client, "newer").await.is_ok(), "{fault:?} was meant once");
        assert_eq!(stored(&api).as_deref(), Some("newer"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_nth_fails_and_no_other() {
    let (api, client) = server();
    api.create(&config("a", "0"));
    api.fail_when(Match::writes().nth(3), Fault::Status(503));
    let mut codes = Vec::new();
    for number in 1..=5 {
        codes.push(write(&client, &number.to_string()).await.is_ok());
    }
    assert_eq!(codes, [true, true, false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_for_what_it_names() {
    let elsewhere = [
        Match::verb(Verb::Delete),
        Match::writes().resource("secrets"),
        Match::writes().resource("configmaps").subresource("status"),
        Match::writes().namespace("kube-system"),
        Match::writes().name("b"),
    ];
    let (api, client) = server();
    api.create(&config("a", "0"));
    for what in elsewhere {
        api.fail_when(what.clone(), Fault::Status(500));
        assert!(write(&client, "1").await.is_ok(), "{what:?}");
        api.heal();
    }
    api.fail_when(Match::writes().resource("configmaps").namespace("default").name("a"), Fault::Status(500));
    assert_eq!(refusal(write(&client, "2").await), (500, "InternalError".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_held_write_is_carried_out_once_it_is_released() {
    let (api, client) = server();
    api.create(&config("a", "old"));
    let held = api.hold(Match::writes());
    let writing = tokio::spawn(async move { write(&client, "new").await });
    waits(&held).await;
    assert_eq!(stored(&api).as_deref(), Some("old"));
    held.release();
    writing.await.expect("a task").expect("a write");
    assert_eq!(stored(&api).as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_before_its_write_never_wrote() {
    for (after, left) in [(false, "old"), (true, "new")] {
        let (api, client) = server();
        api.create(&config("a", "old"));
        let held = if after { api.hold_answers(Match::writes()) } else { api.hold(Match::writes()) };
        let crashing = tokio::spawn(async move { write(&client, "new").await });
        waits(&held).await;
        crashing.abort();
        assert!(crashing.await.is_err_and(|error| error.is_cancelled()));
        held.release();
        // Whatever was on its way has had its time.
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        assert_eq!(stored(&api).as_deref(), Some(left));
        let outcome = if after { Outcome::AnswerLost(200) } else { Outcome::Open };
        assert_eq!(api.journal()[0].outcome, outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn the_version_before_is_read_once() {
    let (api, client) = server();
    api.create(&config("a", "old"));
    api.create(&config("b", "other"));
    write(&client, "new").await.expect("a write");
    api.fail_when(Match::verb(Verb::Get).name("a").times(1), Fault::Stale);
    let configs = configs(&client);
    let read = [configs.get("a").await.expect("a"), configs.get("a").await.expect("a")];
    assert_eq!(read.each_ref().map(crate::value), ["old", "new"]);
    // Whoever writes with what it read is told.
    assert_eq!(refusal(configs.replace("a", &PostParams::default(), &read[0]).await).0, 409);
}

#[tokio::test(start_paused = true)]
async fn when_it_is_down_nothing_answers() {
    let (api, client) = server();
    api.create(&config("a", "old"));
    api.go_down();
    assert!(matches!(configs(&client).get("a").await, Err(kube::Error::Service(_))));
    assert!(matches!(client.apiserver_version().await, Err(kube::Error::Service(_))));
    api.heal();
    assert!(configs(&client).get("a").await.is_ok());
    assert!(client.apiserver_version().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_served_is_not_passed_over() {
    let (api, client) = server();
    let configs = configs(&client);
    let labelled = configs.list(&ListParams::default().labels("a=b")).await;
    assert_eq!(refusal(labelled), (501, "NotImplemented".to_owned()));
    assert_eq!(refusal(configs.delete("a", &DeleteParams::default().dry_run()).await).0, 501);
    assert_eq!(refusal(kube::Api::<k8s_openapi::api::core::v1::Pod>::all(client).get("a").await).0, 501);
    assert_eq!(api.unsupported().len(), 3, "{:?}", api.unsupported());
}
