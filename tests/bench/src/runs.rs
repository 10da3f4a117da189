//! The measurements, in their order. Each has a control plane of its own, so that none finds what another left.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use controlplane::Programs;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use sim::{Caller, Operation};

use crate::{
    Result,
    api_server::Requests,
    fleet::{AT_ONCE, Fleet},
    floor::{Recorded, floor, read_all},
    process::Operator,
    stage::Stage,
    table::{Aim, Table},
};

/// Objects of the fleets that are the same size in every run.
const SMALL: usize = 1_000;
/// Objects for each credential in an ordinary fleet.
const SHARE: usize = 100;
/// Secrets that nobody refers to.
const FOREIGN: usize = 20_000;
/// How long an idle process is watched.
const IDLE: Duration = Duration::from_secs(10);
/// What the KMS vendor's operator reached on two cores, with 1,000 objects: ten times that is the aim.
const VENDOR_PER_SECOND: f64 = 17.0;

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The program's size, its start, and an operator with one object
    Idle,
    /// 20,000 Secrets that nobody refers to
    Secrets,
    /// 1,000 objects
    Small,
    /// 1,000 objects, of which each answer takes 50 ms
    Slow,
    /// 1,000 objects with one credential, and with one each
    Credentials,
    /// The large fleet
    Large,
}

/// All measurements.
pub struct Runs {
    /// What was measured so far.
    pub table: Table,
    programs: Programs,
    program: PathBuf,
    objects: usize,
}

impl Runs {
    /// None yet.
    pub fn new(programs: Programs, program: PathBuf, objects: usize) -> Self {
        Self { table: Table::default(), programs, program, objects }
    }

    /// Measures these parts, or all.
    pub async fn all(&mut self, only: &[Part]) -> Result<()> {
        for part in Part::value_variants() {
            if !only.is_empty() && !only.contains(part) {
                continue;
            }
            match part {
                Part::Idle => self.idle().await?,
                Part::Secrets => self.secrets().await?,
                Part::Small => {
                    self.fleet("small", SMALL, SMALL / SHARE, Duration::ZERO).await?;
                }
                Part::Slow => {
                    self.fleet("slow", SMALL, SMALL / SHARE, Duration::from_millis(50)).await?;
                }
                Part::Credentials => {
                    self.fleet("shared", SMALL, 1, Duration::ZERO).await?;
                    self.fleet("single", SMALL, SMALL, Duration::ZERO).await?;
                }
                Part::Large => {
                    self.fleet("large", self.objects, self.objects.div_ceil(SHARE), Duration::ZERO).await?;
                }
            }
        }
        Ok(())
    }

    async fn stage(&self, what: &str, latency: Duration) -> Result<Stage> {
        eprintln!("== {what}");
        Stage::set(&self.programs, &self.program, latency).await
    }

    /// An operator that has next to nothing to do.
    async fn idle(&mut self) -> Result<()> {
        let stage = self.stage("an operator with one object", Duration::ZERO).await?;
        self.table.section("The program, and an operator with one object");
        let bytes = std::fs::metadata(&self.program)?.len();
        self.mib("binary", "size of the program", mib(bytes), Aim::None);
        let fleet = Fleet { objects: 1, credentials: 1 };
        stage.instance().await?;
        fleet.teams(&stage).await?;
        let operator = stage.operator(&[]).await?;
        fleet.until_ready(&stage, &operator).await?;
        operator.kill()?;
        let operator = stage.operator(&[]).await?;
        let ready = operator.ready_after.as_secs_f64();
        self.table.row("ready", "from its start to ready", ready, "s", Aim::AtMost(1.0));
        operator.quiet().await?;
        let memory = operator.memory()?;
        self.mib("idle.memory", "memory (RSS)", memory.now, Aim::AtMost(15.0));
        self.mib("idle.own", "of that its own", memory.own, Aim::None);
        self.mib("idle.peak", "peak", memory.peak, Aim::None);
        let share = 100.0 * operator.idle_share(IDLE).await?;
        self.table.row("idle.cpu", "processor while idle", share, "% of one", Aim::None);
        drop(operator);
        stage.strike().await;
        Ok(())
    }

