//! The operator.

use crate::{cli::RunOptions, telemetry::health};

/// Why the operator stopped. The text says what failed, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address can't be listened on.
    #[error(transparent)]
    Endpoints(#[from] health::Error),
}

/// Runs the operator until it is asked to stop.
#[expect(clippy::unused_async, reason = "a placeholder")]
pub async fn run(_options: RunOptions) -> Result<(), Error> {
    Ok(())
}
