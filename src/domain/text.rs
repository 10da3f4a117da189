//! Texts as the KMS reads them, whose server is JavaScript, and as people do.

/// A text without white space at its ends, as the KMS trims it: JavaScript counts the byte order mark among white space
/// and Rust doesn't. What is read back then compares equal to what was sent.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// A text as one line: without control characters, of which those that are white space become a space, and without marks
/// of direction and of no width, which can make a text look like another.
pub fn one_line(text: &str) -> String {
    let kept = text.chars().filter_map(|c| match c {
        c if c.is_whitespace() => Some(' '),
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => None,
        c if c.is_control() => None,
        c => Some(c),
    });
    kept.collect::<String>().trim().to_owned()
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