    /// What Secrets cost that nobody refers to.
    async fn secrets(&mut self) -> Result<()> {
        let stage = self.stage("20,000 Secrets that nobody refers to", Duration::ZERO).await?;
        self.table.section("20,000 Secrets that nobody refers to");
        let fleet = Fleet { objects: 1, credentials: 1 };
        stage.instance().await?;
        fleet.teams(&stage).await?;
        let operator = stage.operator(&[]).await?;
        fleet.until_ready(&stage, &operator).await?;
        operator.quiet().await?;
        let before = operator.memory()?.now;
        let (stage_, value) = (&stage, "x".repeat(1024));
        let value = &value;
        let made = (0..FOREIGN).map(|index| async move {
            let metadata = json!({"name": format!("other-{index:05}"), "namespace": "team-0"});
            let data = json!({"value": value});
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data});
            stage_.create(&secret).await
        });
        stream::iter(made).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        operator.quiet().await?;
        let memory = operator.memory()?;
        self.mib("secrets.more", "more memory once they were made", memory.now - before, Aim::AtMost(20.0));
        operator.kill()?;
        let operator = stage.operator(&[]).await?;
        let ready = operator.ready_after.as_secs_f64();
        self.table.row("secrets.ready", "from a restart to ready", ready, "s", Aim::None);
        operator.quiet().await?;
        let memory = operator.memory()?;
        self.mib("secrets.restart.more", "more memory after a restart", memory.now - before, Aim::AtMost(20.0));
        self.mib("secrets.restart.peak", "peak on the restart", memory.peak, Aim::None);
        drop(operator);
        stage.strike().await;
        Ok(())
    }

    /// A fleet from its application to its quiet life, a restart in it, and its floor.
    async fn fleet(&mut self, key: &str, objects: usize, credentials: usize, latency: Duration) -> Result<()> {
        let fleet = Fleet { objects, credentials };
        let delay =
            if latency.is_zero() { String::new() } else { format!(", answers after {} ms", latency.as_millis()) };
        let credentials =
            if credentials == 1 { "1 credential".to_owned() } else { format!("{credentials} credentials") };
        let title = format!("{objects} objects, {credentials}{delay}");
        let stage = self.stage(&title, latency).await?;
        self.table.section(title);
        stage.instance().await?;
        fleet.teams(&stage).await?;
        let operator = stage.operator(&[]).await?;
        operator.quiet().await?;
        stage.forget_calls();
        let (before, cpu) = (Requests::so_far(&stage).await?, operator.cpu()?);
        let time = fleet.until_ready(&stage, &operator).await?;
        let requests = Requests::so_far(&stage).await?.since(&before);
        let cpu = operator.cpu()?.saturating_sub(cpu);
        let memory = operator.memory()?;
        let count = number(objects);
        let least = Aim::AtLeast(10.0 * VENDOR_PER_SECOND);
        self.table.row(
            format!("{key}.per_second"),
            "from apply to all Ready",
            count / time.as_secs_f64(),
            "objects/s",
            least,
        );
        let most = if objects > SMALL { Aim::AtMost(64.0) } else { Aim::None };
        self.mib(&format!("{key}.peak"), "peak memory meanwhile", memory.peak, most);
        self.table.row(format!("{key}.cpu"), "processor time", cpu.as_secs_f64(), "s", Aim::None);
        let writes = requests.by_operator() / count;
        self.table.row(format!("{key}.writes"), "writes to the API server", writes, "/object", Aim::AtMost(3.0));
        let reads = requests.of("GET secrets") / count;
        self.table.row(format!("{key}.reads"), "reads of Secrets", reads, "/object", Aim::None);
        let calls = number(stage.kms.tally().total());
        self.table.row(format!("{key}.kms"), "calls to the KMS", calls / count, "/object", Aim::AtMost(1.5));
        let asked = stage.bitbucket.calls_by(Caller::Operator);
        let most = Aim::AtMost(number(fleet.credentials));
        self.table.row(format!("{key}.bitbucket"), "calls to Bitbucket in all", number(asked), "", most);
        let recorded = Recorded::of(&stage, fleet).await?;

        operator.quiet().await?;
        let memory = operator.memory()?;
        self.mib(&format!("{key}.idle"), "memory when all is quiet", memory.now, most_memory(objects));
        let share = 100.0 * operator.idle_share(IDLE).await?;
        self.table.row(format!("{key}.idle.cpu"), "processor while idle", share, "% of one", Aim::None);
        if ["small", "large"].contains(&key) {
            self.scrape(key, objects, &operator).await?;
            operator.kill()?;
            self.restart(key, fleet, &stage).await?;
        } else {
            drop(operator);
        }
        stage.strike().await;

        if latency.is_zero() && ["small", "large"].contains(&key) {
            let stage = self.stage(&format!("{objects} objects, the floor"), latency).await?;
            fleet.teams(&stage).await?;
            let lowest = floor(&stage, fleet, &recorded).await?;
            let reached = count / lowest.as_secs_f64();
            self.table.row(format!("{key}.floor"), "a bare client, the same writes", reached, "objects/s", Aim::None);
            let ratio = time.as_secs_f64() / lowest.as_secs_f64();
            self.table.row(format!("{key}.ratio"), "operator's time / bare client's", ratio, "×", Aim::AtMost(1.5));
            stage.strike().await;
        }
        Ok(())
    }

    /// What Prometheus costs, which comes every half minute.
    async fn scrape(&mut self, key: &str, objects: usize, operator: &Operator) -> Result<()> {
        operator.forget_peak()?;
        let cpu = operator.cpu()?;
        let text = operator.metrics().await?;
        let cpu = operator.cpu()?.saturating_sub(cpu);
        self.mib(
            &format!("{key}.scrape"),
            "what a scrape of /metrics gets",
            mib(u64::try_from(text.len())?),
            Aim::None,
        );
        self.table.row(format!("{key}.scrape.cpu"), "processor time of a scrape", cpu.as_secs_f64(), "s", Aim::None);
        self.mib(
            &format!("{key}.scrape.peak"),
            "peak memory of a scrape",
            operator.memory()?.peak,
            most_memory(objects),
        );
        Ok(())
    }

    /// A restart in a quiet fleet: nothing is due, so nobody may be asked.
    async fn restart(&mut self, key: &str, fleet: Fleet, stage: &Stage) -> Result<()> {
        let objects = fleet.objects;
        let lowest = read_all(stage, fleet).await?.as_secs_f64();
        self.table.row(format!("{key}.restart.floor"), "a bare client reads all objects", lowest, "s", Aim::None);
        stage.forget_calls();
        let before = Requests::so_far(stage).await?;
        let operator = stage.operator(&[]).await?;
        let ready = operator.ready_after.as_secs_f64();
        self.table.row(format!("{key}.restart.ready"), "from a restart to ready", ready, "s", Aim::None);
        let quiet = operator.quiet().await?.as_secs_f64();
        self.table.row(format!("{key}.restart.quiet"), "from a restart to quiet", quiet, "s", Aim::None);
        let (cpu, memory) = (operator.cpu()?.as_secs_f64(), operator.memory()?);
        self.table.row(format!("{key}.restart.cpu"), "processor time of a restart", cpu, "s", Aim::None);
        self.mib(&format!("{key}.restart.peak"), "peak memory on a restart", memory.peak, most_memory(objects));
        self.mib(&format!("{key}.restart.idle"), "memory after a restart", memory.now, most_memory(objects));
        let writes = Requests::so_far(stage).await?.since(&before).by_operator();
        self.table.row(format!("{key}.restart.writes"), "writes on a restart", writes, "", Aim::AtMost(0.0));
        // A login is no read of what is there: the instance is looked at anew.
        let kms = stage.kms.tally();
        let calls = kms.total() - kms.of([Operation::Login]).total() + stage.bitbucket.calls();
        self.table.row(
            format!("{key}.restart.calls"),
            "calls on a restart that weren't due",
            number(calls),
            "",
            Aim::AtMost(0.0),
        );
        let passes = passes(&operator.metrics().await?);
        if passes < number(objects) || calls > 0 || writes > 0.0 {
            let told = format!("{passes} passes over {objects} objects, {calls} calls, {writes} writes");
            return Err(format!("the restart wasn't what it must be: {told}").into());
        }
        Ok(())
    }

    fn mib(&mut self, key: &str, what: &str, value: f64, aim: Aim) {
        self.table.row(key, what, value, "MiB", aim);
    }
}

fn most_memory(objects: usize) -> Aim {
    if objects > SMALL { Aim::AtMost(64.0) } else { Aim::None }
}

/// How many passes over objects succeeded, as the operator counts.
fn passes(metrics: &str) -> f64 {
    let name = "bitbucket_connection_operator_reconciles_total{result=\"success\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(name));
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "nothing here comes near 2^52")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
