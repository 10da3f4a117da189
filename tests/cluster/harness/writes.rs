//! What the operator changed, or tried to, and which Secrets it read, as the API server saw it.

use serde_json::Value;

/// One request, mostly to change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// create, patch, update, delete or deletecollection; of those that were refused also get, list or watch.
    pub verb: String,
    /// The resource, with its subresource: `bitbucketconnections/status`, `events`.
    pub resource: String,
    /// The namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The status of the answer.
    pub code: i64,
}

impl Write {
    /// Did it take effect?
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// Reads the API server's audit log; of all changes those by `user`.
pub fn of_user(audit_log: &str, user: &str) -> Vec<Write> {
    let requests = requests(audit_log, user);
    requests.filter(|request| !["get", "list", "watch"].contains(&request.verb.as_str())).collect()
}

/// Every request of `user` that was refused for want of a right.
pub fn refused(audit_log: &str, user: &str) -> Vec<Write> {
    requests(audit_log, user).filter(|request| request.code == 403).collect()
}

/// Secrets and ConfigMaps that `user` read one by one, or tried to: `secrets team-a/bitbucket-token`, in their order.
pub fn reads_of_user(audit_log: &str, user: &str) -> Vec<String> {
    let is_source = |resource: &str| ["secrets", "configmaps"].contains(&resource);
    let reads = requests(audit_log, user).filter(|request| request.verb == "get" && is_source(&request.resource));
    reads.map(|read| format!("{} {}/{}", read.resource, read.namespace, read.name)).collect()
}

fn requests(audit_log: &str, user: &str) -> impl Iterator<Item = Write> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = audit_log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events = events.filter(move |event| event["user"]["username"] == user);
    events.map(move |event| {
        let object = &event["objectRef"];
        let subresource = object["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
        Write {
            verb: text(&event["verb"]),
            resource: text(&object["resource"]) + &subresource,
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            code: event["responseStatus"]["code"].as_i64().unwrap_or_default(),
        }
    })
}
