//! Several replicas: one works, the others are ready to; and never two write.

use bitbucket_connection_operator::api::{BitbucketConnection, InstanceStatus};
use futures::future::join_all;
use k8s_openapi::api::{coordination::v1::Lease, events::v1::Event, rbac::v1::RoleBinding};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::ObjectMeta,
};
use serde_json::{Value, json};
use sim::{Fault, Match, Operation};

use crate::harness::{EMAIL, Metrics, Operator, PAUSE, SECRET, TOKEN, World, Write, condition, in_time, rights};

const NEXT_TOKEN: &str = "ATATT3xFfGF0-canary-of-the-next-token";

/// Times of a Lease: as short as a machine with much else to do can keep them.
const SHORT: [&str; 3] =
    ["--leader-elect-lease-duration=20s", "--leader-elect-renew-deadline=15s", "--leader-elect-retry-period=1s"];
/// Shorter than a process that ends waits for what it began.
const SHORTER: [&str; 3] =
    ["--leader-elect-lease-duration=8s", "--leader-elect-renew-deadline=7s", "--leader-elect-retry-period=1s"];
/// So long that no test sees the end of it: what happens then has another cause.
const LONG: [&str; 3] =
    ["--leader-elect-lease-duration=1h", "--leader-elect-renew-deadline=50m", "--leader-elect-retry-period=1s"];

/// Two replicas, of which the operator of the world leads, and a connection that is Ready.
struct Two {
    world: World,
    second: Operator,
    /// The user that the second is.
    user: String,
    lease: String,
}

impl Two {
    async fn start(times: [&str; 3]) -> Self {
        Self::start_in(false, times).await
    }

    /// On a control plane of its own.
    async fn start_apart(times: [&str; 3]) -> Self {
        Self::start_in(true, times).await
    }

