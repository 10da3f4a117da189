//! A failure is told when it happens. The test runner keeps what a test prints until all tests have ended, minutes later;
//! where a log is cut off, for ever.

use std::{
    io::Write,
    panic::{PanicHookInfo, set_hook, take_hook},
    sync::Once,
};

/// Of a message that goes on with all there is to see, so many characters.
const MUCH: usize = 1_000;

/// From now on each panic is told at once, besides being told at the end.
pub fn tell_at_once() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            // No macro that prints: what those print is what the runner keeps.
            let _ = std::io::stderr().write_all(line(panic).as_bytes());
            usual(panic);
        }));
    });
}

fn line(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message: String = panic.payload_as_str().unwrap_or_default().chars().take(MUCH).collect();
    format!("{} failed at {place}: {message}\n", thread.name().unwrap_or("a thread"))
}
