//! Plays a misuse: writes it, waits for what becomes of it, mends it, and waits until all is well again.

use std::fmt;

use http::Method;
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};

use super::properties::{Path, Property};
use crate::{
    harness::{PATIENCE, PAUSE, World, condition, is_settled},
    schema::table::Place,
};

/// What became of a misuse.
#[derive(Clone)]
pub enum Outcome {
    /// The API server refused it, in these words.
    Refused(String),
    /// A condition names it: the reason, and the message.
    Named(String, String),
    /// It is no misuse: the object is Ready.
    Valid,
    /// What must not happen.
    Wrong(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(words) => write!(f, "refused: {words}"),
            Self::Named(reason, message) => write!(f, "{reason}: {message}"),
            Self::Valid => f.write_str("valid"),
            Self::Wrong(what) => f.write_str(what),
        }
    }
}

/// Plays with the objects of one kind.
pub struct Player {
    place: Place,
    api: Api<DynamicObject>,
}

impl Player {
    /// One for this kind.
    pub fn new(world: &World, kind: &str, plural: &str) -> Self {
        let group = GroupVersionKind::gvk("connections.kms.hanzo.ai", "v1alpha1", kind);
        let resource = ApiResource::from_gvk_with_plural(&group, plural);
        let namespace = (kind != "ClusterKmsInstance").then(|| world.namespace());
        let place = Place::new(world.client(), namespace, plural);
        let api = match namespace {
            Some(namespace) => Api::namespaced_with(world.client().clone(), namespace, &resource),
            None => Api::all_with(world.client().clone(), &resource),
        };
        Self { place, api }
    }

    /// An object is made with the misuse in it, and mended.
    pub async fn created(&self, property: &Property, good: &Value, value: Option<&Value>) -> Outcome {
        let mut manifest = good.clone();
        property.path.put(&mut manifest, value.cloned());
        match self.place.send(&Method::POST, self.place.path(), "", &manifest).await {
            Err(causes) => refused(&property.path, &causes),
            Ok(_) => self.outcome(&property.path, good, value).await.unwrap_or_else(Outcome::Wrong),
        }
    }

    /// An object that is Ready is changed, and changed back.
    pub async fn changed(&self, property: &Property, good: &Value, value: Option<&Value>) -> Outcome {
        let mut manifest = good.clone();
        property.path.put(&mut manifest, value.cloned());
        match self.update(&manifest).await {
            Err(causes) => refused(&property.path, &causes),
            Ok(()) => self.outcome(&property.path, good, value).await.unwrap_or_else(Outcome::Wrong),
        }
    }

    /// Makes an object that is fine, and waits until it says so.
    pub async fn make(&self, good: &Value) -> Result<(), String> {
        self.place.create(good).await;
        self.until(good, "is Ready", is_ready).await.map(drop)
    }

    /// What the operator makes of an object; then it is mended.
    async fn outcome(&self, path: &Path, good: &Value, value: Option<&Value>) -> Result<Outcome, String> {
        let judged = |object: &DynamicObject| is_settled(object) && !condition(object, "Ready").0.is_empty();
        let object = self.until(good, "says what the operator makes of it", judged).await?;
        let (status, reason, message) = condition(&object, "Ready");
        let outcome = if status == "True" { Outcome::Valid } else { Outcome::Named(reason, message) };
        if let Outcome::Named(reason, message) = &outcome
            && !tells(path, value, message)
        {
            return Err(format!("{reason} doesn't tell of it: {message}"));
        }
        let mended = self.mend(good).await;
        mended.map(|()| outcome.clone()).map_err(|wrong| format!("{wrong}, after: {outcome}"))
    }

    /// Writes what is good; where that is refused because it can't be changed, as the refusal says: anew.
    async fn mend(&self, good: &Value) -> Result<(), String> {
        if let Err(causes) = self.update(good).await {
            if !causes.iter().all(|(_, message)| message.contains("delete this object and create one")) {
                return Err(format!("what is good is refused: {causes:?}"));
            }
            let name = name_of(good);
            self.api.delete(name, &DeleteParams::default()).await.expect("a deletion");
            let gone = await_condition(self.api.clone(), name, |object: Option<&DynamicObject>| object.is_none());
            let gone = tokio::time::timeout(PATIENCE, gone).await;
            gone.map_err(|_| format!("{name} isn't gone"))?.expect("a watch");
            self.place.create(good).await;
        }
        self.until(good, "is Ready once it is mended", is_ready).await.map(drop)
    }

    /// Puts a spec in the place of the one that is there.
    async fn update(&self, manifest: &Value) -> Result<(), Vec<(String, String)>> {
        let path = format!("{}/{}", self.place.path(), name_of(manifest));
        loop {
            let now = self.api.get(name_of(manifest)).await.expect("the object");
            let mut now = json!(now);
            match manifest.get("spec") {
                Some(spec) => now["spec"] = spec.clone(),
                None => drop(now.as_object_mut().map(|object| object.remove("spec"))),
            }
            match self.place.send(&Method::PUT, &path, "", &now).await {
                Ok(_) => return Ok(()),
                // The operator wrote in between.
                Err(causes) if causes.iter().any(|(_, words)| words.contains("the object has been modified")) => {}
                Err(causes) => return Err(causes),
            }
        }
    }

    async fn until(
        &self,
        good: &Value,
        what: &str,
        holds: impl Fn(&DynamicObject) -> bool,
    ) -> Result<DynamicObject, String> {
        let name = name_of(good);
        // A watch may break off.
        let seen = async {
            loop {
                let holds = |object: Option<&DynamicObject>| object.is_some_and(&holds);
                if let Ok(Some(object)) = await_condition(self.api.clone(), name, holds).await {
                    return object;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        match tokio::time::timeout(PATIENCE, seen).await {
            Ok(object) => Ok(object),
            Err(_) => {
                let object = self.api.get(name).await.map(|object| json!(object)).unwrap_or_default();
                let status = condition(&object, "Ready");
                Err(format!("it isn't so that {name} {what}: {status:?} of {}", object["spec"]))
            }
        }
    }
}

fn is_ready(object: &DynamicObject) -> bool {
    is_settled(object) && condition(object, "Ready").0 == "True"
}

fn name_of(manifest: &Value) -> &str {
    manifest["metadata"]["name"].as_str().expect("a name")
}

/// Whether a message tells of a property: by its name or that of what holds it, or by its value.
fn tells(path: &Path, value: Option<&Value>, message: &str) -> bool {
    let names = path.names();
    let mut names = names.iter().filter(|name| **name != "spec");
    let value = value.and_then(Value::as_str).filter(|value| !value.trim().is_empty());
    names.any(|name| message.contains(name)) || value.is_some_and(|value| message.contains(value))
}

/// A refusal says where it is wrong: by the field that it is about, or the one that holds it, or by name.
fn refused(path: &Path, causes: &[(String, String)]) -> Outcome {
    let (shown, name) = (path.to_string(), path.name());
    let here = shown.split("{}").next().unwrap_or_default();
    let holds_it = |field: &str| field.contains('.') && here.starts_with(field);
    let names_it =
        |(field, message): &(String, String)| field.starts_with(here) || holds_it(field) || message.contains(name);
    let words: Vec<String> = causes.iter().map(|(field, message)| format!("{field}: {message}")).collect();
    let words = words.join(" | ");
    if causes.iter().any(names_it) {
        Outcome::Refused(words)
    } else {
        Outcome::Wrong(format!("doesn't name it: {words}"))
    }
}
