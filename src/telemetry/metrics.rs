//! Metrics in the OpenMetrics text format.
//!
//! Those of the operator are kept in a registry. Those of objects are kept with the objects: each scrape reads them from
//! the cache, so that they vanish with the object.

use std::{
    borrow::Borrow,
    fmt,
    num::NonZeroU32,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter, exemplar::HistogramWithExemplars, family::Family, gauge::Gauge, histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};

pub use super::samples::{ObjectSample, ReadyStatus};
use super::{
    queue::{Queue, Waiting},
    samples::Samples,
};

/// Prefix of the operator's own metrics.
const PREFIX: &str = "bitbucket_connection_operator";
/// Seconds, for reconciles and requests: from the memory of this process to a server that times out.
const BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Seconds in the queue: from nothing to more than anybody waits.
const WAITS: [f64; 10] = [0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0];

/// Told of each request to a server: the operation, the status code or the class of failure, and how long it took.
pub type RequestObserver = Arc<dyn Fn(&'static str, &str, Duration) + Send + Sync>;

/// Told of each request that had to wait for its turn.
pub type WaitObserver = Arc<dyn Fn() + Send + Sync>;

/// The metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    operator: Registry,
    objects: Registry,
    drift_corrections: Counter,
    reconciles: Family<ResultLabels, Counter>,
    reconcile_duration: HistogramWithExemplars<PassLabels>,
    queue: Arc<Queue>,
    queue_duration: Histogram,
    kms: Requests,
    bitbucket: Requests,
    rate_limit_waits: Family<ServerLabels, Counter>,
    rate_limits: Family<LimitLabels, Gauge<f64, AtomicU64>>,
    leader: Gauge,
}

/// Limits that this operator keeps, as it was told at its start; none: it keeps no limit of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Reads a minute at each host of a KMS.
    pub kms_reads_per_minute: Option<NonZeroU32>,
    /// Writes a minute at each host of a KMS.
    pub kms_writes_per_minute: Option<NonZeroU32>,
    /// Requests an hour in the name of each Bitbucket account.
    pub bitbucket_requests_per_hour: Option<NonZeroU32>,
}

