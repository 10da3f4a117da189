//! Objects in all states.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use bitbucket_connection_operator::{
    api::{BitbucketConnection, ClusterKmsInstance, KmsInstance},
    domain::{
        conditions::{Children, Class, History, Judgement, Reason, Status, condition, marker, readiness, types},
        instance::{InstanceJudgement, InstanceReason},
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use sim::{Match, Operation};

use crate::{
    faults::{KINDS, each, fail, scenes},
    scenes::Scene,
    world::World,
};

/// What the operator wrote in scenes where nothing failed.
const SCENE: &str = "a scene";
/// What it wrote while a service failed.
const FAULT: &str = "a scene with a fault";
/// What the rules make of a reason.
const RULES: &str = "the rules";
/// Where states come from.
pub const ORIGINS: [&str; 3] = [SCENE, FAULT, RULES];

/// Longer than an outage is bridged: three intervals of an hour, with what each may be longer.
const LONG: Duration = Duration::from_secs(5 * 3_600);

/// An object.
pub struct State {
    /// As the API server gives it.
    pub object: Value,
    /// One of [`ORIGINS`].
    pub origin: &'static str,
    /// Where exactly, for people.
    place: String,
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.origin, self.place)
    }
}

/// What a tool could tell two states apart by.
fn key(object: &Value) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let conditions: Vec<_> =
        conditions.iter().map(|it| [&it["type"], &it["status"], &it["reason"]].map(Value::to_string)).collect();
    let observed = &object["status"]["observedGeneration"];
    let seen = match observed.as_i64() {
        None => "no status",
        Some(-1) => "never seen",
        Some(_) if *observed == object["metadata"]["generation"] => "seen",
        Some(_) => "seen before it changed",
    };
    let deleting = object["metadata"]["deletionTimestamp"].is_string();
    format!("{} {conditions:?} {seen} {deleting} {}", object["kind"], object["spec"]["managementPolicy"])
}

/// All states, each once.
pub fn all() -> Vec<State> {
    let mut states = BTreeMap::new();
    for state in reached().into_iter().chain(made()) {
        states.entry(key(&state.object)).or_insert(state);
    }
    states.into_values().collect()
}

/// The messages of an object's conditions.
pub fn messages(object: &Value) -> Vec<&str> {
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().filter_map(|condition| condition["message"].as_str()).collect()
}

/// Reasons that no object has.
pub fn missing(states: &[State]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for state in states {
        for condition in state.object["status"]["conditions"].as_array().into_iter().flatten() {
            seen.insert((
                state.object["kind"] == "BitbucketConnection",
                condition["reason"].as_str().unwrap_or_default(),
            ));
        }
    }
    let connections = Reason::ALL.iter().map(|reason| (true, reason.as_str()));
    let instances = InstanceReason::ALL.iter().map(|reason| (false, reason.as_str()));
    connections.chain(instances).filter(|it| !seen.contains(it)).map(|it| format!("{it:?}")).collect()
}

/// All versions of all objects of a world.
fn versions(world: &World) -> Vec<Value> {
    let api = &world.api;
    [api.versions::<BitbucketConnection>(), api.versions::<KmsInstance>(), api.versions::<ClusterKmsInstance>()]
        .concat()
}

/// A scene, and what fails in it.
struct Job {
    scene: &'static Scene,
    fault: Option<(Operation, usize)>,
}

impl Job {
    fn place(&self) -> String {
        match self.fault {
            None => self.scene.name.to_owned(),
            Some((operation, kind)) => format!("{}, {operation:?}: {}", self.scene.name, KINDS[kind].name),
        }
    }

    fn play(&self, runtime: &tokio::runtime::Runtime) -> Vec<State> {
        let mut objects = Vec::new();
        let patience = if self.fault.is_some() { LONG } else { Duration::ZERO };
        let begin = |world: &World, _: &_| {
            if let Some((operation, kind)) = self.fault {
                fail(world, Match::op(operation), &KINDS[kind], operation);
            }
        };
        // What comes after is the same as in the scene without a fault.
        runtime.block_on(self.scene.play_with(patience, begin, async |world: &mut World, quiet| {
            objects = versions(world);
            quiet
        }));
        let origin = if self.fault.is_some() { FAULT } else { SCENE };
        objects.into_iter().map(|object| State { object, origin, place: self.place() }).collect()
    }
}

