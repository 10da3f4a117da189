//! Metrics in the OpenMetrics text format.
//!
//! Those of the operator are kept in a registry. Those of objects are not kept at all: each scrape reads them from the
//! store of objects, so that they vanish with the object and cost no memory between scrapes.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use super::samples::Samples;
pub use super::samples::{ObjectSample, ReadyStatus};

/// Prefix of the operator's own metrics.
const PREFIX: &str = "bitbucket_connection_operator";
/// Seconds, for reconciles and requests: from the memory of this process to a server that times out.
const BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

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
    reconcile_duration: Histogram,
    kms: Requests,
    bitbucket: Requests,
    rate_limit_waits: Family<ServerLabels, Counter>,
    leader: Gauge,
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
    pub fn new(objects: impl Fn() -> Vec<ObjectSample> + Send + Sync + 'static) -> Arc<Self> {
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
        let reconcile_duration = histogram();
        operator.register_with_unit(
            "reconcile_duration",
            "How long a reconcile takes",
            Unit::Seconds,
            reconcile_duration.clone(),
        );
        let kms = Requests::register("kms", "the KMS", &mut operator);
        let bitbucket = Requests::register("bitbucket", "Bitbucket", &mut operator);
        let rate_limit_waits = Family::default();
        operator.register(
            "rate_limit_waits",
            "Requests that had to wait so that the limit of a server is kept",
            rate_limit_waits.clone(),
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
            kms,
            bitbucket,
            rate_limit_waits,
            leader,
        })
    }

    /// Whether this replica looks after the objects now.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// A reconcile ended.
    pub fn reconciled(&self, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&ResultLabels { result }).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
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
            namespace: "team-a".to_owned(),
            name: "payments".to_owned(),
            ready: ReadyStatus::True,
            expiration: Some(1_803_859_200),
            warning: Some(1_801_267_200),
            next_verification: None,
            missing: 1,
            excess: 2,
            account: "bot".to_owned(),
            contact: "the \"crew\"\n\\o/".to_owned(),
            kms: "ClusterKmsInstance/default".to_owned(),
        }
    }

    #[test]
    fn what_happened_is_counted() {
        let metrics = Metrics::new(Vec::new);
        assert!(metrics.encode().contains("bitbucket_connection_operator_leader 0\n"));
        metrics.leads(true);
        metrics.reconciled("succeeded", Duration::from_millis(7));
        metrics.drift_corrected();
        metrics.kms_waits()();
        metrics.kms_observer()("list", "200", Duration::from_millis(40));
        metrics.bitbucket_observer()("verify", "timeout", Duration::from_secs(31));
        let text = metrics.encode();
        for line in [
            "bitbucket_connection_operator_leader 1",
            "bitbucket_connection_operator_drift_corrections_total 1",
            "bitbucket_connection_operator_reconciles_total{result=\"succeeded\"} 1",
            "bitbucket_connection_operator_reconcile_duration_seconds_bucket{le=\"0.01\"} 1",
            "bitbucket_connection_operator_kms_requests_total{operation=\"list\",code=\"200\"} 1",
            "bitbucket_connection_operator_kms_requests_duration_seconds_count{operation=\"list\"} 1",
            "bitbucket_connection_operator_rate_limit_waits_total{server=\"kms\"} 1",
            "bitbucket_connection_operator_bitbucket_requests_total{operation=\"verify\",code=\"timeout\"} 1",
            "# UNIT bitbucket_connection_operator_reconcile_duration_seconds seconds",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
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
