//! The token on standard input.

use std::io::{self, ErrorKind, IsTerminal, Read};

use crate::cli::name;

/// More than any token, and than any file that somebody takes for one.
const INPUT_MAX: u64 = 64 << 10;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum NoToken {
    /// Nothing but white space.
    #[error(
        "there is no token on standard input. Pipe it in, so that no list of processes and no history of a shell holds it:\n  \
         kubectl get secret bitbucket-token -o jsonpath='{{.data.token}}' | base64 -d | {program} check …\n  \
         {program} check … < token.txt",
        program = name::called()
    )]
    Empty,
    /// It can't be read.
    #[error("can't read the token from standard input ({0}); pipe it in, such as: … check … < token.txt")]
    Unreadable(io::Error),
}

/// Reads the token: all of a pipe or a file, or what a person types, which isn't shown.
pub(super) fn read() -> Result<String, NoToken> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password("API token (not shown while you type): ").map_err(|error| {
            match error.kind() {
                // Ctrl-D.
                ErrorKind::UnexpectedEof => NoToken::Empty,
                _ => NoToken::Unreadable(error),
            }
        });
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(INPUT_MAX).read_to_end(&mut bytes).map_err(NoToken::Unreadable)?;
    // What is no text becomes one that nobody takes for a token: no token holds a NUL.
    Ok(String::from_utf8(bytes).unwrap_or_else(|_| "\0".to_owned()))
}
