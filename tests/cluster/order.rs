//! Secret, instance, identity and connection may come in any order.

use std::process::Output;

use bitbucket_connection_operator::api::{BitbucketConnection, ClusterKmsInstance};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{EMAIL, Kstatus, Plane, Tenant, World, condition, dynamic, kstatus};

/// The files of `examples/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Token,
    Connection,
    Identity,
    Instance,
}

use Piece::{Connection, Identity, Instance, Token};

impl Piece {
    const ALL: [Self; 4] = [Token, Connection, Identity, Instance];

    fn file(self) -> (&'static str, &'static str) {
        match self {
            Token => ("bitbucket-token.yaml", include_str!("../../examples/bitbucket-token.yaml")),
            Connection => ("connection.yaml", include_str!("../../examples/connection.yaml")),
            Identity => ("kms-identity.yaml", include_str!("../../examples/kms-identity.yaml")),
            Instance => ("kms-instance.yaml", include_str!("../../examples/kms-instance.yaml")),
        }
    }

    /// The example, moved to a namespace, project and instance of its own, so that many can be there at once.
    fn manifest(self, place: &Place<'_>) -> Value {
        let mut manifest: Value = serde_saphyr::from_str(self.file().1).expect("YAML");
        let namespace = place.tenant.namespace();
        match self {
            Token | Identity => {}
            Connection => {
                manifest["spec"]["projectId"] = json!(place.project);
                manifest["spec"]["kmsRef"] = json!({"kind": "ClusterKmsInstance", "name": namespace});
            }
            Instance => {
                manifest["metadata"]["name"] = json!(namespace);
                manifest["spec"]["host"] = json!(place.host);
                manifest["spec"]["namespace"] = json!(namespace);
                let grant = &mut manifest["spec"]["grants"][0];
                grant["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] = json!(namespace);
                grant["projectIds"] = json!([place.project]);
                return manifest;
            }
        }
        manifest["metadata"]["namespace"] = json!(namespace);
        manifest
    }
}

/// Where one order plays.
struct Place<'a> {
    tenant: Tenant,
    project: String,
    host: &'a str,
}

fn orders() -> Vec<Vec<Piece>> {
    let mut orders = vec![vec![]];
    for _ in Piece::ALL {
        let longer = |order: Vec<Piece>| {
            let left = Piece::ALL.into_iter().filter(|piece| !order.contains(piece)).collect::<Vec<_>>();
            left.into_iter().map(move |piece| [order.clone(), vec![piece]].concat())
        };
        orders = orders.into_iter().flat_map(longer).collect();
    }
    orders
}

