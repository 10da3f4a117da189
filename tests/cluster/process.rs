//! The process: what it tells machines that look after it, how it starts, and how it ends.

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use sim::{Fault, Match, Operation};

use crate::harness::{EMAIL, SECRET, TOKEN, World, condition, rights};

async fn ready_world() -> World {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("payments").apply().await;
    world.ready("payments").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_once_it_sees_the_cluster() {
    let world = World::builder().without_operator().start().await;
    // Without rights it lives, but sees nothing.
    let bindings: Api<RoleBinding> = Api::namespaced(world.client().clone(), world.namespace());
    let name = "bitbucket-connection-operator".to_owned();
    let binding = bindings.get(&name).await.expect("the operator's rights");
    bindings.delete(&name, &DeleteParams::default()).await.expect("rights that can be taken");
    rights::in_force(world.client(), world.user(), Some(world.namespace()), ("list", "secrets"), false).await;
    world.operator.spawn();
    world.operator.says(&["forbidden"]).await;
    assert_eq!(world.operator.get("health", "/livez").await.map(|(status, _)| status), Some(200));
    let (status, body) = world.operator.get("health", "/readyz").await.expect("an answer");
    assert_eq!(status, 503);
    assert!(body.contains("caches are not filled"), "{body}");

    let again = RoleBinding { metadata: kube::core::ObjectMeta { name: Some(name), ..Default::default() }, ..binding };
    bindings.create(&PostParams::default(), &again).await.expect("rights that can be given back");
    world.operator.until_ready().await;
    assert_eq!(world.operator.get("health", "/livez").await.map(|(status, _)| status), Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_an_object_while_it_exists() {
    let world = World::start().await;
    world.instance().await;
    world.secret_with(SECRET, json!({"email": EMAIL, "token": TOKEN, "expiresAt": "2099-01-01"})).await;
    let lacking = json!({
        "scopes": {"additional": ["read:issue:bitbucket"]}, "contact": "#team-a",
        "expiry": {"warnBefore": ["7d", "30d"]},
    });
    world.connection("payments").change(lacking).apply().await;
    let refused = world.not_ready("payments", "ScopesMissing").await;
    let labels = [("namespace", world.namespace()), ("name", "payments")];
    let next = refused.status.as_ref().and_then(|status| status.next_verification_time.as_ref());
    let next = next.map(|at| at.0.as_second().to_string());
    let is_known = |metrics: &crate::harness::Metrics| {
        let told = metrics.value("bitbucket_connection_next_verification_timestamp_seconds", &labels);
        told.is_some() && told.map(|at| format!("{at:.0}")) == next
    };
    let metrics = world.until_metrics("tell of what was found", is_known).await;
    let value = |name: &str, more: &[(&str, &str)]| {
        metrics.value(&format!("bitbucket_connection_{name}"), &[&labels[..], more].concat())
    };
    assert_eq!(value("ready", &[("status", "False")]), Some(1.0));
    assert_eq!(value("ready", &[("status", "True")]), Some(0.0));
    assert_eq!(value("ready", &[("status", "Unknown")]), Some(0.0));
    assert_eq!(value("token_expiration_timestamp_seconds", &[]), Some(4_070_908_800.0));
    assert_eq!(value("token_warning_timestamp_seconds", &[]), Some(4_068_316_800.0), "30 days before");
    assert_eq!((value("scopes_missing", &[]), value("scopes_excess", &[])), (Some(1.0), Some(0.0)));
    assert_eq!(value("info", &[("account", "bot"), ("contact", "#team-a"), ("kms", "")]), Some(1.0));

    world.connection("payments").apply().await;
    world.ready("payments").await;
    let is_ready = [&labels[..], &[("status", "True")]].concat();
    // A pass is counted once the answer to its last write is there.
    let passes = "bitbucket_connection_operator_reconciles_total";
    let holds = |metrics: &crate::harness::Metrics| {
        metrics.value("bitbucket_connection_ready", &is_ready) == Some(1.0)
            && metrics.value(passes, &[("result", "success")]) >= Some(2.0)
    };
    let metrics = world.until_metrics("say that it is ready", holds).await;
    assert_eq!(metrics.value("bitbucket_connection_scopes_missing", &labels), Some(0.0));
    let info = [&labels[..], &[("kms", "KmsInstance/kms")]].concat();
    assert_eq!(metrics.value("bitbucket_connection_info", &info), Some(1.0));
    let operator =
        |name: &str, labels: &[(&str, &str)]| metrics.value(&format!("bitbucket_connection_operator_{name}"), labels);
    assert_eq!(operator("kms_requests_total", &[("operation", "create"), ("code", "200")]), Some(1.0));
    assert_eq!(operator("bitbucket_requests_total", &[("code", "200")]), Some(2.0));
    assert_eq!(operator("build_info", &[("version", env!("CARGO_PKG_VERSION"))]), Some(1.0));
    assert!(operator("reconcile_duration_seconds_count", &[]) >= Some(2.0));
    assert!(metrics.0.ends_with("# EOF\n"));

    world.delete("payments").await;
    world.until_gone("payments").await;
    world.until_metrics("forget it", |metrics| !metrics.0.contains("payments")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_holds_what_waits_and_nothing_that_is_gone() {
    let world = World::builder().args(["--concurrency", "1"]).start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.until_instance_says("kms", "Authenticated").await;
    world.bitbucket.fail(Fault::Hang);
    world.connection("first").apply().await;
    world.bitbucket.seen(&Match::op(Operation::User), 1).await;

    // One is looked at, without an end; the others wait, and one of them is given up.
    let told = |metrics: &crate::harness::Metrics, name: &str| {
        metrics.value(&format!("bitbucket_connection_operator_queue_{name}"), &[])
    };
    world.connection("second").apply().await;
    world.connection("third").apply().await;
    let metrics = world.until_metrics("have two in the queue", |metrics| told(metrics, "depth") == Some(2.0)).await;
    assert!(told(&metrics, "longest_wait_seconds") > Some(0.0), "{}", metrics.0);
    let before = told(&metrics, "duration_seconds_count");
    world.delete("third").await;
    world.until_gone("third").await;
    world.bitbucket.heal();
    world.ready("second").await;
    let metrics = world.until_metrics("have an empty queue", |metrics| told(metrics, "depth") == Some(0.0)).await;
    assert_eq!(told(&metrics, "longest_wait_seconds"), Some(0.0));
    assert!(told(&metrics, "duration_seconds_count") > before, "{}", metrics.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_it_is_asked_to() {
    let world = ready_world().await;
    assert_eq!(world.operator.terminate().await.code(), Some(0), "with nothing to do");

    // While a call hangs that nobody will answer.
    world.operator.start().await;
    world.bitbucket.fail(Fault::Hang);
    world.patch("payments", json!({"spec": {"description": "Looked at again."}})).await;
    world.bitbucket.seen(&Match::op(Operation::User), 3).await;
    let before = world.get("payments").await;
    assert_eq!(world.operator.terminate().await.code(), Some(0), "{}", world.operator.tail());
    assert_eq!(world.get("payments").await.status, before.status);
    world.bitbucket.heal();
    world.operator.start().await;
    world.ready("payments").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_under_way_is_finished_before_it_ends() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    let creations = Match::op(Operation::Create);
    world.kms.fail_when(creations.clone().times(1), Fault::Hold);
    world.connection("payments").apply().await;
    world.kms.seen(&creations, 1).await;
    world.operator.signal("TERM");
    world.operator.says(&["running reconciles are finished first"]).await;
    world.kms.heal();
    assert_eq!(world.operator.ended().await.code(), Some(0));
    let made = world.get("payments").await;
    assert_eq!(condition(&made, "Ready").0, "True", "the status was written too");
    assert_eq!(world.count_events("payments", "ConnectionCreated").await, 1);
    assert_eq!(world.kms.connections().len(), 1);

    // What is asked for later waits for the next start.
    world.connection("later").apply().await;
    world.operator.start().await;
    world.ready("later").await;
    assert_eq!(world.kms.writes(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_by_machines_and_by_people() {
    let world = ready_world().await;
    world.operator.terminate().await;
    let lines: Vec<Value> = world
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    for line in &lines {
        for field in ["timestamp", "level", "target"] {
            assert!(line[field].is_string(), "no {field}: {line}");
        }
    }
    let passes: Vec<&Value> = lines.iter().filter(|line| line["span"]["name"] == "reconcile").collect();
    let named = |kind: &str, name: &str| (json!(kind), json!(format!("{}/{name}", world.namespace())));
    let (connection, instance) = (named("BitbucketConnection", "payments"), named("KmsInstance", "kms"));
    assert!(passes.iter().any(|line| line["span"]["kind"] == connection.0));
    for line in passes {
        let span = &line["span"];
        let object = (span["kind"].clone(), span["object"].clone());
        assert!(object == connection || object == instance, "{line}");
        assert_eq!(span["generation"], json!(1), "{line}");
        assert_eq!(span["id"].as_str().map(str::len), Some(32), "{line}");
    }

    let text = World::builder().args(["--log-format", "text"]).without_operator().start().await;
    text.secret(SECRET, EMAIL, TOKEN).await;
    text.instance().await;
    text.connection("payments").apply().await;
    text.operator.spawn();
    text.ready("payments").await;
    text.operator.says(&["INFO", "ConnectionCreated", &format!("object={}/payments", text.namespace())]).await;
    assert!(!text.log().contains('\u{1b}'), "no colours where nobody sees them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_cannot_be_used_is_told_at_the_start() {
    let world = World::builder().without_operator().start().await;
    let config = world.plane().control_plane.dir().join(format!("{}-nowhere.yaml", world.namespace()));
    let kubeconfig = |server: &str| {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": server}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "users": [{"name": "x", "user": {}}],
        })
        .to_string()
    };
    // Nobody listens on port 1.
    let nowhere = kubeconfig("http://127.0.0.1:1");
    let own = ["--namespaces", "team-a", "--owner-id", "a"];
    let table = [
        (nowhere.as_str(), &[][..], "can't be reached", "kubectl"),
        (nowhere.as_str(), &own[..], "can't be reached", "kubectl"),
        ("no: [yaml", &own[..], "no Kubernetes cluster to connect to", "KUBECONFIG"),
    ];
    for (content, args, what, next) in table {
        std::fs::write(&config, content).expect("a kubeconfig");
        let servers = ["--health-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"];
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_bitbucket-connection-operator"))
            .arg("run")
            .args(args)
            .args(servers)
            .env_clear()
            .env("KUBECONFIG", &config)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(crate::harness::PATIENCE, output).await.expect("an end by itself");
        let output = output.expect("a process");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        let error = told.split_once("error: ").map(|(_, error)| error).unwrap_or_default();
        assert!(error.contains(what) && error.contains(next), "{args:?}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_echoed_once_it_was_handled() {
    let world = ready_world().await;
    let (calls, lists) = (world.bitbucket.calls(), world.kms.lists());
    let first = world.request_reconcile("payments").await;
    let echoed = first.status.as_ref().and_then(|status| status.last_handled_reconcile_at.clone());
    assert_eq!(first.metadata.annotations.and_then(|all| all.into_values().next()), echoed);
    assert_eq!((world.bitbucket.calls(), world.kms.lists()), (calls + 1, lists + 1), "it skips what is remembered");
    world.restart().await;
    world.connection("second").apply().await;
    world.ready("second").await;
    assert_eq!(world.bitbucket.matching(&Match::op(Operation::User).caller(sim::Caller::Operator)).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_the_api_server_comes_back() {
    let world = World::cluster_wide().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let grants = json!({"grants": [{"namespaceSelector": {"matchLabels": {"may": "yes"}}, "projectIds": ["*"]}]});
    world.cluster_instance_with(grants).await;
    world.connection("before").apply().await;
    world.not_ready("before", "KmsRefNotAllowed").await;

    world.plane().control_plane.restart_apiserver().await.expect("an API server that comes back");
    let allow = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace(), "labels": {"may": "yes"}}});
    world.apply(allow).await;
    world.ready("before").await;
    world.connection("after").apply().await;
    world.ready("after").await;
    assert!(world.operator.is_running());
    world.delete("before").await;
    world.until_gone("before").await;
    assert_eq!((world.kms.connections().len(), world.kms.logins()), (1, 1));
}
