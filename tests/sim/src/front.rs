//! What both stand-ins share: the journal, the faults, the way in.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::fault::{Fault, Match, Rules};
use crate::journal::{Auth, Caller, Entry, Journal, Outcome};
use crate::tally::Tally;
use crate::wire::{Door, Flow, Line, Step};

/// Bodies beyond this are cut off: nothing that belongs here is larger.
const LIMIT: usize = 64 << 20;

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The front of a stand-in: journal, faults and switches. [`crate::Bitbucket`] and [`crate::Kms`] dereference to it,
/// so that its methods are theirs.
pub struct Front {
    inner: Mutex<Inner>,
    refusing: Arc<AtomicBool>,
    /// Bumped by every change of the journal.
    written: watch::Sender<u64>,
    /// Bumped by every healing, which ends hung requests.
    healed: watch::Sender<u64>,
    voice: Voice,
}

/// How a service words what the front says for it.
#[derive(Clone, Copy)]
pub(crate) struct Voice {
    /// The body of an error of this status and message.
    pub(crate) error: fn(u16, &str) -> Value,
    /// 429, with or without the seconds to wait.
    pub(crate) rate_limited: fn(Option<u64>) -> Answer,
}

struct Inner {
    journal: Journal,
    rules: Rules,
    down: bool,
    clock: Clock,
    address: Option<SocketAddr>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Front {
    pub(crate) fn new(voice: Voice) -> Self {
        Self {
            inner: Mutex::new(Inner {
                journal: Journal::default(),
                rules: Rules::default(),
                down: false,
                clock: Arc::new(Timestamp::now),
                address: None,
            }),
            refusing: Arc::default(),
            written: watch::Sender::new(0),
            healed: watch::Sender::new(0),
            voice,
        }
    }

    /// All requests since the start or the last [`Front::clear_journal`], in the order of their arrival.
    pub fn journal(&self) -> Vec<Entry> {
        lock(&self.inner).journal.entries().to_vec()
    }

    /// Whether requests are kept in the journal, as they are at first. Without it a stand-in takes millions of them in
    /// little space; what was kept is forgotten, and only [`Front::tally`] and counts of operations and callers are left.
    pub fn keep_journal(&self, keep: bool) {
        lock(&self.inner).journal.keep(keep);
    }

    /// How many requests there were since the start or the last [`Front::clear_journal`].
    pub fn tally(&self) -> Tally {
        lock(&self.inner).journal.tally.clone()
    }

    /// Forgets all requests, and their numbers.
    pub fn clear_journal(&self) {
        lock(&self.inner).journal.clear();
    }

    /// The requests that are meant.
    pub fn matching(&self, what: &Match) -> Vec<Entry> {
        lock(&self.inner).journal.entries().iter().filter(|entry| what.matches(entry)).cloned().collect()
    }

    /// How many requests are meant.
    pub fn count(&self, what: &Match) -> usize {
        let journal = &lock(&self.inner).journal;
        match what.plain() {
            Some((operations, caller)) => journal.tally.count(operations, caller),
            None => journal.entries().iter().filter(|entry| what.matches(entry)).count(),
        }
    }

    /// Waits until at least `count` requests that are meant have arrived, and returns them. Arrived is not answered:
    /// see [`Entry::outcome`], and [`Front::answered`].
    pub async fn seen(&self, what: &Match, count: usize) -> Vec<Entry> {
        self.until(|entry| what.matches(entry), count).await
    }

    /// Waits until at least `count` requests that are meant have ended, in an answer or in a fault.
    pub async fn answered(&self, what: &Match, count: usize) -> Vec<Entry> {
        self.until(|entry| what.matches(entry) && entry.outcome != Outcome::Pending, count).await
    }

    async fn until(&self, holds: impl Fn(&Entry) -> bool, count: usize) -> Vec<Entry> {
        let mut written = self.written.subscribe();
        loop {
            let missing = {
                let inner = lock(&self.inner);
                let found = || inner.journal.entries().iter().filter(|entry| holds(entry));
                if found().count() >= count {
                    return found().cloned().collect();
                }
                written.changed()
            };
            // The sender is part of `self`: it can't be gone.
            let _ = missing.await;
        }
    }

    /// Every request fails like this until [`Front::heal`].
    pub fn fail(&self, fault: Fault) {
        self.fail_when(Match::any(), fault);
    }

    /// The next `n` requests fail like this.
    pub fn fail_next(&self, n: usize, fault: Fault) {
        self.fail_when(Match::any().times(n), fault);
    }

    /// Requests that are meant fail like this. Faults limited by [`Match::times`] come before unlimited ones; among
    /// the limited the oldest, among the unlimited the latest wins.
    pub fn fail_when(&self, what: Match, fault: Fault) {
        lock(&self.inner).rules.add(what, fault);
    }

    /// Ends all faults, [`Front::down`] and [`Front::refuse`]. Connections of hung requests are closed; they have no
    /// effect any more. Requests that were held have theirs now.
    pub fn heal(&self) {
        lock(&self.inner).rules.clear();
        self.up();
        self.healed.send_modify(|version| *version += 1);
    }

    /// Answers everything with 503 and a page of HTML, as a load balancer without a backend does.
    pub fn down(&self) {
        lock(&self.inner).down = true;
    }

    /// Closes every connection, new or old, without an answer.
    pub fn refuse(&self) {
        self.refusing.store(true, Ordering::Relaxed);
    }

    /// Ends [`Front::down`] and [`Front::refuse`].
    pub fn up(&self) {
        lock(&self.inner).down = false;
        self.refusing.store(false, Ordering::Relaxed);
    }

    /// Replaces the clock, which is the real one at first. All times and lifetimes come from it.
    pub fn set_clock(&self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) {
        lock(&self.inner).clock = Arc::new(clock);
    }

    pub(crate) fn now(&self) -> Timestamp {
        let clock = Arc::clone(&lock(&self.inner).clock);
        clock()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        lock(&self.inner).address
    }

    /// `http://127.0.0.1:PORT`, or a name that resolves nowhere for a stand-in that doesn't listen.
    pub(crate) fn origin(&self) -> String {
        self.address().map_or_else(|| "http://stand-in.invalid".to_owned(), |address| format!("http://{address}"))
    }

    fn close(&self, entry: &Entry, outcome: Outcome) {
        lock(&self.inner).journal.closed(entry, outcome);
        self.written.send_modify(|version| *version += 1);
    }
}

/// An answer before it becomes HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, body.to_string().into())
    }

    /// The text of a JSON.
    pub(crate) fn text(status: u16, body: Bytes) -> Self {
        Self { status, headers: Vec::new(), body }.header("content-type", "application/json; charset=utf-8")
    }

    pub(crate) fn html(status: u16, body: &str) -> Self {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Self { status, headers: Vec::new(), body }.header("content-type", "text/html; charset=utf-8")
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn with(self, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }

    fn into_response(mut self) -> Response {
        let body = std::mem::take(&mut self.body);
        self.with(Body::from(body))
    }

    /// The first half of the body under the length of the whole, then `end`.
    fn into_half(self, end: Step) -> Response {
        let length = self.body.len();
        let half = self.body.slice(..length / 2);
        let body = Flow::body([Step::Data(half), Step::Flush, end]);
        self.header("content-length", &length.to_string()).with(body)
    }
}

