//! The world as it is: what people wrote, and what the KMS holds. Of what the operator wrote only its record of a
//! connection's id counts as a fact: the contract says that a connection is looked up by it.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use sim::{Connection, Kms};

use crate::{
    cast::{Cast, FORBIDDEN_HOST, IDENTITY, Instance, Place, Purse, Slot, Team},
    hands::{Cluster, Kind},
    token::Demands,
};

/// All there is.
#[derive(Debug)]
pub struct Facts {
    /// The connections by their places.
    pub objects: BTreeMap<Slot, Object>,
    /// The Secrets by namespace and name: their keys and texts.
    pub secrets: BTreeMap<(String, String), BTreeMap<String, String>>,
    /// The instances.
    pub instances: BTreeMap<Instance, InstanceFacts>,
    /// Namespaces that are on their way out.
    pub ending: Vec<Team>,
    /// What the KMS holds.
    pub rows: Vec<Connection>,
}

/// A BitbucketConnection.
#[derive(Clone, Debug)]
pub struct Object {
    /// Whether it is being deleted.
    pub deleting: bool,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// Through which instance.
    pub instance: Instance,
    /// In which project; none is the organization.
    pub project: Option<String>,
    /// The name that it wants in the KMS.
    pub name: String,
    /// The text that it wants there.
    pub description: Option<String>,
    /// Namespace and name of its Secret.
    pub secret: (String, String),
    /// The key of the token.
    pub token_key: String,
    /// What it demands of a token.
    pub demands: Demands,
    /// Whether it wants to adopt.
    pub adopt: bool,
    /// `deletionPolicy`.
    pub deletion: Option<String>,
    /// `managementPolicy`.
    pub management: String,
    /// `interval`.
    pub interval: String,
    /// What the operator says of it.
    pub status: Status,
}

/// A status, printed in brief.
#[derive(Clone)]
pub struct Status(pub Value);

impl fmt::Debug for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = formatter.debug_list();
        list.entry(&self.0["connection"]["id"]);
        for condition in self.0["conditions"].as_array().into_iter().flatten() {
            let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
            list.entry(&format_args!("{}={} {}", text("type"), text("status"), text("reason")));
        }
        list.finish()
    }
}

impl Object {
    /// Status and reason of a condition.
    pub fn condition(&self, kind: &str) -> Option<(&str, &str)> {
        let conditions = self.status.0["conditions"].as_array()?;
        let found = conditions.iter().find(|condition| condition["type"] == kind)?;
        Some((found["status"].as_str()?, found["reason"].as_str()?))
    }

    /// The id on record.
    pub fn recorded(&self) -> Option<&str> {
        self.status.0["connection"]["id"].as_str()
    }
}

/// An instance.
#[derive(Clone, Debug)]
pub struct InstanceFacts {
    /// Whether the operator can log in through it.
    pub usable: bool,
    /// `grants`; nothing where all is granted.
    pub grants: Option<Vec<Value>>,
}

/// What an instance grants to a namespace for a project.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Granted {
    /// Nothing at all.
    Nothing,
    /// Something, but not this.
    SomethingElse,
    /// This, and maybe adoption.
    This {
        /// Whether adoption too.
        adoption: bool,
    },
}

impl InstanceFacts {
    /// What it grants.
    pub fn granted(&self, namespace: &str, project: Option<&str>) -> Granted {
        let Some(grants) = &self.grants else { return Granted::This { adoption: true } };
        let selects = |grant: &&Value| {
            let labels = grant["namespaceSelector"]["matchLabels"].as_object();
            labels.is_none_or(|labels| labels.values().all(|value| value == namespace))
        };
        let covers = |grant: &&Value| match project {
            None => grant["organizationScope"] == true,
            Some(id) => grant["projectIds"].as_array().is_some_and(|ids| ids.iter().any(|it| it == "*" || it == id)),
        };
        let selected: Vec<_> = grants.iter().filter(selects).collect();
        let covering: Vec<_> = selected.iter().copied().filter(covers).collect();
        match (selected.is_empty(), covering.is_empty()) {
            (true, _) => Granted::Nothing,
            (false, true) => Granted::SomethingElse,
            (false, false) => Granted::This { adoption: covering.iter().any(|grant| grant["adoption"] == true) },
        }
    }
}

