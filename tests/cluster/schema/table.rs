//! Tables of manifests: each row is a base with changes, and what the API server says to it.

use futures::{StreamExt, stream};
use http::{Method, Request};
use kube::Client;
use serde_json::{Map, Value, json};

/// Stands in a row's changes for a field that isn't there; null is an empty one.
pub const ABSENT: &str = "(absent)";

/// What would lead elsewhere as a part of an address, or mean something else there.
pub const LEADING_ELSEWHERE: [&str; 11] = [
    "..",
    "../x",
    "../../team-b/secrets/token",
    "a/../../b",
    "a/b",
    "a\\b",
    "%2e%2e%2fb",
    "a?watch=true",
    "a#b",
    "a b",
    "a\nb",
];

/// How many rows are asked at once.
const AT_ONCE: usize = 16;

/// A change of a manifest and what becomes of it.
pub struct Row {
    changes: Value,
    refusal: Option<(&'static str, &'static str)>,
}

/// The changes are fine. Keys are paths, such as `spec.scopes.useCases`.
pub fn good(changes: Value) -> Row {
    Row { changes, refusal: None }
}

/// The changes are refused, for this field alone and in words among which are these.
pub fn bad(changes: Value, field: &'static str, words: &'static str) -> Row {
    Row { changes, refusal: Some((field, words)) }
}

/// Where objects of a kind are.
#[derive(Clone)]
pub struct Place {
    client: Client,
    path: String,
}

impl Place {
    /// In a namespace, or in none.
    pub fn new(client: &Client, namespace: Option<&str>, plural: &str) -> Self {
        let namespace = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
        let path = format!("/apis/connections.kms.hanzo.ai/v1alpha1{namespace}/{plural}");
        Self { client: client.clone(), path }
    }

    /// Creates an object for good.
    pub async fn create(&self, manifest: &Value) -> Value {
        let created = self.send(&Method::POST, &self.path, "", manifest).await;
        created.unwrap_or_else(|causes| panic!("refused: {manifest:#}: {causes:?}"))
    }

    /// Has each row created, without effect, and compares.
    pub async fn created(&self, base: &Value, rows: Vec<Row>) {
        self.check(base, rows, &Method::POST, &self.path).await;
    }

    /// Has each row written over what exists, without effect, and compares.
    pub async fn updated(&self, existing: &Value, rows: Vec<Row>) {
        let path = format!("{}/{}", self.path, existing["metadata"]["name"].as_str().expect("a name"));
        self.check(existing, rows, &Method::PUT, &path).await;
    }

    /// Writes one change over what exists, without effect; it is refused for all of these at once.
    pub async fn updated_saying(&self, existing: &Value, changes: &Value, refusals: &[(&str, &str)]) {
        let path = format!("{}/{}", self.path, existing["metadata"]["name"].as_str().expect("a name"));
        let answer = self.send(&Method::PUT, &path, "&dryRun=All", &with(existing, changes)).await;
        let causes = answer.expect_err("a refusal");
        let said = |(field, words): &(&str, &str)| {
            causes.iter().any(|(found, message)| found == field && message.contains(words))
        };
        assert!(refusals.iter().all(said) && refusals.len() == causes.len(), "{refusals:#?} are not {causes:#?}");
    }

    /// Overwrites the status of what exists, without effect, and compares.
    pub async fn status_updated(&self, existing: &Value, rows: Vec<Row>) {
        let path = format!("{}/{}/status", self.path, existing["metadata"]["name"].as_str().expect("a name"));
        self.check(existing, rows, &Method::PUT, &path).await;
    }

    async fn check(&self, base: &Value, rows: Vec<Row>, method: &Method, path: &str) {
        let ask = async |row: Row| {
            let manifest = with(base, &row.changes);
            wrong(&row, &self.send(method, path, "&dryRun=All", &manifest).await)
        };
        let wrong: Vec<Option<String>> =
            stream::iter(rows.into_iter().map(ask)).buffer_unordered(AT_ONCE).collect().await;
        let wrong: Vec<String> = wrong.into_iter().flatten().collect();
        assert!(wrong.is_empty(), "{} rows are wrong\n{}", wrong.len(), wrong.join("\n"));
    }

    /// Where its objects are, as part of an address.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// As kubectl does: unknown fields are refused. A refusal comes as the fields that are wrong, with what is said of each.
    pub async fn send(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        manifest: &Value,
    ) -> Result<Value, Vec<(String, String)>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?fieldValidation=Strict{query}"))
            .header("content-type", "application/json")
            .body(manifest.to_string().into_bytes())
            .expect("a request");
        match self.client.request::<Value>(request).await {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) => Err(causes(&json!(*status))),
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

/// Field and words of each thing that the API server finds wrong.
fn causes(status: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let causes = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let mut causes: Vec<_> = causes.iter().map(|cause| (text(&cause["field"]), text(&cause["message"]))).collect();
    // It goes with every refusal by the schema itself.
    causes.retain(|(_, message)| !message.contains("some validation rules were not checked"));
    if causes.is_empty() {
        causes.push((String::new(), text(&status["message"])));
    }
    causes
}

fn wrong(row: &Row, answer: &Result<Value, Vec<(String, String)>>) -> Option<String> {
    let found = match (answer, row.refusal) {
        (Ok(_), None) => return None,
        (Err(causes), Some((field, words))) => {
            if let [(found, message)] = &causes[..]
                && found == field
                && message.contains(words)
            {
                return None;
            }
            format!("is refused otherwise than for {field:?}, {words:?}: {causes:#?}")
        }
        (Ok(_), Some((field, words))) => format!("is taken instead of refused for {field:?}, {words:?}"),
        (Err(causes), None) => format!("is refused: {causes:#?}"),
    };
    Some(format!("{}\n  {found}", row.changes))
}

/// The base with these changes.
pub fn with(base: &Value, changes: &Value) -> Value {
    let mut manifest = base.clone();
    for (path, value) in changes.as_object().expect("paths and values") {
        let mut steps = path.split('.').peekable();
        let mut place = &mut manifest;
        while let Some(step) = steps.next() {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(fields) = place else { unreachable!("made an object just now") };
            if steps.peek().is_none() && value == ABSENT {
                fields.remove(step);
                break;
            }
            place = fields.entry(step).or_insert(Value::Null);
            if steps.peek().is_none() {
                *place = value.clone();
            }
        }
    }
    manifest
}
