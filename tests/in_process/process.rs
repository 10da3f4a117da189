//! A process of the operator as seen from outside: its effects one after another, and an end at any of them.
//!
//! An effect is whatever may change something that outlives the process, or costs a service something: each write to the
//! API server, each call of Bitbucket or of the KMS. They are numbered as they come, so that what was recorded in one
//! run can be cut short in the next. After its end nothing of a process gets through: requests that are on their way
//! never arrive, answers never come, as with SIGKILL.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bitbucket_connection_operator::http::{Failure, Transport};
use futures::{FutureExt, future, future::BoxFuture};
use http::{Request, Response};
use kube::client::Body;
use memory_api::{Answer, Broken, MemoryApi};
use sim::Operation;
use tokio::sync::watch;
use tower::Service;

/// Something that is done to the world outside.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Effect {
    /// A write to the API server.
    Write {
        /// `create`, `patch`, …
        verb: String,
        /// The plural of the kind, and the subresource after a slash.
        resource: String,
        /// The name; that of an event without its hash.
        name: String,
    },
    /// A call of Bitbucket or of the KMS, told apart by its operation.
    Call(Operation),
}

impl Effect {
    /// Whether it is a write of the status of a BitbucketConnection.
    pub fn is_status_of_connection(&self) -> bool {
        matches!(self, Self::Write { resource, .. } if resource == "bitbucketconnections/status")
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { verb, resource, name } => {
                write!(formatter, "{verb} {resource}")?;
                if name.is_empty() { Ok(()) } else { write!(formatter, " {name}") }
            }
            Self::Call(operation @ (Operation::User | Operation::Workspaces)) => {
                write!(formatter, "Bitbucket {operation:?}")
            }
            Self::Call(operation) => write!(formatter, "KMS {operation:?}"),
        }
    }
}

/// Where in an effect a process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Point {
    /// Before it has an effect.
    Before,
    /// After that, before the answer is there.
    AnswerLost,
    /// When the answer has come.
    After,
}

impl Point {
    /// All of them, in the order of time.
    pub const ALL: [Self; 3] = [Self::Before, Self::AnswerLost, Self::After];
}

/// What a process does, and when it ends. Clones are the same.
#[derive(Clone)]
pub struct Process(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    ended: watch::Sender<bool>,
    /// Rings at each effect.
    bell: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    effects: Vec<Effect>,
    /// At which effect, counted from the start of the process.
    ends_at: Option<(usize, Point)>,
    /// What happens at one of its effects of one kind, and how many of those come before.
    turn: Option<(Effect, usize, Turn)>,
}

/// What happens at an effect.
enum Turn {
    /// The process ends there.
    End(Point),
    /// This is done right before it.
    Do(Box<dyn FnOnce() + Send>),
}

impl State {
    /// Where in this effect it ends, if it does.
    fn cut(&mut self, number: usize, effect: &Effect) -> Option<Point> {
        let meant = self.turn.take_if(|(meant, before, _)| meant == effect && *before == 0);
        match (meant, &mut self.turn) {
            (Some((_, _, Turn::End(point))), _) => return Some(point),
            (Some((_, _, Turn::Do(what))), _) => what(),
            (None, Some((meant, before, _))) if meant == effect => *before -= 1,
            (None, _) => {}
        }
        self.ends_at.and_then(|(at, point)| (at == number).then_some(point))
    }
}

impl Process {
    /// One that lives until it is told otherwise.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            ended: watch::Sender::new(false),
            bell: watch::Sender::new(()),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has done so far, the request on its way included.
    pub fn effects(&self) -> Vec<Effect> {
        self.state().effects.clone()
    }

    /// Ends at the `number`th of its effects, counted from 0 and from now on.
    #[allow(dead_code, reason = "a word for tests to come")]
    pub fn end_at(&self, number: usize, point: Point) {
        let mut state = self.state();
        state.ends_at = Some((state.effects.len() + number, point));
    }

