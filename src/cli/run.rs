//! `run`: the operator itself.

use std::{
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use clap::{ArgAction, Args};
use url::{Host, Url};

pub use super::parse::Limit;
use super::{Error, parse};
use crate::{
    controller::{self, ElectionOptions},
    domain::{
        host::AllowedHosts,
        leadership::{BadTerms, Terms},
        ownership::OwnerId,
    },
    telemetry::{
        logs::{self, LogFormat},
        traces::Traces,
    },
};

/// What `run` takes, validated: nothing behind this type reads raw strings again.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = "Environment:\n  \
        RUST_LOG  What to log: a level (error, warn, info, debug), or levels by module, such as\n            \
        info,bitbucket_connection_operator=debug [default: info,kube=warn]\n  \
        NO_COLOR  Set to anything, it keeps colours out of text logs; only terminals get any\n  \
        OTEL_EXPORTER_OTLP_ENDPOINT\n            \
        A collector to send traces of reconciles to, by OTLP over HTTP, such as\n            \
        http://collector.example.com:4318; others of OpenTelemetry's variables are heeded too\n            \
        [default: no traces]\n\n\
        Examples:\n  \
        bitbucket-connection-operator run\n  \
        bitbucket-connection-operator run --namespaces team-a,team-b --owner-id my-cluster\n  \
        bitbucket-connection-operator run --allowed-kms-hosts kms.example.com --log-format json")]
pub struct RunOptions {
    /// Namespaces to serve, separated by commas; all if left out
    ///
    /// With it the operator needs no rights on the whole cluster, and only KmsInstances serve, no ClusterKmsInstances.
    /// Where the namespace kube-system can't be read, --owner-id is needed too.
    #[arg(
        long,
        env = "BCO_NAMESPACES",
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = parse::namespace,
        help_heading = "What to serve"
    )]
    pub namespaces: Vec<String>,

    /// How many objects to reconcile at once, 1 to 256
    #[arg(
        long,
        env = "BCO_CONCURRENCY",
        value_name = "COUNT",
        default_value = "16",
        value_parser = parse::concurrency,
        allow_negative_numbers = true,
        help_heading = "What to serve"
    )]
    pub concurrency: NonZeroU16,

    /// Take part in leader election, for several replicas
    ///
    /// One replica works; the others keep their caches warm and take over when it ends. The Lease is in the pod's
    /// namespace, else in that of the kubeconfig context, else in default. As an environment variable: true or false.
    #[arg(
        long,
        env = "BCO_LEADER_ELECT",
        action = ArgAction::SetTrue,
        value_parser = parse::switch,
        help_heading = "Several replicas"
    )]
    pub leader_elect: bool,

    /// Name of the Lease
    ///
    /// Replicas share it. Two installations in one namespace need two.
    #[arg(
        long,
        env = "BCO_LEADER_ELECT_RESOURCE_NAME",
        value_name = "NAME",
        default_value = "bitbucket-connection-operator",
        value_parser = parse::object_name,
        help_heading = "Several replicas"
    )]
    pub leader_elect_resource_name: String,

    /// How long the Lease of a leader that is gone keeps the others from leading
    ///
    /// So long it takes until another takes over from a leader that was killed or cut off, and until the first leads
    /// where there was no Lease. One that is asked to end lets the Lease go, and another takes over at once. A lease of
    /// 20s more than the renew deadline covers every request to the KMS.
    #[arg(
        long,
        env = "BCO_LEADER_ELECT_LEASE_DURATION",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = parse::seconds,
        help_heading = "Several replicas"
    )]
    pub leader_elect_lease_duration: Duration,

    /// How long a leader works after its last renewal of the Lease; then it ends
    #[arg(
        long,
        env = "BCO_LEADER_ELECT_RENEW_DEADLINE",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = parse::seconds,
        help_heading = "Several replicas"
    )]
    pub leader_elect_renew_deadline: Duration,

    /// How often a leader renews the Lease; others look at it twice as often
    #[arg(
        long,
        env = "BCO_LEADER_ELECT_RETRY_PERIOD",
        value_name = "DURATION",
        default_value = "2s",
        value_parser = parse::seconds,
        help_heading = "Several replicas"
    )]
    pub leader_elect_retry_period: Duration,

    /// Id by which this operator knows its own connections in the KMS; default: the uid of the namespace kube-system
    ///
    /// 1 to 128 visible ASCII characters. Two clusters that share a KMS must have different ids; one cluster must keep
    /// its id, else it takes its own connections for another's.
    #[arg(
        long,
        env = "BCO_OWNER_ID",
        value_name = "ID",
        value_parser = parse::owner_id,
        help_heading = "Ownership"
    )]
    pub owner_id: Option<OwnerId>,

    /// Ids that this operator had before, separated by commas
    ///
    /// A rebuilt or migrated cluster recognizes the connections of its former self by them, and marks them anew. No id
    /// of a cluster that still runs may be among them.
    #[arg(
        long,
        env = "BCO_PREVIOUS_OWNER_IDS",
        value_name = "IDS",
        value_delimiter = ',',
        value_parser = parse::owner_id,
        help_heading = "Ownership"
    )]
    pub previous_owner_ids: Vec<OwnerId>,

    /// Address of the Bitbucket API, path included
    ///
    /// https; http only to a loopback address.
    #[arg(
        long,
        env = "BCO_BITBUCKET_URL",
        value_name = "URL",
        default_value = "https://api.bitbucket.org/2.0",
        value_parser = parse::bitbucket_url,
        help_heading = "Servers"
    )]
    pub bitbucket_url: Url,

    /// Hosts that Secrets may be sent to, names or addresses without ports, separated by commas
    ///
    /// An instance that names another host gets the reason HostNotAllowed: whoever may create an instance must not be
    /// able to send Secrets anywhere.
    #[arg(
        long,
        env = "BCO_ALLOWED_KMS_HOSTS",
        value_name = "HOSTS",
        default_value = "app.kms.hanzo.ai",
        value_delimiter = ',',
        value_parser = parse::kms_host,
        help_heading = "Servers"
    )]
    pub allowed_kms_hosts: Vec<Host>,

    /// Allow instances whose host is a plain http URL, which sends Secrets in the clear
    ///
    /// Without it they get the reason InsecureHost. As an environment variable: true or false.
    #[arg(
        long,
        env = "BCO_ALLOW_INSECURE_KMS",
        action = ArgAction::SetTrue,
        value_parser = parse::switch,
        help_heading = "Servers"
    )]
    pub allow_insecure_kms: bool,

    /// Reads per minute and KMS host, 0 for no limit
    ///
    /// The KMS allows 60 a minute and client address by default, and others share them. Deletions and rotations go
    /// first. If the KMS says that less is left, less is asked.
    #[arg(
        long,
        env = "BCO_KMS_READS_PER_MINUTE",
        value_name = "COUNT",
        default_value = "50",
        value_parser = parse::limit,
        allow_negative_numbers = true,
        help_heading = "Limits"
    )]
    pub kms_reads_per_minute: Limit,

    /// Writes per minute and KMS host, 0 for no limit
    ///
    /// The KMS allows 200 a minute and client address by default, logins included. Deletions and rotations go
    /// first.
    #[arg(
        long,
        env = "BCO_KMS_WRITES_PER_MINUTE",
        value_name = "COUNT",
        default_value = "150",
        value_parser = parse::limit,
        allow_negative_numbers = true,
        help_heading = "Limits"
    )]
    pub kms_writes_per_minute: Limit,

    /// Requests per hour and Bitbucket account, 0 for no limit
    ///
    /// Bitbucket allows about 1,000 in any hour, shared by all tokens of the account. A write of credentials to the KMS
    /// counts too, since the KMS then tries them.
    #[arg(
        long,
        env = "BCO_BITBUCKET_REQUESTS_PER_HOUR",
        value_name = "COUNT",
        default_value = "500",
        value_parser = parse::limit,
        allow_negative_numbers = true,
        help_heading = "Limits"
    )]
    pub bitbucket_requests_per_hour: Limit,

    /// Address to serve /metrics on; port 0 takes a free one, which is logged
    #[arg(
        long,
        env = "BCO_METRICS_ADDR",
        value_name = "IP:PORT",
        default_value = "0.0.0.0:8080",
        value_parser = parse::listen,
        help_heading = "Telemetry"
    )]
    pub metrics_addr: SocketAddr,

    /// Address to serve /livez and /readyz on; port 0 takes a free one, which is logged
    #[arg(
        long,
        env = "BCO_HEALTH_ADDR",
        value_name = "IP:PORT",
        default_value = "0.0.0.0:8081",
        value_parser = parse::listen,
        help_heading = "Telemetry"
    )]
    pub health_addr: SocketAddr,

    /// Form of the log, which goes to standard error
    #[arg(
        long,
        env = "BCO_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        value_enum,
        help_heading = "Telemetry"
    )]
    pub log_format: LogFormat,
}

