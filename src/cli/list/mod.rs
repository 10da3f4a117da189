//! `list`: all connections by the end of their tokens, for people, programs, calendars and browsers.
//!
//! `read` asks the cluster · `row` what is known of one connection · `text` a table · `calendar` what a calendar subscribes to · `page` what a
//! browser shows. Only objects are read, never a Secret.

mod calendar;
mod page;
mod read;
mod row;
mod text;

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    output, parse,
    screen::{Screen, Tone},
};
use crate::domain::duration::Span;
pub use read::Error as ReadError;
use row::Row;

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
    bitbucket-connection-operator list -A -o html --output-file /srv/www/tokens.html

  As a plugin of kubectl: the same program under the name kubectl-bbc in a folder of PATH:
    kubectl bbc list -A")]
pub struct ListOptions {
    /// Namespace; that of the kubeconfig's context, or of the pod, if left out
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces", value_parser = parse::one_namespace)]
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

    /// Path of the kubeconfig; KUBECONFIG, then ~/.kube/config, then the pod's ServiceAccount if left out
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig; its current one if left out
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_enum)]
    output: Form,

    /// Write into this file instead of printing; it is replaced as a whole, so that nobody reads half of it
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
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
    /// The cluster gives none.
    #[error(transparent)]
    Read(#[from] ReadError),
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
    let (objects, place) = runtime.block_on(read::objects(options)).map_err(Error::from)?;
    let now = Timestamp::now();
    let mut rows: Vec<Row> = objects.iter().map(|object| Row::of(object, now)).collect();
    if let Some(within) = options.ends_within {
        rows.retain(|row| row.ends_within(within, now));
    }
    rows.sort_by(Row::by_end);
    let listed = match options.output {
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
    };
    match &options.output_file {
        Some(file) => output::replace(file, &listed),
        None => output::print(&listed),
    }
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