/// The connection was closed without an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed;

/// A service behind a [`Front`].
pub(crate) trait Service: Send + Sync + 'static {
    fn front(&self) -> &Front;

    /// What the service answers when nothing is wrong with it.
    fn answer(self: Arc<Self>, request: Arc<Entry>) -> impl Future<Output = Answer> + Send;
}

/// Listens, and serves in the background until the runtime ends.
pub(crate) async fn listen<S: Service>(service: &Arc<S>, address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let front = service.front();
    lock(&front.inner).address = Some(listener.local_addr()?);
    let door = Door { listener, refusing: Arc::clone(&front.refusing) };
    let router = Router::new().fallback(over_the_wire::<S>).with_state(Arc::clone(service));
    tokio::spawn(axum::serve(door, router.into_make_service_with_connect_info::<Line>()).into_future());
    Ok(())
}

async fn over_the_wire<S: Service>(
    State(service): State<Arc<S>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    handle(&service, Caller::Operator, request).await.unwrap_or_else(|Closed| {
        line.cut();
        Response::default()
    })
}

/// Takes one request through journal and faults to its answer.
pub(crate) async fn handle<S: Service>(service: &Arc<S>, caller: Caller, request: Request) -> Result<Response, Closed> {
    let front = service.front();
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LIMIT).await.map_err(|_| Closed)?;
    let time = front.now();
    // Taken before the fault is picked, so that no healing in between is missed.
    let mut healed = front.healed.subscribe();
    let (entry, fault, down) = {
        let mut inner = lock(&front.inner);
        let entry = Arc::new(Entry::new(caller, time, &parts, &body));
        inner.journal.arrived(&entry);
        let fault = inner.rules.pick(&entry);
        (entry, fault, inner.down)
    };
    front.written.send_modify(|version| *version += 1);

    if front.refusing.load(Ordering::Relaxed) {
        front.close(&entry, Outcome::Reset);
        return Err(Closed);
    }
    if down {
        front.close(&entry, Outcome::Answered(503));
        return Ok(Answer::html(503, UNAVAILABLE).into_response());
    }

    // In a task of its own: a client that leaves doesn't undo what it asked for.
    let effect = async || {
        let answer = tokio::spawn(Arc::clone(service).answer(Arc::clone(&entry))).await;
        answer.unwrap_or_else(|_| error(front, 500, "Something went wrong"))
    };
    let response = match fault {
        None => effect().await.into_response(),
        Some(Fault::Hang) => {
            front.close(&entry, Outcome::Hung);
            let _ = healed.changed().await;
            return Err(Closed);
        }
        Some(Fault::HangAnswer) => {
            let status = effect().await.status;
            front.close(&entry, Outcome::Lost(status));
            let _ = healed.changed().await;
            return Err(Closed);
        }
        Some(Fault::Hold) => {
            // Nor does it while it is held.
            let (service, entry) = (Arc::clone(service), Arc::clone(&entry));
            let held = tokio::spawn(async move {
                let _ = healed.changed().await;
                let answer = Arc::clone(&service).answer(Arc::clone(&entry)).await;
                service.front().close(&entry, Outcome::Answered(answer.status));
                answer
            });
            return Ok(held.await.unwrap_or_else(|_| error(front, 500, "Something went wrong")).into_response());
        }
        Some(Fault::Reset) => {
            front.close(&entry, Outcome::Reset);
            return Err(Closed);
        }
        Some(Fault::LoseAnswer) => {
            let status = effect().await.status;
            front.close(&entry, Outcome::Lost(status));
            return Err(Closed);
        }
        Some(Fault::Delay(time)) => {
            let answer = effect().await;
            tokio::time::sleep(time).await;
            answer.into_response()
        }
        Some(Fault::TruncatedJson) => {
            let mut answer = effect().await;
            answer.body.truncate(answer.body.len() / 2);
            answer.into_response()
        }
        Some(Fault::CutBody) => effect().await.into_half(Step::Fail),
        Some(Fault::StallBody) => effect().await.into_half(Step::Stall),
        Some(Fault::WrongContentType) => {
            effect().await.header("content-type", "text/plain; charset=utf-8").into_response()
        }
        Some(Fault::Status(code, body, headers)) => plain(front, code, body, headers).into_response(),
        Some(Fault::RateLimited { retry_after }) => (front.voice.rate_limited)(retry_after).into_response(),
        Some(Fault::Html) => Answer::html(200, PAGE).into_response(),
        Some(Fault::Redirect(url)) => {
            Answer::html(307, "<html><body>Moved.</body></html>").header("location", &url).into_response()
        }
        Some(Fault::Echo(code)) => echo(front, code, &entry).into_response(),
        Some(Fault::Huge(size)) => {
            let quote = || Step::Data(Bytes::from_static(b"\""));
            let body = Flow::body([quote(), Step::Filling(size.saturating_sub(2)), quote()]);
            Answer::json(200, &Value::Null).with(body)
        }
    };
    front.close(&entry, Outcome::Answered(response.status().as_u16()));
    Ok(response)
}

