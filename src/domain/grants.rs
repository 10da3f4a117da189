//! Who may use a ClusterKmsInstance, and for what.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::connection::KmsScope;
use crate::api::Grant;

/// Why an instance may not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No grant selects the namespace at all.
    Namespace,
    /// Grants select the namespace, but not for this project, or not for the whole organization.
    Scope,
}

/// Whether grants let a namespace, known by its labels, use a scope of the KMS. What isn't granted is denied.
pub fn check(grants: &[Grant], labels: &BTreeMap<String, String>, scope: &KmsScope) -> Result<(), Denied> {
    let mut selected = grants.iter().filter(|grant| selects(&grant.namespace_selector, labels)).peekable();
    if selected.peek().is_none() {
        return Err(Denied::Namespace);
    }
    if selected.any(|grant| covers(grant, scope)) { Ok(()) } else { Err(Denied::Scope) }
}

/// Whether one of the grants that let a namespace use a scope lets it take over connections there.
pub fn adoption(grants: &[Grant], labels: &BTreeMap<String, String>, scope: &KmsScope) -> bool {
    let mut selected = grants.iter().filter(|grant| selects(&grant.namespace_selector, labels));
    selected.any(|grant| grant.adoption == Some(true) && covers(grant, scope))
}

fn covers(grant: &Grant, scope: &KmsScope) -> bool {
    match scope {
        KmsScope::Organization => grant.organization_scope == Some(true),
        KmsScope::Project(id) => {
            grant.project_ids.iter().any(|granted| granted == "*" || granted.eq_ignore_ascii_case(id))
        }
    }
}

/// Whether a label selector selects something with these labels. An operator that nobody knows selects nothing.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|rule| {
            let (value, values) = (labels.get(&rule.key), rule.values.as_deref().unwrap_or_default());
            match rule.operator.as_str() {
                "In" => value.is_some_and(|value| values.contains(value)),
                "NotIn" => value.is_none_or(|value| !values.contains(value)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn grants(value: serde_json::Value) -> Vec<Grant> {
        serde_json::from_value(value).expect("good grants")
    }

    #[test]
    fn what_is_not_granted_is_denied() {
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let (project, organization) = (KmsScope::Project("P1".to_owned()), KmsScope::Organization);
        let any = json!([{"namespaceSelector": {}, "projectIds": ["*"]}]);
        let one = json!([{"namespaceSelector": {"matchLabels": {"team": "a"}}, "projectIds": ["p1"]}]);
        let other = json!([{"namespaceSelector": {"matchLabels": {"team": "b"}}, "projectIds": ["*"], "organizationScope": true}]);
        let everything = json!([{"namespaceSelector": {}, "organizationScope": true}, {"namespaceSelector": {}, "projectIds": ["x"]}]);
        let table = [
            (json!([]), &project, Err(Denied::Namespace)),
            (any.clone(), &project, Ok(())),
            (any, &organization, Err(Denied::Scope)),
            (one.clone(), &project, Ok(())),
            (one, &KmsScope::Project("p2".to_owned()), Err(Denied::Scope)),
            (other, &project, Err(Denied::Namespace)),
            (everything.clone(), &organization, Ok(())),
            (everything, &project, Err(Denied::Scope)),
        ];
        for (value, scope, expected) in table {
            assert_eq!(check(&grants(value.clone()), &labels, scope), expected, "{value} {scope}");
        }
    }

    #[test]
    fn adoption_is_granted_by_the_grant_that_covers() {
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let (project, organization) = (KmsScope::Project("P1".to_owned()), KmsScope::Organization);
        let here = |rest: serde_json::Value| {
            let mut grant = json!({"namespaceSelector": {"matchLabels": {"team": "a"}}});
            extend(&mut grant, rest);
            grant
        };
        let table = [
            (json!([]), &project, false),
            (json!([here(json!({"projectIds": ["p1"]}))]), &project, false),
            (json!([here(json!({"projectIds": ["p1"], "adoption": false}))]), &project, false),
            (json!([here(json!({"projectIds": ["p1"], "adoption": true}))]), &project, true),
            (json!([here(json!({"projectIds": ["p1"], "adoption": true}))]), &organization, false),
            (json!([here(json!({"organizationScope": true, "adoption": true}))]), &organization, true),
            // One grant lets it use the project, another lets it adopt elsewhere.
            (
                json!([here(json!({"projectIds": ["p1"]})), here(json!({"projectIds": ["p2"], "adoption": true}))]),
                &project,
                false,
            ),
            (
                json!([{"namespaceSelector": {"matchLabels": {"team": "b"}}, "projectIds": ["*"], "adoption": true}]),
                &project,
                false,
            ),
        ];
        for (value, scope, expected) in table {
            assert_eq!(adoption(&grants(value.clone()), &labels, scope), expected, "{value} {scope}");
        }
    }

    fn extend(grant: &mut serde_json::Value, rest: serde_json::Value) {
        for (name, value) in rest.as_object().expect("an object") {
            grant[name] = value.clone();
        }
    }

    #[test]
    fn selectors_select_as_kubernetes_does() {
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let table = [
            (json!({}), true),
            (json!({"matchLabels": {"team": "b"}}), false),
            (json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}), true),
            (json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}), false),
            (json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]}), true),
            (json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), true),
            (json!({"matchExpressions": [{"key": "team", "operator": "Like", "values": ["a"]}]}), false),
        ];
        for (selector, expected) in table {
            let parsed: LabelSelector = serde_json::from_value(selector.clone()).expect("good selector");
            assert_eq!(selects(&parsed, &labels), expected, "{selector}");
        }
    }
}