/// What the operator writes: in all scenes, and where each service fails in each way, at first sight of an object and later.
fn reached() -> Vec<State> {
    let mut jobs: Vec<Job> = scenes().into_iter().map(|scene| Job { scene, fault: None }).collect();
    let failing = [
        ("all at once", Operation::Login),
        ("create", Operation::User),
        ("create", Operation::Create),
        ("a look that is asked for", Operation::User),
        ("a look that is asked for", Operation::List),
        ("a new token", Operation::Update),
        ("workspaces that the token doesn't reach, until it does", Operation::Workspaces),
        ("delete", Operation::Delete),
    ];
    // All ways take minutes; else a third of them, and others for each call.
    let step = if std::env::var("FAULTS").is_ok_and(|which| which == "all") { 1 } else { 3 };
    for (number, (name, operation)) in failing.into_iter().enumerate() {
        let scene = scenes().into_iter().find(|scene| scene.name == name);
        let kinds = (0..KINDS.len()).filter(|kind| KINDS[*kind].concerns(operation)).skip(number % step).step_by(step);
        jobs.extend(scene.into_iter().flat_map(|scene| {
            let kinds = kinds.clone();
            kinds.map(move |kind| Job { scene, fault: Some((operation, kind)) })
        }));
    }
    each(&jobs, |job, runtime, _| job.play(runtime)).into_iter().flatten().collect()
}

/// What the rules make of each reason, of each outage of what was Ready, and of what nobody has looked at.
fn made() -> Vec<State> {
    let mut states = Vec::new();
    for &reason in Reason::ALL {
        let histories = [
            ("never Ready", History { was_ready: false, stale: false }),
            ("was Ready", History { was_ready: true, stale: false }),
            ("was Ready, long ago", History { was_ready: true, stale: true }),
        ];
        for (history_words, history) in histories {
            for deleting in [false, true] {
                let place = format!("{}, {history_words}", reason.as_str());
                states.push(State { object: connection(reason, history, deleting), origin: RULES, place });
            }
        }
    }
    for &reason in InstanceReason::ALL {
        let place = format!("instance {}", reason.as_str());
        states.push(State { object: instance(reason), origin: RULES, place });
    }
    for kind in ["BitbucketConnection", "KmsInstance", "ClusterKmsInstance"] {
        let mut object = object(kind, false, json!({"observedGeneration": -1}));
        states.push(State { object: object.clone(), origin: RULES, place: format!("{kind}, never seen") });
        object["status"] = json!({"observedGeneration": 1, "conditions": [
            {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "Of the former generation."},
        ]});
        states.push(State { object, origin: RULES, place: format!("{kind}, changed since") });
    }
    states
}

fn object(kind: &str, deleting: bool, status: Value) -> Value {
    let mut object = json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
        "kind": kind,
        "metadata": {"name": "payments", "namespace": "team-a", "generation": 2},
        "spec": {},
        "status": status,
    });
    if deleting {
        object["metadata"]["deletionTimestamp"] = json!("2026-03-01T00:00:00Z");
        object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    }
    object
}

/// A connection one of whose conditions has this reason, and whose others are good.
fn connection(reason: Reason, history: History, deleting: bool) -> Value {
    let says = |reason: Reason| Judgement::new(reason, format!("The message of {}.", reason.as_str()));
    let of = |kind: &str, good: Reason| says(if reason.conditions().first() == Some(&kind) { reason } else { good });
    let children = Children {
        credentials: of(types::CREDENTIALS_VALID, Reason::Authenticated),
        scopes: of(types::SCOPES_SUFFICIENT, Reason::AllGranted),
        synced: of(types::SYNCED, Reason::InSync),
    };
    let mut it = readiness(&children, history);
    if reason.conditions() == [types::READY] {
        it.ready = says(reason);
    }
    let expiring = of(types::EXPIRING_SOON, Reason::OutsideWindow);
    let (generation, now) = (Some(2), Timestamp::UNIX_EPOCH);
    let write = |kind, says: &Judgement| condition(kind, says, generation, &[], now);
    let mut all = vec![
        write(types::CREDENTIALS_VALID, &children.credentials),
        write(types::SCOPES_SUFFICIENT, &children.scopes),
        write(types::SYNCED, &children.synced),
        write(types::READY, &it.ready),
        write(types::EXPIRING_SOON, &expiring),
    ];
    let markers = [(types::RECONCILING, it.reconciling), (types::STALLED, it.stalled)];
    all.extend(
        markers.iter().filter(|(_, there)| *there).map(|(kind, _)| marker(kind, &it.ready, generation, &[], now)),
    );
    object("BitbucketConnection", deleting, json!({"observedGeneration": 2, "conditions": all}))
}

/// An instance of this reason.
fn instance(reason: InstanceReason) -> Value {
    let says = InstanceJudgement::new(reason, format!("The message of {}.", reason.as_str()));
    let mut all = vec![condition(types::READY, &says, Some(2), &[], Timestamp::UNIX_EPOCH)];
    let kind = match reason.class() {
        Some(Class::Stalled) => Some(types::STALLED),
        Some(Class::Waiting | Class::Transient) => Some(types::RECONCILING),
        None => None,
    };
    all.extend(kind.map(|kind| marker(kind, &says, Some(2), &[], Timestamp::UNIX_EPOCH)));
    assert!(kind.is_some() || reason.status() == Status::True);
    object("ClusterKmsInstance", false, json!({"observedGeneration": 2, "conditions": all}))
}
