//! Plays a history, and looks at the world between its steps.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bitbucket_connection_operator::api::{BitbucketConnection, ClusterKmsInstance, KmsInstance};
use futures::FutureExt;
use histories::{
    cast::{CANARY, Cast, FORBIDDEN_HOST, Slot},
    facts::Facts,
    guard,
    hands::Hands,
    judge::{self, Patience},
    ledger::Ledger,
    model::{self, End},
    silence,
    step::{Action, Deed, History, Mishap, Step, When},
};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use memory_api::{Fault, Match, Verb};
use serde_json::{Value, json};
use sim::Operation;
use tokio::time::Instant;
use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
};

use super::{people::People, quiet};
use crate::{
    process::{Point, Process},
    world::{Inspect, KMS, World},
};

const HOUR: Duration = Duration::from_secs(3_600);
/// Three intervals of an hour and what is added to them; then nothing is Ready that nobody could see.
const STALE: Duration = Duration::from_secs(3 * 3_960 + 900);

/// How often something had an effect.
pub type Reached = BTreeMap<&'static str, u64>;

/// Who plays.
pub struct Player {
    /// The world.
    pub world: World,
    /// Its names.
    pub cast: Cast,
    people: People,
    ledger: Arc<Mutex<Ledger>>,
    log: Log,
    began: Instant,
    /// The latest time at which an object was as it should be.
    well: BTreeMap<Slot, Duration>,
    /// Until when nobody could have noticed anything.
    excused: Duration,
    services_fail: bool,
    /// The KMS shows nobody what it holds.
    reads_denied: bool,
    api_fails: bool,
}

/// The time of the log: that of the history.
struct Passed(Instant);

impl FormatTime for Passed {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{:.3}", self.0.elapsed().as_secs_f64())
    }
}

