//! What is played on both API servers. Nothing is asserted here: what counts is that both say the same.

use futures::FutureExt;
use serde_json::{Value, json};

use super::play::{Kind, Play, Scenario};

/// A uid that nothing has.
const NOBODY: &str = "00000000-dead-4000-8000-000000000000";
const FINALIZER: &str = "tests.example.com/one";

/// All scenarios, by what they are about.
pub const SCENARIOS: &[(&str, Scenario)] = &[
    ("creation", |play| creation(play).boxed()),
    ("creation that is refused", |play| refused_creation(play).boxed()),
    ("what isn't there", |play| absent(play).boxed()),
    ("versions and conflicts", |play| conflicts(play).boxed()),
    ("generations", |play| generations(play).boxed()),
    ("writes that change nothing", |play| no_ops(play).boxed()),
    ("finalizers", |play| finalizers(play).boxed()),
    ("uids", |play| uids(play).boxed()),
    ("preconditions of deletion", |play| preconditions(play).boxed()),
    ("an object that comes again", |play| recreation(play).boxed()),
    ("applied statuses", |play| applied_statuses(play).boxed()),
    ("applied objects", |play| applied_objects(play).boxed()),
    ("JSON patches", |play| json_patches(play).boxed()),
    ("nulls", |play| nulls(play).boxed()),
    ("metadata alone", |play| metadata_only(play).boxed()),
    ("lists", |play| lists(play).boxed()),
    ("the order of changes", |play| order_of_changes(play).boxed()),
    ("lists in a watch", |play| streamed_list(play).boxed()),
    ("a version that is too old", |play| too_old(play).boxed()),
    ("Secrets", |play| secrets(play).boxed()),
    ("Leases and Events", |play| leases_and_events(play).boxed()),
    ("tokens", |play| tokens(play).boxed()),
];

fn connection(name: &str) -> Value {
    json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnection",
        "metadata": {"name": name},
        "spec": {
            "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78", "secretRef": {"name": "bitbucket-token"},
            "scopes": {"useCases": ["SecretScanning"]},
        },
    })
}

fn with_finalizer(name: &str) -> Value {
    let mut manifest = connection(name);
    manifest["metadata"]["finalizers"] = json!([FINALIZER]);
    manifest
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().expect("a version")
}

