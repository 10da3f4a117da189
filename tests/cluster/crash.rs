//! Whatever crash or lost answer comes in between, the end is that of a run without: one connection, the right
//! credentials, each event once.

use bitbucket_connection_operator::api::BitbucketConnection;
use futures::future::{BoxFuture, join_all};
use kube::ResourceExt;
use serde_json::{Value, json};
use sim::{Caller, Connection, Fault, Match, Operation};

use crate::harness::{CLIENT_ID, EMAIL, PATIENCE, PAUSE, PROJECT, SECRET, TOKEN, World, in_time};

use Trouble::{AnswerCut, AnswerLost, KilledAfter, KilledBefore, Reset};

const NEXT: &str = "ATATT3xFfGF0-canary-of-the-next-token";

type Act = fn(&World) -> BoxFuture<'_, ()>;

/// Something that people do, which has the operator write to the KMS.
#[derive(Clone, Copy)]
struct Scene {
    /// What is done; first a connection is made ready, unless that is the scene.
    act: Act,
    /// The write that it leads to.
    write: Operation,
    /// What is told besides the creation; empty is nothing, and nothing at all is a scene that is the creation.
    told: Option<&'static str>,
    /// What may come in between.
    troubles: &'static [Trouble],
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// SIGKILL while the request is on its way, before it has an effect.
    KilledBefore,
    /// SIGKILL after it had its effect, before the answer came.
    KilledAfter,
    /// The connection breaks before the request has an effect.
    Reset,
    /// It breaks after that.
    AnswerLost,
    /// The answer can't be read.
    AnswerCut,
}

const ALL: &[Trouble] = &[KilledBefore, KilledAfter, Reset, AnswerLost, AnswerCut];

