//! Looks for secrets in all that people can read.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bitbucket_connection_operator::api::{BitbucketConnection, ClusterKmsInstance, KmsInstance};
use k8s_openapi::api::events::v1::Event;
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    hands::{NEXT, TOKEN},
    world::World,
};

/// What an operator logs.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// What takes it down.
    pub fn subscriber(&self) -> impl Subscriber + Send + Sync + use<> {
        let filter = EnvFilter::new("bitbucket_connection_operator=debug");
        tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(self.clone()).finish()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Where a secret can be read.
pub fn leaks(world: &World, log: &Log) -> Vec<String> {
    let json = |value: serde_json::Result<String>| value.expect("JSON");
    let places = [
        ("the log", log.text()),
        ("events", json(serde_json::to_string(&world.api.list::<Event>()))),
        ("connections", json(serde_json::to_string(&world.api.list::<BitbucketConnection>()))),
        ("instances", json(serde_json::to_string(&world.api.list::<KmsInstance>()))),
        ("cluster instances", json(serde_json::to_string(&world.api.list::<ClusterKmsInstance>()))),
    ];
    let mut found = Vec::new();
    for secret in [TOKEN, NEXT, "ATATT3x-revoked", "client-secret"] {
        for (place, text) in &places {
            if forms(secret).iter().any(|form| text.contains(form)) {
                found.push(format!("{secret} in {place}"));
            }
        }
    }
    found
}

/// The texts that would give a secret away: as it is, and as a part of something in base64, such as `Basic`.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    for before in 0..3 {
        let bytes = [&vec![0; before], secret.as_bytes()].concat();
        // The signs at both ends depend on the neighbours.
        let whole = bytes.len() / 3 * 4;
        forms.push(STANDARD_NO_PAD.encode(&bytes)[[0, 2, 3][before]..whole].to_owned());
    }
    forms
}

#[test]
fn a_secret_is_found_as_it_is_and_in_basic() {
    for (before, after) in [("", ""), ("bot@example.com:", ""), ("a:", "z"), ("ab:", "yz")] {
        let text = STANDARD_NO_PAD.encode(format!("{before}{TOKEN}{after}"));
        assert!(forms(TOKEN).iter().any(|form| text.contains(form)), "{before} {after}");
    }
    assert!(format!("it was {TOKEN}.").contains(&forms(TOKEN)[0]));
}
