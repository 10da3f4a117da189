//! What all schemas have in common: descriptions everywhere, limits in every spec, nothing that writes into one.

use bitbucket_connection_operator::api::crds;
use serde_json::{Value, json};

/// The API server takes no larger ones through `kubectl apply`, which repeats them in an annotation.
const LARGEST: usize = 262_144;

#[test]
fn crds_are_small() {
    for crd in crds() {
        let size = serde_json::to_string(&crd).expect("JSON").len();
        assert!(size < LARGEST / 4, "{:?} has {size} bytes", crd.metadata.name);
    }
}

#[test]
fn schemas_keep_the_rules_of_the_house() {
    let mut wrong = Vec::new();
    for crd in crds() {
        let crd = serde_json::to_value(crd).expect("JSON");
        for version in crd["spec"]["versions"].as_array().expect("versions") {
            let schema = &version["schema"]["openAPIV3Schema"];
            let kind = crd["spec"]["names"]["kind"].as_str().expect("a kind");
            assert_eq!(schema["properties"]["status"]["default"], json!({"observedGeneration": -1}), "{kind}");
            assert_eq!(version["subresources"], json!({"status": {}}), "{kind}");
            walk(schema, kind, false, true, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Notes what is wrong with a schema and all that it holds. Items of lists and values of maps are described by these.
fn walk(schema: &Value, path: &str, in_spec: bool, described: bool, wrong: &mut Vec<String>) {
    let mut missing = |what: &str, is_wrong: bool| {
        if is_wrong {
            wrong.push(format!("{path}: {what}"));
        }
    };
    let lacks = |name: &str| schema[name].is_null();
    let text = schema["description"].as_str().unwrap_or_default().trim();
    missing("has no description", described && text.is_empty());
    missing("is described by a sentence without an end", described && !text.is_empty() && !text.ends_with('.'));
    missing("is nullable", !lacks("nullable"));
    missing("has a default", !lacks("default") && !path.ends_with(".status"));
    missing("keeps unknown fields", !lacks("x-kubernetes-preserve-unknown-fields"));
    match schema["type"].as_str() {
        Some("array") => {
            missing("has no list type", lacks("x-kubernetes-list-type"));
            missing("has no maximum of items", in_spec && lacks("maxItems"));
        }
        Some("string") => missing("has no maximum length", in_spec && lacks("maxLength")),
        Some("object") => {
            missing("has no maximum of entries", in_spec && !lacks("additionalProperties") && lacks("maxProperties"));
        }
        Some("boolean" | "integer") => {}
        other => missing(&format!("has the type {other:?}"), true),
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), in_spec || name == "spec", true, wrong);
    }
    for (part, sign) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[part].is_object() {
            walk(&schema[part], &format!("{path}{sign}"), in_spec, false, wrong);
        }
    }
}
