//! Each value: it has an effect, and the schema refuses it where it is of another type or misspelt.

use serde_json::{Value, json};

use crate::harness::chart::{CHART, VALUES, render, values};

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A value: where it is (`image.tag`), what it is by default, and whether others may stand in it that nobody knows.
struct Leaf {
    path: String,
    default: Value,
}

/// All values, down to where the schema knows no more keys; and the paths of all objects above them.
fn leaves() -> (Vec<Leaf>, Vec<String>) {
    fn collect(path: &str, value: &Value, schema: &Value, leaves: &mut Vec<Leaf>, objects: &mut Vec<String>) {
        let Some(known) = schema["properties"].as_object() else {
            leaves.push(Leaf { path: path.to_owned(), default: value.clone() });
            return;
        };
        objects.push(path.to_owned());
        for (key, schema) in known.iter().filter(|(key, _)| *key != "global") {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            collect(&path, &value[key], schema, leaves, objects);
        }
    }
    let defaults: Value = serde_saphyr::from_str(&read(&format!("{CHART}/values.yaml"))).expect("YAML");
    let schema: Value = serde_json::from_str(&read(&format!("{CHART}/values.schema.json"))).expect("JSON");
    let (mut leaves, mut objects) = (Vec::new(), Vec::new());
    collect("", &defaults, &schema, &mut leaves, &mut objects);
    (leaves, objects)
}

/// What Helm complains about when all of these are set.
async fn complaint(sets: &[String]) -> String {
    let more: Vec<&str> = sets.iter().flat_map(|set| ["--set-json", set.as_str()]).collect();
    render(&more).await.expect_err("values that are refused")
}

#[tokio::test]
async fn a_value_of_another_type_is_refused_and_so_is_a_key_that_nobody_knows() {
    let (leaves, objects) = leaves();
    assert!(leaves.len() > 70, "each value was found");
    let wrong = |leaf: &Leaf| match &leaf.default {
        Value::Object(_) => json!("a text"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => json!({"an": "object"}),
    };
    let told = complaint(&leaves.iter().map(|leaf| format!("{}={}", leaf.path, wrong(leaf))).collect::<Vec<_>>()).await;
    for Leaf { path, .. } in leaves {
        let place = format!("'/{}'", path.replace('.', "/"));
        assert!(told.contains(&place), "{path} may be anything: {told}");
    }
    let misspelt = |path: &String| if path.is_empty() { "mispelt=1".to_owned() } else { format!("{path}.mispelt=1") };
    let told = complaint(&objects.iter().map(misspelt).collect::<Vec<_>>()).await;
    for path in objects {
        let place = format!("'{}{}'", if path.is_empty() { "" } else { "/" }, path.replace('.', "/"));
        let line = told.lines().find(|line| line.contains(&place) && line.contains("'mispelt' not allowed"));
        assert!(line.is_some() || path.is_empty() && told.contains("'mispelt' not allowed"), "{path}: {told}");
    }
}

/// Another value than the default, where no value file has one.
fn another(path: &str) -> Option<Value> {
    let value = match path {
        "image.repository" => json!("registry.example.com/operator"),
        "image.tag" => json!("1.2.3"),
        "image.pullPolicy" => json!("Always"),
        "nameOverride" | "fullnameOverride" => json!("other"),
        "resources" | "podSecurityContext" | "securityContext" => json!({"another": "one"}),
        "terminationGracePeriodSeconds" => json!(60),
        "podDisruptionBudget.maxUnavailable" => json!("50%"),
        "podMonitor.interval" | "serviceMonitor.interval" => json!("1m"),
        "dashboard.labels" => json!({"a": "label"}),
        "crds.keep" => json!(false),
        _ => return None,
    };
    Some(value)
}

#[tokio::test]
async fn every_value_has_an_effect() {
    let files: Vec<(String, Value)> =
        VALUES.iter().map(|name| (values(name), serde_saphyr::from_str(&read(&values(name))).expect("YAML"))).collect();
    let mut bases = vec![(Vec::new(), render(&[]).await.expect("manifests"))];
    for (file, _) in &files {
        let args = vec!["--values", file.as_str()];
        let rendered = render(&args).await.unwrap_or_else(|complaint| panic!("{file}: {complaint}"));
        bases.push((args, rendered));
    }
    for Leaf { path, default } in leaves().0 {
        let pointer = format!("/{}", path.replace('.', "/"));
        let of_files = files.iter().filter_map(|(_, values)| values.pointer(&pointer).cloned());
        let changes: Vec<Value> = of_files.chain(another(&path)).filter(|value| *value != default).collect();
        assert!(!changes.is_empty(), "no value file sets {path} to anything but its default");
        // Some take another value to be heeded: they are tried in each company, and are put back to their default.
        let mut has_effect = false;
        'found: for (base, usual) in &bases {
            for value in changes.iter().chain([&default]) {
                let set = format!("{path}={value}");
                let args = [&base[..], &["--set-json", &set]].concat();
                has_effect = render(&args).await.is_ok_and(|rendered| rendered != *usual);
                if has_effect {
                    break 'found;
                }
            }
        }
        assert!(has_effect, "{path} changes nothing");
    }
}