    async fn start_in(cluster_wide: bool, times: [&str; 3]) -> Self {
        let builder = if cluster_wide { World::cluster_wide_builder() } else { World::builder() };
        let lease = rights::NAME.to_owned();
        let args = ["--leader-elect"].into_iter().chain(times);
        let world = builder.args(args).without_operator().start().await;
        let (second, user) = world.replica_apart().await;
        let two = Self { world, second, user, lease };
        // As the last leader left it: nobody waits for one that there never was.
        let free = json!({"metadata": {"name": two.lease}, "spec": {"leaseDurationSeconds": 1}});
        let free = serde_json::from_value(free).expect("a Lease");
        two.leases().create(&PostParams::default(), &free).await.expect("a new Lease");
        two.world.operator.start().await;
        two.world.operator.says(&["leading", &two.lease]).await;
        two.second.start().await;
        two.second.says(&["following", &two.lease]).await;
        two.world.secret(SECRET, EMAIL, TOKEN).await;
        if cluster_wide {
            two.world.cluster_instance().await;
        } else {
            two.world.instance().await;
        }
        two.world.connection("payments").apply().await;
        two.world.ready("payments").await;
        // The last that it writes about them by itself.
        let counted = |status: Option<&InstanceStatus>| status.and_then(|status| status.connections) == Some(1);
        let what = "counts its connection";
        if cluster_wide {
            two.world.until_cluster_instance("default", what, |it| counted(it.status.as_ref())).await;
        } else {
            two.world.until_instance("kms", what, |it| counted(it.status.as_ref())).await;
        }
        two
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.world.client().clone(), self.world.home())
    }

    /// Changes the Lease by hand.
    async fn patch_lease(&self, spec: Value) {
        let patched =
            self.leases().patch(&self.lease, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await;
        patched.expect("a Lease that can be changed");
    }

    /// Asks for the Lease until this holds.
    async fn until_lease(&self, what: &str, holds: impl Fn(&Lease) -> bool) -> Lease {
        let asked = async {
            loop {
                if let Ok(Some(lease)) = self.leases().get_opt(&self.lease).await
                    && holds(&lease)
                {
                    return lease;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        in_time(what, asked).await
    }

    /// Puts the next token into the Secret, and waits until it is in the KMS.
    async fn rotate(&self) {
        self.world.issue(EMAIL, NEXT_TOKEN);
        self.world.secret(SECRET, EMAIL, NEXT_TOKEN).await;
        self.world.until_event("payments", "CredentialsRotated").await;
        self.world.ready("payments").await;
    }

    /// The second leads, and what is to be done is done once.
    async fn second_takes_over(&self) {
        self.second.says(&["leading", &self.lease]).await;
        let writes = self.world.kms.writes();
        self.rotate().await;
        assert_eq!(self.world.kms.writes(), writes + 1);
        assert_eq!(self.world.kms.connections().len(), 1);
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

/// Writes to our objects and events, without those to Leases.
fn work(writes: Vec<Write>) -> Vec<Write> {
    writes.into_iter().filter(|write| write.resource != "leases").collect()
}

async fn metrics(operator: &Operator) -> Metrics {
    Metrics(operator.get("metrics", "/metrics").await.expect("metrics").1)
}

fn leads(metrics: &Metrics) -> Option<f64> {
    metrics.value("bitbucket_connection_operator_leader", &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_works_and_both_are_ready() {
    let two = Two::start(LONG).await;
    for operator in [&two.world.operator, &two.second] {
        assert_eq!(operator.get("health", "/readyz").await.map(|(status, _)| status), Some(200));
    }
    let (first, second) = (metrics(&two.world.operator).await, metrics(&two.second).await);
    assert_eq!((leads(&first), leads(&second)), (Some(1.0), Some(0.0)));
    assert!(first.0.contains("bitbucket_connection_ready{"), "{}", first.0);
    assert!(!second.0.contains("bitbucket_connection_ready{"), "{}", second.0);

    assert_eq!((two.world.kms.logins(), two.world.kms.writes()), (1, 1));
    assert_eq!(two.world.api_writes_of(&two.user), [], "who follows writes nothing, not even to the Lease");
    let lease = two.leases().get(&two.lease).await.expect("a Lease");
    let spec = lease.spec.expect("a spec");
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(3_600), Some(1)));
    assert!(spec.acquire_time.is_some() && spec.renew_time >= spec.acquire_time);
    two.world.operator.says(&["leading", spec.holder_identity.as_deref().expect("a holder")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_followed_when_its_lease_is_over() {
    let two = Two::start(SHORT).await;
    two.world.operator.kill().await;
    two.second_takes_over().await;
    assert_eq!(leads(&metrics(&two.second).await), Some(1.0));
    // It comes back as a follower, and under another name.
    two.world.operator.start().await;
    let lease = two.leases().get(&two.lease).await.expect("a Lease");
    two.world.operator.says(&["following", holder(&lease).expect("a holder")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_asked_to_end_is_followed_at_once() {
    // Nobody waits for the end of this lease.
    let two = Two::start(LONG).await;
    assert_eq!(two.world.operator.terminate().await.code(), Some(0));
    two.world.operator.says(&["the Lease was let go"]).await;
    two.second_takes_over().await;
    // So does one that follows, and nobody notices.
    two.world.operator.start().await;
    assert_eq!(two.world.operator.terminate().await.code(), Some(0));
    assert!(holder(&two.leases().get(&two.lease).await.expect("a Lease")).is_some());
    assert!(two.second.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_leader_began_is_done_before_another_leads() {
    let two = Two::start(LONG).await;
    let updates = Match::op(Operation::Update);
    two.world.kms.fail_when(updates.clone().times(1), Fault::Hold);
    two.world.issue(EMAIL, NEXT_TOKEN);
    two.world.secret(SECRET, EMAIL, NEXT_TOKEN).await;
    two.world.kms.seen(&updates, 1).await;
    two.world.operator.signal("TERM");
    two.world.operator.says(&["running reconciles are finished first"]).await;
    two.world.kms.heal();
    assert_eq!(two.world.operator.ended().await.code(), Some(0));
    two.second.says(&["leading"]).await;
    two.world.request_reconcile("payments").await;
    assert_eq!(two.world.kms.matching(&updates).len(), 1, "the second found it done");
    assert_eq!(two.world.count_events("payments", "CredentialsRotated").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_ends_before_its_work_is_done_keeps_others_from_leading() {
    let two = Two::start(SHORTER).await;
    let updates = Match::op(Operation::Update);
    two.world.kms.fail_when(updates.clone(), Fault::Hold);
    two.world.issue(EMAIL, NEXT_TOKEN);
    two.world.secret(SECRET, EMAIL, NEXT_TOKEN).await;
    two.world.kms.seen(&updates, 1).await;
    let before = two.leases().get(&two.lease).await.expect("a Lease");
    // It waits for longer than its lease, renewing that, and then for nothing more.
    assert_eq!(two.world.operator.terminate().await.code(), Some(0));
    two.world.operator.says(&["some reconciles were not done in time"]).await;
    let after = two.leases().get(&two.lease).await.expect("a Lease");
    assert_eq!(holder(&after), holder(&before), "what was sent may still be carried out");
    two.world.operator.says(&["the Lease is not let go", &two.lease]).await;
    assert_eq!(two.world.row("payments").api_token, TOKEN);
    assert_eq!(two.world.kms.matching(&updates).len(), 1, "nobody else writes meanwhile");

    two.world.kms.heal();
    two.world.kms.answered(&updates, 1).await;
    two.second.says(&["leading", &two.lease]).await;
    two.world.until_event("payments", "CredentialsRotated").await;
    two.world.ready("payments").await;
    assert_eq!(two.world.row("payments").api_token, NEXT_TOKEN);
    assert_eq!(two.world.kms.connections().len(), 1);
    assert_eq!(two.world.count_events("payments", "CredentialsRotated").await, 1);
    // The answer was lost, so what was to be written is written once more, and not more often.
    assert_eq!(two.world.kms.matching(&updates).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_for_longer_than_its_lease_writes_nothing_more() {
    let two = Two::start(SHORT).await;
    // It is stopped while it waits for Bitbucket, with a write to the KMS as its next step.
    let asked = Match::op(Operation::User).token(NEXT_TOKEN).caller(sim::Caller::Operator);
    two.world.bitbucket.fail_when(asked.clone().times(1), Fault::Hold);
    two.world.issue(EMAIL, NEXT_TOKEN);
    two.world.secret(SECRET, EMAIL, NEXT_TOKEN).await;
    two.world.bitbucket.seen(&asked, 1).await;
    two.world.operator.signal("STOP");
    let before = (work(two.world.api_writes()), two.world.kms.writes());
    two.second.says(&["leading"]).await;
    two.world.until_event("payments", "CredentialsRotated").await;
    let done = two.world.request_reconcile("payments").await;

    two.world.bitbucket.heal();
    two.world.operator.signal("CONT");
    assert_eq!(two.world.operator.ended().await.code(), Some(1), "{}", two.world.operator.tail());
    let said = two.world.operator.says(&["error:", "could not be renewed within"]).await;
    assert!(said.contains(&two.lease) && said.contains("writes nothing more"), "{said}");
    // What the second writes after that comes after all that the first may have sent.
    let last = two.world.request_reconcile("payments").await;
    assert_eq!((work(two.world.api_writes()), two.world.kms.writes()), (before.0, before.1 + 1));
    assert_eq!(status_of(&last), status_of(&done));
    assert_eq!(two.world.row("payments").api_token, NEXT_TOKEN);
}

/// The part of the status that tells of the connection.
fn status_of(object: &BitbucketConnection) -> (Value, String) {
    let connection = object.status.as_ref().and_then(|status| status.connection.clone());
    (serde_json::to_value(connection).expect("a value"), condition(object, "Ready").1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_for_a_moment_goes_on() {
    let two = Two::start(LONG).await;
    two.world.operator.signal("STOP");
    two.world.operator.signal("CONT");
    two.rotate().await;
    assert_eq!(leads(&metrics(&two.world.operator).await), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_deleted_by_hand_is_made_anew_by_its_leader() {
    let two = Two::start(LONG).await;
    let before = two.leases().get(&two.lease).await.expect("a Lease");
    two.leases().delete(&two.lease, &DeleteParams::default()).await.expect("a Lease that can be deleted");
    two.until_lease("it is the leader's again", |lease| holder(lease).is_some() && holder(lease) == holder(&before))
        .await;
    two.rotate().await;
    assert!(two.world.operator.is_running());
    assert_eq!(
        (leads(&metrics(&two.world.operator).await), leads(&metrics(&two.second).await)),
        (Some(1.0), Some(0.0))
    );
    assert_eq!(work(two.world.api_writes_of(&two.user)), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_stolen_by_hand_ends_its_leader() {
    // For somebody who doesn't exist, for nobody, and for the second itself.
    join_all([Some("somebody".to_owned()), None, Some(String::new())].map(async |thief| {
        let two = Two::start(SHORT).await;
        let name_of_second = two.second.says(&["following"]).await;
        let name_of_second: Value = serde_json::from_str(&name_of_second).expect("a line of JSON");
        let name_of_second = name_of_second["fields"]["identity"].as_str().or(name_of_second["identity"].as_str());
        let thief = thief.map(|name| if name.is_empty() { name_of_second.expect("a name").to_owned() } else { name });
        two.patch_lease(json!({"holderIdentity": thief})).await;
        assert_eq!(two.world.operator.ended().await.code(), Some(1));
        let said = two.world.operator.says(&["error:", "was taken away"]).await;
        assert!(said.contains(thief.as_deref().unwrap_or("nobody")) && said.contains(&two.lease), "{said}");
        two.second_takes_over().await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_that_is_written_into_the_lease_changes_nothing() {
    let two = Two::start(LONG).await;
    two.patch_lease(json!({"leaseDurationSeconds": 1, "renewTime": "1999-01-01T00:00:00.000000Z"})).await;
    let renewed = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds) == Some(3_600);
    two.until_lease("its leader wrote to it again", renewed).await;
    two.rotate().await;
    assert_eq!(work(two.world.api_writes_of(&two.user)), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_restarts_changes_no_leader_and_events_tell_of_each() {
    let two = Two::start_apart(LONG).await;
    two.world.plane().control_plane.restart_apiserver().await.expect("an API server that comes back");
    two.rotate().await;
    assert_eq!(
        (leads(&metrics(&two.world.operator).await), leads(&metrics(&two.second).await)),
        (Some(1.0), Some(0.0))
    );
    assert_eq!(work(two.world.api_writes_of(&two.user)), []);

    let events: Api<Event> = Api::namespaced(two.world.client().clone(), two.world.home());
    two.world.operator.terminate().await;
    two.second.says(&["leading", &two.lease]).await;
    let told = async {
        loop {
            let mut events = events.list(&ListParams::default()).await.expect("events").items;
            events.retain(|event| event.regarding.as_ref().and_then(|lease| lease.name.as_ref()) == Some(&two.lease));
            if events.len() > 1 {
                return events;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let told = in_time("events tell of both leaders", told).await;
    assert!(told.iter().all(|event| event.reason.as_deref() == Some("LeaderElection")), "{told:#?}");
    assert_eq!(told.len(), 2, "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_stays_away_ends_the_leader_and_later_one_leads_again() {
    stays_away(controlplane::Program::ApiServer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_without_its_store_ends_the_leader_and_later_one_leads_again() {
    stays_away(controlplane::Program::Etcd).await;
}

async fn stays_away(program: controlplane::Program) {
    let two = Two::start_apart(SHORT).await;
    let plane = &two.world.plane().control_plane;
    plane.kill_program(program).await.expect("a program that can be killed");
    assert_eq!(two.world.operator.ended().await.code(), Some(1));
    two.world.operator.says(&["error:", "could not be renewed within 15s"]).await;
    assert_eq!(two.second.get("health", "/livez").await.map(|(status, _)| status), Some(200));
    plane.start_program(program).await.expect("a program that comes back");
    two.second_takes_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_loses_its_right_to_the_lease_ends_and_leads_again_once_it_has_it() {
    let two = Two::start(SHORT).await;
    two.second.kill().await;
    let right = rights::each(two.world.home(), Some(two.world.namespace()));
    let right = right.iter().find(|right| (right.verb.as_str(), right.resource.as_str()) == ("update", "leases"));
    let right = right.expect("a right that the operator has");
    rights::apply(two.world.client(), right.without.clone()).await;
    two.world.operator.says(&["the Lease was not renewed; it is tried again", "forbidden"]).await;
    assert_eq!(two.world.operator.ended().await.code(), Some(1));
    let said = two.world.operator.says(&["error:", "could not be renewed within 15s"]).await;
    assert!(said.contains("whether the ServiceAccount may get, create and update Leases"), "{said}");

    // As Kubernetes does with a container that ended. It can look at the Lease, and not take it.
    two.world.operator.spawn();
    two.world.operator.says(&["the Lease can't be used", "forbidden", "create and update Leases"]).await;
    rights::apply(two.world.client(), right.role.clone()).await;
    two.rotate().await;
    two.world.operator.until_ready().await;
    assert_eq!(leads(&metrics(&two.world.operator).await), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_was_no_lease_the_first_leader_waits_for_one() {
    let two = Two::start(SHORT).await;
    two.world.operator.kill().await;
    two.second.kill().await;
    two.leases().delete(&two.lease, &DeleteParams::default()).await.expect("a Lease that can be deleted");
    two.world.operator.spawn();
    let unheld = two.until_lease("there is a Lease", |_| true).await;
    assert_eq!(holder(&unheld), None, "whoever led when it was deleted may not know yet");
    two.world.operator.until_ready().await;
    two.until_lease("somebody leads", |lease| holder(lease).is_some()).await;
    two.rotate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rights_on_the_lease_nobody_is_ready() {
    let two = Two::start(LONG).await;
    two.second.kill().await;
    two.world.operator.terminate().await;
    let bindings: Api<RoleBinding> = Api::namespaced(two.world.client().clone(), two.world.home());
    let name = format!("{}-leases", rights::NAME);
    let binding = bindings.get(&name).await.expect("the operator's rights");
    bindings.delete(&name, &DeleteParams::default()).await.expect("rights that can be taken");
    let (client, user) = (two.world.client(), two.world.user());
    rights::in_force(client, user, Some(two.world.home()), ("update", "leases"), false).await;
    two.world.operator.spawn();
    let said = two.world.operator.says(&["the Lease can't be used", "forbidden"]).await;
    assert!(said.contains("let the ServiceAccount get, create and update Leases"), "{said}");
    let (status, body) = two.world.operator.get("health", "/readyz").await.expect("an answer");
    assert_eq!(status, 503);
    assert!(body.contains("the Lease was not read yet"), "{body}");

    let again = RoleBinding { metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() }, ..binding };
    bindings.create(&PostParams::default(), &again).await.expect("rights that can be given back");
    two.world.operator.until_ready().await;
    two.rotate().await;
}