const UNAVAILABLE: &str = "<html><head><title>503 Service Temporarily Unavailable</title></head><body></body></html>";
const PAGE: &str = "<!doctype html><html><head><title>Welcome</title></head><body></body></html>";

fn error(front: &Front, code: u16, message: &str) -> Answer {
    Answer::json(code, &(front.voice.error)(code, message))
}

fn plain(front: &Front, code: u16, body: String, headers: Vec<(String, String)>) -> Answer {
    let mut answer = if body.is_empty() {
        error(front, code, "Something went wrong")
    } else if serde_json::from_str::<Value>(&body).is_ok() {
        Answer::text(code, body.into())
    } else {
        Answer::html(code, &body).header("content-type", "text/plain; charset=utf-8")
    };
    for (name, value) in headers {
        answer = answer.header(&name.to_ascii_lowercase(), &value);
    }
    answer
}

fn echo(front: &Front, code: u16, entry: &Entry) -> Answer {
    let mut text = String::from_utf8_lossy(&entry.bytes()).into_owned();
    if let Auth::Basic { email, token } = &entry.auth {
        text = format!("{email}:{token} sent {text}");
    }
    let visible: String = text.chars().filter(|c| (' '..='~').contains(c)).collect();
    error(front, code, &text).header("x-echo", &visible)
}
