//! Answers of servers, written down as text, and secrets that must not be found in what is made of them: for the
//! properties of both clients.

use std::sync::LazyLock;

use ::http::{HeaderName, HeaderValue, Response};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use futures::executor::block_on;

use super::{Answer, BODY_MAX, read};

/// What was sent, and what a server that echoes it puts into its answer. Short enough not to be taken for a token by its
/// looks alone.
pub const SECRET: &str = "s3cr3t+of/a=fuzzer";

/// Reads an answer as HTTP writes it: a line with the status, lines with headers, an empty line, and the body. Nothing
/// where that can't be an answer.
pub fn answer(data: &[u8]) -> Option<Answer> {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((data, [].as_slice()), |end| (&data[..end], &data[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut response = Response::builder().status(lines.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        response = response.header(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    let response = response.body(body.to_vec()).ok()?;
    block_on(read(response.into(), BODY_MAX)).ok()
}

/// Fails if the secret is in a text: plain, URL-encoded, or in base64 wherever that begins.
#[track_caller]
pub fn assert_silent(text: &str) {
    static PLAIN: LazyLock<[String; 2]> = LazyLock::new(|| {
        let encoded = SECRET.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        [SECRET.to_owned(), encoded]
    });
    static ENCODED: LazyLock<Vec<(String, Vec<String>)>> = LazyLock::new(base64_forms);
    for form in PLAIN.iter() {
        assert!(!text.contains(form), "{form} is in {text}");
    }
    for (core, forms) in ENCODED.iter().filter(|(core, _)| text.contains(core)) {
        for form in forms {
            assert!(!text.contains(form), "{form} with {core} is in {text}");
        }
    }
}

/// The secret in base64, after no, one and two other bytes, in both alphabets: what all forms of a kind have in common,
/// and the forms, which differ in the bits that a character at either end shares with a neighbour.
fn base64_forms() -> Vec<(String, Vec<String>)> {
    let mut kinds = Vec::new();
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let encode = |front: u8, back: u8| {
                let bytes = [vec![front; before], SECRET.as_bytes().to_vec(), vec![back; 3]].concat();
                let code = engine.encode(bytes);
                let end = (before + SECRET.len()) * 8;
                (code[before * 8 / 6..end.div_ceil(6)].to_owned(), code[(before * 8).div_ceil(6)..end / 6].to_owned())
            };
            let bits = || (0..16).flat_map(|front| (0..16).map(move |back| (front, back << 4)));
            let mut forms: Vec<String> = bits().map(|(front, back)| encode(front, back).0).collect();
            forms.sort();
            forms.dedup();
            kinds.push((encode(0, 0).1, forms));
        }
    }
    kinds
}

/// Fails unless a text is one line of at most so many characters, without anything that a terminal would act on.
#[track_caller]
pub fn assert_short_line(text: &str, max: usize) {
    assert!(text.chars().count() <= max, "{} characters: {text}", text.chars().count());
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form() {
        let mut texts = vec![format!("a {SECRET}."), "s3cr3t%2Bof%2Fa%3Dfuzzer".to_owned()];
        for (before, after) in [("", ""), ("u:", ""), ("me:", "}"), ("bot@example.com:", "\u{fc}\n"), ("\u{fc}", "1")] {
            let text = format!("{before}{SECRET}{after}");
            texts.extend([STANDARD.encode(&text), format!("x={}", URL_SAFE.encode(&text))]);
        }
        for text in texts {
            assert!(catch_unwind(|| assert_silent(&text)).is_err(), "{text}");
        }
        for text in ["", "s3cr3t", &STANDARD.encode(&SECRET[1..]), &STANDARD.encode(format!("a{}", &SECRET[..17]))] {
            assert_silent(text);
        }
    }
}
