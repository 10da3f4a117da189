//! What the operator costs: its real program, alone in a process, against a real API server and stand-ins for Bitbucket
//! and the KMS.
//!
//! `fleet` many connections · `floor` the same writes by a bare client · `stage` what runs besides · `process` memory and
//! processor time · `api_server` what it counted · `runs` the measurements, in their order · `table` the numbers.
//!
//! Nothing is asserted about time. It fails if something doesn't get Ready, or if a call was made that must not be.

mod api_server;
mod fleet;
mod floor;
mod process;
mod runs;
mod stage;
mod table;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::Parser;
use controlplane::{Printer, Programs};
use serde_json::json;

use runs::Runs;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Measures the operator: throughput, memory, processor time, calls. Prints a table and writes it as JSON.
#[derive(Debug, Parser)]
struct Options {
    /// The operator's program
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// How large the large fleet is
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    objects: usize,
    /// What to measure, separated by commas; all if left out
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<runs::Part>,
    /// Where to write the numbers
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    json: PathBuf,
    /// Numbers of an earlier run, to print beside
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only where there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match bench(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(options: Options) -> Result<()> {
    // Before anything is measured: it may be the file that is about to be written.
    let earlier = options.compare.as_deref().map(table::read).transpose()?;
    let program = options.program.canonicalize();
    let program = program.map_err(|error| format!("no operator at {}: {error}", options.program.display()))?;
    let mut printer = Printer::stderr();
    let programs = Programs::find_or_build(|progress| printer.show(&progress)).await?;
    drop(printer);
    let mut runs = Runs::new(programs, program.clone(), options.objects);
    let result = runs.all(&options.only).await;
    runs.table.print(earlier.as_ref());
    runs.table.write(&options.json, about(&program))?;
    println!("\nwritten to {}", options.json.display());
    result
}

/// What the numbers depend on.
fn about(program: &Path) -> serde_json::Value {
    let said = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1).map(str::to_owned));
    json!({
        "time": jiff::Timestamp::now().to_string(),
        "commit": said(Path::new("git"), &["describe", "--always", "--dirty"]),
        "operator": said(program, &["--version"]),
        "cores": std::thread::available_parallelism().ok().map(std::num::NonZeroUsize::get),
        "processor": model,
    })
}
