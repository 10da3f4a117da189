//! Where an expiry is known from.

/// Where an expiry is known from, the first that is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpirySource {
    /// The Secret's key: it changes with the token, so it wins.
    Secret,
    /// The Secret's annotation.
    Annotation,
    /// `spec.expiry.notAfter`.
    Spec,
    /// First seen + Atlassian's limit: only the latest possible date.
    Inferred,
}

impl ExpirySource {
    /// All of them, the weightiest first.
    pub const ALL: [Self; 4] = [Self::Secret, Self::Annotation, Self::Spec, Self::Inferred];

    /// The word in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::Annotation => "Annotation",
            Self::Spec => "Spec",
            Self::Inferred => "Inferred",
        }
    }

    /// The source of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == word)
    }
}
