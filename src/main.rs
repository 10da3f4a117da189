//! The binary: reads the command line and calls one function; nothing else.

use std::process::ExitCode;

use bitbucket_connection_operator::cli;

fn main() -> ExitCode {
    // Fails only where a provider is installed already; then there is one, which is all that matters.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli::execute(cli::Cli::read()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code()
        }
    }
}
