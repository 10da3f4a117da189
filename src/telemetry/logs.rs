//! The log, on standard error.
//!
//! What to log comes from `RUST_LOG`. Whatever it says, three things stay out of the log, since they could hold a
//! credential: what the HTTP and TLS libraries tell below the level *info* (headers, bodies, frames), what kube's client
//! tells (of an answer that it can't read, the whole answer), and the payload of a panic.

use std::{env, io::IsTerminal, panic, thread};

use clap::ValueEnum;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::traces::{STEPS, Traces};

/// The variable that says what to log.
const VARIABLE: &str = "RUST_LOG";
/// What is logged by default: kube tells each closed watch otherwise.
const DEFAULT: &str = "info,kube=warn";
/// Libraries that handle requests as bytes.
const TRANSPORT: [&str; 7] = ["h2", "hyper", "hyper_rustls", "hyper_util", "reqwest", "rustls", "tower"];

/// Where kube logs answers of the API server as they came, a Secret among them, at every level.
const ANSWERS: &str = "kube_client::client";

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line of text for people
    Text,
    /// A JSON object per line for machines
    Json,
}

/// Why the log can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter makes no sense.
    #[error(
        "RUST_LOG={text:?} is no log filter ({reason}): write a level, such as RUST_LOG=debug, or levels by module, such as RUST_LOG=info,kube=debug"
    )]
    Filter {
        /// The filter.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is a log already.
    #[error("the log is set up already ({0}): set it up once per process")]
    Twice(String),
}

/// Sets up the log of this process, and has panics logged there. Traces have their spans from the same source.
pub fn init(format: LogFormat, traces: Option<&Traces>) -> Result<(), Error> {
    let wanted = env::var(VARIABLE).unwrap_or_default();
    let stderr = std::io::stderr;
    let colours = stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    log(format, &wanted, colours, stderr, traces)?.try_init().map_err(|error| Error::Twice(error.to_string()))?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A log of what is wanted, to a writer; and traces.
fn log<W>(
    format: LogFormat,
    wanted: &str,
    colours: bool,
    writer: W,
    traces: Option<&Traces>,
) -> Result<impl SubscriberInitExt + Subscriber, Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => fmt::layer().with_writer(writer).with_ansi(colours).boxed(),
        LogFormat::Json => fmt::layer().with_writer(writer).json().flatten_event(true).with_span_list(false).boxed(),
    };
    let shown = filter(wanted)?.and(filter_fn(is_harmless)).and(filter_fn(|metadata| metadata.target() != STEPS));
    // Each has a filter of its own: what the log leaves out can still be part of a trace. And there is no layer that isn't
    // needed: with one that has no filter, even a missing one, what all others refuse would not be refused at once.
    let mut layers = vec![lines.with_filter(shown).boxed()];
    layers.extend(traces.map(|traces| traces.layer().boxed()));
    Ok(Registry::default().with(layers))
}

/// The filter that the variable asks for.
fn filter(wanted: &str) -> Result<EnvFilter, Error> {
    let wanted = wanted.trim();
    EnvFilter::builder()
        .with_default_directive(LevelFilter::ERROR.into())
        .parse(if wanted.is_empty() { DEFAULT } else { wanted })
        .map_err(|error| Error::Filter { text: wanted.to_owned(), reason: error.to_string() })
}

/// Whether it can't hold a credential.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let library = metadata.target().split("::").next().unwrap_or_default();
    metadata.target() != ANSWERS && (*metadata.level() <= tracing::Level::INFO || !TRANSPORT.contains(&library))
}

/// Logs where a panic happened, never what it says: its payload could hold a credential.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    tracing::error!(location, thread = thread.name().unwrap_or("unnamed"), "panicked; please report this location");
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::telemetry::traces;

    /// Where a test's log goes.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged while something is done.
    fn logged(format: LogFormat, wanted: &str, act: impl FnOnce()) -> String {
        logged_and_traced(format, wanted, None, act)
    }

    fn logged_and_traced(format: LogFormat, wanted: &str, traces: Option<&Traces>, act: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = log(format, wanted, false, move || writer.clone(), traces).expect("a good filter");
        tracing::subscriber::with_default(subscriber, act);
        String::from_utf8(kept.0.lock().expect("no panic").clone()).expect("text")
    }

    #[test]
    fn a_line_of_json_is_flat() {
        let text = logged(LogFormat::Json, "", || tracing::info!(server = "health", "listening"));
        let line: serde_json::Value = serde_json::from_str(&text).expect("one line of JSON");
        assert_eq!((&line["server"], &line["message"]), (&"health".into(), &"listening".into()));
    }

    /// A pass with a step in which a line is logged; whether the step was there at all.
    fn a_pass() -> bool {
        let pass = tracing::info_span!("reconcile", id = tracing::field::Empty);
        pass.record("id", traces::id_of(&pass).unwrap_or_else(|| "random".to_owned()));
        let _pass = pass.enter();
        let step = tracing::info_span!(target: STEPS, "observe");
        let _step = step.enter();
        tracing::info!("looking");
        !step.is_disabled()
    }

    #[test]
    fn a_line_is_of_its_pass_whether_it_is_traced_or_not() {
        let to_nobody = Traces::to_nobody();
        for traces in [None, Some(&to_nobody)] {
            let mut there = false;
            let text = logged_and_traced(LogFormat::Json, "", traces, || there = a_pass());
            let line: serde_json::Value = serde_json::from_str(&text).expect("one line of JSON");
            assert_eq!(line["span"]["name"], "reconcile", "{line}");
            let id = line["span"]["id"].as_str().unwrap_or_default();
            assert_eq!((id.len(), there), if traces.is_some() { (32, true) } else { (6, false) }, "{line}");
        }
    }

    #[test]
    fn libraries_that_see_bytes_are_quiet_whatever_is_asked_for() {
        let text = logged(LogFormat::Text, "trace,hyper::proto=trace", || {
            tracing::debug!(target: "hyper::proto", "authorization: s3cret");
            tracing::trace!(target: "h2", "s3cret");
            tracing::info!(target: "hyper", "something to know");
            tracing::trace!(target: "hyperbole", "not the library");
        });
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("something to know") && text.contains("not the library"), "{text}");
    }

    #[test]
    fn answers_of_the_api_server_are_never_logged_as_they_came() {
        let text = logged(LogFormat::Text, "trace", || {
            tracing::warn!(target: "kube_client::client", "s3cret, invalid type");
            tracing::error!(target: "kube_client::client::builder", "failed with status 503");
        });
        assert!(!text.contains("s3cret") && text.contains("503"), "{text}");
    }

    #[test]
    fn a_panic_is_logged_without_its_payload() {
        let before = panic::take_hook();
        panic::set_hook(Box::new(log_panic));
        let text = logged(LogFormat::Text, "", || {
            // A panic of another test may have found that nobody listens.
            tracing::callsite::rebuild_interest_cache();
            let secret = "s3cret".to_owned();
            assert!(panic::catch_unwind(|| panic!("{secret}")).is_err());
        });
        panic::set_hook(before);
        assert!(text.contains("src/telemetry/logs.rs:") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn filters_are_read_or_refused() {
        for good in ["", "  ", "debug", "info,kube=debug", "off"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        let refusal = filter("info,kube=loud").expect_err("no level").to_string();
        assert!(refusal.contains("kube=loud") && refusal.contains("RUST_LOG=debug"), "{refusal}");
    }
}
