//! `list`: all connections by the end of their tokens, for people, programs, calendars and browsers.
//!
//! `row` what is known of one connection · `text` a table · `calendar` what a calendar subscribes to · `page` what a
//! browser shows. Only objects are read, never a Secret.

mod calendar;
mod page;
mod row;
mod text;

use clap::Args;
use jiff::Timestamp;
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::Serialize;

use super::{
    output, parse,
    screen::{Screen, Tone},
};
use crate::{api::BitbucketConnection, domain::duration::Span};
use row::Row;

/// How many objects are asked for at once.
const PAGE: u32 = 500;

/// What `list` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "\
It needs the right to list bitbucketconnections, which the chart adds to the roles view, edit and admin. It never reads
Secrets.

Examples:
  All connections of the cluster, those first whose tokens end first:
    bitbucket-connection-operator list -A

  What ends within two weeks, for a script:
    bitbucket-connection-operator list -A --ends-within 14d -o json | jq -r '.items[].contact'

  A calendar to subscribe to, and a page to look at, both to be put on a web server:
    bitbucket-connection-operator list -A -o ics > tokens.ics
    bitbucket-connection-operator list -A -o html > tokens.html

  As a plugin of kubectl: the same program under the name kubectl-bbc in a folder of PATH:
    kubectl bbc list -A")]
pub struct ListOptions {
    /// Namespace; that of the kubeconfig's context, or of the pod, if left out
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,

    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Only objects with these labels, as kubectl has it, such as team=payments
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,

    /// Only tokens that end within this time, or have ended: 14d, 36h
    #[arg(long, value_name = "DURATION", value_parser = parse::span)]
    ends_within: Option<Span>,

    /// Context of the kubeconfig; its current one if left out
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_enum)]
    output: Form,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// A table for people
    Text,
    /// For programs
    Json,
    /// For programs
    Yaml,
    /// A calendar (RFC 5545): a day for each end of a token, with alarms before it
    Ics,
    /// A page without any other file, for browsers
    Html,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cluster.
    #[error(
        "no Kubernetes cluster to ask: {0}. Set KUBECONFIG to the path of a kubeconfig that works with kubectl, or name one of its contexts with --context; in a pod, give it a ServiceAccount."
    )]
    NoCluster(String),
    /// The cluster didn't answer.
    #[error(
        "the API server at {address} can't be reached: {reason}. See whether `kubectl get --raw /version` works with the same kubeconfig."
    )]
    Unreachable {
        /// Where it should be.
        address: String,
        /// The innermost cause.
        reason: String,
    },
    /// The kinds aren't there.
    #[error(
        "this cluster has no BitbucketConnections: the operator isn't installed. Is it the right context? To install the kinds: bitbucket-connection-operator crds | kubectl apply --server-side -f -"
    )]
    NotInstalled,
    /// The caller may not.
    #[error(
        "the API server refuses: {0}. Listing them takes the role view in the namespace, or in the cluster for --all-namespaces; --namespace lists a single one."
    )]
    Forbidden(String),
    /// Anything else.
    #[error("the API server refuses: {0}")]
    Refused(String),
    /// The list can't be written as YAML.
    #[error("the list can't be written as YAML: {0}")]
    Yaml(String),
}

/// What `-o json` and `-o yaml` print.
#[derive(Debug, Serialize)]
struct Listing<'a> {
    items: &'a [Row],
}

/// Prints the list.
pub(super) fn list(options: &ListOptions) -> Result<(), super::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(super::Error::Runtime)?;
    let (objects, place) = runtime.block_on(fetch(options))?;
    let now = Timestamp::now();
    let mut rows: Vec<Row> = objects.iter().map(|object| Row::of(object, now)).collect();
    if let Some(within) = options.ends_within {
        rows.retain(|row| row.ends_within(within, now));
    }
    rows.sort_by(Row::by_end);
    output::print(&match options.output {
        Form::Json => output::json(&Listing { items: &rows }),
        Form::Yaml => {
            serde_saphyr::to_string(&Listing { items: &rows }).map_err(|error| Error::Yaml(error.to_string()))?
        }
        Form::Ics => calendar::calendar(&rows, now),
        Form::Html => page::page(&rows, &place, now),
        Form::Text if rows.is_empty() => {
            let screen = Screen::stdout();
            screen.text(none(options, &place), Tone::Plain)
        }
        Form::Text => text::text(&rows, Screen::stdout()),
    })
}

/// Where was looked, in words.
fn none(options: &ListOptions, place: &str) -> String {
    let what = match (&options.ends_within, &options.selector) {
        (Some(within), _) => format!("No token of a connection in {place} ends within {within}."),
        (None, Some(_)) => format!("No connection in {place} has such labels."),
        (None, None) => format!("There are no connections in {place}."),
    };
    let hint = if options.all_namespaces { "" } else { " -A looks into all namespaces." };
    what + hint
}

/// The objects, and where they are, in words.
async fn fetch(options: &ListOptions) -> Result<(Vec<BitbucketConnection>, String), Error> {
    let config = config(options.context.as_deref()).await?;
    let address = config.cluster_url.to_string();
    let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|error| Error::NoCluster(innermost(&error)))?;
    let (api, place): (Api<BitbucketConnection>, _) = if options.all_namespaces {
        (Api::all(client), "all namespaces".to_owned())
    } else {
        (Api::namespaced(client, &namespace), format!("the namespace {namespace}"))
    };
    let mut parameters = ListParams::default().limit(PAGE);
    parameters.label_selector.clone_from(&options.selector);
    let mut objects = Vec::new();
    loop {
        let page = api.list(&parameters).await.map_err(|error| refused(error, &address))?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok((objects, place)),
        }
    }
}

/// The kubeconfig's context, else the pod's ServiceAccount.
async fn config(context: Option<&str>) -> Result<Config, Error> {
    let Some(context) = context else {
        return Config::infer().await.map_err(|error| Error::NoCluster(innermost(&error)));
    };
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let read = Kubeconfig::read().map_err(|error| Error::NoCluster(innermost(&error)))?;
    Config::from_custom_kubeconfig(read, &options).await.map_err(|error| Error::NoCluster(innermost(&error)))
}

fn refused(error: kube::Error, address: &str) -> Error {
    match error {
        kube::Error::Api(status) if status.code == 404 => Error::NotInstalled,
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => Error::Forbidden(status.message.clone()),
        kube::Error::Api(status) => Error::Refused(status.message.clone()),
        error => Error::Unreachable { address: address.to_owned(), reason: innermost(&error) },
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}
