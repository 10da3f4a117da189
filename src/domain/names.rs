//! Names of objects, and of workspaces. They become parts of addresses at the API server, where `../` would lead into another namespace.

/// Longest name of an object.
const MAX: usize = 253;
/// Longest slug, in characters.
const SLUG_MAX: usize = 64;

/// Whether an object can have this name: groups of lower case letters, digits and hyphens, joined by dots (RFC 1123). The
/// schema refuses others; what slipped past it is never asked for, because nothing can be there.
pub fn is_object_name(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let group = |group: &str| {
        let bytes = group.as_bytes();
        bytes.first().is_some_and(|first| alphanumeric(*first))
            && bytes.last().is_some_and(|last| alphanumeric(*last))
            && bytes.iter().all(|b| alphanumeric(*b) || *b == b'-')
    };
    text.len() <= MAX && text.split('.').all(group)
}

/// The slug of a workspace, as in `bitbucket.org/<slug>`.
pub fn is_workspace_slug(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    !text.is_empty() && text.len() <= SLUG_MAX && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_told_from_addresses_and_names() {
        for good in ["hanzo", "team-a", "a_b", "7", &"x".repeat(64)] {
            assert!(is_workspace_slug(good), "{good}");
        }
        for bad in ["", "Team A", "bitbucket.org/hanzo", "Hanzo", "hanzö", &"x".repeat(65)] {
            assert!(!is_workspace_slug(bad), "{bad}");
        }
    }

    #[test]
    fn only_what_an_object_can_be_called_is_a_name() {
        let longest = "a".repeat(253);
        for good in ["a", "7", "bitbucket-token", "bitbucket.token-2", "a--b", &longest] {
            assert!(is_object_name(good), "{good}");
        }
        let too_long = "a".repeat(254);
        for bad in [
            "",
            ".",
            "..",
            "../other/secrets/token",
            "a/b",
            "a?watch=true",
            "a#b",
            "%2e%2e",
            "a b",
            " a",
            "a\n",
            "Token",
            "-a",
            "a-",
            "a.",
            ".a",
            "a..b",
            "a_b",
            "tökén",
            &too_long,
        ] {
            assert!(!is_object_name(bad), "{bad:?}");
        }
    }
}
