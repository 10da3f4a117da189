//! What the API server in memory promises to tests. How it compares to a real one is shown elsewhere, with a real one.

mod faults;
mod journal;
mod objects;
mod watches;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client};
use memory_api::{Held, MemoryApi};

/// An API server whose clock stands still, and a client of it.
fn server() -> (MemoryApi, Client) {
    let api = MemoryApi::new(|| "2026-01-01T00:00:00Z".parse().expect("a time"));
    let client = api.client();
    (api, client)
}

/// A ConfigMap in the namespace `default` with a value under the key `value`.
fn config(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.into()), namespace: Some("default".into()), ..ObjectMeta::default() },
        data: Some([("value".to_owned(), value.to_owned())].into()),
        ..ConfigMap::default()
    }
}

fn configs(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

/// The value of a ConfigMap.
fn value(config: &ConfigMap) -> &str {
    config.data.as_ref().and_then(|data| data.get("value")).map(String::as_str).unwrap_or_default()
}

/// The value of the ConfigMap `a` as it is stored.
fn stored(api: &MemoryApi) -> Option<String> {
    api.get::<ConfigMap>("default", "a").map(|config| value(&config).to_owned())
}

/// Status code and reason of a refusal.
#[track_caller]
fn refusal<T: std::fmt::Debug>(answer: kube::Result<T>) -> (u16, String) {
    match answer {
        Err(kube::Error::Api(status)) => (status.code, status.reason),
        other => panic!("no refusal: {other:?}"),
    }
}

/// Waits until a request is held.
async fn waits(held: &Held) {
    let reached = tokio::time::timeout(std::time::Duration::from_secs(60), held.reached(1)).await;
    reached.expect("a request comes to wait within a minute");
}
