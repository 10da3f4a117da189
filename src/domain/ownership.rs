//! The mark by which the operator recognizes its own connections in the KMS.
//!
//! A description in the KMS ends in ` [k8s:<16 hex>:c]`. The digits are a hash of the owner id, namespace and name of
//! the BitbucketConnection, so that a lost status, a crash between the KMS's write and ours, or a restored backup all
//! lead back to the one connection. Without the mark, or with another's, nothing is written or deleted.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{hex::hex, text};

/// Longest description that the KMS takes, in UTF-16 units.
pub const KMS_DESCRIPTION_MAX: usize = 256;

/// Longest description that a user may write, in UTF-16 units (the KMS counts as JavaScript does). With the mark's 25
/// it stays below the 256 that the KMS takes.
pub const DESCRIPTION_MAX: usize = 200;

/// Who owns connections: by default the uid of the namespace `kube-system`, which is as old and as unique as the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerId(String);

/// Why a text can't be an owner id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an owner id must have 1 to 128 visible ASCII characters, such as a UUID")]
pub struct BadOwnerId;

impl OwnerId {
    /// Takes a text as owner id.
    pub fn new(text: &str) -> Result<Self, BadOwnerId> {
        let good = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if good { Ok(Self(text.to_owned())) } else { Err(BadOwnerId) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a connection came to be the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator made it.
    Created,
    /// It was there before and was taken over.
    Adopted,
}

impl Origin {
    /// The word in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Adopted => "Adopted",
        }
    }

    /// The letter in the mark.
    const fn letter(self) -> char {
        match self {
            Self::Created => 'c',
            Self::Adopted => 'a',
        }
    }
}

/// Who a connection belongs to: one BitbucketConnection of one cluster, which may have had other owner ids before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    digits: String,
    previous: Vec<String>,
}

impl Owner {
    /// The owner that the object of this namespace and name is.
    pub fn of(id: &OwnerId, namespace: &str, name: &str) -> Self {
        Self { digits: digits(id, namespace, name), previous: Vec::new() }
    }

    /// The same, recognized by the marks of earlier owner ids too.
    pub fn with_previous(mut self, ids: &[OwnerId], namespace: &str, name: &str) -> Self {
        let former = ids.iter().map(|id| digits(id, namespace, name)).filter(|former| *former != self.digits);
        self.previous = former.collect();
        self
    }

    /// By what marks name it: the present one first.
    pub fn digits(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.digits).chain(&self.previous).map(String::as_str)
    }

    /// The mark of this owner's connections.
    pub fn mark(&self, origin: Origin) -> String {
        format!("[k8s:{}:{}]", self.digits, origin.letter())
    }
}

fn digits(id: &OwnerId, namespace: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    for part in [id.as_str(), namespace, name] {
        hash.update(part.as_bytes());
        // None of the three can hold a line feed.
        hash.update(b"\n");
    }
    hex(&hash.finalize()[..8])
}

/// Whose connection it is, by its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Ours.
    Ours(Origin),
    /// Another object's, or another cluster's.
    Another,
    /// It bears no mark.
    Unmarked,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits)
    }
}

/// Whose connection a description tells of.
pub fn ownership(description: &str, owner: &Owner) -> Ownership {
    match split(description) {
        (_, Some((digits, origin))) if owner.digits().any(|ours| ours == digits) => Ownership::Ours(origin),
        (_, Some(_)) => Ownership::Another,
        (_, None) => Ownership::Unmarked,
    }
}

/// The digits of the owner that a description names, ours or another's.
pub fn owner_named_in(description: &str) -> Option<&str> {
    split(description).1.map(|(digits, _)| digits)
}

/// Whether a description bears the mark of an earlier owner id, which the next write replaces.
pub fn bears_previous_mark(description: &str, owner: &Owner) -> bool {
    owner_named_in(description).is_some_and(|digits| owner.previous.iter().any(|former| former == digits))
}

/// The description for the KMS: the user's text and the mark. It is trimmed as the KMS trims it, so that what is read
/// back compares equal. Marks that a person wrote at the end of the text are left out: the one behind them may come off
/// some day, and what it uncovers must not make the connection another object's.
pub fn describe(text: &str, owner: &Owner, origin: Origin) -> String {
    text::trim(&format!("{} {}", without_mark(text), owner.mark(origin))).to_owned()
}

/// How the connection of this description came to be its owner's.
pub fn origin_of(description: &str) -> Option<Origin> {
    split(description).1.map(|(_, origin)| origin)
}

/// A description without the marks at its end: ours, and any that a person wrote before it.
pub fn without_mark(description: &str) -> &str {
    // A loop: there may be so many that a call for each would leave no stack.
    let mut rest = split(description);
    while rest.1.is_some() {
        rest = split(rest.0);
    }
    rest.0
}

