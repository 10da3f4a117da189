//! Traces: what a collector gets to see of a reconcile.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use k8s_openapi::api::rbac::v1::RoleBinding;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{Span, status::StatusCode},
};
use prost::Message;
use serde_json::{Value, json};
use sim::{Authority, Fault, Match, Operation, Terminator};
use tokio::net::TcpListener;

use crate::harness::{CLIENT_SECRET, EMAIL, SECRET, TOKEN, World, gives_away, rights};

/// A collector that keeps what it is sent: bodies, and the headers that came with them.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

impl Collector {
    /// One that listens, and its URL.
    async fn start() -> (Self, String) {
        let (collector, address) = Self::listen().await;
        (collector, format!("http://{address}"))
    }

    /// One behind TLS, with a certificate of this CA, and what ends TLS for as long as it is kept.
    async fn start_tls(authority: &Authority) -> (Self, Terminator) {
        let (collector, address) = Self::listen().await;
        let front = Terminator::start(address, authority.issue()).await.expect("a free port");
        (collector, front)
    }

    async fn listen() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let collector = Self::default();
        let kept = collector.clone();
        let keep = async move |headers: HeaderMap, body: Bytes| kept.keep(headers, body);
        let router = Router::new().route("/v1/traces", post(keep));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, address)
    }

    fn keep(&self, headers: HeaderMap, body: Bytes) {
        self.0.lock().expect("no panic under the lock").push((headers, body));
    }

    fn got(&self) -> Vec<(HeaderMap, Bytes)> {
        self.0.lock().expect("no panic under the lock").clone()
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let got = self.got();
        got.into_iter().map(|(_, body)| ExportTraceServiceRequest::decode(body).expect("spans in protobuf")).collect()
    }

    /// Fails if a secret is in what was sent. Texts stand in protobuf as they are.
    fn assert_silent(&self) {
        for (headers, body) in self.got() {
            let sent = format!("{headers:?} {}", String::from_utf8_lossy(&body));
            for secret in [TOKEN, CLIENT_SECRET] {
                assert!(!gives_away(&sent, secret), "{secret} in {sent}");
            }
        }
    }

    /// All spans.
    fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

