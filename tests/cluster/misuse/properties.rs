//! The properties of a kind's spec, as its schema lists them: a new field is among them by itself.

use std::fmt;

use bitbucket_connection_operator::api::crds;
use serde_json::Value;

/// One property of a spec.
pub struct Property {
    /// Where it is.
    pub path: Path,
    /// What the schema says of it.
    pub schema: Value,
}

/// The way from a manifest to a property.
#[derive(Clone, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    /// The first item of a list.
    First,
    /// The value of any key.
    AnyKey,
}

impl Path {
    fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// The names of all that holds the property, and its own, last.
    pub fn names(&self) -> Vec<&str> {
        let names = self.0.iter().filter_map(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            Step::First | Step::AnyKey => None,
        });
        names.collect()
    }

    /// The name of the property, or of the list or map whose item it is.
    pub fn name(&self) -> &str {
        self.names().last().copied().unwrap_or_default()
    }

    /// The value that a manifest has there.
    pub fn get<'a>(&self, manifest: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(manifest, |value, step| match step {
            Step::Field(name) => value.get(name),
            Step::First => value.get(0),
            Step::AnyKey => value.as_object()?.values().next(),
        })
    }

    /// Puts a value there, or takes it away. A manifest has something at the place.
    pub fn put(&self, manifest: &mut Value, new: Option<Value>) {
        let (last, way) = self.0.split_last().expect("a path that leads somewhere");
        let place = way.iter().fold(manifest, |value, step| match step {
            Step::Field(name) => &mut value[name],
            Step::First => &mut value[0],
            Step::AnyKey => value.as_object_mut().and_then(|map| map.values_mut().next()).expect("an entry"),
        });
        let key = match last {
            Step::Field(name) => Some(name.clone()),
            Step::AnyKey => place.as_object().and_then(|map| map.keys().next().cloned()),
            Step::First => None,
        };
        match (place, key, new) {
            (Value::Object(fields), Some(key), Some(new)) => drop(fields.insert(key, new)),
            (Value::Object(fields), Some(key), None) => drop(fields.remove(&key)),
            (Value::Array(items), None, Some(new)) => items[0] = new,
            (Value::Array(items), None, None) => drop(items.remove(0)),
            (other, ..) => panic!("{self} is not in {other}"),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if at == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::First => f.write_str("[0]")?,
                Step::AnyKey => f.write_str("{}")?,
            }
        }
        Ok(())
    }
}

/// All properties of a kind's spec, itself among them.
pub fn of_kind(kind: &str) -> Vec<Property> {
    let crds = crds().into_iter().map(|crd| serde_json::to_value(crd).expect("JSON"));
    let crd = crds.into_iter().find(|crd| crd["spec"]["names"]["kind"] == kind).expect("a kind of ours");
    let mut found = Vec::new();
    for version in crd["spec"]["versions"].as_array().expect("versions") {
        let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        walk(Path(vec![Step::Field("spec".to_owned())]), spec, &mut found);
    }
    found
}

fn walk(path: Path, schema: &Value, found: &mut Vec<Property>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(path.then(Step::Field(name.clone())), property, found);
    }
    for (part, step) in [("items", Step::First), ("additionalProperties", Step::AnyKey)] {
        if schema[part].is_object() {
            walk(path.then(step), &schema[part], found);
        }
    }
    found.push(Property { path, schema: schema.clone() });
}
