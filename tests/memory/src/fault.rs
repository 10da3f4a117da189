//! What can go wrong, and for which requests.

use std::sync::Arc;

use tokio::sync::watch;

use crate::journal::{Entry, Verb};

/// A way to fail.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Refused with this status; nothing is carried out.
    Status(u16),
    /// Carried out, then answered with this status.
    StatusAfter(u16),
    /// The connection breaks before the request arrives.
    Unreachable,
    /// Carried out; then the connection breaks.
    LoseAnswer,
    /// A get is answered with the version before the present one, if that is remembered. Nothing else is affected.
    Stale,
    /// A list is refused as too old, and so is a watch: as an event in its stream.
    Gone,
    /// Waits to be let through, see [`Held`].
    #[doc(hidden)]
    Hold(Hold),
}

/// What waits at a gate.
#[derive(Clone, Debug)]
pub struct Hold {
    pub(crate) after: bool,
    pub(crate) gate: Arc<Gate>,
}

#[derive(Debug)]
pub(crate) struct Gate {
    reached: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { reached: watch::Sender::new(0), open: watch::Sender::new(false) })
    }

    /// Waits until the gate is open.
    pub async fn pass(&self) {
        let mut open = self.open.subscribe();
        self.reached.send_modify(|count| *count += 1);
        // The sender is ours: it can't be gone.
        let _ = open.wait_for(|open| *open).await;
    }
}

/// Requests that wait. Dropping it lets them go on.
#[derive(Debug)]
#[must_use = "what is held goes on once this is dropped"]
pub struct Held(pub(crate) Arc<Gate>);

impl Held {
    /// Waits until that many requests, in all, have come to wait. It has no end of its own.
    pub async fn reached(&self, count: usize) {
        let mut reached = self.0.reached.subscribe();
        let _ = reached.wait_for(|reached| *reached >= count).await;
    }

    /// How many requests have come to wait so far, those included whose callers went away.
    pub fn waiting(&self) -> usize {
        *self.0.reached.borrow()
    }

    /// Lets them go on, and all that come later.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open.send_replace(true);
    }
}

/// Which requests are meant; every condition that was set must hold. [`Match::any`] means all.
#[derive(Clone, Debug, Default)]
pub struct Match {
    verbs: Vec<Verb>,
    resource: Option<String>,
    subresource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    skip: usize,
    times: Option<usize>,
}

impl Match {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests with this verb.
    pub fn verb(verb: Verb) -> Self {
        Self { verbs: vec![verb], ..Self::default() }
    }

    /// All that can change something, tokens and reviews included.
    pub fn writes() -> Self {
        Self { verbs: vec![Verb::Create, Verb::Update, Verb::Patch, Verb::Delete], ..Self::default() }
    }

    /// Writes of a status.
    pub fn status_writes() -> Self {
        Self::writes().subresource("status")
    }

    /// Only objects of this kind, named by its plural; not their subresources.
    pub fn resource(mut self, plural: &str) -> Self {
        self.resource = Some(plural.to_owned());
        self.subresource.get_or_insert_default();
        self
    }

    /// Only this subresource: `status` or `token`.
    pub fn subresource(mut self, name: &str) -> Self {
        self.subresource = Some(name.to_owned());
        self
    }

    /// Only in this namespace.
    pub fn namespace(mut self, name: &str) -> Self {
        self.namespace = Some(name.to_owned());
        self
    }

    /// Only objects of this name.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// As the condition of a fault: let the first `n` pass.
    pub fn skip(mut self, n: usize) -> Self {
        self.skip = n;
        self
    }

    /// As the condition of a fault: only `n` times, then no more.
    pub fn times(mut self, n: usize) -> Self {
        self.times = Some(n);
        self
    }

    /// As the condition of a fault: only the `n`th, counted from one.
    pub fn nth(self, n: usize) -> Self {
        self.skip(n.saturating_sub(1)).times(1)
    }

    /// Is this request meant? Says nothing about [`Match::skip`] and [`Match::times`].
    pub fn matches(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        (self.verbs.is_empty() || self.verbs.contains(&entry.verb))
            && is(&self.resource, entry.resource)
            && is(&self.subresource, entry.subresource)
            && is(&self.namespace, &entry.namespace)
            && is(&self.name, &entry.name)
    }

    /// What counters are kept by, if this asks for exactly that.
    pub(crate) fn as_count(&self) -> Option<(Verb, &'static str, &'static str)> {
        let ([verb], Some(resource), Some(subresource)) = (&*self.verbs, &self.resource, &self.subresource) else {
            return None;
        };
        let narrowed = self.namespace.is_some() || self.name.is_some();
        (!narrowed).then(|| (*verb, crate::request::known(resource), crate::request::known(subresource)))
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<(Match, Fault)>);

impl Rules {
    pub fn add(&mut self, what: Match, fault: Fault) {
        self.0.push((what, fault));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault for a request. Limited ones come before unlimited ones; among the limited the oldest, among the
    /// unlimited the latest wins.
    pub fn pick(&mut self, entry: &Entry) -> Option<Fault> {
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