/// Text and mark of a description.
fn split(description: &str) -> (&str, Option<(&str, Origin)>) {
    let description = text::trim(description);
    let mark = description.rsplit_once("[k8s:").and_then(|(text, mark)| {
        let (digits, letter) = mark.strip_suffix(']')?.split_once(':')?;
        let hex = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let origin = match letter {
            "c" => Origin::Created,
            "a" => Origin::Adopted,
            _ => return None,
        };
        hex.then_some((text::trim(text), (digits, origin)))
    });
    match mark {
        Some((text, mark)) => (text, Some(mark)),
        None => (description, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Owner {
        Owner::of(&OwnerId::new("3c1f").expect("good id"), "team-a", name)
    }

    #[test]
    fn a_described_connection_is_recognized() {
        for text in [
            "",
            "Payments",
            "  Payments \n",
            "\u{feff}Payments\u{85}",
            "über [k8s:draft]",
            "a [k8s:0123456789abcdef:c] b",
        ] {
            let described = describe(text, &owner("payments"), Origin::Created);
            assert_eq!(ownership(&described, &owner("payments")), Ownership::Ours(Origin::Created), "{described}");
            assert_eq!(ownership(&described, &owner("other")), Ownership::Another);
            assert_eq!(without_mark(&described), text::trim(text));
            assert_eq!(described, text::trim(&described), "the KMS trims: it would look like drift for ever");
        }
    }

    #[test]
    fn marks_of_earlier_owner_ids_are_ours_and_known_as_such() {
        let id = |text: &str| OwnerId::new(text).expect("good id");
        let of = |text: &str| Owner::of(&id(text), "team-a", "payments");
        let owner = of("3c1f").with_previous(&[id("old"), id("older"), id("3c1f")], "team-a", "payments");
        assert_eq!(owner.digits().count(), 3, "the present id is no earlier one");
        assert_eq!(owner.mark(Origin::Created), of("3c1f").mark(Origin::Created));
        let table = [
            (of("3c1f"), Ownership::Ours(Origin::Adopted), false),
            (of("old"), Ownership::Ours(Origin::Adopted), true),
            (of("older"), Ownership::Ours(Origin::Adopted), true),
            (of("another"), Ownership::Another, false),
            (Owner::of(&id("old"), "team-b", "payments"), Ownership::Another, false),
        ];
        for (by, expected, previous) in table {
            let described = describe("Payments", &by, Origin::Adopted);
            assert_eq!((ownership(&described, &owner), bears_previous_mark(&described, &owner)), (expected, previous));
        }
    }

    #[test]
    fn a_mark_that_a_person_wrote_makes_nothing_anothers() {
        let (ours, theirs) = (owner("payments"), owner("other"));
        let forged = [theirs.mark(Origin::Created), theirs.mark(Origin::Adopted)];
        for text in ["Payments", ""] {
            for written in [
                format!("{text} {}", forged[0]),
                format!("{text}{}", forged[1]),
                format!("{text} {} {}\u{feff}\n", forged[1], forged[0]),
                // Copied from the KMS, mark included.
                describe(text, &ours, Origin::Created),
            ] {
                let described = describe(&written, &ours, Origin::Adopted);
                assert_eq!(described, describe(text, &ours, Origin::Adopted), "{written}");
                assert_eq!(ownership(without_mark(&described), &theirs), Ownership::Unmarked, "{written}");
            }
        }
        let by_hand = format!("Payments {} {}", forged[0], ours.mark(Origin::Created));
        assert_eq!(without_mark(&by_hand), "Payments");
    }

    #[test]
    fn any_number_of_marks_comes_off() {
        let marks = owner("other").mark(Origin::Created).repeat(50_000);
        assert_eq!(without_mark(&format!("Payments {marks}")), "Payments");
    }

    #[test]
    fn half_a_mark_is_none() {
        for text in [
            "",
            "x",
            "[k8s:]",
            "[k8s:0123456789abcdef]",
            "[k8s:0123456789abcdef:z]",
            "[k8s:0123456789ABCDEF:c]",
            "[k8s:0123456789abcdef:c] tail",
        ] {
            assert_eq!(ownership(text, &owner("payments")), Ownership::Unmarked, "{text}");
        }
    }

    #[test]
    fn the_mark_tells_clusters_namespaces_and_names_apart() {
        let of = |id: &str, namespace: &str, name: &str| {
            Owner::of(&OwnerId::new(id).expect("good id"), namespace, name).to_string()
        };
        let all = [of("1", "a", "b"), of("2", "a", "b"), of("1", "b", "b"), of("1", "a", "c"), of("1", "ab", "c")];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn the_longest_description_fits_the_kms() {
        let longest = "😀".repeat(DESCRIPTION_MAX / 2);
        assert!(describe(&longest, &owner("payments"), Origin::Created).encode_utf16().count() <= KMS_DESCRIPTION_MAX);
    }
}
