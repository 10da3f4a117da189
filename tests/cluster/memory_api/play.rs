//! Asks an API server, whichever it is, and writes down what it says in a form that can be compared.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::{AsyncBufReadExt, TryStreamExt, future::BoxFuture};
use http::{Request, header};
use kube::{Client, client::Body};
use serde_json::{Value, json};

use crate::harness::in_time;

/// One scenario.
pub type Scenario = for<'a> fn(&'a mut Play) -> BoxFuture<'a, ()>;

/// The kinds that are played with.
#[derive(Clone, Copy)]
pub enum Kind {
    Connection,
    Secret,
    Lease,
    Event,
    Account,
}

impl Kind {
    fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::Connection => ("apis/connections.kms.hanzo.ai/v1alpha1", "bitbucketconnections"),
            Self::Secret => ("api/v1", "secrets"),
            Self::Lease => ("apis/coordination.k8s.io/v1", "leases"),
            Self::Event => ("apis/events.k8s.io/v1", "events"),
            Self::Account => ("api/v1", "serviceaccounts"),
        }
    }
}

/// The parts of a request that are seldom needed.
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// A namespace of an API server, and what was said there.
pub struct Play {
    client: Client,
    namespace: String,
    said: Vec<String>,
    uids: Vec<String>,
    versions: Vec<String>,
    kind: Kind,
    accept: &'static str,
}

impl Play {
    /// In a namespace of its own.
    pub async fn on(client: Client) -> Self {
        let namespace = format!("m-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let play = Self {
            client,
            namespace: namespace.clone(),
            said: Vec::new(),
            uids: Vec::new(),
            versions: Vec::new(),
            kind: Kind::Connection,
            accept: "application/json",
        };
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let (code, answer) = play.send("POST", "/api/v1/namespaces", "application/json", &manifest).await;
        assert_eq!(code, 201, "{answer}");
        play
    }

    /// What was said in a scenario.
    pub async fn play(mut self, scenario: &Scenario) -> Vec<String> {
        scenario(&mut self).await;
        self.said
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// From here on with this kind.
    pub fn kind(&mut self, kind: Kind) {
        self.kind = kind;
    }

    fn path(&self, rest: &str) -> String {
        let (api, plural) = self.kind.path();
        format!("/{api}/namespaces/{}/{plural}{rest}", self.namespace)
    }

    pub async fn get(&mut self, name: &str) -> Value {
        self.ask("GET", &self.path(&format!("/{name}")), "", &Value::Null).await
    }

    pub async fn list(&mut self, query: &str) -> Value {
        self.ask("GET", &self.path(query), "", &Value::Null).await
    }

    pub async fn create(&mut self, manifest: &Value) -> Value {
        self.ask("POST", &self.path(""), "application/json", manifest).await
    }

    /// `name`, or `name/status`.
    pub async fn replace(&mut self, name: &str, manifest: &Value) -> Value {
        self.ask("PUT", &self.path(&format!("/{name}")), "application/json", manifest).await
    }

    pub async fn merge(&mut self, name: &str, patch: Value) -> Value {
        self.ask("PATCH", &self.path(&format!("/{name}")), MERGE, &patch).await
    }

    pub async fn json_patch(&mut self, name: &str, patch: Value) -> Value {
        self.ask("PATCH", &self.path(&format!("/{name}")), "application/json-patch+json", &patch).await
    }

    pub async fn apply(&mut self, name: &str, patch: Value) -> Value {
        self.apply_as("tests", name, patch).await
    }

    pub async fn apply_as(&mut self, manager: &str, name: &str, mut patch: Value) -> Value {
        if matches!(self.kind, Kind::Connection) {
            patch["apiVersion"] = json!("connections.kms.hanzo.ai/v1alpha1");
            patch["kind"] = json!("BitbucketConnection");
        }
        let manager = if manager.is_empty() { String::new() } else { format!("&fieldManager={manager}") };
        let path = self.path(&format!("/{name}?force=true{manager}"));
        self.ask("PATCH", &path, APPLY, &patch).await
    }

    pub async fn delete(&mut self, name: &str, options: Value) -> Value {
        self.ask("DELETE", &self.path(&format!("/{name}")), "application/json", &options).await
    }

    /// A request to a path of its own.
    pub async fn raw(&mut self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, path, "application/json", body).await
    }

    /// All that is asked meanwhile asks for metadata alone.
    pub fn metadata_only(&mut self, list: bool) {
        self.accept = if list { METADATA_LIST } else { METADATA };
    }

    /// That is over.
    pub fn whole(&mut self) {
        self.accept = "application/json";
    }

