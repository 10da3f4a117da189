//! Streams of changes. A watch has no queue: it knows up to which revision it told, and reads on from the history.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use crate::{
    MemoryApi,
    kinds::KindId,
    object::Stored,
    refusal::Refusal,
    request::Asked,
    service::Broken,
    store::{Change, What},
};

/// How many changes are told at once.
const AT_ONCE: usize = 64;

/// Where a watch stands.
struct Watch {
    api: MemoryApi,
    kind: KindId,
    asked: Asked,
    /// All up to here is told.
    cursor: u64,
    /// Told before anything else.
    initial: Vec<Bytes>,
    bell: watch::Receiver<()>,
    /// How often watches were broken before this one began.
    breaks: u64,
    ends: Option<Instant>,
    over: bool,
}

/// What a watch says next.
enum Next {
    Lines(Vec<Bytes>),
    Wait,
    Broken,
}

/// Begins a watch.
pub(crate) fn begin(
    api: &MemoryApi,
    kind: KindId,
    asked: &Asked,
) -> Result<impl Stream<Item = Result<Bytes, Broken>> + Send + use<>, Refusal> {
    let state = api.state();
    let query = &asked.query;
    let unset = matches!(query.resource_version.as_str(), "" | "0");
    let since = if unset { state.revision } else { version(&query.resource_version)? };
    if since > state.revision {
        return Err(Refusal::from_the_future(since, state.revision));
    }
    let mut initial = Vec::new();
    if query.initial_events.unwrap_or(unset) {
        for object in state.list(kind, asked.namespace.as_deref()) {
            if meant(asked, &object) {
                initial.extend(line(What::Added, &object, asked.metadata_only));
            }
        }
        if query.initial_events.is_some() && query.bookmarks {
            initial.push(bookmark(kind, asked, state.revision, true));
        }
    }
    // What is sent as it is now needs no history.
    let cursor = if initial.is_empty() && !unset && query.initial_events.is_none() { since } else { state.revision };
    let table = state.table(kind);
    if table.since(cursor).is_none() {
        let why = format!("too old resource version: {cursor} ({})", table.forgotten);
        initial = vec![event("ERROR", &Refusal::expired(why).status())];
        return Ok(stream::iter(initial).map(Ok).left_stream());
    }
    let limit = query.timeout_seconds.filter(|seconds| *seconds > 0 && !state.watches_endless);
    let watch = Watch {
        api: api.clone(),
        kind,
        asked: asked.clone(),
        cursor,
        initial,
        bell: table.bell.subscribe(),
        breaks: state.breaks,
        ends: limit.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
        over: false,
    };
    drop(state);
    Ok(stream::unfold(watch, Watch::go_on).flat_map(stream::iter).right_stream())
}

/// A version as a number.
pub(crate) fn version(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::bad_request(format!("Invalid value: {text:?}: not a resource version")))
}

impl Watch {
    async fn go_on(mut self) -> Option<(Vec<Result<Bytes, Broken>>, Self)> {
        loop {
            if self.over {
                return None;
            }
            // What rings after this is seen by the next look.
            self.bell.borrow_and_update();
            match self.next() {
                Next::Lines(lines) => return Some((lines.into_iter().map(Ok).collect(), self)),
                Next::Broken => {
                    self.over = true;
                    return Some((vec![Err(Broken)], self));
                }
                Next::Wait => {}
            }
            let rang = self.bell.changed();
            let ended = match self.ends {
                Some(end) => tokio::time::timeout_at(end, rang).await.is_err(),
                None => rang.await.is_err(),
            };
            if ended {
                self.over = true;
                if self.asked.query.bookmarks {
                    return Some((vec![Ok(bookmark(self.kind, &self.asked, self.cursor, false))], self));
                }
            }
        }
    }

    fn next(&mut self) -> Next {
        let api = self.api.clone();
        let state = api.state();
        if state.breaks != self.breaks {
            return Next::Broken;
        }
        if state.watches_held || state.behind.contains_key(&self.kind) {
            return Next::Wait;
        }
        if !self.initial.is_empty() {
            return Next::Lines(std::mem::take(&mut self.initial));
        }
        let table = state.table(self.kind);
        let Some(changes) = table.since(self.cursor) else {
            let why = format!("too old resource version: {} ({})", self.cursor, table.forgotten);
            self.over = true;
            return Next::Lines(vec![event("ERROR", &Refusal::expired(why).status())]);
        };
        let mut lines = Vec::new();
        let mut all = true;
        for Change { what, object } in changes {
            if lines.len() >= AT_ONCE {
                all = false;
                break;
            }
            if meant(&self.asked, object) {
                lines.extend(line(*what, object, self.asked.metadata_only));
            }
            self.cursor = object.revision;
        }
        if all {
            self.cursor = state.revision;
        }
        if lines.is_empty() { Next::Wait } else { Next::Lines(lines) }
    }
}

/// Whether a watch or list is about this object.
pub(crate) fn meant(asked: &Asked, object: &Arc<Stored>) -> bool {
    asked.namespace.as_ref().is_none_or(|namespace| *namespace == object.key.namespace)
        && asked.query.only_name.as_ref().is_none_or(|name| *name == object.key.name)
}

/// A line of a watch, in pieces: the bytes of the object are shared by all who watch it.
fn line(what: What, object: &Stored, metadata_only: bool) -> [Bytes; 3] {
    let begin: &'static [u8] = match what {
        What::Added => br#"{"type":"ADDED","object":"#,
        What::Modified => br#"{"type":"MODIFIED","object":"#,
        What::Deleted => br#"{"type":"DELETED","object":"#,
    };
    [Bytes::from_static(begin), object.bytes(metadata_only), Bytes::from_static(b"}\n")]
}

fn bookmark(kind: KindId, asked: &Asked, revision: u64, initial_end: bool) -> Bytes {
    let (kind, api_version) = if asked.metadata_only {
        ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned())
    } else {
        (kind.get().name, kind.get().api_version())
    };
    let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    event("BOOKMARK", &json!({"kind": kind, "apiVersion": api_version, "metadata": metadata}))
}

fn event(what: &str, object: &Value) -> Bytes {
    Bytes::from(format!("{}\n", json!({"type": what, "object": object})))
}

/// A watch that says nothing but that it is too late.
pub(crate) fn gone() -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    let expired = Refusal::expired("too old resource version: the test asked for it");
    stream::iter([Ok(event("ERROR", &expired.status()))])
}
