//! A Kubernetes API server in memory, for tests that need thousands of runs or a moving clock. Never shipped.
//!
//! It is a [`tower::Service`] below a [`kube::Client`]: the code under test doesn't notice. There are no sockets, no
//! threads and no wall clock: what waits, waits on tokio's time, which a test may pause; times in objects come from the
//! clock that [`MemoryApi::new`] is given. Uids and versions are counted, so that equal runs have equal objects.
//!
//! ```no_run
//! # async fn example() {
//! use memory_api::{Fault, Match, MemoryApi};
//!
//! let api = MemoryApi::new(jiff::Timestamp::now);
//! let client = api.client();
//! api.fail_when(Match::status_writes().nth(2), Fault::LoseAnswer);
//! // … let the operator work with the client …
//! assert_eq!(api.count(&Match::status_writes()), 2);
//! # }
//! ```
//!
//! **What is served:** the kinds of the operator, Secrets, ConfigMaps, Namespaces, ServiceAccounts and their tokens,
//! Events, Leases, SelfSubjectReviews and the version, with get, list, watch, create, replace, delete and three forms of
//! patch. What matters to a controller is like the real one: versions and conflicts, generations, a status apart from
//! the rest, writes that change nothing, finalizers, preconditions, the order of changes, a history that ends. The same
//! scenarios run against this and against a real API server, with equal results.
//!
//! **What isn't:** rights; schemas and their rules; owners of fields (one manager alone applies: a status replaces the
//! former one; and a write that changes nothing but who owns what gives no version); garbage collection; pages of lists;
//! bookmarks but for the one that ends a watch. A namespace ends with all that is in it at once, if no finalizer is in
//! the way. What isn't served at all is answered 501 and noted in [`MemoryApi::unsupported`].
//!
//! Where to find what: `hand` what a test does without HTTP · `fault` what can go wrong · `journal` what was asked ·
//! `request`, `service` the way of a request · `carry_out`, `rules`, `apply` what a write leads to · `store`, `object`
//! versions and history · `watch` streams · `kinds`, `accounts`, `refusal` the rest.

#![forbid(unsafe_code)]

mod accounts;
mod apply;
mod carry_out;
mod fault;
mod hand;
mod journal;
mod kinds;
mod object;
mod refusal;
mod request;
mod rules;
mod service;
mod store;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

pub use fault::{Fault, Held, Hold, Match};
pub use journal::{Entry, Outcome, Verb};
pub use service::{Answer, Broken};

/// The API server. Clones are the same one.
#[derive(Clone)]
pub struct MemoryApi(Arc<Shared>);

struct Shared {
    state: Mutex<store::State>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl MemoryApi {
    /// With the namespaces `default` and `kube-system`, and nothing else.
    pub fn new(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let api = Self(Arc::new(Shared { state: Mutex::new(store::State::new()), clock: Box::new(clock) }));
        api.create_namespace("default");
        api.create_namespace("kube-system");
        api.forget_history();
        api
    }

    /// A client whose namespace is `default`. It needs a tokio runtime, and belongs to it.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    fn state(&self) -> MutexGuard<'_, store::State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timestamp(&self) -> Timestamp {
        (self.0.clock)()
    }

    fn now(&self) -> String {
        in_words(self.timestamp())
    }
}

impl std::fmt::Debug for MemoryApi {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MemoryApi").field("revision", &self.state().revision).finish_non_exhaustive()
    }
}

/// A time as objects have it: in seconds.
fn in_words(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