    /// So many lines of a watch.
    pub async fn watch(&mut self, query: &str, lines: usize) {
        let path = self.path(&format!("?watch=true&timeoutSeconds=30&{query}"));
        let request = Request::get(path).header(header::ACCEPT, self.accept).body(Vec::new()).expect("a request");
        let stream = match self.client.request_stream(request).await {
            Ok(stream) => stream,
            Err(kube::Error::Api(status)) => {
                self.note("WATCH", query, status.code, &json!({"reason": status.reason}));
                return;
            }
            Err(error) => panic!("no watch: {error}"),
        };
        let mut found = Box::pin(stream.lines());
        for _ in 0..lines {
            let line = in_time("a line of a watch", found.try_next()).await.expect("a line");
            let line = line.map_or(Value::Null, |line| serde_json::from_str(&line).expect("JSON"));
            self.note("WATCH", query, 200, &line);
        }
    }

    async fn ask(&mut self, method: &str, path: &str, content_type: &str, body: &Value) -> Value {
        let (code, answer) = self.send(method, path, content_type, body).await;
        self.note(method, path, code, &answer);
        answer
    }

    async fn send(&self, method: &str, path: &str, content_type: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string().into_bytes()) };
        let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, self.accept);
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let answer = self.client.send(request.body(body).expect("a request")).await.expect("an answer");
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.expect("a body");
        (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("no JSON: {bytes:?}")))
    }

    /// The same without being written down.
    pub async fn quietly(&mut self, method: &str, path: &str, body: &Value) -> Value {
        self.send(method, path, "application/json", body).await.1
    }

    /// An application without being written down.
    pub async fn quietly_apply(&mut self, name: &str, mut patch: Value) -> Value {
        patch["apiVersion"] = json!("connections.kms.hanzo.ai/v1alpha1");
        patch["kind"] = json!("BitbucketConnection");
        self.send("PATCH", &self.path(&format!("/{name}?force=true&fieldManager=tests")), APPLY, &patch).await.1
    }

    /// What a JWT claims.
    pub fn claims(token: &str) -> Value {
        let part = token.split('.').nth(1).expect("a JWT");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
    }

    /// Writes something down.
    pub fn say(&mut self, what: &str, said: &Value) {
        self.note(what, "", 0, said);
    }

    /// Of the first that a watch says: its type, and code and reason of what it is about; without a stream the answer's.
    pub async fn first_of_watch(&mut self, query: &str) -> [Value; 3] {
        let path = self.path(&format!("?watch=true&timeoutSeconds=30&{query}"));
        let request = Request::get(path).body(Vec::new()).expect("a request");
        let stream = self.client.request_stream(request).await.expect("a watch");
        let line = in_time("a line of a watch", Box::pin(stream.lines()).try_next()).await.expect("a line");
        let line: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        [line["type"].clone(), line["object"]["code"].clone(), line["object"]["reason"].clone()]
    }

    /// Writes an answer down.
    fn note(&mut self, method: &str, path: &str, code: u16, answer: &Value) {
        let mut answer = answer.clone();
        self.normalize(&mut answer);
        // Causes repeat the message.
        if let Some(details) = answer.get_mut("details").and_then(Value::as_object_mut) {
            details.remove("causes");
        }
        let note = self.in_plain(&format!("{method} {path} -> {code} {answer}"));
        self.said.push(note);
    }

    fn normalize(&mut self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                // Those of events are of an older version of theirs.
                fields.retain(|name, _| name != "managedFields" && !name.starts_with("deprecated"));
                let is_list = fields.contains_key("items");
                for (name, field) in fields {
                    match (name.as_str(), &*field) {
                        ("uid", Value::String(uid)) => remember(&mut self.uids, uid),
                        // Of a list: that of the latest write of all, whoever wrote what.
                        ("metadata", _) if is_list => *field = json!({}),
                        ("resourceVersion", Value::String(version)) => remember(&mut self.versions, version),
                        ("creationTimestamp" | "deletionTimestamp", Value::String(_)) => *field = json!("a time"),
                        _ => self.normalize(field),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.normalize(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Without what differs from one API server to the next: uids and versions are numbered as they come.
    fn in_plain(&self, text: &str) -> String {
        let mut text = text.replace(&self.namespace, "(namespace)");
        for (number, uid) in self.uids.iter().enumerate() {
            text = text.replace(uid, &format!("(uid {number})"));
        }
        for (number, version) in self.versions.iter().enumerate() {
            for before in ["\"", ": ", "=", "("] {
                for after in ["\"", ",", "&", ")", " "] {
                    let found = format!("{before}{version}{after}");
                    text = text.replace(&found, &format!("{before}(version {number}){after}"));
                }
            }
        }
        text
    }
}

fn remember(known: &mut Vec<String>, word: &str) {
    if !word.is_empty() && !known.iter().any(|it| it == word) {
        known.push(word.to_owned());
    }
}
