//! How the schemas differ from what derives alone would give.

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::{BitbucketConnection, ClusterKmsInstance, KmsInstance, UNPROCESSED};

/// The CRDs of all kinds, as the API server should have them.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![BitbucketConnection::crd(), KmsInstance::crd(), ClusterKmsInstance::crd()];
    for crd in &mut all {
        for version in &mut crd.spec.versions {
            let root = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
            if let Some(root) = root {
                strip_derived(root);
                describe_status(root);
            }
        }
    }
    all
}

/// schemars writes `nullable` for every `Option`, and a `default` for every field that may be left out. Without the
/// first the API server drops a null before the rules run, so that
/// a field left empty by mistake (`projectId:`) counts as absent. Without the second nothing is written into a spec
/// that its author didn't write.
fn strip_derived(schema: &mut JSONSchemaProps) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    };
    schema.nullable = None;
    schema.default = None;
    schema.properties.iter_mut().flatten().for_each(|(_, property)| strip_derived(property));
    match schema.items.as_mut() {
        Some(JSONSchemaPropsOrArray::Schema(items)) => strip_derived(items),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all.iter_mut().for_each(strip_derived),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        strip_derived(values);
    }
}

/// Lets every read of an unprocessed object show that nobody has looked at it yet: kstatus would otherwise take an
/// object without conditions for current.
fn describe_status(root: &mut JSONSchemaProps) {
    let Some(status) = root.properties.as_mut().and_then(|properties| properties.get_mut("status")) else {
        return;
    };
    status.default = serde_json::from_value(json!({ "observedGeneration": UNPROCESSED })).ok();
}

/// The standard conditions: one of each type, merged by type.
pub(super) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let items = generator.subschema_for::<Condition>();
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": items,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// The standard label selector, with limits that keep the cost of rules low.
pub(super) fn namespace_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels that a namespace must have, each with its value.",
                "type": "object",
                "maxProperties": 16,
                "additionalProperties": label_value(),
            },
            "matchExpressions": {
                "description": "Requirements on labels, all of which a namespace must meet.",
                "type": "array",
                "maxItems": 16,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "description": "A requirement on a label.",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "description": "Name of the label.",
                            "type": "string",
                            "maxLength": 317,
                            "x-kubernetes-validations": [{
                                "rule": "self.matches('^([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",
                                "message": "key must be the name of a label, such as team or example.com/team",
                            }],
                        },
                        "operator": {
                            "description": "In or NotIn one of the values, or whether the label Exists or DoesNotExist.",
                            "type": "string",
                            "maxLength": 64,
                        },
                        "values": {
                            "description": "Values of the label, for In and NotIn alone.",
                            "type": "array",
                            "maxItems": 64,
                            "x-kubernetes-list-type": "atomic",
                            "items": label_value(),
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : self.operator in ['Exists', 'DoesNotExist'] && (!has(self.values) || size(self.values) == 0)",
                        "message": "a requirement has the operator In or NotIn with values, or Exists or DoesNotExist without values",
                    }],
                },
            },
        },
    })
}

/// The value of a label. What none can have would select nothing, or, under NotIn, everything. A short rule, since there
/// may be many values: both ends are not looked at.
fn label_value() -> serde_json::Value {
    json!({
        "type": "string",
        "maxLength": 63,
        "x-kubernetes-validations": [{
            "rule": "self.matches(r'^[-.\\w]*$')",
            "message": "must be the value of a label: letters, digits, '-', '_' and '.'",
        }],
    })
}

/// CEL: the text is a name that an object can have (RFC 1123), and nothing that leads elsewhere as part of an address.
pub(super) const OBJECT_NAME: &str =
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";

/// A key of a Secret.
pub(super) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    key_of("Secret")
}

/// A key of a ConfigMap or Secret.
pub(super) fn ca_key(_: &mut SchemaGenerator) -> Schema {
    key_of("ConfigMap or Secret")
}

fn key_of(what: &str) -> Schema {
    let message = format!(
        "must be the name of a key in the {what}: letters, digits, '-', '_' or '.'; leave it out for the default"
    );
    json_schema!({
        "type": "string",
        "maxLength": 253,
        "x-kubernetes-validations": [{"rule": "self.matches('^[-._a-zA-Z0-9]+$')", "message": message}],
    })
}

/// The id of a machine identity.
pub(super) fn identity_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 253,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[-_a-zA-Z0-9]+$') && size(self) <= 64",
            "message": "identityId must be the id of a machine identity, as its page in the KMS shows it: letters, digits, '-' and '_', at most 64",
        }],
    })
}

/// The address of a KMS.
pub(super) fn host(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 512,
        "x-kubernetes-validations": [{
            "rule": "size(self) <= 253 && isURL(self) && url(self).getScheme() in ['https','http'] && url(self).getHostname() != '' && url(self).getEscapedPath() in ['', '/'] && url(self).getQuery().size() == 0 && !self.contains('@') && !self.contains('#') && !self.contains('?')",
            "message": "host must be a URL such as https://kms.example.com, without path, query or user",
        }],
    })
}

/// The slug of an organization.
pub(super) fn organization_slug(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 253,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[a-z0-9]+(-[a-z0-9]+)*$') && size(self) <= 64",
            "message": "organizationSlug must be the slug of an organization, such as acme (organization settings in the KMS)",
        }],
    })
}