impl Limit {
    /// The number, unless there is no limit.
    pub const fn get(self) -> Option<NonZeroU32> {
        self.0
    }
}

impl RunOptions {
    /// The times of the Lease, if they go together.
    pub fn terms(&self) -> Result<Terms, BadTerms> {
        Terms::new(self.leader_elect_lease_duration, self.leader_elect_renew_deadline, self.leader_elect_retry_period)
    }
}

impl TryFrom<RunOptions> for controller::Options {
    type Error = BadTerms;

    fn try_from(options: RunOptions) -> Result<Self, BadTerms> {
        let terms = options.terms()?;
        let election = ElectionOptions { lease_name: options.leader_elect_resource_name, terms };
        Ok(Self {
            namespaces: options.namespaces,
            concurrency: options.concurrency,
            owner_id: options.owner_id,
            previous_owner_ids: options.previous_owner_ids,
            bitbucket_url: options.bitbucket_url,
            allowed_hosts: AllowedHosts { names: options.allowed_kms_hosts, insecure: options.allow_insecure_kms },
            kms_reads_per_minute: options.kms_reads_per_minute.get(),
            kms_writes_per_minute: options.kms_writes_per_minute.get(),
            bitbucket_requests_per_hour: options.bitbucket_requests_per_hour.get(),
            election: options.leader_elect.then_some(election),
            metrics_addr: options.metrics_addr,
            health_addr: options.health_addr,
        })
    }
}