    /// Ends at such an effect, after as many of the same kind as are `before` it, counted from now on. So it is found
    /// again where things that go on at once come in another order.
    pub fn end_in(&self, effect: &Effect, before: usize, point: Point) {
        self.state().turn = Some((effect.clone(), before, Turn::End(point)));
    }

    /// The same, where something happens right before it.
    pub fn do_before(&self, effect: &Effect, before: usize, what: impl FnOnce() + Send + 'static) {
        self.state().turn = Some((effect.clone(), before, Turn::Do(Box::new(what))));
    }

    /// Whether what was to happen at an effect is still to come.
    pub fn awaits_effect(&self) -> bool {
        self.state().turn.is_some()
    }

    /// Waits until it has had no effect for so long.
    pub async fn quiet(&self, long: Duration) {
        let mut bell = self.0.bell.subscribe();
        // The sender is ours: it can't be gone.
        while matches!(tokio::time::timeout(long, bell.changed()).await, Ok(Ok(()))) {}
    }

    /// Ends at none of them.
    pub fn go_on(&self) {
        self.state().ends_at = None;
    }

    /// Ends now.
    pub fn end(&self) {
        self.0.ended.send_replace(true);
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        *self.0.ended.borrow()
    }

    /// Waits until it has.
    pub async fn ended(&self) {
        let mut ended = self.0.ended.subscribe();
        // The sender is ours: it can't be gone.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Notes an effect and carries it out, as far as the process lives to see it.
    async fn passes<T>(&self, effect: Option<Effect>, carry_out: impl Future<Output = T>) -> T {
        let cut = effect.and_then(|effect| {
            let mut state = self.state();
            let number = state.effects.len();
            let cut = state.cut(number, &effect);
            state.effects.push(effect);
            self.0.bell.send_replace(());
            cut
        });
        if cut == Some(Point::Before) {
            self.end();
        }
        if self.has_ended() {
            return future::pending().await;
        }
        let answer = carry_out.await;
        match cut {
            Some(Point::AnswerLost) => self.end(),
            Some(Point::After) => {
                self.end();
                return answer;
            }
            Some(Point::Before) | None => {}
        }
        if self.has_ended() { future::pending().await } else { answer }
    }

    /// A client of the API server that is this process's.
    pub fn client(&self, api: &MemoryApi) -> kube::Client {
        kube::Client::new(ToCluster { process: self.clone(), api: api.clone() }, "default")
    }

    /// The way to the services, likewise.
    pub fn transport(&self, to: impl Transport + 'static) -> Arc<dyn Transport> {
        Arc::new(ToServices { process: self.clone(), to })
    }
}

#[derive(Clone)]
struct ToCluster {
    process: Process,
    api: MemoryApi,
}

impl Service<Request<Body>> for ToCluster {
    type Response = Response<Answer>;
    type Error = Broken;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { process, mut api } = self.clone();
        async move {
            let effect = write_of(&request);
            process.passes(effect, async move { api.call(request).await }).await
        }
        .boxed()
    }
}

/// The write that a request is, if it is one.
fn write_of(request: &Request<Body>) -> Option<Effect> {
    let entry = memory_api::Entry::of(request)?;
    let name = match entry.resource {
        "events" => entry.name.split('.').next().unwrap_or_default(),
        _ => &entry.name,
    };
    entry.verb.is_write().then(|| Effect::Write {
        verb: format!("{:?}", entry.verb).to_lowercase(),
        resource: [entry.resource, entry.subresource].join("/").trim_end_matches('/').to_owned(),
        name: name.to_owned(),
    })
}

struct ToServices<T> {
    process: Process,
    to: T,
}

impl<T: Transport> Transport for ToServices<T> {
    fn carry(&self, request: reqwest::Request) -> BoxFuture<'_, Result<reqwest::Response, Failure>> {
        let effect = Effect::Call(Operation::of(request.method().as_str(), request.url().path()));
        self.process.passes(Some(effect), self.to.carry(request)).boxed()
    }
}
