//! The operator's process, and what the kernel tells of it.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};

use controlplane::Undertaker;
use serde_json::Value;

use crate::Result;

/// A start that takes longer has failed.
const START: Duration = Duration::from_secs(60);
/// The pause between two looks at a process that starts.
const PAUSE: Duration = Duration::from_millis(5);
/// How often the processor time is looked at while a process gets quiet.
const GLANCE: Duration = Duration::from_millis(200);
/// A process that uses less than a hundredth of a core for so long is quiet.
const QUIET: Duration = Duration::from_secs(2);
/// In /proc times are hundredths of a second on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// A running operator. It is killed when dropped.
pub struct Operator {
    child: Child,
    log: PathBuf,
    started: Instant,
    http: reqwest::Client,
    /// From its start until it said that it is ready.
    pub ready_after: Duration,
}

impl Operator {
    /// Starts it, and waits until it is ready.
    pub async fn start(undertaker: &Undertaker, mut command: Command, log: PathBuf) -> Result<Self> {
        let output = File::create(&log)?;
        command.stdout(output.try_clone()?).stderr(output);
        let child = undertaker.spawn(&mut command)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut operator = Self { child, log, started: Instant::now(), http, ready_after: Duration::ZERO };
        while !operator.is_ready().await {
            if let Some(status) = operator.child.try_wait()? {
                return Err(format!("the operator ended with {status}:\n{}", operator.tail()).into());
            }
            if operator.started.elapsed() > START {
                return Err(format!("the operator isn't ready after a minute:\n{}", operator.tail()).into());
            }
            tokio::time::sleep(PAUSE).await;
        }
        operator.ready_after = operator.started.elapsed();
        Ok(operator)
    }

    async fn is_ready(&self) -> bool {
        let Some(address) = self.address("health") else { return false };
        let answer = self.http.get(format!("http://{address}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// All that it tells on /metrics.
    pub async fn metrics(&self) -> Result<String> {
        let address = self.address("metrics").ok_or("the operator doesn't say where its metrics are")?;
        Ok(self.http.get(format!("http://{address}/metrics")).send().await?.error_for_status()?.text().await?)
    }

    /// Where one of its servers listens, once it said so in the log.
    fn address(&self, server: &str) -> Option<String> {
        let log = fs::read_to_string(&self.log).ok()?;
        log.lines().find_map(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let fields = event.get("fields").unwrap_or(&event);
            (fields["server"] == server).then(|| fields["address"].as_str().map(str::to_owned)).flatten()
        })
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// Waits until it does nothing, and tells how long after its start that began.
    pub async fn quiet(&self) -> Result<Duration> {
        let (mut last, mut since) = (self.cpu()?, Instant::now());
        loop {
            tokio::time::sleep(GLANCE).await;
            let cpu = self.cpu()?;
            if cpu.saturating_sub(last) > QUIET / 100 {
                (last, since) = (cpu, Instant::now());
            } else if since.elapsed() >= QUIET {
                return Ok(since.duration_since(self.started));
            }
        }
    }

    /// The share of a core that it takes while nothing happens.
    pub async fn idle_share(&self, time: Duration) -> Result<f64> {
        let (before, since) = (self.cpu()?, Instant::now());
        tokio::time::sleep(time).await;
        Ok(self.cpu()?.saturating_sub(before).as_secs_f64() / since.elapsed().as_secs_f64())
    }

    /// Processor time since its start, in user and kernel mode.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Fields are counted behind the name, which may hold anything.
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<u32>().ok());
        let (user, system) = ticks(11).zip(ticks(12)).ok_or("/proc tells of no processor time")?;
        Ok(TICK * (user + system))
    }

    /// Its memory in MiB.
    pub fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("/proc tells of no memory")?;
            let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
            Ok(kib / 1024.0)
        };
        Ok(Memory { now: field("VmRSS")?, peak: field("VmHWM")?, own: field("RssAnon")? })
    }

    /// Peaks are told from here on.
    pub fn forget_peak(&self) -> Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    /// Ends it without a warning.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // Fails only for a process that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What of the operator is in memory, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All of it now: VmRSS.
    pub now: f64,
    /// The most that it was: VmHWM.
    pub peak: f64,
    /// Without the pages of the program's file, which the kernel can drop: RssAnon.
    pub own: f64,
}
