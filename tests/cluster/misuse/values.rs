//! What people write into a property: nothing, too much, something else.

use serde_json::{Map, Value, json};

use super::properties::Property;

/// Longer than any schema takes.
const HUGE: usize = 100_000;
/// What is found where a schema doesn't say how long something may be.
const LONG: usize = 1_000;

/// What a value is called, and the value; none: the property isn't there.
pub type Named = (&'static str, Option<Value>);

/// Values for a property that has this good one.
pub fn wrong(property: &Property, good: &Value) -> Vec<Named> {
    let schema = &property.schema;
    let mut values = vec![("unset", None), ("null", Some(Value::Null))];
    let mut add = |name, value: Value| values.push((name, Some(value)));
    match schema["type"].as_str() {
        Some("string") => {
            let max = length(&schema["maxLength"], LONG);
            add("empty", json!(""));
            add("a blank", json!(" "));
            add("longest", json!("a".repeat(max)));
            add("too long", json!("a".repeat(max + 1)));
            add("huge", json!("a".repeat(HUGE)));
            add("umlauts", json!("ü".repeat(max)));
            add("emoji", json!("😀".repeat(max)));
            add("two lines", json!("a\nb"));
            add("control characters", json!("a\u{0}\u{1b}[31m\u{202e}"));
            add("with blanks around", json!(format!(" {} ", good.as_str().unwrap_or_default())));
            add("in capitals", json!(good.as_str().unwrap_or_default().to_uppercase()));
            add("a number", json!(7));
            add("a truth", json!(true));
            add("a list", json!([good]));
        }
        Some("boolean") => {
            add("a text", json!("true"));
            add("a number", json!(1));
            add("the other", json!(!good.as_bool().unwrap_or_default()));
        }
        Some("integer" | "number") => {
            add("none", json!(0));
            add("negative", json!(-1));
            add("smallest", json!(i64::MIN));
            add("largest", json!(i64::MAX));
            add("a fraction", json!(0.5));
            add("a text", json!("7"));
        }
        Some("array") => {
            let items = good.as_array().cloned().unwrap_or_default();
            let max = length(&schema["maxItems"], LONG);
            add("empty", json!([]));
            add("too many", json!(vec![items.first(); max + 1]));
            add("twice", json!([&items[..], &items[..]].concat()));
            add("a null in it", json!([Value::Null]));
            add("a list in it", json!([[]]));
            add("a text", json!("a"));
            add("an object", json!({}));
        }
        Some("object") => {
            let mut fields = good.as_object().cloned().unwrap_or_default();
            let open = schema["additionalProperties"].is_object();
            add("empty", json!({}));
            if open {
                let many =
                    (0..=length(&schema["maxProperties"], LONG)).map(|number| (format!("k{number}"), json!("v")));
                add("too many", Value::Object(many.collect::<Map<_, _>>()));
                add("an odd key", json!({"a b/c/d": "v"}));
            } else {
                fields.insert("unknownField".to_owned(), json!("x"));
                add("with an unknown field", Value::Object(fields));
            }
            add("a text", json!("a"));
            add("a list", json!([good]));
        }
        other => panic!("{}: no values for the type {other:?}", property.path),
    }
    values
}

fn length(of: &Value, otherwise: usize) -> usize {
    of.as_u64().and_then(|length| usize::try_from(length).ok()).unwrap_or(otherwise)
}

/// Other good values for a property by its path: those that the schema lists, and those that are known of it.
pub fn other(property: &Property, good: &Value) -> Vec<Named> {
    let listed = listed(&property.schema);
    let known = KNOWN.iter().filter(|(path, _)| property.path.to_string().ends_with(path));
    let known = known.flat_map(|(_, values)| values.iter().copied().map(Value::from));
    let others = listed.into_iter().chain(known).filter(|value| value != good);
    others.map(|value| ("another", Some(value))).collect()
}

/// The words of a rule such as `self in ['Block', 'Warn']`.
fn listed(schema: &Value) -> Vec<Value> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let words = rules.filter_map(|rule| rule["rule"].as_str()?.strip_prefix("self in [")?.strip_suffix(']'));
    words.flat_map(|words| words.split(", ")).map(|word| json!(word.trim_matches('\''))).collect()
}

/// Good values beyond those that a schema lists, by the end of a path.
const KNOWN: &[(&str, &[&str])] = &[
    (".projectId", &["0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9"]),
    (".connectionName", &["renamed-7"]),
    ("spec.description", &["Another text, with ü and 😀", "ends like ours [k8s:0123456789abcdef:c]"]),
    ("spec.secretRef.name", &["second", "absent"]),
    (".emailKey", &["user.mail", "absent"]),
    (".tokenKey", &["API_TOKEN", "absent"]),
    (".expiresAtKey", &["valid-until", "absent", "token"]),
    (".useCases[0]", &["CodeReview", "SecretSync"]),
    (".additional[0]", &["read:wiki:bitbucket", "delete:nothing:bitbucket"]),
    (".workspaces[0]", &["hanzo-payments", "nowhere"]),
    (".notAfter", &["2027-03-01T12:00:00+02:00", "2020-01-01", "9999-12-31", "0000-00-00", "2027-02-30"]),
    (".warnBefore[0]", &["1h30m", "9999d99999h999999m9999999s", "0s"]),
    (".contact", &["team@example.com"]),
    (".interval", &["1m", "24h", "1h30m", "86400s", "59s"]),
    (".kmsRef.name", &["absent"]),
    (".identityId", &["another-identity"]),
    (".auth.universal.secretRef.name", &["absent", "second"]),
    (".auth.token.secretRef.name", &["absent", "second"]),
    (".auth.ldap.secretRef.name", &["absent", "second"]),
    (".auth.jwt.secretRef.name", &["absent", "second"]),
    ("Key", &["absent"]),
    (".secretRef.key", &["absent"]),
    (".serviceAccountRef.name", &["absent", "other-login"]),
    (".audience", &["another"]),
    (".host", &["https://kms.example.com", "http://127.0.0.1:1", "https://127.0.0.1:1"]),
    (".organizationSlug", &["another"]),
    (".caRef.name", &["absent"]),
    (".caRef.key", &["absent", "junk"]),
    ("spec.namespace", &["absent"]),
    (".projectIds[0]", &["*"]),
];
