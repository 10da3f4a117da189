//! The metrics of objects, told from samples at each scrape.

use std::{borrow::Borrow, fmt, sync::Arc};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType, registry::Unit};

/// The condition Ready of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyStatus {
    /// All is well.
    True,
    /// Something is wrong.
    False,
    /// Not known, or not looked at yet.
    Unknown,
}

impl ReadyStatus {
    const ALL: [Self; 3] = [Self::True, Self::False, Self::Unknown];

    /// The status of a condition; what is neither True nor False is Unknown.
    pub fn of(status: &str) -> Self {
        match status {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a scrape tells about one BitbucketConnection. Times are in seconds since 1970.
#[derive(Clone, Debug)]
pub struct ObjectSample {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its condition Ready.
    pub ready: ReadyStatus,
    /// Why it is so; nothing before the first look.
    pub reason: Option<&'static str>,
    /// When its token expires.
    pub expiration: Option<i64>,
    /// When the first warning before that is due.
    pub warning: Option<i64>,
    /// When everything is verified again; nothing while it isn't, or is tried again at short intervals.
    pub next_verification: Option<i64>,
    /// How many scopes its token lacks.
    pub missing: usize,
    /// How many scopes its token has beyond what is needed.
    pub excess: usize,
    /// The Bitbucket account of its token; empty while it isn't known.
    pub account: Arc<str>,
    /// Who must act.
    pub contact: Arc<str>,
    /// The instance through which the KMS is reached.
    pub kms: Arc<str>,
}

impl ObjectSample {
    fn labels(&self) -> [(&str, &str); 2] {
        [("namespace", &self.namespace), ("name", &self.name)]
    }
}

/// Reads the samples at each scrape.
pub(super) struct Samples<F>(pub(super) F);

impl<F> fmt::Debug for Samples<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Samples")
    }
}

impl<F, S> Collector for Samples<F>
where
    F: Fn() -> Vec<S> + Send + Sync + 'static,
    S: Borrow<ObjectSample>,
{
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let samples = self.0();
        ready(&mut encoder, &samples)?;
        reason(&mut encoder, &samples)?;
        for (name, help, value) in TIMES {
            gauge(&mut encoder, &samples, (name, help, Some(&Unit::Seconds)), value)?;
        }
        for (name, help, value) in COUNTS {
            gauge(&mut encoder, &samples, (name, help, None), value)?;
        }
        info(&mut encoder, &samples)
    }
}

/// A metric: its name, its help text, and its value, if the object has one.
type Described = (&'static str, &'static str, fn(&ObjectSample) -> Option<i64>);

const TIMES: [Described; 3] = [
    (
        "bitbucket_connection_token_expiration_timestamp",
        "When the token in the Secret expires, declared or at the latest.",
        |sample| sample.expiration,
    ),
    ("bitbucket_connection_token_warning_timestamp", "From when on the token counts as expiring soon.", |sample| {
        sample.warning
    }),
    ("bitbucket_connection_next_verification_timestamp", "When token and connection are verified again.", |sample| {
        sample.next_verification
    }),
];

const COUNTS: [Described; 2] = [
    ("bitbucket_connection_scopes_missing", "How many required scopes the token lacks.", |sample| {
        Some(count(sample.missing))
    }),
    ("bitbucket_connection_scopes_excess", "How many scopes the token has that nothing requires.", |sample| {
        Some(count(sample.excess))
    }),
];

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// One series for each status, 1 for the one that holds, as kube-state-metrics does it: alerts can then ask for any.
fn ready(encoder: &mut DescriptorEncoder, samples: &[impl Borrow<ObjectSample>]) -> fmt::Result {
    let help = "The condition Ready: 1 for the status that holds, 0 for the others.";
    let mut metric = encoder.encode_descriptor("bitbucket_connection_ready", help, None, MetricType::Gauge)?;
    for sample in samples.iter().map(Borrow::borrow) {
        for status in ReadyStatus::ALL {
            let [namespace, name] = sample.labels();
            let labels = [namespace, name, ("status", status.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&i64::from(sample.ready == status))?;
        }
    }
    Ok(())
}

/// In a metric of its own, so that the series above stay the same series whatever the reason is.
fn reason(encoder: &mut DescriptorEncoder, samples: &[impl Borrow<ObjectSample>]) -> fmt::Result {
    let help = "The reason of the condition Ready; one series, always 1.";
    let mut metric = encoder.encode_descriptor("bitbucket_connection_ready_reason", help, None, MetricType::Gauge)?;
    for sample in samples.iter().map(Borrow::borrow) {
        if let Some(reason) = sample.reason {
            let [namespace, name] = sample.labels();
            metric.encode_family(&[namespace, name, ("reason", reason)])?.encode_gauge(&1_i64)?;
        }
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder,
    samples: &[impl Borrow<ObjectSample>],
    (name, help, unit): (&str, &str, Option<&Unit>),
    value: impl Fn(&ObjectSample) -> Option<i64>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for sample in samples.iter().map(Borrow::borrow) {
        if let Some(value) = value(sample) {
            metric.encode_family(&sample.labels())?.encode_gauge(&value)?;
        }
    }
    Ok(())
}

fn info(encoder: &mut DescriptorEncoder, samples: &[impl Borrow<ObjectSample>]) -> fmt::Result {
    let help = "Whose token it is, who must act when it expires, and through which instance the KMS is reached.";
    let mut metric = encoder.encode_descriptor("bitbucket_connection", help, None, MetricType::Info)?;
    for sample in samples.iter().map(Borrow::borrow) {
        let [namespace, name] = sample.labels();
        let account = ("account", &*sample.account);
        metric.encode_info(&[namespace, name, account, ("contact", &sample.contact), ("kms", &sample.kms)])?;
    }
    Ok(())
}
