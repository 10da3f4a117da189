//! Looks for secrets where none may be.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::Value;

use super::{CLIENT_SECRET, TOKEN, tenant::Tenant};

impl Tenant {
    /// Where any of these texts can be found: in the operator's log, in events, in our objects, in metrics; plain, in
    /// base64 (within `Basic` too), URL-encoded. Empty is good.
    pub async fn secrets_leaked(&self, canaries: &[&str]) -> Vec<String> {
        let events = self.api::<Event>().list(&ListParams::default()).await.expect("events");
        let mut places = vec![
            ("the log".to_owned(), self.log()),
            ("events".to_owned(), serde_json::to_string(&events.items).expect("JSON")),
        ];
        for object in self.our_objects().await {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            places.push((name, texts(&object)));
        }
        if let Some((_, metrics)) = self.process().get("metrics", "/metrics").await {
            places.push(("metrics".to_owned(), metrics));
        }
        let found = canaries.iter().flat_map(|canary| {
            assert!(canary.len() >= 8, "{canary} is too short to be looked for");
            let forms = forms(canary);
            let held = places.iter().filter(move |(_, text)| forms.iter().any(|form| text.contains(form)));
            held.map(move |(place, _)| format!("{canary} in {place}"))
        });
        found.collect()
    }

    /// Fails if any of these texts, the good token or the client secret got anywhere.
    pub async fn assert_silent(&self, canaries: &[&str]) {
        let leaked = self.secrets_leaked(&[canaries, &[TOKEN, CLIENT_SECRET]].concat()).await;
        assert!(leaked.is_empty(), "secrets leaked: {leaked:#?}");
    }
}

/// Whether a text gives a secret away, in whatever form.
pub fn gives_away(text: &str, secret: &str) -> bool {
    forms(secret).iter().any(|form| text.contains(form))
}

/// All texts of an object, one on each line, free of the escapes of a format.
fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(texts).collect::<Vec<_>>().join("\n"),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name}\n{}", texts(value))).collect::<Vec<_>>().join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

/// The texts that would give a secret away.
fn forms(secret: &str) -> Vec<String> {
    let encode = |escape: fn(u8) -> String| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        secret.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { escape(byte) }).collect()
    };
    let mut forms = vec![secret.to_owned()];
    forms.extend([encode(|byte| format!("%{byte:02X}")), encode(|byte| format!("%{byte:02x}"))]);
    // Within a longer text, such as `email:token`, base64 takes one of three shapes. The signs at the ends depend on the
    // neighbours and are left out.
    for before in 0..3 {
        let bytes = [&vec![0; before], secret.as_bytes()].concat();
        let whole = bytes.len() / 3 * 4;
        let first = [0, 2, 3][before];
        for text in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            forms.push(text[first..whole].to_owned());
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

#[test]
fn a_secret_is_found_in_each_disguise() {
    use base64::engine::general_purpose::STANDARD;
    let secret = "s3cret/with+signs?";
    let forms = forms(secret);
    for prefix in ["", "a", "ab", "bot@example.com:"] {
        for suffix in ["", "x", "yz"] {
            let basic = STANDARD.encode(format!("{prefix}{secret}{suffix}"));
            assert!(forms.iter().any(|form| basic.contains(form)), "{basic}");
        }
    }
    assert!(forms.contains(&"s3cret%2Fwith%2Bsigns%3F".to_owned()));
    assert!(forms.iter().all(|form| form.len() >= 16));
}
