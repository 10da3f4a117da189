//! docs/fields.md: every field of the three kinds, written from their CRDs.

use std::{fmt::Write as _, path::Path};

use bitbucket_connection_operator::api;
use serde_json::Value;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fields.md");

const HEAD: &str = "\
# Fields

<!-- Written by `make docs` from the CRDs; do not edit. -->

Every field of the three kinds. `kubectl explain bbc.spec --recursive` shows the same in a terminal, as it is in your cluster.

No default is written into a spec: what is left out stays out, and has the default that stands here. What a range forbids is
refused when it is applied, with the sentence that stands here. A changed spec is looked at at once. Lengths are those that the
API server allows; where a value has to be shorter, its range says so.
";

/// When the operator writes a field of a status; every field has to be here, or what it is in.
const WRITTEN: [(&str, &str); 16] = [
    ("account", "with each verdict of Bitbucket; with another token it begins anew"),
    ("conditions", "whenever one of them says something else"),
    ("connection", "after each write to the KMS, and when the connection was found there by its mark"),
    ("lastHandledReconcileAt", "when a request was acted on"),
    ("lastVerifiedTime", "when both were verified"),
    ("nextVerificationTime", "with each look"),
    ("observedGeneration", "when a new generation was looked at"),
    ("plan", "with each look under `Observe`; emptied under `Full`"),
    ("scopes", "with each verdict of Bitbucket, and with the spec; with another token it begins anew"),
    ("token", "when the Secret holds other values, with each verdict, and with an event about the expiry"),
    ("token.firstSeenTime", "once for each token"),
    ("token.lastNotifiedThreshold", "with each event about the expiry"),
    ("workspaces", "with each verdict of Bitbucket, where the spec names any"),
    ("connections", "when a connection begins or ceases to use the instance"),
    ("secretVersion", "with each login"),
    ("caVersion", "with each login"),
];

/// One kind's schema.
struct Kind {
    name: String,
    spec: Value,
    status: Value,
}

fn kinds() -> Vec<Kind> {
    let kind = |crd| {
        let crd = serde_json::to_value(crd).expect("a CRD");
        let properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].clone();
        let name = crd["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
        Kind { name, spec: properties["spec"].clone(), status: properties["status"].clone() }
    };
    api::crds().into_iter().map(kind).collect()
}

/// A field, and how it is written with all that it is in.
struct Field<'a> {
    path: String,
    schema: &'a Value,
    required: bool,
}

/// The fields below one, each before what is in it.
fn fields<'a>(schema: &'a Value, path: &str, found: &mut Vec<Field<'a>>) {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let required = required.iter().any(|it| it == name);
        found.push(Field { path: path.clone(), schema: field, required });
        // Conditions are the same in all kinds of Kubernetes.
        if name != "conditions" {
            fields(field, &path, found);
            fields(&field["items"], &format!("{path}[]"), found);
        }
    }
}

fn type_of(schema: &Value) -> String {
    match (schema["type"].as_str().unwrap_or("object"), schema["format"].as_str()) {
        ("array", _) => format!("list of {}s", type_of(&schema["items"])),
        ("object", _) if schema["additionalProperties"].is_object() => "map of strings".to_owned(),
        ("string", Some("date-time")) => "time".to_owned(),
        (other, _) => other.to_owned(),
    }
}

/// The default that the description tells.
fn default_of(schema: &Value) -> Option<String> {
    let text = &plain(schema["description"].as_str()?);
    if let Some((_, rest)) = text.split_once("Defaults to ") {
        let end = rest.find(';').into_iter().chain(rest.find(". ")).min();
        return Some(plain(&rest[..end.unwrap_or_else(|| rest.trim_end_matches('.').len())]));
    }
    let (before, _) = text.split_once(" (the default")?;
    before.rsplit([' ', ',']).next().map(str::to_owned)
}

/// What values it may have.
fn range_of(schema: &Value) -> Vec<String> {
    let mut range = Vec::new();
    let most = [("maxLength", "characters"), ("maxItems", "items"), ("maxProperties", "entries")];
    for (limit, of) in most {
        range.extend(schema[limit].as_u64().map(|count| format!("at most {count} {of}")));
    }
    if let Some(count) = schema["items"]["maxLength"].as_u64() {
        range.push(format!("of {count} characters each"));
    }
    range
}