impl Facts {
    /// Looks at everything.
    pub async fn read(cluster: &impl Cluster, kms: &Kms, cast: &Cast) -> Self {
        let mut facts = Self {
            objects: BTreeMap::new(),
            secrets: BTreeMap::new(),
            instances: BTreeMap::new(),
            ending: Vec::new(),
            rows: kms.connections(),
        };
        for slot in Slot::ALL {
            let namespace = cast.namespace(slot.team());
            if let Some(object) = cluster.get(Kind::Connection, &namespace, slot.name()).await {
                facts.objects.insert(slot, read_object(&object, slot, &namespace));
            }
        }
        for team in Team::ALL {
            let namespace = cast.namespace(team);
            for spare in [false, true] {
                facts.read_secret(cluster, &namespace, Purse { team, spare }.name()).await;
            }
            if let Some(found) = cluster.get(Kind::Namespace, "", &namespace).await
                && is_deleting(&found)
            {
                facts.ending.push(team);
            }
        }
        for instance in [Instance::Shared, Instance::Own(Team::A), Instance::Own(Team::B)] {
            let home = cast.instance_home(instance);
            facts.read_secret(cluster, &home, IDENTITY).await;
            let found = match instance {
                Instance::Shared => cluster.get(Kind::ClusterKmsInstance, "", "default").await,
                Instance::Own(_) => cluster.get(Kind::KmsInstance, &home, "own").await,
            };
            if let Some(found) = found {
                let secret = facts.secrets.get(&(home, IDENTITY.to_owned()));
                let logs_in = secret.is_some_and(|data| {
                    data.get("clientId") == Some(&cast.client_id(instance))
                        && data.get("clientSecret") == Some(&cast.client_secret(instance))
                });
                let usable = logs_in && found["spec"]["host"] != FORBIDDEN_HOST;
                let grants = match instance {
                    Instance::Shared => Some(found["spec"]["grants"].as_array().cloned().unwrap_or_default()),
                    Instance::Own(_) => None,
                };
                facts.instances.insert(instance, InstanceFacts { usable, grants });
            }
        }
        facts
    }

    async fn read_secret(&mut self, cluster: &impl Cluster, namespace: &str, name: &str) {
        let Some(secret) = cluster.get(Kind::Secret, namespace, name).await else { return };
        let texts = secret["data"].as_object().into_iter().flatten().map(|(key, value)| {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
            (key.clone(), String::from_utf8_lossy(&bytes).into_owned())
        });
        self.secrets.insert((namespace.to_owned(), name.to_owned()), texts.collect());
    }

    /// What the instance of an object grants to it.
    pub fn granted(&self, object: &Object) -> Option<Granted> {
        let instance = self.instances.get(&object.instance)?;
        Some(instance.granted(&object.secret.0, object.project.as_deref()))
    }
}

/// Whether an object is being deleted.
pub fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

fn read_object(object: &Value, slot: Slot, namespace: &str) -> Object {
    let spec = &object["spec"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let or = |value: &Value, default: &str| text(value).unwrap_or_else(|| default.to_owned());
    let named = |value: &Value| value.as_array().is_some_and(|items| !items.is_empty());
    Object {
        deleting: is_deleting(object),
        generation: object["metadata"]["generation"].as_i64(),
        instance: if spec["kmsRef"].is_object() { Instance::Own(slot.team()) } else { Instance::Shared },
        project: text(&spec["projectId"]),
        name: or(&spec["connectionName"], slot.name()),
        description: text(&spec["description"]),
        secret: (namespace.to_owned(), or(&spec["secretRef"]["name"], "")),
        token_key: or(&spec["secretRef"]["tokenKey"], "token"),
        demands: Demands {
            additional: named(&spec["scopes"]["additional"]),
            workspace: named(&spec["workspaces"]),
            block_missing: spec["scopes"]["onMissing"] != "Warn",
            block_excess: spec["scopes"]["onExcess"] == "Block",
        },
        adopt: spec["adoptionPolicy"] == "Adopt",
        deletion: text(&spec["deletionPolicy"]),
        management: or(&spec["managementPolicy"], "Full"),
        interval: or(&spec["interval"], "1h"),
        status: Status(object["status"].clone()),
    }
}

/// The place of a project's id.
pub fn place(cast: &Cast, project: Option<&str>) -> Option<Place> {
    [Place::One, Place::Two, Place::Organization].into_iter().find(|place| cast.project(*place) == project)
}