#[tokio::test(flavor = "multi_thread")]
async fn a_creation() {
    let act: Act = |world| Box::pin(apply(world));
    Scene { act, write: Operation::Create, told: None, troubles: ALL }.ends_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_name() {
    let act: Act = |world| Box::pin(spec(world, json!({"connectionName": "team-a"})));
    Scene { act, write: Operation::Update, told: Some("ConnectionUpdated"), troubles: ALL }.ends_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_description() {
    let act: Act = |world| Box::pin(spec(world, json!({"description": "Payments"})));
    Scene { act, write: Operation::Update, told: Some("ConnectionUpdated"), troubles: ALL }.ends_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token() {
    let act: Act = |world| Box::pin(secret(world, EMAIL, NEXT));
    Scene { act, write: Operation::Update, told: Some("CredentialsRotated"), troubles: ALL }.ends_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_email() {
    let act: Act = |world| Box::pin(secret(world, "renamed@example.com", TOKEN));
    Scene { act, write: Operation::Update, told: Some("ConnectionUpdated"), troubles: ALL }.ends_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction() {
    let act: Act = |world| {
        Box::pin(async {
            world.kms.edit(&world.row("payments").id, |row| row.write_credentials(EMAIL, "ATATT3x-of-somebody"));
            trigger(world).await;
        })
    };
    Scene { act, write: Operation::Update, told: Some("DriftCorrected"), troubles: ALL }.ends_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_creation() {
    let act: Act = |world| {
        Box::pin(async {
            world.kms.remove(&world.row("payments").id);
            trigger(world).await;
        })
    };
    Scene { act, write: Operation::Create, told: Some("DriftCorrected"), troubles: ALL }.ends_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion() {
    let act: Act = |world| Box::pin(world.delete("payments"));
    Scene { act, write: Operation::Delete, told: Some("ConnectionDeleted"), troubles: ALL }.ends_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_retains() {
    let act: Act = |world| {
        Box::pin(async {
            spec(world, json!({"deletionPolicy": "Retain"})).await;
            world.ready("payments").await;
            world.delete("payments").await;
        })
    };
    // Where the KMS fails, the object is let go with the mark in place: another end, which is told.
    let troubles = &[KilledBefore, KilledAfter];
    Scene { act, write: Operation::Update, told: Some("ConnectionRetained"), troubles }.ends_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption() {
    let act: Act = |world| {
        Box::pin(async {
            world.kms.remove(&world.row("payments").id);
            world.kms.insert(Connection::new("payments").project(PROJECT).description("Made by hand"));
            spec(world, json!({"adoptionPolicy": "Adopt"})).await;
        })
    };
    Scene { act, write: Operation::Update, told: Some("ConnectionAdopted"), troubles: ALL }.ends_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_client_secret() {
    let act: Act = |world| {
        Box::pin(async {
            let next = "canary-of-the-next-client-secret";
            world.kms.add_identity(CLIENT_ID, next);
            world.kms.expire_sessions();
            world.secret_with("kms-credentials", json!({"clientId": CLIENT_ID, "clientSecret": next})).await;
        })
    };
    // Where a login fails, the end is like the beginning until that is noticed: here it can't be told apart.
    let troubles = &[KilledBefore, KilledAfter];
    Scene { act, write: Operation::Login, told: Some(""), troubles }.ends_alike().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_deleted() {
    let world = World::cluster_wide().await;
    world.cluster_instance().await;
    let delete = Match::op(Operation::Delete);
    for (name, fault) in [("killed-before", Fault::Hang), ("killed-after", Fault::HangAnswer)] {
        let tenant = world.tenant(name).await;
        tenant.secret(SECRET, EMAIL, TOKEN).await;
        tenant.connection("payments").apply().await;
        tenant.ready("payments").await;
        world.kms.clear_journal();
        world.kms.fail_when(delete.clone().times(1), fault);
        tenant.delete_namespace().await;
        in_time("the KMS is written to", world.kms.answered(&delete, 1)).await;
        world.operator.kill().await;
        world.kms.heal();
        world.operator.start().await;
        tenant.until_namespace_gone().await;
        assert_eq!(world.kms.connections(), [], "{name}");
    }
}

async fn apply(world: &World) {
    world.connection("payments").apply().await;
}

async fn spec(world: &World, change: Value) {
    world.patch("payments", json!({"spec": change})).await;
}

async fn trigger(world: &World) {
    let annotation = bitbucket_connection_operator::api::RECONCILE_REQUESTED_AT;
    world.patch("payments", json!({"metadata": {"annotations": {annotation: "now"}}})).await;
}

async fn secret(world: &World, email: &'static str, token: &'static str) {
    world.issue(email, token);
    world.secret(SECRET, email, token).await;
}

/// What is left in the end: all that matters, and nothing that differs from one run to the next.
#[derive(Debug, PartialEq)]
struct End {
    rows: Vec<(String, String, String, String)>,
    finalizers: Vec<String>,
    connection: Value,
    conditions: Vec<(String, String, String)>,
    events: Vec<(String, String)>,
}

impl Scene {
    /// Plays the scene without trouble and with each, and compares the ends.
    async fn ends_alike(self) {
        let calm = self.play(None).await;
        let mut told = vec!["ConnectionCreated"];
        told.extend(self.told.filter(|told| !told.is_empty()));
        told.sort_unstable();
        assert_eq!(calm.events.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(), told);
        let runs = self.troubles.iter().map(async |trouble| {
            let troubled = self.play(Some((*trouble, &calm))).await;
            assert_eq!(troubled, calm, "with {trouble:?}");
        });
        join_all(runs).await;
    }

    /// Plays it to its end: with trouble, until it is the same as without, if that ever comes.
    async fn play(self, trouble: Option<(Trouble, &End)>) -> End {
        let world = World::start().await;
        if self.told.is_some() {
            world.ready_connection("payments").await;
        } else {
            world.secret(SECRET, EMAIL, TOKEN).await;
            world.instance().await;
        }
        world.kms.clear_journal();
        let write = Match::op(self.write);
        if let Some((trouble, _)) = trouble {
            let fault = match trouble {
                KilledBefore => Fault::Hang,
                KilledAfter => Fault::HangAnswer,
                Reset => Fault::Reset,
                AnswerLost => Fault::LoseAnswer,
                AnswerCut => Fault::CutBody,
            };
            world.kms.fail_when(write.clone().times(1), fault);
        }
        (self.act)(&world).await;
        in_time("the KMS is written to", world.kms.answered(&write, 1)).await;
        if let Some((KilledBefore | KilledAfter, _)) = trouble {
            world.operator.kill().await;
            world.kms.heal();
            world.operator.start().await;
        }
        match trouble {
            None if self.told == Some("") => {}
            None => drop(world.until_event("payments", self.told.unwrap_or("ConnectionCreated")).await),
            Some((_, calm)) => {
                let same = async {
                    while end(&world).await != *calm {
                        tokio::time::sleep(PAUSE).await;
                    }
                };
                // What is else is shown by the comparison of the ends.
                let _ = tokio::time::timeout(PATIENCE, same).await;
            }
        }
        if self.write == Operation::Delete || self.told == Some("ConnectionRetained") {
            world.until_gone("payments").await;
        } else {
            // So it stays.
            world.request_reconcile("payments").await;
        }
        end(&world).await
    }
}

async fn end(world: &World) -> End {
    let object = world.api::<BitbucketConnection>().get_opt("payments").await.expect("an answer");
    let rows = world.kms.connections();
    let mark = |row: &Connection| row.description.clone().unwrap_or_default();
    let anonymous = |text: String| match text.find("[k8s:") {
        Some(at) => format!("{}[mark]", &text[..at]),
        None => text,
    };
    let connection = object.as_ref().and_then(|object| object.status.as_ref()?.connection.as_ref());
    let known = connection.zip(rows.first()).map_or(Value::Null, |(it, row)| {
        json!({
            "name": it.name,
            "origin": it.origin,
            "id": it.id == row.id,
            "host": it.host == world.kms.url(),
            "hash": it.credentials_hash.as_ref() == Some(&row.credentials_hash),
            "fingerprint": it.token_fingerprint.is_some(),
        })
    });
    let conditions = object.as_ref().map(crate::harness::conditions).unwrap_or_default();
    let mut events: Vec<_> =
        world.events("payments").await.into_iter().map(|(_, reason, note)| (reason, note)).collect();
    events.sort();
    End {
        rows: rows
            .iter()
            .map(|row| (row.name.clone(), anonymous(mark(row)), row.email.clone(), row.api_token.clone()))
            .collect(),
        finalizers: object.as_ref().map(|object| object.finalizers().to_vec()).unwrap_or_default(),
        connection: known,
        conditions: conditions.into_iter().map(|(kind, status, reason, _)| (kind, status, reason)).collect(),
        events,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_a_quiet_world_does_nothing() {
    let world = World::start().await;
    world.ready_connection("payments").await;
    world.connection("billing").apply().await;
    world.ready("billing").await;
    world.connection("waiting").secret("missing").apply().await;
    world.not_ready("waiting", "SecretNotFound").await;
    // The instance counts its connections a moment later.
    world
        .until_instance("kms", "counts its connections", |instance| {
            instance.status.as_ref().is_some_and(|status| status.connections == Some(3))
        })
        .await;
    world.operator.terminate().await;
    // All that it was answered was noted before.
    let writes = world.api_writes();
    let before = world.operator.log().len();
    world.kms.clear_journal();
    world.bitbucket.clear_journal();
    world.operator.start().await;
    // The instance was looked at, then all its connections; after that one that has nothing to ask anybody.
    let looked = async {
        while !world.operator.log()[before..].contains("looked at an instance") {
            tokio::time::sleep(PAUSE).await;
        }
    };
    in_time("the instance is looked at", looked).await;
    let name = "bitbucket_connection_operator_reconciles_total";
    world.until_metrics("tell of a pass over each", |metrics| metrics.value(name, &[]) >= Some(3.0)).await;
    world.request_reconcile("waiting").await;
    assert_eq!(world.bitbucket.journal().len(), 0);
    assert_eq!(world.kms.journal().len(), 0, "not even a login");
    let written = world.api_writes_until(|all| all.len() > writes.len()).await.split_off(writes.len());
    let written: Vec<_> = written.iter().map(|write| (write.resource.as_str(), write.name.as_str())).collect();
    assert_eq!(written, [("bitbucketconnections/status", "waiting")], "the answer to the trigger alone");
    let log = world.operator.log();
    let alarming = log[before..].lines().filter(|line| ["WARN", "ERROR"].iter().any(|level| line.contains(level)));
    assert_eq!(alarming.collect::<Vec<_>>(), [] as [&str; 0]);
    // It is awake.
    world.request_reconcile("payments").await;
    assert_eq!((world.kms.logins(), world.kms.lists(), world.kms.writes()), (1, 1, 0));
    assert_eq!(world.bitbucket.calls_by(Caller::Operator), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_deleted_object_never_lands_on_its_successor() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.kms.fail_when(Match::op(Operation::Create).times(1), Fault::HangAnswer);
    world.connection("payments").apply().await;
    in_time("the KMS is written to", world.kms.answered(&Match::op(Operation::Create), 1)).await;
    let old = world.get("payments").await;
    // Somebody forces the object away while its creation is under way, and applies it again with a Secret that is not
    // there: the successor must say so, whatever the predecessor has to tell.
    world.patch("payments", json!({"metadata": {"finalizers": null}})).await;
    world.delete("payments").await;
    world.until_gone("payments").await;
    world.connection("payments").secret("missing").apply().await;
    let new = world.get("payments").await;
    assert_ne!(new.uid(), old.uid());
    world.kms.heal();
    let bbc = world.not_ready("payments", "SecretNotFound").await;
    assert_eq!(bbc.uid(), new.uid());
    let status = bbc.status.expect("a status");
    assert!(status.token.is_none() && status.account.is_none(), "{status:?}");
    assert_eq!(bbc.metadata.finalizers, None);

    // With a token it finds what its predecessor left behind: it bears the mark of both.
    world.secret("missing", EMAIL, TOKEN).await;
    world.ready("payments").await;
    let row = world.row("payments");
    assert_eq!((world.kms.connections().len(), row.project_id.as_deref()), (1, Some(PROJECT)));
    let events = world.api::<k8s_openapi::api::events::v1::Event>().list(&Default::default()).await.expect("events");
    let about = |uid: &Option<String>| {
        let about = events.items.iter().filter(|event| event.regarding.as_ref().is_some_and(|it| it.uid == *uid));
        about.filter_map(|event| event.reason.clone()).collect::<Vec<_>>()
    };
    assert_eq!(about(&new.uid()), ["ConnectionCreated"]);
    assert_eq!(about(&old.uid()), [] as [String; 0]);
}