fn rules(schema: &Value) -> impl Iterator<Item = &str> {
    schema["x-kubernetes-validations"].as_array().into_iter().flatten().filter_map(|rule| rule["message"].as_str())
}

/// What stands between angle brackets would be taken for HTML.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('<', "\\<")
}

fn heading(field: &Field<'_>) -> String {
    let mut facts = vec![type_of(field.schema)];
    if field.required {
        facts.push("required".to_owned());
    }
    facts.extend(default_of(field.schema).map(|default| format!("default {}", default.replace('`', ""))));
    facts.extend(range_of(field.schema));
    format!("- **`{}`**: {}", field.path, facts.join(", "))
}

fn of_spec(kind: &Kind) -> String {
    let mut text = String::new();
    let mut found = Vec::new();
    fields(&kind.spec, "", &mut found);
    for field in found {
        let _ =
            writeln!(text, "{}  \n  {}  ", heading(&field), plain(field.schema["description"].as_str().unwrap_or("")));
        let own = rules(field.schema).chain(rules(&field.schema["items"])).map(plain).collect::<Vec<_>>();
        if !own.is_empty() {
            let _ = writeln!(text, "  *Range:* {}.  ", own.join("; "));
        }
        let immutable = rules(&kind.spec).find(|rule| rule.starts_with(&format!("{} is immutable", field.path)));
        if let Some(rule) = immutable {
            let _ = writeln!(text, "  *Changed by:* nobody; {}.", plain(rule));
        }
    }
    let whole: Vec<_> = rules(&kind.spec).filter(|rule| !rule.contains(" is immutable")).map(plain).collect();
    if !whole.is_empty() {
        let _ = write!(text, "\nOf all of it:\n\n");
        whole.iter().for_each(|rule| text.push_str(&format!("- {rule}\n")));
    }
    text
}

fn of_status(kind: &Kind) -> String {
    let mut text = String::new();
    let mut found = Vec::new();
    fields(&kind.status, "", &mut found);
    for field in found {
        let _ =
            writeln!(text, "{}  \n  {}  ", heading(&field), plain(field.schema["description"].as_str().unwrap_or("")));
        let written = WRITTEN.iter().find(|(path, _)| *path == field.path);
        if let Some((_, when)) = written {
            let _ = writeln!(text, "  *Written:* {when}.");
        }
        let top = field.path.split('.').next().unwrap_or_default();
        assert!(WRITTEN.iter().any(|(path, _)| *path == top), "say in WRITTEN when status.{top} is written");
    }
    text
}

fn page() -> String {
    let mut text = HEAD.to_owned();
    for kind in kinds() {
        let describe = |schema: &Value| plain(schema["description"].as_str().unwrap_or_default());
        let _ = write!(text, "\n## {}.spec\n\n{}\n\n{}", kind.name, describe(&kind.spec), of_spec(&kind));
        let _ = write!(text, "\n## {}.status\n\n{}\n\n{}", kind.name, describe(&kind.status), of_status(&kind));
    }
    text
}

#[test]
fn the_page_of_fields_is_that_of_the_crds() {
    let now = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(FILE, &now).expect("a page that can be written");
    }
    let kept = std::fs::read_to_string(Path::new(FILE)).unwrap_or_default();
    let differs = kept.lines().zip(now.lines()).find(|(kept, now)| kept != now);
    assert!(
        kept == now,
        "docs/fields.md is stale; run `make docs` and read the difference. The first line: {differs:#?}"
    );
}

#[test]
fn every_field_of_a_spec_says_what_it_is_and_what_it_may_be() {
    for kind in kinds() {
        let mut found = Vec::new();
        fields(&kind.spec, "", &mut found);
        assert!(!found.is_empty());
        for Field { path, schema, .. } in found {
            let at = format!("{}.spec.{path}", kind.name);
            assert!(schema["description"].as_str().is_some_and(|text| text.ends_with('.')), "{at} has no description");
            let text = matches!(schema["type"].as_str(), Some("string" | "array"));
            assert!(!text || !range_of(schema).is_empty(), "{at} has no limit");
        }
    }
}