/// Runs the operator until it is asked to stop.
pub(super) fn run(options: RunOptions) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    let traces = Traces::from_environment(runtime.handle())?;
    logs::init(options.log_format, traces.as_ref())?;
    let options = options.try_into()?;
    let result = runtime.block_on(controller::run(options));
    // Only after an orderly end: whoever lost the lead must be gone before another begins.
    if let (Some(traces), true) = (traces, result.is_ok()) {
        traces.end();
    }
    // At once: who leads no more waits for nobody.
    runtime.shutdown_background();
    Ok(result?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Task};

    fn options(flags: &[&str]) -> RunOptions {
        let line = ["bitbucket-connection-operator", "run"].iter().chain(flags);
        match Cli::try_parse_from(line).expect("good flags").command {
            Task::Run(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults() {
        let options = options(&[]);
        assert!(options.namespaces.is_empty() && options.previous_owner_ids.is_empty());
        assert!(options.owner_id.is_none() && !options.leader_elect && !options.allow_insecure_kms);
        assert_eq!(options.leader_elect_resource_name, "bitbucket-connection-operator");
        let seconds = Duration::from_secs;
        assert_eq!(options.terms(), Terms::new(seconds(30), seconds(10), seconds(2)));
        assert!(options.terms().is_ok_and(|terms| terms.covers_requests()));
        assert_eq!(options.concurrency.get(), 16);
        assert_eq!(options.bitbucket_url.as_str(), "https://api.bitbucket.org/2.0");
        assert_eq!(options.allowed_kms_hosts, [Host::Domain("app.kms.hanzo.ai".to_owned())]);
        assert_eq!(options.kms_reads_per_minute.get(), NonZeroU32::new(50));
        assert_eq!(options.kms_writes_per_minute.get(), NonZeroU32::new(150));
        assert_eq!(options.bitbucket_requests_per_hour.get(), NonZeroU32::new(500));
        assert_eq!(options.metrics_addr.to_string(), "0.0.0.0:8080");
        assert_eq!(options.health_addr.to_string(), "0.0.0.0:8081");
        assert_eq!(options.log_format, LogFormat::Text);
    }

    #[test]
    fn every_flag_is_honoured() {
        let options = options(&[
            "--namespaces=team-a, team-b",
            "--concurrency=1",
            "--leader-elect",
            "--leader-elect-resource-name=other",
            "--leader-elect-lease-duration=1m",
            "--leader-elect-renew-deadline=40s",
            "--leader-elect-retry-period=5s",
            "--owner-id=cluster-1",
            "--previous-owner-ids=cluster-0,cluster-00",
            "--bitbucket-url=http://127.0.0.1:8000/2.0/",
            "--allowed-kms-hosts=kms.example.com,[::1]",
            "--allowed-kms-hosts=127.0.0.1",
            "--allow-insecure-kms",
            "--kms-reads-per-minute=0",
            "--kms-writes-per-minute=1",
            "--bitbucket-requests-per-hour=2",
            "--metrics-addr=127.0.0.1:0",
            "--health-addr=[::]:9",
            "--log-format=json",
        ]);
        assert_eq!(options.namespaces, ["team-a", "team-b"]);
        assert_eq!(options.concurrency.get(), 1);
        assert!(options.leader_elect && options.allow_insecure_kms);
        assert_eq!(options.owner_id.as_ref().map(OwnerId::as_str), Some("cluster-1"));
        let (lease_name, seconds) = ("other".to_owned(), Duration::from_secs);
        let terms = Terms::new(seconds(60), seconds(40), seconds(5)).expect("good terms");
        let election = controller::Options::try_from(options.clone()).expect("good options").election;
        assert_eq!(election, Some(ElectionOptions { lease_name, terms }));
        let previous: Vec<_> = options.previous_owner_ids.iter().map(OwnerId::as_str).collect();
        assert_eq!(previous, ["cluster-0", "cluster-00"]);
        assert_eq!(options.bitbucket_url.as_str(), "http://127.0.0.1:8000/2.0");
        let hosts: Vec<_> = options.allowed_kms_hosts.iter().map(Host::to_string).collect();
        assert_eq!(hosts, ["kms.example.com", "[::1]", "127.0.0.1"]);
        assert_eq!(options.kms_reads_per_minute.get(), None);
        assert_eq!(options.kms_writes_per_minute.get(), NonZeroU32::new(1));
        assert_eq!(options.bitbucket_requests_per_hour.get(), NonZeroU32::new(2));
        assert_eq!(options.metrics_addr.to_string(), "127.0.0.1:0");
        assert_eq!(options.health_addr.to_string(), "[::]:9");
        assert_eq!(options.log_format, LogFormat::Json);
    }
}
