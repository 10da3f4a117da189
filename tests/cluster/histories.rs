//! A sample of the random histories on the real level: the real binary, a real API server. The same steps and the same
//! model as in process, as far as no clock has to move; what there is found at the end of an interval is asked for here.
//!
//! `HISTORIES_END_TO_END` says how many.

use std::time::Duration;

use bitbucket_connection_operator::api::{BitbucketConnection, ClusterKmsInstance, KmsInstance};
use histories::{
    cast::{CANARY, Cast, Slot},
    chance,
    facts::Facts,
    guard,
    hands::{Cluster, Hands, Kind},
    judge::{self, Patience},
    ledger::Ledger,
    step::{Deed, History, Step},
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{PATIENCE, World, dynamic};

const OWNER: &str = "histories";
/// How many histories there are unless somebody asks for more.
const FEW: usize = 3;
/// How many steps one has at most, besides those that it begins with.
const STEPS: usize = 16;
/// How often all objects are looked at again, while they aren't as they must be.
const AGAIN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_histories_ends_as_it_must() {
    let world = World::cluster_wide_builder().args(["--owner-id", OWNER]).start().await;
    let histories = std::env::var("HISTORIES_END_TO_END").ok().and_then(|text| text.parse().ok()).unwrap_or(FEW);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for number in 0..histories {
        let tree = chance::histories(STEPS, false).new_tree(&mut runner).expect("a history");
        let history = tree.current();
        let found = play(&world, number, &history).await;
        assert!(found.is_empty(), "history {number}: {history:#?}\n{}\n{}", found.join("\n"), world.operator.tail());
    }
    assert_eq!(world.secrets_leaked(&[CANARY]).await, Vec::<String>::new());
    println!("proof: random histories, end to end | {histories}");
}

/// Plays a history in namespaces and projects of its own; what isn't as it must be is returned.
async fn play(world: &World, number: usize, history: &History) -> Vec<String> {
    let people = People(world.client().clone());
    let project = |which: usize| format!("00000000-0000-4000-8000-{:012x}", 2 * number + which);
    let cast = Cast {
        owner: OWNER.to_owned(),
        prefix: format!("history-{number}"),
        home: world.namespace().to_owned(),
        host: world.kms.url(),
        projects: [project(0), project(1)],
    };
    let hands = Hands { cluster: &people, kms: &world.kms, bitbucket: &world.bitbucket, cast: &cast };
    let (mut ledger, began) = (Ledger::default(), Instant::now());
    hands.prepare(&mut ledger).await;
    for step in &history.0 {
        match step {
            Step::Deed(deed) => hands.carry_out(deed, &mut ledger, began.elapsed()).await,
            Step::Pause => pause(world, &people, &cast).await,
            Step::Restart => world.restart().await,
            Step::Mishap(_) | Step::Wait(_) => panic!("a step that needs a clock"),
        }
        let facts = Facts::read(&people, &world.kms, &cast).await;
        guard::note_deletions(&facts, &mut ledger, &cast);
        judge::meanwhile(&facts, &mut ledger, &cast);
    }
    hands.heal();
    hands.allow();
    let mut found;
    loop {
        for slot in Slot::ALL {
            hands.carry_out(&Deed::Request(slot), &mut ledger, began.elapsed()).await;
        }
        tokio::time::sleep(AGAIN).await;
        let facts = Facts::read(&people, &world.kms, &cast).await;
        judge::meanwhile(&facts, &mut ledger, &cast);
        found = judge::in_the_end(&facts, &ledger, &cast, Patience::Moments);
        if found.is_empty() || began.elapsed() > 2 * PATIENCE {
            break;
        }
    }
    for team in histories::cast::Team::ALL {
        hands.carry_out(&Deed::DropNamespace(team), &mut ledger, began.elapsed()).await;
    }
    found
}

/// Lets the operator come as far as one that has nothing to wait for: until it has looked at each present spec.
async fn pause(world: &World, people: &People, cast: &Cast) {
    let looked_at = async {
        loop {
            let facts = Facts::read(people, &world.kms, cast).await;
            let seen =
                |object: &histories::facts::Object| object.status.0["observedGeneration"].as_i64() == object.generation;
            if facts.objects.values().all(|object| object.deleting || object.management == "Suspended" || seen(object))
            {
                return;
            }
            tokio::time::sleep(crate::harness::PAUSE).await;
        }
    };
    // In an outage it doesn't come that far.
    let _ = tokio::time::timeout(AGAIN, looked_at).await;
}

/// People with a client.
struct People(Client);

impl Cluster for People {
    async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        let client = self.0.clone();
        let found = match kind {
            Kind::Namespace => Api::<Namespace>::all(client).get_opt(name).await.map(|found| json!(found)),
            Kind::Secret => Api::<Secret>::namespaced(client, namespace).get_opt(name).await.map(|found| json!(found)),
            Kind::Connection => {
                let api = Api::<BitbucketConnection>::namespaced(client, namespace);
                api.get_opt(name).await.map(|found| json!(found))
            }
            Kind::KmsInstance => {
                Api::<KmsInstance>::namespaced(client, namespace).get_opt(name).await.map(|found| json!(found))
            }
            Kind::ClusterKmsInstance => {
                Api::<ClusterKmsInstance>::all(client).get_opt(name).await.map(|found| json!(found))
            }
        };
        Some(found.expect("an API server")).filter(|found| !found.is_null())
    }

    async fn create(&self, kind: Kind, namespace: &str, manifest: Value) {
        let name = manifest["metadata"]["name"].as_str().expect("a name").to_owned();
        self.write(kind, namespace, &name, &Patch::Apply(manifest)).await;
    }

    async fn merge(&self, kind: Kind, namespace: &str, name: &str, patch: Value) {
        self.write(kind, namespace, name, &Patch::Merge(patch)).await;
    }

    async fn delete(&self, kind: Kind, namespace: &str, name: &str) {
        let (api, _) = dynamic(&self.0, Some(namespace), Self::typed(kind, name));
        // What isn't there is gone already.
        let _ = api.delete(name, &DeleteParams::default()).await;
    }
}

impl People {
    fn typed(kind: Kind, name: &str) -> Value {
        let (version, kind) = match kind {
            Kind::Namespace => ("v1", "Namespace"),
            Kind::Secret => ("v1", "Secret"),
            Kind::Connection => ("connections.kms.hanzo.ai/v1alpha1", "BitbucketConnection"),
            Kind::KmsInstance => ("connections.kms.hanzo.ai/v1alpha1", "KmsInstance"),
            Kind::ClusterKmsInstance => ("connections.kms.hanzo.ai/v1alpha1", "ClusterKmsInstance"),
        };
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}})
    }

    /// What is refused has no effect: a namespace may be on its way out by now.
    async fn write(&self, kind: Kind, namespace: &str, name: &str, patch: &Patch<Value>) {
        let types = Self::typed(kind, name);
        let (api, _) = dynamic(&self.0, Some(namespace), types.clone());
        let written = match patch {
            Patch::Apply(manifest) => {
                let mut manifest = manifest.clone();
                crate::harness::merge(&mut manifest, types);
                api.patch(name, &PatchParams::apply("people").force(), &Patch::Apply(manifest)).await
            }
            other => api.patch(name, &PatchParams::default(), other).await,
        };
        if let Err(error) = written {
            let expected = matches!(&error, kube::Error::Api(status) if [403, 404, 409].contains(&status.code));
            assert!(expected, "{kind:?} {namespace}/{name}: {error}");
        }
    }
}
