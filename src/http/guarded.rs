//! Writes that are sent only by who leads.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::Request;

/// Whether this process may write now.
pub type MayWrite = Arc<dyn Fn() -> bool + Send + Sync>;

/// This process may not write.
#[derive(Clone, Copy, Debug)]
struct NotLeading;

impl fmt::Display for NotLeading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this replica leads no more")
    }
}

impl StdError for NotLeading {}

/// A body that asks when it is put on the wire, which is after the connection was made: a process that was stopped while it
/// connected must not go on with what it was about to send. A head without its body is no request.
struct Guarded {
    body: Option<Bytes>,
    may_write: MayWrite,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = NotLeading;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, NotLeading>>> {
        let may_write = (self.may_write)();
        Poll::Ready(self.body.take().map(|body| if may_write { Ok(Frame::data(body)) } else { Err(NotLeading) }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.as_ref().map_or(0, |body| body.len() as u64))
    }
}

/// Has the body of a request ask before it is sent. One without a body asked right before.
pub(super) fn guard_body(request: &mut Request, may_write: &MayWrite) {
    let bytes = request.body().and_then(reqwest::Body::as_bytes).map(Bytes::copy_from_slice);
    if let Some(body) = bytes.filter(|bytes| !bytes.is_empty()) {
        *request.body_mut() = Some(reqwest::Body::wrap(Guarded { body: Some(body), may_write: Arc::clone(may_write) }));
    }
}

/// Whether a request failed because this process may not write.
pub(super) fn is_about_leading(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<NotLeading>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::http::{BODY_MAX, Failure, client};

    /// A client that may write `times` times when it is asked, and then no more; and how often it was asked.
    fn guarded(times: usize) -> (crate::http::Client, Arc<AtomicUsize>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let asked = Arc::new(AtomicUsize::default());
        let count = Arc::clone(&asked);
        let may_write: MayWrite = Arc::new(move || count.fetch_add(1, SeqCst) < times);
        (client().expect("TLS").guarded(may_write), asked)
    }

    /// What arrives in one connection until its other side closes it; an answer is sent once a request is whole.
    async fn listen(listener: TcpListener) -> String {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut heard = Vec::new();
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            heard.extend_from_slice(&buffer[..read]);
            if heard.ends_with(b"}") || heard.starts_with(b"GET") {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                stream.write_all(answer).await.expect("a reader");
                break;
            }
        }
        String::from_utf8_lossy(&heard).into_owned()
    }

    #[tokio::test]
    async fn a_write_asks_before_it_connects_and_before_its_body_is_sent() {
        // How often it may, how the request ends, and how often it asked.
        let table = [(0, Err(Failure::NotLeading), 1), (1, Err(Failure::NotLeading), 2), (2, Ok(200), 2)];
        for (times, expected, asks) in table {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let url: url::Url = format!("http://{}/", listener.local_addr().expect("bound")).parse().expect("a URL");
            let server = tokio::spawn(listen(listener));
            let (client, asked) = guarded(times);
            let request = client.request(reqwest::Method::POST, url).json(&serde_json::json!({"a": "canary"}));
            let connected = Arc::new(AtomicBool::default());
            let told = Arc::clone(&connected);
            let observe: crate::http::Observe = Arc::new(move |_, _, _| told.store(true, SeqCst));
            let sent = client.send(request, BODY_MAX, "create", &observe).await;
            assert_eq!(sent.map(|answer| answer.status), expected, "{times}");
            assert_eq!(asked.load(SeqCst), asks, "{times}");
            assert!(connected.load(SeqCst), "it is counted however it ends");
            drop(client);
            if times == 0 {
                server.abort();
            } else {
                let heard = server.await.expect("no panic");
                assert_eq!(heard.contains("canary"), times == 2, "{heard}");
                if times == 2 {
                    assert!(heard.to_lowercase().contains("content-length: 14"), "{heard}");
                }
            }
        }
    }

    #[tokio::test]
    async fn reads_need_no_leave() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("bound")).parse().expect("a URL");
        let server = tokio::spawn(listen(listener));
        let (client, asked) = guarded(0);
        let request = client.request(reqwest::Method::GET, url);
        let observe: crate::http::Observe = Arc::new(|_, _, _| {});
        let sent = client.send(request, BODY_MAX, "get", &observe).await;
        assert_eq!((sent.map(|answer| answer.status), asked.load(SeqCst)), (Ok(200), 0));
        server.await.expect("no panic");
    }
}
