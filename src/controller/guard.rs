//! What keeps one object's trouble from the others: an end to every reconcile, and a wall around panics.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;

use super::errors::Error;

/// How long a reconcile may take: some calls of 20 s at most each, and the API server.
pub const RECONCILE_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs a reconcile to its end, its timeout, or its panic, whichever comes first. The panic hook has logged the place
/// by then, without the words: they could hold a secret.
pub async fn guarded<T>(timeout: Duration, reconcile: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(timeout, AssertUnwindSafe(reconcile).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::Panicked),
        Err(_) => Err(Error::TimedOut(timeout)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn neither_a_panic_nor_a_hang_spreads() {
        assert!(matches!(
            guarded(
                RECONCILE_TIMEOUT,
                std::future::poll_fn(|_| -> std::task::Poll<Result<(), Error>> { panic!("a bug") })
            )
            .await,
            Err(Error::Panicked)
        ));
        let hanging = std::future::pending::<Result<(), Error>>();
        assert!(matches!(guarded(Duration::ZERO, hanging).await, Err(Error::TimedOut(_))));
        assert!(matches!(guarded(RECONCILE_TIMEOUT, async { Ok(7) }).await, Ok(7)));
    }
}
