//! What there is in the end, in lines that can be compared; and what must never be meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use bitbucket_connection_operator::{
    api::{BitbucketConnection, CONNECTION_FINALIZER, ClusterKmsInstance, KmsInstance},
    domain::ownership,
};
use k8s_openapi::api::{
    core::v1::{Namespace, Secret},
    events::v1::Event,
};
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sim::Connection;

use crate::{hands::owner, world::World};

/// All that is left, without what differs by nature: times, versions, uids. Only what the operator can change.
#[derive(Clone, Debug, PartialEq)]
pub struct End(Vec<String>);

impl End {
    /// How it stands.
    pub fn of(world: &World) -> Self {
        let mut lines = Vec::new();
        objects::<Namespace>(world, &mut lines);
        objects::<ClusterKmsInstance>(world, &mut lines);
        objects::<KmsInstance>(world, &mut lines);
        objects::<BitbucketConnection>(world, &mut lines);
        for (of, kms) in [("KMS", &world.kms), ("another KMS", &world.other)] {
            lines.extend(kms.connections().iter().map(|row| in_words(of, row)));
        }
        // One that is told twice is there twice.
        lines.extend(events(world).into_iter().map(|(about, reason, note)| format!("event {about} {reason}: {note}")));
        lines.sort();
        Self(lines)
    }

    /// What it has not, and what it has, compared with another.
    pub fn differs_from(&self, other: &Self) -> Vec<String> {
        let count = |end: &Self| {
            let mut count = BTreeMap::<String, usize>::new();
            end.0.iter().for_each(|line| *count.entry(line.clone()).or_default() += 1);
            count
        };
        let (mine, others) = (count(self), count(other));
        let lines: BTreeSet<_> = mine.keys().chain(others.keys()).collect();
        let of = |count: &BTreeMap<String, usize>, line: &String| count.get(line).copied().unwrap_or_default();
        let differs = |line: &&String| of(&mine, line) != of(&others, line);
        let in_words = |line: &String| {
            let (here, there) = (of(&mine, line), of(&others, line));
            format!("{} {line}{}", if here < there { "-" } else { "+" }, if here * there > 0 { " (again)" } else { "" })
        };
        lines.into_iter().filter(differs).map(in_words).collect()
    }
}

/// What is told: about what, why, and in which words.
pub fn events(world: &World) -> Vec<(String, String, String)> {
    let in_words = |event: Event| {
        let about = event.regarding.and_then(|it| it.name).unwrap_or_default();
        (about, event.reason.unwrap_or_default(), event.note.unwrap_or_default())
    };
    world.api.list::<Event>().into_iter().map(in_words).collect()
}

fn in_words(of: &str, row: &Connection) -> String {
    let place = row.project_id.as_deref().unwrap_or("the organization");
    let Connection { name, description, email, api_token, .. } = row;
    format!("{of}: {name} in {place}, {:?}, {email} {api_token}", description.as_deref().unwrap_or_default())
}

fn objects<K>(world: &World, lines: &mut Vec<String>)
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Serialize,
{
    for object in world.api.list::<K>() {
        let place = [object.namespace().unwrap_or_default(), object.name_any()].join("/");
        let about = format!("{} {}", K::kind(&()), place.trim_start_matches('/'));
        let mut value = serde_json::to_value(&object).expect("JSON");
        timeless(&mut value);
        related(&mut value, world);
        flat(&about, &value, lines);
    }
}

/// Without what differs from one run to the next, whatever happens.
fn timeless(value: &mut Value) {
    const NEVER_ALIKE: [&str; 7] = [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "lastTransitionTime",
    ];
    const TIMES: [&str; 3] = ["lastVerifiedTime", "nextVerificationTime", "firstSeenTime"];
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !NEVER_ALIKE.contains(&name.as_str()));
            for (name, field) in fields {
                if TIMES.contains(&name.as_str()) && !field.is_null() {
                    *field = json!("some time");
                } else {
                    timeless(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(timeless),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What differs by nature, in words: whether it is that of something else that there is.
fn related(value: &mut Value, world: &World) {
    let rows = world.kms.connections();
    let row = rows.iter().find(|row| value["status"]["connection"]["id"] == row.id.as_str());
    if let Some(connection) = value["status"].get_mut("connection").filter(|it| it.is_object()) {
        connection["id"] = json!(row.map_or("of none that there is", |row| &row.name));
        let hash = row.is_some_and(|row| connection["credentialsHash"] == row.credentials_hash.as_str());
        connection["credentialsHash"] = json!(if hash { "as in the KMS" } else { "another than in the KMS" });
    }
    let secrets = world.api.list::<Secret>();
    let version_of =
        |secret: &Secret| [secret.uid().unwrap_or_default(), secret.resource_version().unwrap_or_default()].join("/");
    for place in ["/status/secretVersion", "/status/token/secretVersion"] {
        let Some(version) = value.pointer_mut(place).filter(|it| it.is_string()) else { continue };
        let of_now = secrets.iter().any(|secret| *version == version_of(secret));
        *version = json!(if of_now { "of a Secret as it is now" } else { "of an earlier Secret" });
    }
}

/// One line for each value; conditions are told apart by their type.
fn flat(about: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| flat(&format!("{about}.{name}"), field, lines)),
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                let name = item.get("type").and_then(Value::as_str).map_or_else(|| number.to_string(), str::to_owned);
                flat(&format!("{about}.{name}"), item, lines);
            }
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => lines.push(format!("{about} = {value}")),
    }
}

/// What was seen to go against what must always hold: one connection for each object, which waits for its end; and
/// hands off what is not ours.
#[derive(Clone, Default)]
pub struct Wrongs(Arc<Mutex<BTreeSet<String>>>);

impl Wrongs {
    /// Looks at each write to a KMS from now on, on behalf of these objects of a namespace.
    pub fn watch(world: &World, namespace: &'static str, names: &'static [&'static str]) -> Self {
        let wrongs = Self::default();
        let (note, api) = (wrongs.clone(), world.api.clone());
        let digits = |name: &&'static str| owner(name).digits().map(str::to_owned).collect::<Vec<_>>().concat();
        let ours: BTreeMap<String, &str> = names.iter().map(|name| (digits(name), *name)).collect();
        world.witness(move |before, after| {
            for (digits, name) in &ours {
                let rows: Vec<_> = after.iter().filter(|row| digits_of(row) == Some(digits)).collect();
                if rows.len() > 1 {
                    note.add(format!("several connections of {name}: {rows:#?}"));
                }
                let object = api.get::<BitbucketConnection>(namespace, name);
                let is_held = object.is_some_and(|it| it.finalizers().iter().any(|it| it == CONNECTION_FINALIZER));
                if !rows.is_empty() && !is_held {
                    note.add(format!("{name} does not wait for the end of its connection"));
                }
            }
            let is_ours = |row: &&Connection| digits_of(row).is_some_and(|digits| ours.contains_key(digits));
            for row in before.iter().filter(|row| !is_ours(row)) {
                let now = after.iter().find(|now| now.id == row.id);
                let adopted = now.is_some_and(|now| {
                    let description = now.description.as_deref().unwrap_or_default();
                    digits_of(row).is_none() && ownership::origin_of(description) == Some(ownership::Origin::Adopted)
                });
                if now != Some(row) && !adopted {
                    note.add(format!("what is not ours was changed: {row:#?} is now {now:#?}"));
                }
            }
        });
        wrongs
    }

    fn add(&self, wrong: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(wrong);
    }

    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn digits_of(row: &Connection) -> Option<&str> {
    ownership::owner_named_in(row.description.as_deref()?)
}
