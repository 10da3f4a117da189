//! What the API server counted.

use std::collections::BTreeMap;

use crate::{Result, stage::Stage};

/// How many requests there were, by verb and resource, such as `APPLY bitbucketconnections/status`.
#[derive(Clone, Debug, Default)]
pub struct Requests(BTreeMap<String, f64>);

impl Requests {
    /// All since the start of the API server.
    pub async fn so_far(stage: &Stage) -> Result<Self> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = stage.client.request_text(request).await?;
        let mut requests = BTreeMap::new();
        for line in text.lines() {
            let Some(labels) = line.strip_prefix("apiserver_request_total{") else { continue };
            let Some((labels, count)) = labels.rsplit_once("} ") else { continue };
            let label = |name: &str| {
                let value = labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""));
                value.and_then(|value| value.strip_suffix('"')).unwrap_or_default()
            };
            let slash = if label("subresource").is_empty() { "" } else { "/" };
            let what = format!("{} {}{slash}{}", label("verb"), label("resource"), label("subresource"));
            *requests.entry(what).or_default() += count.parse::<f64>()?;
        }
        Ok(Self(requests))
    }

    /// How many there were since then.
    pub fn since(mut self, before: &Self) -> Self {
        for (what, count) in &mut self.0 {
            *count -= before.of(what);
        }
        self
    }

    /// How many of this kind.
    pub fn of(&self, what: &str) -> f64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Writes about connections that only the operator makes: this program creates objects, and patches none.
    pub fn by_operator(&self) -> f64 {
        let writes = ["PATCH", "APPLY", "PUT"].iter().flat_map(|verb| {
            ["bitbucketconnections", "bitbucketconnections/status"].iter().map(move |what| format!("{verb} {what}"))
        });
        writes.chain(["POST events".to_owned()]).map(|what| self.of(&what)).sum()
    }
}
