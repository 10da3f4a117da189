//! Properties over the seeds in `fuzz/corpus`, and over what comes of them by cutting, doubling and mixing: seconds of what
//! `make fuzz` does for as long as one likes.

use std::{fs, panic::catch_unwind, path::Path};

use proptest::{
    prelude::{Strategy, any},
    test_runner::{Config, TestCaseError, TestError, TestRng, TestRunner},
};

/// Mutations for each target.
const CASES: u32 = 500;
/// Most edits of one mutation.
const EDITS_MAX: usize = 6;
/// Longest piece that is cut, doubled or taken from another seed.
const PIECE_MAX: usize = 64;

/// One edit of a seed. Places are taken modulo its length.
#[derive(Clone, Debug)]
enum Edit {
    Put(usize, u8),
    Insert(usize, Vec<u8>),
    Cut(usize, usize),
    Double(usize, usize),
    /// A piece of another seed.
    Mix(usize, usize, usize),
}

/// Fails with the bytes for which a property doesn't hold. They belong into the corpus, as a file of their own.
pub fn holds(target: &str, property: fn(&[u8])) {
    let seeds = seeds(target);
    for (name, seed) in &seeds {
        assert!(catch_unwind(|| property(seed)).is_ok(), "the property doesn't hold for fuzz/corpus/{target}/{name}");
    }
    // The same each time: who looks for what nobody has seen yet runs `make fuzz`.
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(config.rng_algorithm);
    let mutations = (any::<usize>(), proptest::collection::vec(edit(), 1..=EDITS_MAX));
    let outcome = TestRunner::new_with_rng(config, random).run(&mutations, |(seed, edits)| {
        let bytes = edits.iter().fold(seeds[seed % seeds.len()].1.clone(), |bytes, edit| edited(bytes, edit, &seeds));
        let shown = bytes.escape_ascii().to_string();
        catch_unwind(|| property(&bytes)).map_err(|_| TestCaseError::fail(shown))
    });
    match outcome {
        Ok(()) => println!("proof: input: {target}, seeds and mutations | {}", seeds.len() + CASES as usize),
        Err(TestError::Fail(bytes, _)) => panic!("the property of {target} doesn't hold for b\"{bytes}\""),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// The seeds of a target by their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = files
        .map(|file| file.expect("a file").path())
        .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(path).expect("bytes")))
        .collect();
    // A folder has no order.
    seeds.sort();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    seeds
}

fn edit() -> impl Strategy<Value = Edit> {
    let (at, len) = (any::<usize>, || 0..=PIECE_MAX);
    proptest::prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Put(at, byte)),
        // What people type, and what it is made of.
        (at(), proptest::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at(), "\\PC{1,4}").prop_map(|(at, text)| Edit::Insert(at, text.into_bytes())),
        (at(), len()).prop_map(|(at, len)| Edit::Cut(at, len)),
        (at(), len()).prop_map(|(at, len)| Edit::Double(at, len)),
        (at(), at(), at()).prop_map(|(at, seed, from)| Edit::Mix(at, seed, from)),
    ]
}

fn edited(mut bytes: Vec<u8>, edit: &Edit, seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
    let place = |at: usize, len: usize| if len == 0 { 0 } else { at % len };
    let len = bytes.len();
    match edit {
        Edit::Put(at, byte) => {
            if let Some(there) = bytes.get_mut(place(*at, len)) {
                *there = *byte;
            }
        }
        Edit::Insert(at, piece) => splice(&mut bytes, *at, piece),
        Edit::Cut(at, piece) => {
            let from = place(*at, len);
            bytes.drain(from..(from + piece).min(len));
        }
        Edit::Double(at, piece) => {
            let from = place(*at, len);
            let piece = bytes[from..(from + piece).min(len)].to_vec();
            splice(&mut bytes, *at, &piece);
        }
        Edit::Mix(at, seed, from) => {
            let other = &seeds[seed % seeds.len()].1;
            let from = place(*from, other.len());
            splice(&mut bytes, *at, &other[from..(from + PIECE_MAX).min(other.len())]);
        }
    }
    bytes
}

fn splice(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let at = at % (bytes.len() + 1);
    bytes.splice(at..at, piece.iter().copied());
}
