//! Texts as the KMS reads them: its server is JavaScript.

/// A text without white space at its ends, as the KMS trims it: JavaScript counts the byte order mark among white space
/// and Rust doesn't. What is read back then compares equal to what was sent.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_of_both_languages_is_trimmed() {
        for space in ["", " ", "\t\r\n", "\u{a0}", "\u{85}", "\u{3000}", "\u{2029}", "\u{feff}", "\u{feff} \u{feff}\n"]
        {
            assert_eq!(trim(&format!("{space}a b{space}")), "a b", "{space:?}");
            assert_eq!(trim(space), "", "{space:?}");
        }
        assert_eq!(trim("\u{200b}a"), "\u{200b}a", "no white space in either");
    }
}