/// A status as the operator applies it.
fn status(message: &str) -> Value {
    json!({"status": {"observedGeneration": 1, "conditions": [{
        "type": "Ready", "status": "False", "reason": "SecretNotFound", "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    }]}})
}

async fn creation(play: &mut Play) {
    let mut manifest = connection("a");
    manifest["status"] = json!({"observedGeneration": 7});
    manifest["metadata"]["uid"] = json!(NOBODY);
    manifest["metadata"]["generation"] = json!(9);
    manifest["metadata"]["finalizers"] = json!([]);
    manifest["metadata"]["labels"] = json!({});
    play.create(&manifest).await;
    play.get("a").await;
    play.list("").await;
}

async fn refused_creation(play: &mut Play) {
    play.create(&connection("a")).await;
    play.create(&connection("a")).await;
    let mut manifest = connection("b");
    manifest["metadata"]["namespace"] = json!("elsewhere");
    play.create(&manifest).await;
    let mut manifest = connection("b");
    manifest["metadata"]["resourceVersion"] = json!("1");
    play.create(&manifest).await;
    let path = "/apis/connections.kms.hanzo.ai/v1alpha1/namespaces/nowhere/bitbucketconnections";
    play.raw("POST", path, &connection("a")).await;
}

async fn absent(play: &mut Play) {
    play.get("a").await;
    play.merge("a", json!({"metadata": {"labels": {"a": "b"}}})).await;
    play.merge("a/status", status("x")).await;
    play.apply("a/status", status("x")).await;
    play.json_patch("a", json!([{"op": "remove", "path": "/spec"}])).await;
    play.delete("a", json!({})).await;
    let mut manifest = connection("a");
    manifest["metadata"]["resourceVersion"] = json!("1");
    play.replace("a", &manifest).await;
    play.get("").await;
}

async fn conflicts(play: &mut Play) {
    let first = play.create(&connection("a")).await;
    let newer = play.merge("a", json!({"metadata": {"labels": {"a": "b"}}})).await;
    let old = json!({"resourceVersion": version(&first)});
    play.merge("a", json!({"metadata": old, "spec": {"description": "x"}})).await;
    play.merge("a/status", json!({"metadata": old, "status": {"observedGeneration": 1}})).await;
    let mut applied = status("x");
    applied["metadata"] = old.clone();
    play.apply("a/status", applied.clone()).await;
    play.apply("a", json!({"metadata": old, "spec": {"description": "x"}})).await;
    play.replace("a", &first).await;
    play.replace("a/status", &first).await;
    play.get("a").await;
    // The present one is fine, and so is none for a patch; a replacement must name one.
    applied["metadata"] = json!({"resourceVersion": version(&newer)});
    let newer = play.apply("a/status", applied).await;
    let newer = play.replace("a", &newer).await;
    let mut unversioned = newer.clone();
    unversioned["metadata"]["resourceVersion"] = Value::Null;
    play.replace("a", &unversioned).await;
    play.merge("a", json!({"metadata": {"resourceVersion": null}, "spec": {"description": "x"}})).await;
    play.replace("b", &newer).await;
}

async fn generations(play: &mut Play) {
    play.create(&connection("a")).await;
    play.merge("a", json!({"metadata": {"labels": {"a": "b"}}, "status": {"observedGeneration": 5}})).await;
    play.merge("a", json!({"spec": {"description": "x"}})).await;
    play.merge("a/status", json!({"spec": {"description": "y"}, "status": {"observedGeneration": 5}})).await;
    play.merge("a/status", json!({"metadata": {"labels": {"c": "d"}, "finalizers": [FINALIZER]}})).await;
    let mut object = play.merge("a", json!({"metadata": {"generation": 99}})).await;
    object["spec"]["description"] = json!("z");
    object["status"]["observedGeneration"] = json!(17);
    let mut object = play.replace("a/status", &object).await;
    object["spec"]["description"] = json!("z");
    object["status"]["observedGeneration"] = json!(18);
    play.replace("a", &object).await;
    play.merge("a/status", json!({"status": null})).await;
    play.merge("a", json!({"spec": {"description": null}})).await;
}

async fn no_ops(play: &mut Play) {
    let mut object = play.create(&connection("a")).await;
    for _ in 0..2 {
        play.merge("a", json!({"metadata": {"labels": {"a": "b"}}})).await;
    }
    for _ in 0..2 {
        play.apply("a/status", status("x")).await;
    }
    for _ in 0..2 {
        object = play.merge("a/status", status("y")).await;
    }
    play.replace("a", &object).await;
    play.replace("a/status", &object).await;
    for _ in 0..2 {
        play.apply("a", json!({"metadata": {"annotations": {"a": "b"}}})).await;
    }
    play.merge("a", json!({"metadata": {"finalizers": []}})).await;
    play.merge("a", json!({})).await;
}

async fn finalizers(play: &mut Play) {
    play.create(&with_finalizer("a")).await;
    play.delete("a", json!({})).await;
    play.delete("a", json!({})).await;
    play.merge("a", json!({"metadata": {"finalizers": [FINALIZER, "tests.example.com/two"]}})).await;
    play.merge("a", json!({"metadata": {"deletionTimestamp": null}})).await;
    play.merge("a", json!({"spec": {"description": "x"}})).await;
    play.apply("a/status", status("x")).await;
    play.merge("a", json!({"metadata": {"finalizers": null}})).await;
    play.get("a").await;
    play.create(&connection("b")).await;
    play.merge("b", json!({"metadata": {"finalizers": [FINALIZER]}})).await;
    play.merge("b", json!({"metadata": {"finalizers": []}})).await;
    play.delete("b", json!({})).await;
    play.delete("b", json!({})).await;
}

async fn uids(play: &mut Play) {
    let mut object = play.create(&connection("a")).await;
    let nobody = json!({"uid": NOBODY});
    play.merge("a", json!({"metadata": nobody, "spec": {"description": "x"}})).await;
    play.merge("a/status", json!({"metadata": nobody, "status": {"observedGeneration": 1}})).await;
    let mut applied = status("x");
    applied["metadata"] = nobody.clone();
    play.apply("a/status", applied.clone()).await;
    play.apply("a", json!({"metadata": nobody, "spec": {"description": "x"}})).await;
    play.apply("b", json!({"metadata": nobody, "spec": connection("b")["spec"]})).await;
    // A wrong version is noticed first.
    play.merge("a", json!({"metadata": {"uid": NOBODY, "resourceVersion": "1"}})).await;
    let right = json!({"uid": object["metadata"]["uid"]});
    play.merge("a", json!({"metadata": right, "spec": {"description": "x"}})).await;
    object["metadata"]["uid"] = json!(NOBODY);
    play.replace("a", &object).await;
    play.replace("a/status", &object).await;
    play.get("a").await;
}

async fn preconditions(play: &mut Play) {
    let object = play.create(&connection("a")).await;
    play.delete("a", json!({"preconditions": {"uid": NOBODY}})).await;
    play.delete("a", json!({"preconditions": {"resourceVersion": "1"}})).await;
    play.get("a").await;
    let uid = &object["metadata"]["uid"];
    play.delete("a", json!({"preconditions": {"uid": uid, "resourceVersion": version(&object)}})).await;
    play.get("a").await;
}

async fn recreation(play: &mut Play) {
    let first = play.create(&with_finalizer("a")).await;
    play.apply("a/status", status("x")).await;
    play.delete("a", json!({})).await;
    play.merge("a", json!({"metadata": {"finalizers": null}})).await;
    play.create(&connection("a")).await;
    let mut late = status("late");
    late["metadata"] = json!({"resourceVersion": version(&first)});
    play.apply("a/status", late).await;
    play.get("a").await;
}

async fn applied_statuses(play: &mut Play) {
    play.create(&connection("a")).await;
    let mut more = status("x");
    more["status"]["token"] = json!({"fingerprint": "abc", "secretVersion": "def"});
    more["status"]["plan"] = json!(["description"]);
    more["spec"] = json!({"description": "not here"});
    more["metadata"] = json!({"labels": {"a": "b"}});
    play.apply("a/status", more).await;
    play.apply("a/status", status("y")).await;
    play.apply("a/status", json!({"status": {"plan": ["description"]}})).await;
    play.apply("a/status", json!({"status": {}})).await;
    play.apply_as("", "a/status", status("z")).await;
    play.apply("a", json!({"spec": {"description": "x"}, "status": {"observedGeneration": 5}})).await;
}

async fn applied_objects(play: &mut Play) {
    let spec = connection("a")["spec"].clone();
    let with = |extra: Value, metadata: Value| {
        let mut spec = spec.clone();
        for (name, value) in extra.as_object().expect("fields") {
            spec[name] = value.clone();
        }
        let mut metadata = metadata;
        metadata["name"] = json!("a");
        json!({"metadata": metadata, "spec": spec})
    };
    play.apply("a", json!({"spec": spec})).await;
    play.apply("a", with(json!({"description": "x"}), json!({"labels": {"a": "b"}}))).await;
    play.merge("a", json!({"metadata": {"labels": {"mine": "yes"}, "finalizers": [FINALIZER]}})).await;
    play.apply("a", with(json!({"description": "x"}), json!({"labels": {"a": "b"}}))).await;
    play.apply("a", with(json!({"interval": "1h"}), json!({"labels": {"c": "d"}}))).await;
    play.apply("a", with(json!({"expiry": {"warnBefore": ["7d", "1d"]}}), json!({}))).await;
    let mut unnamed = with(json!({"expiry": {"notAfter": "2027-01-01"}}), json!({}));
    unnamed["metadata"] = json!({});
    play.apply("a", unnamed).await;
    play.apply("a", json!({"metadata": {"name": "b"}, "spec": spec})).await;
    play.get("a").await;
}

async fn json_patches(play: &mut Play) {
    play.create(&connection("a")).await;
    play.json_patch("a", json!([{"op": "add", "path": "/spec/description", "value": "x"}])).await;
    play.json_patch(
        "a",
        json!([
            {"op": "test", "path": "/spec/description", "value": "x"},
            {"op": "replace", "path": "/spec/description", "value": "y"},
            {"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]},
        ]),
    )
    .await;
    play.json_patch("a/status", json!([{"op": "replace", "path": "/status/observedGeneration", "value": 1}])).await;
    play.get("a").await;
}

async fn nulls(play: &mut Play) {
    play.create(&connection("a")).await;
    // To whoever applies one, the real one names the type that a field ought to have.
    let mut manifest = connection("b");
    manifest["spec"]["description"] = Value::Null;
    let mut object = play.create(&manifest).await;
    object["spec"]["contact"] = Value::Null;
    object["spec"]["description"] = json!("x");
    play.replace("b", &object).await;
    for (name, change) in [("a", json!({"spec": {"contact": null}})), ("a/status", json!({"status": {"plan": null}}))] {
        let answer = play.quietly_apply(name, change).await;
        play.say("applied nulls", &json!([answer["code"], answer["reason"]]));
    }
    play.get("a").await;
}

async fn metadata_only(play: &mut Play) {
    let first = play.create(&connection("a")).await;
    play.metadata_only(false);
    play.get("a").await;
    play.merge("a", json!({"metadata": {"labels": {"a": "b"}}})).await;
    play.watch(&format!("resourceVersion={}", version(&first)), 1).await;
    play.watch("", 1).await;
    play.metadata_only(true);
    play.list("").await;
    play.whole();
}

async fn lists(play: &mut Play) {
    for name in ["b", "a", "c"] {
        play.create(&connection(name)).await;
    }
    play.delete("b", json!({})).await;
    play.list("").await;
    play.list("?limit=500").await;
    play.list("?fieldSelector=metadata.name%3Dc").await;
}

async fn order_of_changes(play: &mut Play) {
    let first = play.create(&with_finalizer("a")).await;
    play.create(&connection("b")).await;
    play.merge("a", json!({"spec": {"description": "x"}})).await;
    play.merge("a", json!({"spec": {"description": "x"}})).await;
    play.apply("a/status", status("x")).await;
    play.delete("b", json!({})).await;
    play.delete("a", json!({})).await;
    play.merge("a", json!({"metadata": {"finalizers": null}})).await;
    play.create(&connection("a")).await;
    play.watch(&format!("resourceVersion={}", version(&first)), 7).await;
    play.watch("", 1).await;
    play.watch(&format!("resourceVersion={}&fieldSelector=metadata.name%3Db", version(&first)), 2).await;
}

async fn streamed_list(play: &mut Play) {
    for name in ["a", "b"] {
        play.create(&connection(name)).await;
    }
    play.watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", 2).await;
}

async fn too_old(play: &mut Play) {
    play.create(&connection("a")).await;
    let [code, kind, reason] = play.first_of_watch("resourceVersion=1").await;
    play.say("the beginning of time", &json!([code, kind, reason]));
}

async fn secrets(play: &mut Play) {
    play.kind(Kind::Secret);
    let secret = |extra: Value| {
        let mut manifest = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
        for (name, value) in extra.as_object().expect("fields") {
            manifest[name] = value.clone();
        }
        manifest
    };
    play.create(&secret(json!({"stringData": {"token": "s3cr3t"}, "data": {"email": "Ym90"}}))).await;
    for _ in 0..2 {
        play.merge("a", json!({"stringData": {"token": "other"}})).await;
    }
    play.merge("a", json!({"metadata": {"labels": {"a": "b"}}})).await;
    play.merge("a", json!({"data": {"email": null}})).await;
    // Whoever names no version overwrites whatever is there.
    play.replace("a", &secret(json!({"data": {"token": "eA=="}}))).await;
    play.merge("a", json!({"metadata": {"uid": NOBODY}})).await;
    play.get("a").await;
    play.delete("a", json!({})).await;
    play.get("a").await;
}

async fn leases_and_events(play: &mut Play) {
    play.kind(Kind::Lease);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"},
        "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15},
    });
    let mut held = play.create(&lease).await;
    held["spec"]["holderIdentity"] = json!("two");
    let newer = play.replace("a", &held).await;
    play.replace("a", &held).await;
    play.merge("a", json!({"metadata": {"resourceVersion": version(&newer)}, "spec": {"holderIdentity": ""}})).await;

    play.kind(Kind::Event);
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a.1"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "tests.example.com/tests",
        "reportingInstance": "one", "action": "Look", "reason": "Looked", "type": "Normal", "note": "Nothing new.",
        "regarding": {
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnection", "name": "a",
            "namespace": play.namespace(),
        },
    });
    play.create(&event).await;
    play.create(&event).await;
}

async fn tokens(play: &mut Play) {
    play.kind(Kind::Account);
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": ["kms"], "expirationSeconds": 600},
    });
    let path = |play: &Play| format!("/api/v1/namespaces/{}/serviceaccounts/minter/token", play.namespace());
    play.raw("POST", &path(play), &request).await;
    play.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "minter"}})).await;
    let answer = play.quietly("POST", &path(play), &request).await;
    let token = answer["status"]["token"].as_str().expect("a token");
    let claims = Play::claims(token);
    play.say("token", &json!([answer["spec"], claims["sub"], claims["aud"], claims["kubernetes.io"]["namespace"]]));
    play.say("account", &claims["kubernetes.io"]["serviceaccount"]);
    let life = claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(end, begin)| end - begin);
    play.say("life", &json!([life, token.split('.').count()]));
}
