//! What becomes of the operator when the API server refuses, forgets or is away: the log says what is wrong and the next
//! step, nothing is done twice, and all goes on by itself once that is over.

mod conflicts;
mod outages;
mod rights;
mod watches;

use bitbucket_connection_operator::api::RECONCILE_REQUESTED_AT;
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::harness::{Metrics, Operator};

const NEXT: &str = "ATATT3xFfGF0-canary-of-the-next-token";
const LAST: &str = "ATATT3xFfGF0-canary-of-the-last-token";

/// Whatever the API server says, the process lives and is ready: it has filled its caches, and no restart would help.
async fn lives(operator: &Operator) {
    for path in ["/livez", "/readyz"] {
        assert_eq!(operator.get("health", path).await.map(|(status, _)| status), Some(200), "{path}");
    }
}

/// How many passes broke off, as metrics have it.
fn errors(metrics: &Metrics) -> f64 {
    let name = "bitbucket_connection_operator_reconciles_total";
    metrics.value(name, &[("result", "error")]).unwrap_or_default()
}

/// Writes to an object of any kind as somebody else, if it is there.
async fn touch<K>(api: Api<K>, name: &str)
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let now = uuid::Uuid::new_v4().to_string();
    let change = json!({"metadata": {"annotations": {RECONCILE_REQUESTED_AT: now}}});
    let _ = api.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await;
}
