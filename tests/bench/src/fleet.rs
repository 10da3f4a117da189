//! Many connections: applied, and waited for.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{api::ListParams, core::DynamicObject};
use serde_json::{Value, json};
use sim::{Operation, seed};

use crate::{Result, api_server::Requests, process::Operator, stage::Stage};

/// Of our kinds.
pub const API_VERSION: &str = "connections.kms.hanzo.ai/v1alpha1";
/// As many objects are under way at once as in the operator by default.
pub const AT_ONCE: usize = 16;
/// Without progress for so long, it failed.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
/// The API server takes a moment for telling what it counted.
const LONG_PAUSE: Duration = Duration::from_millis(100);

/// How many connections there are, and how many Secrets they share evenly, one in each namespace.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    pub objects: usize,
    pub credentials: usize,
}

impl Fleet {
    /// The namespace of an object.
    pub fn team(self, index: usize) -> String {
        format!("team-{}", index % self.credentials)
    }

    /// The name of an object.
    pub fn name(index: usize) -> String {
        format!("repository-{index:05}")
    }

    /// An object, as somebody applies it.
    pub fn manifest(self, index: usize) -> Value {
        json!({
            "apiVersion": API_VERSION,
            "kind": "BitbucketConnection",
            "metadata": {"name": Self::name(index), "namespace": self.team(index)},
            "spec": {
                "projectId": seed::PROJECT,
                "description": "Scans the repositories of a team",
                "contact": "team@example.com",
                "secretRef": {"name": "bitbucket-token"},
                "scopes": {"useCases": ["SecretScanning"]},
            },
        })
    }

    /// Namespaces and Secrets.
    pub async fn teams(self, stage: &Stage) -> Result<()> {
        let teams = (0..self.credentials).map(|team| async move { stage.team(&format!("team-{team}")).await });
        stream::iter(teams).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Applies all objects, and waits until all are Ready; tells how long that took.
    pub async fn until_ready(self, stage: &Stage, operator: &Operator) -> Result<Duration> {
        let before = Requests::so_far(stage).await?;
        let began = Instant::now();
        let applied = (0..self.objects).map(|index| async move { stage.create(&self.manifest(index)).await });
        stream::iter(applied).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        // First by counters, which cost the API server nothing.
        let (mut last, mut progress) = (0, Instant::now());
        while last < self.objects && progress.elapsed() < PATIENCE {
            tokio::time::sleep(PAUSE).await;
            let created = stage.kms.tally().of([Operation::Create]).total();
            if created > last {
                (last, progress) = (created, Instant::now());
            }
        }
        let mut end = began.elapsed();
        let all = f64::from(u32::try_from(self.objects)?);
        while progress.elapsed() < PATIENCE {
            let written = Requests::so_far(stage).await?.since(&before).of("APPLY bitbucketconnections/status");
            end = began.elapsed();
            if written >= all {
                break;
            }
            tokio::time::sleep(LONG_PAUSE).await;
        }
        let mut ready = self.ready(stage).await?;
        while ready < self.objects && progress.elapsed() < PATIENCE {
            tokio::time::sleep(LONG_PAUSE).await;
            ready = self.ready(stage).await?;
            end = began.elapsed();
        }
        if ready < self.objects {
            let (tail, all) = (operator.tail(), self.objects);
            return Err(format!("only {ready} of {all} objects are Ready; the operator says:\n{tail}").into());
        }
        Ok(end)
    }

    /// How many are Ready.
    async fn ready(self, stage: &Stage) -> Result<usize> {
        let mut all = self.manifest(0);
        all["metadata"]["namespace"].take();
        let (api, mut ready, mut page) = (stage.api(&all)?, 0, None::<String>);
        loop {
            let mut params = ListParams::default().limit(1_000);
            params.continue_token.clone_from(&page);
            let list = api.list(&params).await?;
            ready += list.items.iter().filter(|object| is_ready(object)).count();
            page = list.metadata.continue_.filter(|page| !page.is_empty());
            if page.is_none() {
                return Ok(ready);
            }
        }
    }
}

fn is_ready(object: &DynamicObject) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
