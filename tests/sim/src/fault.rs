//! What can go wrong, and for which requests.

use std::time::Duration;

use serde_json::Value;

use crate::journal::{Caller, Entry, Operation};

/// A way to fail. Unless its description says otherwise, the request has no effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// This status, body and headers. An empty body becomes an error in the service's own shape.
    Status(u16, String, Vec<(String, String)>),
    /// 429 in the service's own shape, with or without `retry-after` (seconds).
    RateLimited {
        /// Seconds for the header; none leaves it out.
        retry_after: Option<u64>,
    },
    /// Never answers. Healing closes the connection.
    Hang,
    /// The request takes effect, and is never answered.
    HangAnswer,
    /// Waits until healing; then the request takes effect, whether or not somebody still waits for its answer.
    Hold,
    /// Closes the connection without an answer.
    Reset,
    /// The request takes effect, then the connection is closed without an answer.
    LoseAnswer,
    /// Status 200 with an HTML page.
    Html,
    /// The request takes effect; the answer is complete HTTP, but its JSON ends in the middle.
    TruncatedJson,
    /// The request takes effect; the connection is closed in the middle of the answer's body.
    CutBody,
    /// The request takes effect; the answer stops in the middle of its body and never goes on.
    StallBody,
    /// The request takes effect; the right body comes as `text/plain`.
    WrongContentType,
    /// 307 to this URL.
    Redirect(String),
    /// An error of this status whose body and header `x-echo` repeat all that was sent, secrets included.
    Echo(u16),
    /// Status 200 with a JSON string of this many bytes, streamed.
    Huge(u64),
    /// The request takes effect; its answer comes this much later.
    Delay(Duration),
}

impl Fault {
    /// This status with an error in the service's own shape.
    pub fn status(code: u16) -> Self {
        Self::Status(code, String::new(), Vec::new())
    }

    /// This status with a JSON body.
    pub fn json(code: u16, body: &Value) -> Self {
        Self::Status(code, body.to_string(), Vec::new())
    }

    /// The same with one more header. Only [`Fault::Status`] has headers of its own; others stay as they are.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Status(_, _, headers) = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

/// Which requests are meant; every condition that was set must hold. [`Match::any`] means all.
#[derive(Clone, Debug, Default)]
pub struct Match {
    operations: Vec<Operation>,
    method: Option<String>,
    path: Option<String>,
    token: Option<String>,
    caller: Option<Caller>,
    containing: Option<String>,
    skip: usize,
    times: Option<usize>,
}

impl Match {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests for this operation.
    pub fn op(operation: Operation) -> Self {
        Self::ops([operation])
    }

    /// Requests for any of these operations.
    pub fn ops(operations: impl IntoIterator<Item = Operation>) -> Self {
        Self { operations: operations.into_iter().collect(), ..Self::default() }
    }

    /// Writes to the KMS: POST, PATCH and DELETE of connections.
    pub fn writes() -> Self {
        Self::ops([Operation::Create, Operation::Update, Operation::Delete])
    }

    /// Only this HTTP method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_ascii_uppercase());
        self
    }

    /// Only paths that contain this text.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Only requests that carry this token: as `Basic` password, as `Bearer`, or as `credentials.apiToken` of the body.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Only requests of this caller.
    #[must_use]
    pub fn caller(mut self, caller: Caller) -> Self {
        self.caller = Some(caller);
        self
    }

    /// Only requests that hold this text anywhere.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.to_owned());
        self
    }

    /// As the condition of a fault: let the first `n` pass.
    #[must_use]
    pub fn skip(mut self, n: usize) -> Self {
        self.skip = n;
        self
    }

    /// As the condition of a fault: only `n` times, then no more.
    #[must_use]
    pub fn times(mut self, n: usize) -> Self {
        self.times = Some(n);
        self
    }

    /// Operations and caller, if nothing else tells which requests are meant.
    pub(crate) fn plain(&self) -> Option<(&[Operation], Option<Caller>)> {
        let Self { operations, method, path, token, caller, containing, skip: _, times: _ } = self;
        let others = method.is_some() || path.is_some() || token.is_some() || containing.is_some();
        (!others).then_some((operations, *caller))
    }

    /// Is this request meant? Says nothing about [`Match::skip`] and [`Match::times`].
    pub fn matches(&self, entry: &Entry) -> bool {
        let in_body = |token: &str| {
            let sent = entry.json.as_ref().and_then(|body| body.pointer("/credentials/apiToken"));
            sent.and_then(Value::as_str) == Some(token)
        };
        (self.operations.is_empty() || self.operations.contains(&entry.operation))
            && self.method.as_ref().is_none_or(|method| *method == entry.method)
            && self.path.as_ref().is_none_or(|part| entry.path.contains(part))
            && self.token.as_ref().is_none_or(|token| entry.auth.token() == Some(token) || in_body(token))
            && self.caller.is_none_or(|caller| caller == entry.caller)
            && self.containing.as_ref().is_none_or(|text| entry.contains(text))
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<(Match, Fault)>);

impl Rules {
    pub(crate) fn add(&mut self, what: Match, fault: Fault) {
        self.0.push((what, fault));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault for a request. Limited ones come before unlimited ones; among the limited the oldest, among the
    /// unlimited the latest wins.
    pub(crate) fn pick(&mut self, entry: &Entry) -> Option<Fault> {
        let mut limited = None;
        let mut unlimited = None;
        for (index, (what, _)) in self.0.iter_mut().enumerate() {
            if !what.matches(entry) {
                continue;
            }
            if what.skip > 0 {
                what.skip -= 1;
            } else if what.times.is_none() {
                unlimited = Some(index);
            } else if limited.is_none() && what.times > Some(0) {
                limited = Some(index);
            }
        }
        let (what, fault) = &mut self.0[limited.or(unlimited)?];
        what.times = what.times.map(|left| left - 1);
        Some(fault.clone())
    }
}