/// What the operator logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Player {
    /// Plays a history: how often what has an effect only here and there had one. What isn't as it must be is the error.
    pub async fn play(history: &History) -> Result<Reached, String> {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("info,kube=warn"))
            .with_ansi(false)
            .with_timer(Passed(Instant::now()))
            .with_writer(move || writer.clone())
            .finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let mut player = Self::new(log).await;
        for step in &history.0 {
            player.step(step).await;
            player.look_around().await;
        }
        player.calm_down();
        let found = player.end().await;
        player.world.kill().await;
        if found.is_empty() { Ok(player.reached()) } else { Err(found.join("\n") + &player.story()) }
    }

    fn reached(&self) -> Reached {
        let mut reached = std::mem::take(&mut self.locked().reached);
        reached.insert("older versions of an object read", self.world.api.stale_answers::<BitbucketConnection>());
        reached.insert("older versions of a Secret read", self.world.api.stale_answers::<Secret>());
        reached
    }

    async fn new(log: Log) -> Self {
        let world = World::new();
        let cast = Cast {
            owner: world.options.owner_id.as_ref().expect("an owner id").as_str().to_owned(),
            prefix: "team".to_owned(),
            home: "kms".to_owned(),
            host: KMS.to_owned(),
            projects: ["7ffbb072-2575-495a-b5b0-127f88caef78", "11111111-2222-4333-8444-555555555555"]
                .map(str::to_owned),
        };
        let mut player = Self {
            people: People(world.api.clone()),
            ledger: Arc::default(),
            log,
            began: Instant::now(),
            well: BTreeMap::new(),
            excused: Duration::ZERO,
            services_fail: false,
            reads_denied: false,
            api_fails: false,
            world,
            cast,
        };
        let mut ledger = Ledger::default();
        player.hands().prepare(&mut ledger).await;
        *player.locked() = ledger;
        player.world.inspect = Some(player.inspect());
        player.world.start();
        player
    }

    fn hands(&self) -> Hands<'_, People> {
        Hands { cluster: &self.people, kms: &self.world.kms, bitbucket: &self.world.bitbucket, cast: &self.cast }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What looks at each request when it arrives.
    fn inspect(&self) -> Inspect {
        let (people, kms, cast) = (People(self.world.api.clone()), self.world.kms.clone(), self.cast.clone());
        let (ledger, began) = (Arc::clone(&self.ledger), self.began);
        Arc::new(move |request| {
            let path = request.url().path();
            let operation = Operation::of(request.method().as_str(), path);
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            if FORBIDDEN_HOST.ends_with(request.url().host_str().unwrap_or_default()) {
                ledger.violations.insert("a host that isn't allowed was asked".to_owned());
            }
            if operation.is_write() {
                let facts = Facts::read(&people, &kms, &cast).now_or_never().expect("nothing to wait for");
                let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
                let body = serde_json::from_slice(body).unwrap_or_default();
                let id = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                guard::look(guard::Write { operation, id, body: &body }, &facts, &mut ledger, &cast, began.elapsed());
            }
        })
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Deed(deed) => {
                match deed {
                    Deed::BitbucketFails(_) | Deed::KmsFails(_) => self.services_fail = true,
                    Deed::Heal => self.services_fail = false,
                    Deed::Deny(Action::Read) => self.reads_denied = true,
                    Deed::Allow => self.reads_denied = false,
                    _ => {}
                }
                let mut ledger = std::mem::take(&mut *self.locked());
                self.hands().carry_out(deed, &mut ledger, self.began.elapsed()).await;
                *self.locked() = ledger;
            }
            Step::Mishap(mishap) => self.mishap(mishap).await,
            Step::Pause | Step::Restart => panic!("a step for where time can't be turned"),
            Step::Wait(milliseconds) => self.wait(Duration::from_millis(*milliseconds)).await,
        }
    }

    async fn mishap(&mut self, mishap: &Mishap) {
        let api = &self.world.api;
        match mishap {
            Mishap::Crash(number, when) => {
                let point = match when {
                    When::Before => Point::Before,
                    When::AnswerLost => Point::AnswerLost,
                    When::After => Point::After,
                };
                if let Some(process) = self.world.running() {
                    process.end_at(*number, point);
                }
            }
            Mishap::Failover => {
                self.world.kill().await;
                self.world.start();
            }
            Mishap::Kill => self.world.kill().await,
            Mishap::Start => self.start(),
            Mishap::TurnClocks(seconds) => {
                self.world.turn_clocks(*seconds);
                self.excused = self.began.elapsed() + Duration::from_secs(seconds.unsigned_abs());
            }
            Mishap::ApiDown => {
                api.go_down();
                self.api_fails = true;
            }
            Mishap::Conflicts(count) => api.fail_when(Match::status_writes().times(*count), Fault::Status(409)),
            Mishap::WritesLost(count) => api.fail_when(Match::writes().times(*count), Fault::LoseAnswer),
            Mishap::WritesRefused(count) => api.fail_when(Match::writes().times(*count), Fault::Status(500)),
            Mishap::Stale(count) => {
                self.locked().objects_read_late = true;
                let reads = Match::verb(Verb::Get).resource("bitbucketconnections");
                api.fail_when(reads.times(*count), Fault::Stale);
            }
            Mishap::StaleSecret(purse) => {
                self.locked().read_late.insert(*purse);
                let reads = Match::verb(Verb::Get).resource("secrets").name(purse.name());
                let reads = reads.namespace(&self.cast.namespace(purse.team));
                api.fail_when(reads.times(1), Fault::Stale);
            }
            Mishap::HoldWatches => {
                api.hold_watches();
                self.locked().unheard = true;
                self.api_fails = true;
            }
            Mishap::TakenOver(writes) => {
                self.world.kill().await;
                let api = &self.world.api;
                api.hold_caches_at(api.revision().saturating_sub(*writes));
                self.world.start();
                self.locked().unheard = true;
                self.api_fails = true;
            }
            Mishap::ReleaseWatches => {
                api.release_watches();
                self.hears_again();
            }
            Mishap::BreakWatches => api.break_watches(),
            Mishap::Gone => {
                api.forget_history();
                api.break_watches();
            }
            Mishap::HealApi => self.heal_api(),
        }
    }

    /// What was changed meanwhile is only heard of now.
    fn hears_again(&self) {
        let now = self.began.elapsed();
        let mut ledger = self.locked();
        (ledger.unheard, ledger.changed) = (false, now);
    }

    fn heal_api(&mut self) {
        self.world.api.heal();
        self.world.api.release_watches();
        self.locked().objects_read_late = false;
        self.api_fails = false;
        self.hears_again();
    }

    fn start(&mut self) {
        if self.world.running().is_none() {
            self.world.start();
        }
    }

    /// Time passes; a process that ends meanwhile is started again.
    pub async fn wait(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let ended = self.world.running().cloned().map(|process: Process| async move { process.ended().await });
            let sleep = tokio::time::sleep_until(until);
            let Some(ended) = ended else { return sleep.await };
            tokio::select! {
                biased;
                () = ended => {
                    self.world.kill().await;
                    self.world.start();
                }
                () = sleep => return,
            }
        }
    }

    /// The world as it is.
    pub async fn facts(&self) -> Facts {
        Facts::read(&self.people, &self.world.kms, &self.cast).await
    }

    /// What must hold at every moment.
    async fn look_around(&mut self) {
        let (facts, now) = (self.facts().await, self.began.elapsed());
        let away = self.world.running().is_none_or(Process::has_ended);
        if away || self.api_fails {
            self.excused = self.excused.max(now);
        }
        let mut ledger = std::mem::take(&mut *self.locked());
        guard::justify(&facts, &mut ledger, now);
        guard::note_deletions(&facts, &mut ledger, &self.cast);
        judge::meanwhile(&facts, &mut ledger, &self.cast);
        for (slot, object) in &facts.objects {
            let end = model::end(*slot, &facts, &ledger, &self.cast);
            let told_ready = object.condition("Ready").is_some_and(|(status, _)| status == "True");
            let since = self.well.entry(*slot).or_insert(now);
            let may_be = match &end {
                End::Ready => true,
                End::NotReady(reasons) => reasons.contains(&"InSync"),
                // Nobody is asked, so nobody knows: that too is said after three intervals.
                End::Somehow | End::Unknown => false,
            };
            if !told_ready || (may_be && !self.services_fail && !self.reads_denied) {
                *since = now;
            } else if now > (*since).max(self.excused) + STALE {
                ledger.violations.insert(format!("{slot:?} is Ready since {since:?}, though {end:?}: {object:?}"));
            }
        }
        *self.locked() = ledger;
    }

    /// All faults end, and whoever is away comes back.
    fn calm_down(&mut self) {
        self.hands().heal();
        self.hands().allow();
        self.heal_api();
        (self.services_fail, self.reads_denied) = (false, false);
        self.start();
    }

    /// Quiet; then what isn't as it must be.
    async fn end(&mut self) -> Vec<String> {
        // A crash that still waits for its effect is one more fault that ends now.
        self.wait(Duration::from_millis(1)).await;
        if let Some(process) = self.world.running() {
            process.go_on();
        }
        self.wait(8 * HOUR).await;
        self.look_around().await;
        let facts = self.facts().await;
        let mut found = judge::in_the_end(&facts, &self.locked(), &self.cast, Patience::Hours);
        if found.is_empty() {
            found = quiet::look(self, &facts).await;
        }
        if silence::gives_away(&self.told(), CANARY) {
            found.push("a secret was told".to_owned());
        }
        found.extend(self.world.api.unsupported());
        found
    }

    /// The log and the events: what a person would read first.
    fn story(&self) -> String {
        let log = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = format!("\n--- the log\n{}--- events\n", String::from_utf8_lossy(&log));
        for event in self.world.api.list::<Event>() {
            let about = event.regarding.and_then(|object| object.name).unwrap_or_default();
            let (reason, note) = (event.reason.unwrap_or_default(), event.note.unwrap_or_default());
            told += &format!("{about} {reason}: {note}\n");
        }
        told
    }

    /// All that the operator told people: its log, events, statuses and metrics.
    fn told(&self) -> String {
        let api = &self.world.api;
        let statuses = |told: String, status: Value| told + &status.to_string();
        let connections = api.list::<BitbucketConnection>().into_iter().map(|object| json!(object.status));
        let instances = api.list::<KmsInstance>().into_iter().map(|object| json!(object.status));
        let shared = api.list::<ClusterKmsInstance>().into_iter().map(|object| json!(object.status));
        connections.chain(instances).chain(shared).fold(self.story(), statuses) + &self.world.metrics()
    }
}
