//! The floor: the same writes to the API server by a bare client, which asks nobody else and remembers nothing; and what it
//! takes such a client to be told of all objects.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    api::{ListParams, Patch, PatchParams},
    core::{ListMeta, Request},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    Result,
    fleet::{AT_ONCE, Fleet},
    stage::Stage,
};

/// As many objects as the operator reads at a time.
const PAGE: u32 = 250;

/// What the operator wrote for an object: recorded from a real one, so that the floor writes as many bytes.
#[derive(Clone, Debug)]
pub struct Recorded {
    finalizers: Value,
    status: Value,
    event: Value,
}

impl Recorded {
    /// Of the first object of a fleet that is Ready.
    pub async fn of(stage: &Stage, fleet: Fleet) -> Result<Self> {
        let object = stage.api(&fleet.manifest(0))?.get(&Fleet::name(0)).await?;
        let metadata = json!({"namespace": fleet.team(0)});
        let events = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": metadata});
        let told = stage.api(&events)?.list(&ListParams::default()).await?;
        let about = |event: &&kube::core::DynamicObject| event.data["regarding"]["name"] == Fleet::name(0);
        let event = told.items.iter().find(about).ok_or("the operator told of no event")?;
        let mut event = serde_json::to_value(event)?;
        // Items of a list don't say what they are.
        (event["apiVersion"], event["kind"]) = (events["apiVersion"].clone(), events["kind"].clone());
        let finalizers = json!(object.metadata.finalizers);
        Ok(Self { finalizers, status: object.data["status"].clone(), event })
    }

    /// Finalizer, event, status: as the operator does it, each after the other.
    async fn write(&self, stage: &Stage, fleet: Fleet, index: usize, version: &str) -> Result<()> {
        let (name, namespace, mut object) = (Fleet::name(index), fleet.team(index), fleet.manifest(index));
        let api = stage.api(&object)?;
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": self.finalizers}});
        let patched = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;

        let mut event = self.event.clone();
        event["metadata"] = json!({"name": format!("{name}.{}", uuid::Uuid::new_v4()), "namespace": namespace});
        event["regarding"]["name"] = json!(name);
        event["regarding"]["namespace"] = json!(namespace);
        stage.create(&event).await?;

        object["metadata"]["resourceVersion"] = json!(patched.metadata.resource_version);
        object["status"] = self.status.clone();
        object["spec"].take();
        let status = json!({
            "apiVersion": object["apiVersion"], "kind": object["kind"],
            "metadata": object["metadata"], "status": object["status"],
        });
        api.patch_status(&name, &PatchParams::apply("floor").force(), &Patch::Apply(&status)).await?;
        Ok(())
    }
}

/// Objects are created as for the operator; a second crowd of the same size writes to each what the operator would.
pub async fn floor(stage: &Stage, fleet: Fleet, recorded: &Recorded) -> Result<Duration> {
    let began = Instant::now();
    let (made, to_write) = mpsc::unbounded_channel();
    let making = async move {
        let made = &made;
        let objects = (0..fleet.objects).map(|index| async move {
            let manifest = fleet.manifest(index);
            let object = serde_json::from_value(manifest.clone())?;
            let created = stage.api(&manifest)?.create(&Default::default(), &object).await?;
            made.send((index, created.metadata.resource_version.unwrap_or_default()))?;
            Ok(())
        });
        stream::iter(objects).buffer_unordered(AT_ONCE).try_collect::<()>().await
    };
    let to_write = stream::unfold(to_write, |mut queue| async { queue.recv().await.map(|next| (next, queue)) });
    let writing = to_write
        .map(|(index, version): (usize, String)| async move { recorded.write(stage, fleet, index, &version).await })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>();
    let (made, written) = futures::join!(making, writing);
    // A writer that fails ends the other, and knows why.
    written.and(made)?;
    Ok(began.elapsed())
}

/// How long it takes to be told of all objects, page by page, without a look at them.
pub async fn read_all(stage: &Stage, fleet: Fleet) -> Result<Duration> {
    #[derive(Deserialize)]
    struct Page {
        metadata: ListMeta,
        items: Vec<IgnoredAny>,
    }
    let connection = json!({"apiVersion": fleet.manifest(0)["apiVersion"], "kind": fleet.manifest(0)["kind"]});
    let request = Request::new(stage.api(&connection)?.resource_url());
    let (began, mut read, mut continues) = (Instant::now(), 0, None);
    loop {
        let page = ListParams { limit: Some(PAGE), continue_token: continues, ..ListParams::default() };
        let page: Page = stage.client.request(request.list(&page)?).await?;
        read += page.items.len();
        continues = page.metadata.continue_.filter(|token| !token.is_empty());
        if continues.is_none() {
            break;
        }
    }
    if read != fleet.objects {
        return Err(format!("the API server told of {read} objects, not of {}", fleet.objects).into());
    }
    Ok(began.elapsed())
}
