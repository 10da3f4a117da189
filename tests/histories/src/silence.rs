//! Looks for secrets where none may be.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Whether a text gives a secret away: plain, URL-encoded, or in base64, within `Basic` too.
pub fn gives_away(text: &str, secret: &str) -> bool {
    forms(secret).iter().any(|form| text.contains(form))
}

/// The texts that would give a secret away. One of letters, digits and hyphens looks the same in a URL.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    // Within a longer text base64 takes one of three shapes. The signs at the ends depend on the neighbours.
    for before in 0..3 {
        let bytes = [&vec![0; before], secret.as_bytes()].concat();
        let (first, whole) = ([0, 2, 3][before], bytes.len() / 3 * 4);
        for text in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            forms.push(text[first..whole].to_owned());
        }
    }
    forms
}

#[test]
fn a_secret_is_found_in_each_disguise() {
    use base64::engine::general_purpose::STANDARD;
    for before in ["", "a", "ab", "bot@example.com:"] {
        let text = STANDARD.encode(format!("{before}{}-17", crate::cast::CANARY));
        assert!(gives_away(&text, crate::cast::CANARY), "{text}");
    }
    assert!(!gives_away("Basic Ym90QGV4YW1wbGUuY29tOnNvbWV0aGluZw==", crate::cast::CANARY));
}
