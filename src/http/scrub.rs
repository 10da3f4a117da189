//! Takes secrets out of what servers say, before it reaches a condition, an event or a log.

use std::borrow::Cow;

use base64::{Engine, alphabet, engine::GeneralPurpose, engine::general_purpose::NO_PAD};

use crate::domain::text::one_line;

/// What stands where something was taken out.
const MASK: &str = "***";
/// Longest text of a server that is repeated, in characters.
const TEXT_MAX: usize = 200;
/// From this length on, a run of base64 signs is taken for a token.
const TOKEN_LEN: usize = 32;
/// Longest part of a slug or a UUID; a longer one is random.
const SLUG_PART_MAX: usize = 20;
/// How Atlassian's tokens begin: API tokens, access tokens, app passwords.
const PREFIXES: [&str; 3] = ["ATATT", "ATCTT", "ATBB"];
/// Shorter secrets are not looked for in decoded texts: they would be found by chance.
const ENCODED_MIN: usize = 4;
/// Base64 without padding; the last character's spare bits don't matter, since words are cut anywhere.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// A server's words for a message: one line of at most 200 characters, without the given secrets in any form, and
/// without anything else that looks like a token.
pub fn server_text(text: &str, secrets: &[&str]) -> String {
    let mut after_scheme = false;
    let masked = each_word(&mask(&one_line(text), secrets), |word| {
        let suspect = after_scheme || looks_like_token(word);
        let lower = word.trim_end_matches(':').to_ascii_lowercase();
        after_scheme = lower.ends_with("bearer") || lower.ends_with("basic");
        suspect
    });
    cut(&masked, TEXT_MAX)
}

/// A short value of a server, such as a name: one line of at most `max` characters without the given secrets. Unlike
/// [`server_text`] it keeps long words: an id may look like a token.
pub fn line(text: &str, max: usize, secrets: &[&str]) -> String {
    cut(&mask(&one_line(text), secrets), max)
}

/// A text without the given secrets, be they plain, JSON-escaped, URL-encoded, or in base64 (also as a part of it, as in
/// `Basic`). Of an encoded one the whole word goes.
pub fn mask(text: &str, secrets: &[&str]) -> String {
    let mut text = Cow::Borrowed(text);
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        for form in [(*secret).to_owned(), secret.replace('\\', "\\\\").replace('"', "\\\"")] {
            if text.contains(&form) {
                text = Cow::Owned(text.replace(&form, MASK));
            }
        }
    }
    let long: Vec<&[u8]> = secrets.iter().map(|s| s.as_bytes()).filter(|s| s.len() >= ENCODED_MIN).collect();
    if long.is_empty() { text.into_owned() } else { each_word(&text, |word| encodes(word, &long)) }
}

/// Replaces the words that `suspect` picks.
fn each_word(text: &str, mut suspect: impl FnMut(&str) -> bool) -> String {
    let ends_word = |c: char| c.is_whitespace() || "\"'`<>(){}[],;|\\".contains(c);
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(ends_word) {
        let word = piece.trim_end_matches(ends_word);
        out.push_str(if !word.is_empty() && suspect(word) { MASK } else { word });
        out.push_str(&piece[word.len()..]);
    }
    out
}

/// Whether one of the secrets is in the word once it is decoded.
fn encodes(word: &str, secrets: &[&[u8]]) -> bool {
    let holds = |bytes: &[u8]| secrets.iter().any(|s| bytes.windows(s.len()).any(|window| window == *s));
    let plain = percent_decoded(word.as_bytes());
    if holds(&plain) {
        return true;
    }
    plain.split(|&b| !is_base64(b)).any(|run| {
        let run: Vec<u8> = run.iter().filter(|&&b| b != b'=').map(|&b| standard(b)).collect();
        // The run may begin anywhere in a group of four characters, so those that the group lacks are made up; a length
        // that no text has, one more than a multiple of four, loses its last character.
        (0..4).any(|lacking| {
            let mut group = vec![b'A'; lacking];
            group.extend(&run);
            let len = if group.len() % 4 == 1 { group.len() - 1 } else { group.len() };
            BASE64.decode(&group[..len]).is_ok_and(|bytes| holds(&bytes))
        })
    })
}

/// Both alphabets of base64, and the padding.
fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'=')
}