/// Names a pass, by the id that it has in the log and in traces.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PassLabels {
    trace_id: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabels {
    server: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServerLabels {
    server: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

/// Requests to one kind of server.
#[derive(Clone, Debug)]
struct Requests {
    total: Family<RequestLabels, Counter>,
    duration: Family<OperationLabels, Histogram, fn() -> Histogram>,
}

impl Metrics {
    /// The metrics of this process. `objects` is called once per scrape, for a sample of every object that exists then.
    pub fn new<S: Borrow<ObjectSample> + 'static>(objects: impl Fn() -> Vec<S> + Send + Sync + 'static) -> Arc<Self> {
        let mut operator = Registry::with_prefix(PREFIX);
        operator.register("build", "Version of this operator", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let drift_corrections = Counter::default();
        operator.register(
            "drift_corrections",
            "Connections put right after somebody changed or deleted them in the KMS",
            drift_corrections.clone(),
        );
        let reconciles = Family::default();
        operator.register("reconciles", "Reconciles by their result", reconciles.clone());
        let reconcile_duration = HistogramWithExemplars::new(BUCKETS.into_iter());
        operator.register_with_unit(
            "reconcile_duration",
            "How long a reconcile takes",
            Unit::Seconds,
            reconcile_duration.clone(),
        );
        let queue = Arc::new(Queue::default());
        operator.register_collector(Box::new(Waiting(Arc::clone(&queue))));
        let queue_duration = Histogram::new(WAITS);
        operator.register_with_unit(
            "queue_duration",
            "How long an object waited for its reconcile after it was changed or asked for",
            Unit::Seconds,
            queue_duration.clone(),
        );
        let kms = Requests::register("kms", "the KMS", &mut operator);
        let bitbucket = Requests::register("bitbucket", "Bitbucket", &mut operator);
        let rate_limit_waits = Family::default();
        operator.register(
            "rate_limit_waits",
            "Requests that had to wait so that the limit of a server is kept",
            rate_limit_waits.clone(),
        );
        let rate_limits = Family::default();
        operator.register_with_unit(
            "rate_limit",
            "Most requests that this operator sends: to each host of a KMS, or in the name of each Bitbucket account. No series where it keeps no limit",
            Unit::Other("requests_per_second".to_owned()),
            rate_limits.clone(),
        );
        let leader = Gauge::default();
        operator.register(
            "leader",
            "Whether this replica looks after the objects: 1 if it does, else 0",
            leader.clone(),
        );
        let mut per_object = Registry::default();
        per_object.register_collector(Box::new(Samples(objects)));
        Arc::new(Self {
            operator,
            objects: per_object,
            drift_corrections,
            reconciles,
            reconcile_duration,
            queue,
            queue_duration,
            kms,
            bitbucket,
            rate_limit_waits,
            rate_limits,
            leader,
        })
    }

    /// Whether this replica looks after the objects now.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// A reconcile ended. The id of the pass becomes the exemplar of its bucket: the way from a slow pass in a graph to
    /// its lines in the log and to its trace.
    pub fn reconciled(&self, result: &'static str, took: Duration, trace_id: String) {
        self.reconciles.get_or_create(&ResultLabels { result }).inc();
        self.reconcile_duration.observe(took.as_secs_f64(), Some(PassLabels { trace_id }), Some(SystemTime::now()));
    }

    /// What waits for its reconcile.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// An object is looked at now: it waits no more.
    pub fn begun(&self, kind: &str, namespace: &str, name: &str) {
        if let Some(waited) = self.queue.taken(kind, namespace, name) {
            self.queue_duration.observe(waited.as_secs_f64());
        }
    }

    /// Tells the limits that are kept, all as requests per second: what a rate of requests can be compared with.
    pub fn keeps(&self, limits: Limits) {
        let all = [
            ("kms", "read", limits.kms_reads_per_minute, 60.0),
            ("kms", "write", limits.kms_writes_per_minute, 60.0),
            ("bitbucket", "any", limits.bitbucket_requests_per_hour, 3_600.0),
        ];
        for (server, kind, limit, seconds) in all {
            if let Some(limit) = limit {
                self.rate_limits.get_or_create(&LimitLabels { server, kind }).set(f64::from(limit.get()) / seconds);
            }
        }
    }

    /// A connection was put right after somebody changed or deleted it in the KMS.
    pub fn drift_corrected(&self) {
        self.drift_corrections.inc();
    }

    /// To be told of each request to the KMS.
    pub fn kms_observer(&self) -> RequestObserver {
        self.kms.observer()
    }

    /// To be told of each request to Bitbucket.
    pub fn bitbucket_observer(&self) -> RequestObserver {
        self.bitbucket.observer()
    }

    /// To be told of each request to the KMS that had to wait for its turn.
    pub fn kms_waits(&self) -> WaitObserver {
        self.waits("kms")
    }

    /// To be told of each request to Bitbucket that had to wait for its turn.
    pub fn bitbucket_waits(&self) -> WaitObserver {
        self.waits("bitbucket")
    }

    fn waits(&self, server: &'static str) -> WaitObserver {
        let waits = self.rate_limit_waits.get_or_create_owned(&ServerLabels { server });
        Arc::new(move || {
            waits.inc();
        })
    }

    /// All metrics as one text. At scale, [`Metrics::encode_into`] takes less memory.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // A String takes everything.
        let _ = self.encode_into(&mut text);
        text
    }

    /// Writes all metrics, those of objects last. The writer may wait: nothing that a reconcile needs is locked while it
    /// does, because the operator's few metrics are gathered before the first of them is written.
    pub fn encode_into(&self, writer: &mut impl fmt::Write) -> fmt::Result {
        let mut operator = String::new();
        text::encode_registry(&mut operator, &self.operator)?;
        writer.write_str(&operator)?;
        text::encode_registry(writer, &self.objects)?;
        text::encode_eof(writer)
    }
}

impl Requests {
    fn register(server: &str, title: &str, registry: &mut Registry) -> Self {
        let requests = Self { total: Family::default(), duration: Family::new_with_constructor(histogram) };
        registry.register(
            format!("{server}_requests"),
            format!("Requests to {title} by operation and status code or class of failure"),
            requests.total.clone(),
        );
        registry.register_with_unit(
            format!("{server}_requests_duration"),
            format!("How long a request to {title} takes"),
            Unit::Seconds,
            requests.duration.clone(),
        );
        requests
    }

    fn observer(&self) -> RequestObserver {
        let requests = self.clone();
        Arc::new(move |operation, code, took| {
            requests.total.get_or_create(&RequestLabels { operation, code: code.to_owned() }).inc();
            requests.duration.get_or_create(&OperationLabels { operation }).observe(took.as_secs_f64());
        })
    }
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ObjectSample {
        ObjectSample {
            namespace: "team-a".into(),
            name: "payments".into(),
            ready: ReadyStatus::True,
            reason: Some("Succeeded"),
            expiration: Some(1_803_859_200),
            warning: Some(1_801_267_200),
            next_verification: None,
            missing: 1,
            excess: 2,
            account: "bot".into(),
            contact: "the \"crew\"\n\\o/".into(),
            kms: "ClusterKmsInstance/default".into(),
        }
    }

    #[test]
    fn what_happened_is_counted() {
        let metrics = Metrics::new(Vec::<ObjectSample>::new);
        metrics.reconciled("succeeded", Duration::from_millis(7), "a1".to_owned());
        metrics.queue().asked("BitbucketConnection", "team-a", "payments");
        metrics.begun("BitbucketConnection", "team-a", "payments");
        metrics.queue().asked("BitbucketConnection", "team-a", "another");
        metrics.keeps(Limits { kms_reads_per_minute: NonZeroU32::new(30), ..Limits::default() });
        assert!(metrics.encode().contains("bitbucket_connection_operator_leader 0\n"));
        metrics.leads(true);
        metrics.drift_corrected();
        metrics.kms_waits()();
        metrics.kms_observer()("list", "200", Duration::from_millis(40));
        metrics.bitbucket_observer()("verify", "timeout", Duration::from_secs(31));
        let text = metrics.encode();
        for line in [
            "bitbucket_connection_operator_leader 1",
            "bitbucket_connection_operator_drift_corrections_total 1",
            "bitbucket_connection_operator_reconciles_total{result=\"succeeded\"} 1",
            "bitbucket_connection_operator_reconcile_duration_seconds_count 1",
            "bitbucket_connection_operator_queue_duration_seconds_count 1",
            "bitbucket_connection_operator_queue_depth 1",
            "# UNIT bitbucket_connection_operator_queue_longest_wait_seconds seconds",
            "bitbucket_connection_operator_rate_limit_requests_per_second{server=\"kms\",kind=\"read\"} 0.5",
            "bitbucket_connection_operator_kms_requests_total{operation=\"list\",code=\"200\"} 1",
            "bitbucket_connection_operator_kms_requests_duration_seconds_count{operation=\"list\"} 1",
            "bitbucket_connection_operator_rate_limit_waits_total{server=\"kms\"} 1",
            "bitbucket_connection_operator_bitbucket_requests_total{operation=\"verify\",code=\"timeout\"} 1",
            "# UNIT bitbucket_connection_operator_reconcile_duration_seconds seconds",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let exemplar = "reconcile_duration_seconds_bucket{le=\"0.01\"} 1 # {trace_id=\"a1\"} 0.007 ";
        assert!(text.contains(exemplar), "{text}");
        assert!(!text.contains("kind=\"write\""), "what has no limit has no series: {text}");
        assert!(text.contains(concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn an_object_is_told_while_it_exists() {
        let store = Arc::new(std::sync::Mutex::new(vec![sample()]));
        let seen = store.clone();
        let metrics = Metrics::new(move || seen.lock().expect("no panic").clone());
        let text = metrics.encode();
        let objects = text.split_once("# HELP bitbucket_connection_ready ").expect("objects").1;
        insta::assert_snapshot!(format!("# HELP bitbucket_connection_ready {objects}"), @r##"
        # HELP bitbucket_connection_ready The condition Ready: 1 for the status that holds, 0 for the others.
        # TYPE bitbucket_connection_ready gauge
        bitbucket_connection_ready{namespace="team-a",name="payments",status="True"} 1
        bitbucket_connection_ready{namespace="team-a",name="payments",status="False"} 0
        bitbucket_connection_ready{namespace="team-a",name="payments",status="Unknown"} 0
        # HELP bitbucket_connection_ready_reason The reason of the condition Ready; one series, always 1.
        # TYPE bitbucket_connection_ready_reason gauge
        bitbucket_connection_ready_reason{namespace="team-a",name="payments",reason="Succeeded"} 1
        # HELP bitbucket_connection_token_expiration_timestamp_seconds When the token in the Secret expires, declared or at the latest.
        # TYPE bitbucket_connection_token_expiration_timestamp_seconds gauge
        # UNIT bitbucket_connection_token_expiration_timestamp_seconds seconds
        bitbucket_connection_token_expiration_timestamp_seconds{namespace="team-a",name="payments"} 1803859200
        # HELP bitbucket_connection_token_warning_timestamp_seconds From when on the token counts as expiring soon.
        # TYPE bitbucket_connection_token_warning_timestamp_seconds gauge
        # UNIT bitbucket_connection_token_warning_timestamp_seconds seconds
        bitbucket_connection_token_warning_timestamp_seconds{namespace="team-a",name="payments"} 1801267200
        # HELP bitbucket_connection_next_verification_timestamp_seconds When token and connection are verified again.
        # TYPE bitbucket_connection_next_verification_timestamp_seconds gauge
        # UNIT bitbucket_connection_next_verification_timestamp_seconds seconds
        # HELP bitbucket_connection_scopes_missing How many required scopes the token lacks.
        # TYPE bitbucket_connection_scopes_missing gauge
        bitbucket_connection_scopes_missing{namespace="team-a",name="payments"} 1
        # HELP bitbucket_connection_scopes_excess How many scopes the token has that nothing requires.
        # TYPE bitbucket_connection_scopes_excess gauge
        bitbucket_connection_scopes_excess{namespace="team-a",name="payments"} 2
        # HELP bitbucket_connection Whose token it is, who must act when it expires, and through which instance the KMS is reached.
        # TYPE bitbucket_connection info
        bitbucket_connection_info{namespace="team-a",name="payments",account="bot",contact="the \"crew\"\n\\o/",kms="ClusterKmsInstance/default"} 1
        # EOF
        "##);
        store.lock().expect("no panic").clear();
        assert!(!metrics.encode().contains("team-a"));
    }
}
