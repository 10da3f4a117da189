//! Traces of reconciles, for those who name a collector; without one they cost next to nothing.
//!
//! A trace has a span for the pass over an object, in it one for each step of the story, and in these one for each request
//! to Bitbucket and to the KMS. They hold names, operations and status codes: never a header, a body or a message.
//!
//! What is read is the standard environment of OpenTelemetry, `OTEL_EXPORTER_OTLP_ENDPOINT` above all. Spans leave by OTLP
//! over HTTP with protobuf.

mod sender;

use std::{
    env,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry::{KeyValue, trace::TraceContextExt, trace::TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use self::sender::{BadTls, Sender};

/// Target of the spans that are there for traces alone. The log doesn't show them: there the pass is enough.
pub const STEPS: &str = "bitbucket_connection_operator::steps";
/// Name of the span of a pass, which is part of the log too.
const PASS: &str = "reconcile";

/// Whether this process makes traces.
static ON: AtomicBool = AtomicBool::new(false);

const SERVICE: &str = "bitbucket-connection-operator";
/// The variables that name a collector.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// The variables that choose a protocol.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
/// The only protocol that is spoken.
const PROTOCOL: &str = "http/protobuf";
/// How long the last batch may take once the process is to end.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why traces can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A protocol that is not spoken.
    #[error(
        "{variable}={value:?} is not spoken here: leave it out, or set it to http/protobuf, and name the collector's port for OTLP over HTTP, usually 4318"
    )]
    Protocol {
        /// Which variable says so.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// No TLS as the environment wants it.
    #[error(transparent)]
    Tls(#[from] BadTls),
    /// The exporter takes the environment for wrong.
    #[error(
        "traces can't be exported ({0}): set OTEL_EXPORTER_OTLP_ENDPOINT to the URL of a collector, such as http://collector.example.com:4318, or leave it out for no traces"
    )]
    Exporter(String),
}

/// The way of spans to the collector.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// As the environment says; nothing where it names no collector. Requests are sent by the runtime.
    pub fn from_environment(runtime: &Handle) -> Result<Option<Self>, Error> {
        if !is_wanted(variable) {
            return Ok(None);
        }
        protocol(variable)?;
        let sender = Sender::new(variable, runtime)?;
        let exporter = SpanExporter::builder().with_http().with_http_client(sender).build();
        let exporter = exporter.map_err(|error| Error::Exporter(error.to_string()))?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        ON.store(true, Ordering::Relaxed);
        Ok(Some(Self(provider)))
    }

    /// The layer that turns passes and their steps into traces.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(SERVICE))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            // What a span of ours holds is known; what a line of the log holds is not.
            .with_filter(filter_fn(is_traced))
    }

    /// Traces that are made and sent nowhere.
    #[cfg(test)]
    pub fn to_nobody() -> Self {
        Self(SdkTracerProvider::builder().build())
    }

    /// Sends what is left, for a moment. Blocks: not for use in the runtime.
    pub fn end(self) {
        // Why it fails was told.
        let _ = self.0.shutdown_with_timeout(FAREWELL);
    }
}

/// Whether this process makes traces.
pub fn are_on() -> bool {
    // Not `span_enabled!`: with filters by layer, what it finds out sticks to the next span.
    ON.load(Ordering::Relaxed)
}

/// The id of the trace that a span belongs to.
pub fn id_of(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// The trace of this pass is one of a failure.
pub fn failed(span: &Span) {
    span.set_status(opentelemetry::trace::Status::error("the pass broke off"));
}

/// Whether it is a pass or one of its steps.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && (metadata.target() == STEPS || is_pass(metadata))
}

fn is_pass(metadata: &Metadata<'_>) -> bool {
    metadata.name() == PASS && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
}

/// The value of a variable that says something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Whether the environment asks for traces.
fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_off = |name: &str, off: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case(off));
    let named = ENDPOINTS.iter().any(|name| variable(name).is_some());
    named && !is_off("OTEL_SDK_DISABLED", "true") && !is_off("OTEL_TRACES_EXPORTER", "none")
}

/// Whether the environment asks for the protocol that is spoken, or for none in particular.
fn protocol(variable: impl Fn(&str) -> Option<String>) -> Result<(), Error> {
    match PROTOCOLS.iter().find_map(|name| Some((*name, variable(name)?))) {
        Some((variable, value)) if value != PROTOCOL => Err(Error::Protocol { variable, value }),
        Some(_) | None => Ok(()),
    }
}

/// Who sends these traces: as the environment says, else this operator in this version.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let named = variable("OTEL_SERVICE_NAME").is_some()
        || variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|all| all.contains("service.name="));
    let builder = Resource::builder().with_attribute(version);
    if named { builder.build() } else { builder.with_service_name(SERVICE).build() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_off_until_a_collector_is_named() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        let table: &[(&[(&str, &str)], bool)] = &[
            (&[], false),
            (&[("OTEL_SERVICE_NAME", "x")], false),
            (&[endpoint], true),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces")], true),
            (&[endpoint, ("OTEL_SDK_DISABLED", "True")], false),
            (&[endpoint, ("OTEL_SDK_DISABLED", "false")], true),
            (&[endpoint, ("OTEL_TRACES_EXPORTER", "none")], false),
        ];
        for (environment, expected) in table {
            assert_eq!(is_wanted(lookup(environment)), *expected, "{environment:?}");
        }
    }

    #[test]
    fn another_protocol_is_refused_with_the_way_out() {
        for good in [&[][..], &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]] {
            assert!(protocol(lookup(good)).is_ok(), "{good:?}");
        }
        let one_of_them =
            [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")];
        let refusal = protocol(lookup(&one_of_them)).expect_err("not spoken").to_string();
        for word in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=\"grpc\"", "http/protobuf", "4318"] {
            assert!(refusal.contains(word), "{refusal}");
        }
    }

    fn lookup<'a>(environment: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |wanted| environment.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
    }
}