fn standard(b: u8) -> u8 {
    match b {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |at: usize| bytes.get(at).and_then(|&b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    out
}

fn looks_like_token(word: &str) -> bool {
    PREFIXES.iter().any(|prefix| word.contains(prefix))
        || word
            .split(|c: char| c != '.' && !u8::try_from(c).is_ok_and(is_base64))
            .any(|run| run.len() >= TOKEN_LEN && !is_readable(run))
}

/// Slugs, UUIDs, paths and host names: short parts of lower-case letters and digits.
fn is_readable(run: &str) -> bool {
    run.split(['-', '/', '_', '.', '='])
        .all(|part| part.len() < SLUG_PART_MAX && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        // One for the sign that says so.
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    const TOKEN: &str = "s3cr3t+tok/en=";

    #[test]
    fn secrets_go_in_every_form() {
        let basic = STANDARD.encode(format!("bot@example.com:{TOKEN}"));
        let url_safe = URL_SAFE_NO_PAD.encode(format!("a:{TOKEN}"));
        let table = [
            (format!("no {TOKEN} here"), "no *** here"),
            (format!("got \"{TOKEN}\""), "got \"***\""),
            (format!("x{TOKEN}y"), "x***y"),
            (format!("got {basic}."), "got ***"),
            (format!("got {url_safe}, sorry"), "got ***, sorry"),
            (format!("got {}", STANDARD.encode(TOKEN)), "got ***"),
            (format!("got zz{}", STANDARD.encode(TOKEN)), "got ***"),
            // Cut right before the secret, in the middle of a group.
            (format!("got {}", &STANDARD.encode(format!("a{TOKEN}"))[1..]), "got ***"),
            (format!("got {}", &STANDARD.encode(format!("ab{TOKEN}"))[2..]), "got ***"),
            (format!("got {}", STANDARD.encode(TOKEN).replace('=', "%3D")), "got ***"),
            ("token=s3cr3t%2Btok%2Fen%3D&x=1".to_owned(), "***"),
            ("token=s3cr3t%2btok%2fen%3d".to_owned(), "***"),
            ("nothing to hide 100% %zz %".to_owned(), "nothing to hide 100% %zz %"),
        ];
        for (text, expected) in table {
            assert_eq!(mask(&text, &[TOKEN]), expected, "{text}");
            assert_eq!(server_text(&text, &[TOKEN]), expected, "{text}");
        }
        assert_eq!(mask(r#"{"t":"a\"b\\c"}"#, &[r#"a"b\c"#]), r#"{"t":"***"}"#);
        assert_eq!(mask("kept", &[""]), "kept");
        assert_eq!(mask("über s3", &["s3"]), "über ***");
    }

    #[test]
    fn what_looks_like_a_token_goes_too() {
        let table = [
            ("bad ATATT3xFfGF0abc!", "bad ***"),
            ("x=ATCTTabc", "***"),
            ("Authorization: Bearer abc.def failed", "Authorization: Bearer *** failed"),
            ("basic YTpi", "basic ***"),
            ("Authorization:Basic YTpi", "Authorization:Basic ***"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "jwt ***"),
            ("hash 0123456789abcdef0123456789abcdef0123", "hash ***"),
            ("key QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=", "key ***"),
            (
                "Could not find project with ID 7ffbb072-2575-495a-b5b0-127f88caef78",
                "Could not find project with ID 7ffbb072-2575-495a-b5b0-127f88caef78",
            ),
            (
                "An App Connection with the name \"payments-production-eu-west-central\" already exists",
                "An App Connection with the name \"payments-production-eu-west-central\" already exists",
            ),
            (
                "Route GET:/api/v1/app-connections/bitbucket not found",
                "Route GET:/api/v1/app-connections/bitbucket not found",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(server_text(text, &[]), expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_one_short_line() {
        assert_eq!(server_text(" a\r\nb\u{1b}[31m\u{202e}c\0 ", &[]), "a  b[31mc");
        let long = server_text(&"ü ".repeat(1000), &[]);
        assert_eq!(long.chars().count(), TEXT_MAX);
        assert!(long.ends_with('…'));
        assert_eq!(line("abcdef", 3, &[]), "ab…");
        assert_eq!(line("abc", 3, &[]), "abc");
        assert_eq!(line("", 3, &[]), "");
    }

    #[test]
    fn a_secret_at_the_cut_is_gone_as_a_whole() {
        for before in 180..205 {
            let text = server_text(&format!("{} {TOKEN}", ".".repeat(before)), &[TOKEN]);
            assert!(!text.contains("s3"), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_no_secret_stays(
            before in "\\PC{0,40}",
            secret in "[A-Za-z0-9+/=%\"\\\\-]{4,40}",
            after in "\\PC{0,40}",
        ) {
            proptest::prop_assume!(!before.contains(&secret) && !after.contains(&secret));
            let text = server_text(&format!("{before} {secret} {after}"), &[&secret]);
            proptest::prop_assert!(!text.contains(&secret));
            proptest::prop_assert!(text.chars().count() <= TEXT_MAX);
        }
    }
}
