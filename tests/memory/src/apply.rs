//! Server-side apply, as far as one field manager needs it.

use serde_json::{Value, json};

/// The object with what a manager applies now, and without what it applied before and no longer does. What others wrote
/// elsewhere stays. Lists are replaced, but for finalizers, which are a set.
pub(crate) fn merged(live: &Value, before: Option<&Value>, now: &Value) -> Value {
    let mut result = live.clone();
    if let Some(before) = before {
        take_away(&mut result, before, now);
    }
    let kept = live["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    lay_over(&mut result, now);
    if let Some(applied) = now["metadata"]["finalizers"].as_array() {
        let gone = before.and_then(|before| before["metadata"]["finalizers"].as_array()).cloned().unwrap_or_default();
        let mut all: Vec<Value> = kept.into_iter().filter(|it| applied.contains(it) || !gone.contains(it)).collect();
        all.extend(applied.iter().filter(|it| !all.contains(it)).cloned().collect::<Vec<_>>());
        result["metadata"]["finalizers"] = json!(all);
    }
    result
}

/// What of an applied object belongs to the manager: not what says which object is meant.
pub(crate) fn owned(applied: &Value) -> Value {
    let mut owned = applied.clone();
    if let Some(fields) = owned.as_object_mut() {
        fields.retain(|name, _| !matches!(name.as_str(), "apiVersion" | "kind" | "status"));
    }
    if let Some(metadata) = owned.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| matches!(name.as_str(), "labels" | "annotations" | "finalizers" | "ownerReferences"));
    }
    owned
}

fn take_away(target: &mut Value, before: &Value, now: &Value) {
    let (Some(target), Some(before)) = (target.as_object_mut(), before.as_object()) else { return };
    for (name, old) in before {
        match now.get(name) {
            Some(new) => {
                if let Some(inner) = target.get_mut(name) {
                    take_away(inner, old, new);
                }
            }
            // Of a map, others may have written a part.
            None => {
                let empty = match (target.get_mut(name), old) {
                    (Some(inner), Value::Object(_)) => {
                        take_away(inner, old, &json!({}));
                        inner.as_object().is_none_or(serde_json::Map::is_empty)
                    }
                    _ => true,
                };
                if empty {
                    target.remove(name);
                }
            }
        }
    }
}

fn lay_over(target: &mut Value, now: &Value) {
    match (target, now) {
        (Value::Object(target), Value::Object(now)) => {
            for (name, new) in now {
                lay_over(target.entry(name.clone()).or_insert(Value::Null), new);
            }
        }
        (target, now) => *target = now.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_longer_applied_goes_and_what_others_wrote_stays() {
        let rows = [
            // live, applied before, applied now, result
            (json!({"a": 1}), None, json!({"b": 2}), json!({"a": 1, "b": 2})),
            (json!({"a": 1, "b": 2}), Some(json!({"b": 2})), json!({}), json!({"a": 1})),
            (json!({"m": {"a": 1, "b": 2}}), Some(json!({"m": {"b": 2}})), json!({"m": {}}), json!({"m": {"a": 1}})),
            (json!({"m": {"a": 1, "b": 2}}), Some(json!({"m": {"b": 2}})), json!({}), json!({"m": {"a": 1}})),
            (json!({"m": {"b": 2}}), Some(json!({"m": {"b": 2}})), json!({}), json!({})),
            (json!({"l": [1, 2]}), Some(json!({"l": [1, 2]})), json!({"l": [3]}), json!({"l": [3]})),
        ];
        for (live, before, now, expected) in rows {
            let mut live = live;
            live["metadata"] = json!({});
            let mut result = merged(&live, before.as_ref(), &now);
            result.as_object_mut().expect("an object").remove("metadata");
            assert_eq!(result, expected, "{live} {before:?} {now}");
        }
    }

    #[test]
    fn finalizers_are_a_set() {
        let with = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
        let result = merged(&with(json!(["a", "b"])), Some(&with(json!(["b"]))), &with(json!(["c"])));
        assert_eq!(result, with(json!(["a", "c"])));
    }
}
