//! What is printed when something doesn't become true: everything there is to see.

use std::fmt::Write as _;

use bitbucket_connection_operator::api::{BitbucketConnection, ClusterKmsInstance, KmsInstance};
use kube::{Api, api::ListParams};
use serde::Serialize;
use serde_json::Value;
use sim::Entry;

use super::tenant::{Kind, Tenant};

impl Tenant {
    /// Our objects, their events, what the stand-ins were asked, and the end of the operator's log.
    pub async fn report(&self, name: &str) -> String {
        let mut report = String::new();
        for object in self.our_objects().await {
            let _ = writeln!(report, "---\n{}", yaml(&object));
        }
        let _ = writeln!(report, "--- events about {name}");
        for (kind, reason, note) in self.events(name).await {
            let _ = writeln!(report, "  {kind} {reason}: {note}");
        }
        let (bitbucket, kms) = self.stand_ins();
        let mut journal = [bitbucket.journal(), kms.journal()].concat();
        journal.sort_by_key(|entry| entry.seq);
        let _ = writeln!(report, "--- what Bitbucket and the KMS were asked");
        for entry in &journal {
            let _ = writeln!(report, "  {}", line(entry));
        }
        let _ = writeln!(report, "--- {}", self.process().tail());
        report
    }

    /// All objects of our kinds: the connections and instances of this namespace, and the cluster's instances.
    pub(super) async fn our_objects(&self) -> Vec<Value> {
        let mut objects = list(self.api::<BitbucketConnection>()).await;
        objects.extend(list(self.api::<KmsInstance>()).await);
        objects.extend(list(self.cluster_api::<ClusterKmsInstance>()).await);
        objects
    }
}

async fn list<K: Kind + Serialize>(api: Api<K>) -> Vec<Value> {
    let objects = api.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let mut values: Vec<Value> = objects.iter().filter_map(|object| serde_json::to_value(object).ok()).collect();
    for value in &mut values {
        value["kind"] = Value::from(K::kind(&()).into_owned());
        if let Some(metadata) = value["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }
    values
}

/// An object as people read it.
pub fn yaml(object: &Value) -> String {
    serde_saphyr::to_string(object).unwrap_or_else(|_| format!("{object:#}"))
}

fn line(entry: &Entry) -> String {
    let query: Vec<String> = entry.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let Entry { seq, caller, operation, method, path, outcome, .. } = entry;
    format!("{seq} {caller:?} {operation:?} {method} {path}{query} -> {outcome:?}")
}
