//! Whether this process may write, as something that every way out asks right before it writes.
//!
//! Two ways lead out: [`guarded`] is around the client of the API server, [`Leadership::may_write`] in the one of the KMS
//! (see [`http::Client::guarded`](crate::http::Client::guarded)). Passes don't ask, so none can forget to.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::{
    Client,
    client::{Body, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer, service_fn};

use crate::domain::leadership::Moment;

/// Tells the time by a clock that nobody sets and that goes on while the process is stopped and the machine sleeps.
pub type Uptime = Arc<dyn Fn() -> Moment + Send + Sync>;

/// The machine's own.
pub fn uptime() -> Uptime {
    use rustix::time::{ClockId, clock_gettime};
    // Elsewhere the monotonic clock counts sleep, or is all there is.
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    Arc::new(|| Moment::since_boot(Duration::try_from(clock_gettime(CLOCK)).unwrap_or_default()))
}

/// How often a request is repeated that the API server asks to be repeated (429, 503, 504), and the first and the longest
/// pause where it doesn't say when. Few: it can take half a minute to say 504, and a pass that gives up says why and is
/// tried again, while one that goes on and on keeps its place and says nothing.
const REPEATS: (u32, Duration, Duration) = (2, Duration::from_millis(100), Duration::from_secs(2));

/// For ever.
const ALWAYS: u64 = u64::MAX;

/// Whether this process may write. Clones are the same.
#[derive(Clone)]
pub struct Leadership(Arc<Inner>);

struct Inner {
    uptime: Uptime,
    /// Until when, in nanoseconds since the machine started.
    until: AtomicU64,
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership").field("may_write", &self.may_write()).finish_non_exhaustive()
    }
}

impl Leadership {
    /// That of the only replica, which always leads.
    pub fn alone() -> Self {
        Self(Arc::new(Inner { uptime: uptime(), until: AtomicU64::new(ALWAYS) }))
    }

    /// That of one replica among others; it doesn't lead yet.
    pub fn among_others(uptime: Uptime) -> Self {
        Self(Arc::new(Inner { uptime, until: AtomicU64::new(0) }))
    }

    /// Whether this process may write now.
    pub fn may_write(&self) -> bool {
        let until = self.0.until.load(Ordering::SeqCst);
        until == ALWAYS || nanoseconds(self.now()) < until
    }

    /// It leads until then.
    pub fn lead_until(&self, until: Moment) {
        self.0.until.store(nanoseconds(until), Ordering::SeqCst);
    }

    /// It leads no more.
    pub fn end(&self) {
        self.0.until.store(0, Ordering::SeqCst);
    }

    /// Now.
    pub fn now(&self) -> Moment {
        (self.0.uptime)()
    }
}

fn nanoseconds(moment: Moment) -> u64 {
    // Some 584 years.
    u64::try_from(moment.as_duration().as_nanos()).unwrap_or(ALWAYS - 1)
}

/// This process may not write.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this replica does not lead: nothing was sent")]
pub struct NotLeading;

/// A client that sends writes only while this process may write. What the API server asks to be repeated is repeated here,
/// so that each attempt is asked about: the client inside must not repeat anything by itself.
pub fn guarded(client: Client, leadership: &Leadership) -> Client {
    let (namespace, leadership) = (client.default_namespace().to_owned(), leadership.clone());
    let ask = service_fn(move |request: ::http::Request<Body>| {
        let (client, leadership) = (client.clone(), leadership.clone());
        async move {
            if request.method().is_safe() || leadership.may_write() {
                client.send(request).await.map_err(BoxError::from)
            } else {
                Err(BoxError::from(NotLeading))
            }
        }
    });
    let (repeats, first, longest) = REPEATS;
    let policy = RetryPolicy::new(first, longest, repeats, true).unwrap_or_default();
    let service = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(ask);
    Client::new(service, namespace)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::{DeleteParams, Patch, PatchParams, PostParams},
    };
    use memory_api::MemoryApi;

    use super::*;

    /// A clock in the test's hand.
    fn clock() -> (Arc<Mutex<Moment>>, Uptime) {
        let now = Arc::new(Mutex::new(Moment::since_boot(Duration::from_secs(1_000))));
        let hand = Arc::clone(&now);
        (hand, Arc::new(move || *now.lock().expect("no panic")))
    }

    #[test]
    fn it_ends_by_itself_when_time_has_passed() {
        assert!(Leadership::alone().may_write());
        let (hand, uptime) = clock();
        let leadership = Leadership::among_others(uptime);
        assert!(!leadership.may_write(), "it doesn't lead yet");
        let until = leadership.now().after(Duration::from_secs(10));
        leadership.lead_until(until);
        assert!(leadership.clone().may_write());
        *hand.lock().expect("no panic") = until;
        assert!(!leadership.may_write(), "nobody had to notice");
        leadership.lead_until(until.after(Duration::from_secs(10)));
        assert!(leadership.may_write());
        leadership.end();
        assert!(!leadership.may_write());
    }

    #[test]
    fn the_clock_goes_on() {
        let uptime = uptime();
        let before = uptime();
        assert!(before > Moment::since_boot(Duration::ZERO) && uptime() >= before);
    }

    #[tokio::test]
    async fn without_leading_nothing_is_written_to_the_cluster() {
        let api = MemoryApi::new(jiff::Timestamp::now);
        api.create_namespace("team-a");
        let (_hand, uptime) = clock();
        let leadership = Leadership::among_others(uptime);
        let maps: Api<ConfigMap> = Api::namespaced(guarded(api.client(), &leadership), "team-a");
        let map: ConfigMap = serde_json::from_value(serde_json::json!({"metadata": {"name": "a"}})).expect("a map");
        let (post, patch) = (PostParams::default(), Patch::Merge(serde_json::json!({"data": {"a": "b"}})));
        let refused = |error: kube::Error| {
            assert!(error.to_string().contains("does not lead"), "{error}");
        };
        refused(maps.create(&post, &map).await.expect_err("it doesn't lead"));
        leadership.lead_until(leadership.now().after(Duration::from_secs(10)));
        maps.create(&post, &map).await.expect("it leads");
        leadership.end();
        refused(maps.create(&post, &map).await.expect_err("it leads no more"));
        refused(maps.replace("a", &post, &map).await.expect_err("it leads no more"));
        refused(maps.patch("a", &PatchParams::default(), &patch).await.expect_err("it leads no more"));
        refused(maps.delete("a", &DeleteParams::default()).await.expect_err("it leads no more"));
        assert_eq!(maps.get("a").await.expect("reads need no leave").data, None);
    }
}
