//! Versions of an object, as `uid/resourceVersion`.

/// Whether a version comes before another one of the same object. Resource versions of the API server are whole numbers
/// that grow; of what are none, nothing is known.
pub fn is_before(one: &str, other: &str) -> bool {
    let parts = |version: &str| {
        let (uid, number) = version.rsplit_once('/')?;
        number.parse::<u128>().ok().map(|number| (uid.to_owned(), number))
    };
    let (Some((one_uid, one)), Some((other_uid, other))) = (parts(one), parts(other)) else { return false };
    one_uid == other_uid && one < other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_object_are_compared_as_numbers() {
        for (one, other, before) in [
            ("a/9", "a/10", true),
            ("a/10", "a/10", false),
            ("a/11", "a/10", false),
            ("a/9", "b/10", false),
            ("a/x", "a/10", false),
            ("a/9", "a/x", false),
            ("9", "10", false),
            ("", "", false),
        ] {
            assert_eq!(is_before(one, other), before, "{one} {other}");
        }
    }
}