/// The reasons of CredentialsValid, Synced and Ready of the connection while these pieces are there.
fn reasons(there: &[Piece]) -> [&'static str; 3] {
    let has = |piece| there.contains(&piece);
    let credentials = if has(Token) { "Authenticated" } else { "SecretNotFound" };
    let synced = match (has(Instance), has(Identity), has(Token)) {
        (false, ..) => "KmsRefNotFound",
        (true, false, _) => "KmsInstanceNotReady",
        (true, true, false) => "NotEvaluated",
        (true, true, true) => "InSync",
    };
    let ready = match (credentials, synced) {
        ("Authenticated", "InSync") => "Succeeded",
        ("Authenticated", waiting) => waiting,
        (waiting, _) => waiting,
    };
    [credentials, synced, ready]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_end_ready_in_every_order() {
    let world = World::cluster_wide().await;
    sim::seed::seed(&world.bitbucket, &world.kms);
    let orders = orders();
    assert_eq!(orders.len(), 24);
    join_all(orders.iter().enumerate().map(|(number, order)| in_order(&world, number, order))).await;
    assert_eq!(world.kms.connections().len(), 24);
    world.assert_silent(&[sim::seed::GOOD, sim::seed::CLIENT_SECRET]).await;
}

async fn in_order(world: &World, number: usize, order: &[Piece]) {
    let tenant = world.tenant(&format!("order-{number}")).await;
    let place = Place { tenant, project: uuid::Uuid::new_v4().to_string(), host: &world.kms.url() };
    world.kms.add_project(&place.project);
    let Place { tenant, .. } = &place;
    for count in 1..=order.len() {
        let there = &order[..count];
        tenant.apply(order[count - 1].manifest(&place)).await;
        if there.contains(&Instance) {
            let reason = if there.contains(&Identity) { "Authenticated" } else { "SecretNotFound" };
            let what = format!("is {reason} after {there:?}");
            let is_so = |instance: &ClusterKmsInstance| condition(instance, "Ready").1 == reason;
            let instance = tenant.until_cluster_instance(tenant.namespace(), &what, is_so).await;
            assert_eq!(
                kstatus(&instance),
                if reason == "Authenticated" { Kstatus::Current } else { Kstatus::InProgress }
            );
        }
        if there.contains(&Connection) {
            let expected = reasons(there);
            let is_so = |bbc: &BitbucketConnection| {
                ["CredentialsValid", "Synced", "Ready"].map(|kind| condition(bbc, kind).1) == expected
            };
            let bbc = tenant.until("payments", &format!("is {expected:?} after {there:?}"), is_so).await;
            let done = expected[2] == "Succeeded";
            assert_eq!(condition(&bbc, "Ready").0, if done { "True" } else { "False" }, "{there:?}");
            assert_eq!(kstatus(&bbc), if done { Kstatus::Current } else { Kstatus::InProgress }, "{there:?}");
        }
    }
    // What merely waited is told by conditions: nothing was wrong.
    assert_eq!(tenant.told("payments").await, ["ConnectionCreated"], "{order:?}");
    let made: Vec<_> = world.kms.connections();
    let made: Vec<_> = made.iter().filter(|row| row.project_id.as_ref() == Some(&place.project)).collect();
    assert_eq!(made.len(), 1, "{order:?}");
    assert_eq!((made[0].email.as_str(), made[0].api_token.as_str()), (EMAIL, sim::seed::GOOD));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_work_as_they_are() {
    let world = World::cluster_wide().await;
    sim::seed::seed(&world.bitbucket, &world.kms);
    let folder = world.plane().control_plane.dir().join("examples");
    std::fs::create_dir(&folder).expect("a folder");
    for piece in Piece::ALL {
        let (name, text) = piece.file();
        let here = text.replace("http://127.0.0.1:7991", &world.kms.url());
        assert_eq!(here == text, piece != Instance, "the host is in {name} alone");
        std::fs::write(folder.join(name), here).expect("a file");
    }
    let folder = folder.to_str().expect("a path");
    succeeds(&kubectl(world.plane(), &["apply", "-f", folder]).await);
    succeeds(&kubectl(world.plane(), &["wait", "--for=condition=Ready", "--timeout=90s", "bbc/payments"]).await);
    succeeds(
        &kubectl(world.plane(), &["wait", "--for=condition=Ready", "--timeout=90s", "clusterkmsinstance/default"])
            .await,
    );
    let made = world.kms.connection("payments").expect("a connection");
    assert_eq!((made.email.as_str(), made.api_token.as_str()), (EMAIL, sim::seed::GOOD));
    assert!(made.description.expect("a text").starts_with("Repositories of the payments team [k8s:"));

    let again = kubectl(world.plane(), &["apply", "-f", folder]).await;
    let again = String::from_utf8_lossy(&again.stdout).into_owned();
    for object in
        ["bitbucketconnection.connections.kms.hanzo.ai/payments", "clusterkmsinstance.connections.kms.hanzo.ai/default"]
    {
        assert!(again.contains(&format!("{object} unchanged")), "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_looked_at_is_never_finished() {
    let world = World::builder().without_operator().start().await;
    world.secret("bitbucket-token", EMAIL, crate::harness::TOKEN).await;
    world.instance().await;
    world.connection("payments").apply().await;
    let namespace = format!("--namespace={}", world.namespace());
    for kind in ["bbc/payments", "kmsinstance/kms"] {
        let arguments = ["wait", "--for=condition=Ready", "--timeout=0s", &namespace, kind];
        assert!(!kubectl(world.plane(), &arguments).await.status.success(), "{kind}");
    }
    assert_eq!(kstatus(&world.get("payments").await), Kstatus::InProgress);
    let kind =
        json!({"apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "KmsInstance", "metadata": {"name": "kms"}});
    let (instances, _) = dynamic(world.client(), Some(world.namespace()), kind);
    assert_eq!(kstatus(&instances.get("kms").await.expect("an instance")), Kstatus::InProgress);

    world.operator.start().await;
    for kind in ["bbc/payments", "kmsinstance/kms"] {
        let arguments = ["wait", "--for=condition=Ready", "--timeout=90s", &namespace, kind];
        succeeds(&kubectl(world.plane(), &arguments).await);
    }
    assert_eq!(kstatus(&world.get("payments").await), Kstatus::Current);

    // Nor is a new generation while nobody looks.
    world.operator.kill().await;
    let changed = world.connection("payments").change(json!({"description": "new"})).apply().await;
    assert_eq!(kstatus(&changed), Kstatus::InProgress);
    world.operator.start().await;
    assert_eq!(kstatus(&world.ready("payments").await), Kstatus::Current);
}

async fn kubectl(plane: &Plane, arguments: &[&str]) -> Output {
    plane.control_plane.kubectl().args(arguments).output().await.expect("kubectl")
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
