//! What the status records of a description.

use super::Wanted;
use crate::domain::{
    ownership::{self, Origin},
    text,
};

/// Whether the description on record is another than the one that this object wants. If the KMS holds the wanted one,
/// a pass wrote it and ended before that was told.
pub(super) fn is_another_on_record(wanted: &Wanted<'_>, origin: Origin, described: &str) -> bool {
    // Older versions of the operator recorded none.
    let Some(before) = wanted.recorded.and_then(|recorded| recorded.description.as_deref()) else { return false };
    // The text of a connection that was adopted is for people in the KMS to change, unless the spec has one.
    let text_is_ours = wanted.spec.description.is_some() || origin == Origin::Created;
    (text_is_ours && text::trim(before) != described) || ownership::bears_previous_mark(before, wanted.owner)
}