/// An attribute of a span as text.
fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    found.map(|attribute| format!("{:?}", attribute.value)).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A world whose operator sends its spans there, and soon: not all of them at its end.
async fn traced(url: &str) -> World {
    World::builder().env("OTEL_EXPORTER_OTLP_ENDPOINT", url).env("OTEL_BSP_SCHEDULE_DELAY", "50").start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_is_a_trace_of_its_steps_and_their_requests() {
    let (collector, url) = Collector::start().await;
    let world = traced(&url).await;
    world.ready_connection("payments").await;
    assert_eq!(world.operator.terminate().await.code(), Some(0), "the last batch is sent before it ends");

    let spans = collector.spans();
    let created = spans.iter().find(|span| attribute(span, "operation").contains("create"));
    let created = created.unwrap_or_else(|| panic!("no request that creates: {spans:#?}"));
    assert!(attribute(created, "code").contains("200"), "{created:#?}");
    let trace: Vec<&Span> = spans.iter().filter(|span| span.trace_id == created.trace_id).collect();
    let named = |name: &str| {
        let found = trace.iter().find(|span| span.name == name);
        *found.unwrap_or_else(|| panic!("no span {name}: {trace:#?}"))
    };
    let pass = named("reconcile");
    assert!(pass.parent_span_id.is_empty(), "{pass:#?}");
    assert!(attribute(pass, "object").contains(&format!("{}/payments", world.namespace())), "{pass:#?}");
    for step in ["observe", "verify", "plan", "act", "report"] {
        assert_eq!(named(step).parent_span_id, pass.span_id, "{step}");
    }
    assert_eq!(created.parent_span_id, named("act").span_id);
    // The token may have been verified in an earlier pass, before the instance was there.
    let asked =
        spans.iter().find(|span| attribute(span, "operation").contains("get_user")).expect("a token asked about");
    let verify = spans.iter().find(|span| span.span_id == asked.parent_span_id);
    assert_eq!(verify.map(|span| span.name.as_str()), Some("verify"), "{spans:#?}");

    // The log has the same id, and none of the steps.
    let line = world.operator.says(&["ConnectionCreated"]).await;
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["span"]["id"], hex(&created.trace_id), "{line}");
    assert_eq!(line["span"]["name"], "reconcile", "{line}");

    let sender = format!("{:?}", collector.requests()[0].resource_spans[0].resource);
    assert!(sender.contains("bitbucket-connection-operator"), "{sender}");
    collector.assert_silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_servers_say_is_in_no_trace() {
    let (collector, url) = Collector::start().await;
    let world = traced(&url).await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    // A server that repeats all that it was sent.
    world.kms.fail_when(Match::op(Operation::Create), Fault::Echo(400));
    world.bitbucket.fail_when(Match::any().times(1), Fault::Echo(503));
    world.connection("payments").apply().await;
    world.not_ready("payments", "KmsRejected").await;
    world.operator.terminate().await;
    let codes: String = collector.spans().iter().map(|span| attribute(span, "code")).collect();
    assert!(codes.contains("503") && codes.contains("400"), "{codes}");
    collector.assert_silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_breaks_off_is_a_trace_of_an_error() {
    let (collector, url) = Collector::start().await;
    let world = traced(&url).await;
    world.ready_connection("payments").await;
    // Its watches go on; what it asks for now is refused.
    world.delete_object::<RoleBinding>(rights::NAME).await;
    rights::in_force(world.client(), world.user(), Some(world.namespace()), ("list", "secrets"), false).await;
    world.patch("payments", json!({"spec": {"description": "Looked at again."}})).await;
    world.operator.says(&["the pass broke off", "payments"]).await;
    world.operator.terminate().await;
    let status = |span: &Span| span.status.as_ref().map(|status| status.code()).unwrap_or_default();
    let passes: Vec<_> = collector.spans().into_iter().filter(|span| span.name == "reconcile").collect();
    assert!(passes.iter().any(|pass| status(pass) == StatusCode::Error), "{passes:#?}");
    assert!(passes.iter().any(|pass| status(pass) == StatusCode::Unset), "those before were good: {passes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_behind_tls_is_trusted_by_the_ca_that_is_named() {
    let world = World::builder().without_operator().start().await;
    let (authority, another) = (Authority::new("a CA"), Authority::new("another CA"));
    let files = world.plane().control_plane.dir().join(world.namespace());
    std::fs::create_dir_all(&files).expect("a folder");
    let file = |name: &str, pem: String| {
        let path = files.join(name);
        std::fs::write(&path, pem).expect("a file");
        path.to_str().expect("a path of plain characters").to_owned()
    };
    let ours = file("ours.pem", format!("# Theirs, and ours\n{}{}", another.pem(), authority.pem()));
    let theirs = file("theirs.pem", another.pem().to_owned());
    let (named, apart) = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE");
    let table = [
        (vec![(named, &ours)], true),
        (vec![(named, &theirs), (apart, &ours)], true),
        (vec![("SSL_CERT_FILE", &ours)], true),
        (vec![], false),
        (vec![(named, &theirs), ("SSL_CERT_FILE", &ours)], false),
    ];
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    for (row, (variables, trusted)) in table.iter().enumerate() {
        let (collector, front) = Collector::start_tls(&authority).await;
        let url = front.origin();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
        let operator = world.replica_with(&[&endpoint[..], &variables].concat());
        operator.start().await;
        let name = format!("payments-{row}");
        world.connection(&name).apply().await;
        world.ready(&name).await;
        if !trusted {
            let told = operator.says(&["traces are not exported", "the certificate of the collector"]).await;
            assert!(told.contains(named) && told.contains("everything else goes on"), "{told}");
        }
        assert_eq!(operator.terminate().await.code(), Some(0));
        assert_eq!(collector.got().is_empty(), !trusted, "{variables:?}\n{}", operator.tail());
        assert_eq!(collector.spans().iter().any(|span| span.name == "reconcile"), *trusted, "{variables:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_in_nobodys_way() {
    // Nobody listens on port 1.
    let endpoint = "http://reporter:canary-of-the-collector@127.0.0.1:1";
    let world = World::builder()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start()
        .await;
    world.ready_connection("payments").await;
    let told = world.operator.says(&["no connection to the collector"]).await;
    assert!(told.contains("WARN") && told.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{told}");
    assert_eq!(world.operator.terminate().await.code(), Some(0));
    let log = world.log();
    assert!(!log.contains("canary-of-the-collector"), "{log}");
    assert_eq!(log.matches("traces are not exported").count(), 1, "once is enough: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_cannot_be_followed_is_refused_at_the_start() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    let certificate = |path| vec![endpoint, ("OTEL_EXPORTER_OTLP_CERTIFICATE", path)];
    let no_pem = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let client_key = ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/etc/otel/tls.key");
    let table = [
        (vec![endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "OTEL_EXPORTER_OTLP_PROTOCOL=\"grpc\"", "4318"),
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "no url")], "OTEL_EXPORTER_OTLP_ENDPOINT", "such as http://"),
        (certificate("/nowhere/ca.crt"), "OTEL_EXPORTER_OTLP_CERTIFICATE=\"/nowhere/ca.crt\" can't be read", "mount"),
        (certificate(no_pem), "is no PEM bundle of CA certificates", "BEGIN CERTIFICATE"),
        (vec![endpoint, client_key], "OTEL_EXPORTER_OTLP_CLIENT_KEY is set", "leave it out"),
    ];
    for (environment, what, next) in table {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_bitbucket-connection-operator"))
            .arg("run")
            .env_clear()
            .envs(environment)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(crate::harness::PATIENCE, output).await.expect("an end by itself");
        let output = output.expect("a process");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.starts_with("error: ") && told.contains(what) && told.contains(next), "{told}");
    }
}
