//! One scrape, in pieces: with 10,000 objects the text has megabytes, which are never in memory together.

use std::{convert::Infallible, fmt, mem, sync::Arc, time::Duration};

use futures::Stream;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
    task, time,
};

use super::metrics::Metrics;

/// Size of a piece in bytes.
const PIECE: usize = 64 * 1024;
/// How long the reader may take for a piece.
const PATIENCE: Duration = Duration::from_secs(10);

/// The text, written as fast as it is read. The permit is given back when the last piece was taken.
pub(super) fn stream(
    metrics: Arc<Metrics>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<String, Infallible>> {
    let (sender, receiver) = mpsc::channel(1);
    let runtime = Handle::current();
    task::spawn_blocking(move || {
        let mut pieces = Pieces { piece: String::new(), sender, runtime };
        // Fails only where the reader has left, or is too slow; then nobody is there to be told.
        let _ = metrics.encode_into(&mut pieces).and_then(|()| pieces.send());
        drop(permit);
    });
    futures::stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((Ok(piece), receiver))
    })
}

/// Gathers what is written, and sends it when there is enough.
struct Pieces {
    piece: String,
    sender: mpsc::Sender<String>,
    runtime: Handle,
}

impl Pieces {
    fn send(&mut self) -> fmt::Result {
        let piece = mem::take(&mut self.piece);
        let sent = self.runtime.block_on(async { time::timeout(PATIENCE, self.sender.send(piece)).await });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(fmt::Error),
        }
    }
}

impl fmt::Write for Pieces {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.piece.push_str(text);
        if self.piece.len() < PIECE { Ok(()) } else { self.send() }
    }
}
