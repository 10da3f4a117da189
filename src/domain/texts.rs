//! Texts that thousands of objects have in common (a project, an account, a contact), in memory once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// As many texts may be known before it is looked which of them are still in use.
const FEW: usize = 64;

/// The texts that are shared. One that nobody else has any more is dropped by and by.
#[derive(Default)]
pub struct Texts(Mutex<Known>);

#[derive(Default)]
struct Known {
    texts: HashSet<Arc<str>>,
    /// With how many the unused ones are looked for.
    full: usize,
}

impl Texts {
    /// The text, as all others have it who asked for it here.
    pub fn share(&self, text: &str) -> Arc<str> {
        // Nothing in here is left half done.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = known.texts.get(text) {
            return Arc::clone(shared);
        }
        if known.texts.len() >= known.full.max(FEW) {
            known.texts.retain(|text| Arc::strong_count(text) > 1);
            known.full = 2 * known.texts.len();
        }
        let shared = Arc::from(text);
        known.texts.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_in_memory_once_as_long_as_somebody_has_it() {
        let texts = Texts::default();
        let (one, two) = (texts.share("one"), texts.share("two"));
        assert!(Arc::ptr_eq(&one, &texts.share("one")) && !Arc::ptr_eq(&one, &two));
        for number in 0..10 * FEW {
            texts.share(&format!("for a moment, {number}"));
        }
        assert!(Arc::ptr_eq(&one, &texts.share("one")) && &*two == "two");
        let known = || texts.0.lock().expect("no panic").texts.len();
        assert!(known() <= FEW, "{}", known());
        let many: Vec<_> = (0..10 * FEW).map(|number| texts.share(&number.to_string())).collect();
        assert!(many.iter().enumerate().all(|(number, text)| **text == *number.to_string()));
        assert!(known() > 10 * FEW);
    }
}
