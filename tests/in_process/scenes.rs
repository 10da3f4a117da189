//! Scenes: what there is, what somebody does then, and what it ends in, whatever comes in between.

use std::time::Duration;

use bitbucket_connection_operator::domain::ownership::Origin;
use serde_json::json;
use sim::Connection;

use crate::{
    hands::{
        EMAIL, NAME, OTHER, PROJECT, PROJECT_B, TOKEN, apply, apply_instance, apply_instance_of_account, apply_named,
        apply_secret, ask, base, base_with_own_instance, delete, delete_namespace, delete_own_instance, delete_secret,
        edit, force_away, grant, instance_spec, issue, owner, put_client_secret, put_token, replace_client_secret,
        rotate, rotate_badly, row, spec, surroundings,
    },
    world::{KMS, KMS_TOO, OTHER_KMS, World},
};

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// A day's interval, with its jitter.
const INTERVAL: Duration = Duration::from_secs(28 * 3_600);

/// Something that happens; then it gets quiet.
#[derive(Clone, Copy)]
pub enum Deed {
    /// Somebody does something.
    Do(fn(&World)),
    /// Time passes.
    Pass(Duration),
}

use Deed::{Do, Pass};

/// A scene.
#[derive(Clone, Copy)]
pub struct Scene {
    /// What it is about.
    pub name: &'static str,
    /// What there is, one after another; the operator starts after the first.
    pub before: &'static [fn(&World)],
    /// What happens then, one after another.
    pub deeds: &'static [Deed],
    /// The reason of the connection's Ready in the end; empty if it is gone.
    pub ready: &'static str,
    /// The reasons of all events in the end, in alphabetical order.
    pub told: &'static [&'static str],
}

/// A connection that is Ready.
const CONNECTED: &[fn(&World)] = &[base, apply];
const CREATED: &str = "ConnectionCreated";
const READY: &str = "Succeeded";

/// All of them.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "all at once",
        before: &[],
        deeds: &[Do(|world| {
            base(world);
            apply(world);
        })],
        ready: READY,
        told: &[CREATED],
    },
    Scene { name: "create", before: &[base], deeds: &[Do(apply)], ready: READY, told: &[CREATED] },
    Scene {
        name: "create, then another name",
        before: &[base],
        deeds: &[Do(apply), Do(|world| spec(world, json!({"connectionName": "renamed"})))],
        ready: READY,
        told: &[CREATED, "ConnectionUpdated"],
    },
    Scene {
        name: "create, then a new token",
        before: &[base],
        deeds: &[Do(apply), Do(rotate)],
        ready: READY,
        told: &[CREATED, "CredentialsRotated"],
    },
    Scene {
        name: "create, then delete",
        before: &[base],
        deeds: &[Do(apply), Do(delete)],
        ready: "",
        told: &[CREATED, "ConnectionDeleted"],
    },
    Scene {
        name: "create before its Secret",
        before: &[|world| {
            surroundings(world);
            apply_instance(world);
        }],
        deeds: &[Do(apply), Do(apply_secret)],
        ready: READY,
        told: &[CREATED],
    },
    Scene {
        name: "create before its instance",
        before: &[|world| {
            surroundings(world);
            apply_secret(world);
        }],
        deeds: &[Do(apply), Do(apply_instance)],
        ready: READY,
        told: &[CREATED],
    },
    Scene {
        name: "a login by a ServiceAccount",
        before: &[|world| {
            surroundings(world);
            apply_secret(world);
        }],
        deeds: &[Do(|world| {
            apply_instance_of_account(world);
            apply(world);
        })],
        ready: READY,
        told: &[CREATED],
    },
    Scene {
        name: "two with one Secret, and a rotation",
        before: CONNECTED,
        deeds: &[Do(|world| apply_named(world, OTHER, json!({}))), Do(rotate)],
        ready: READY,
        told: &[CREATED, CREATED, "CredentialsRotated", "CredentialsRotated"],
    },
    Scene {
        name: "a new description",
        before: CONNECTED,
        deeds: &[Do(|world| spec(world, json!({"description": "Payments"})))],
        ready: READY,
        told: &[CREATED, "ConnectionUpdated"],
    },
    Scene {
        name: "a description that is taken away",
        before: &[base, |world| apply_named(world, NAME, json!({"description": "Payments"}))],
        deeds: &[Do(|world| spec(world, json!({"description": null})))],
        ready: READY,
        told: &[CREATED, "ConnectionUpdated"],
    },
    Scene {
        name: "a new name",
        before: CONNECTED,
        deeds: &[Do(|world| spec(world, json!({"connectionName": "renamed"})))],
        ready: READY,
        told: &[CREATED, "ConnectionUpdated"],
    },
    Scene {
        name: "a new name, description and token",
        before: CONNECTED,
        deeds: &[Do(|world| {
            spec(world, json!({"connectionName": "renamed", "description": "Payments"}));
            rotate(world);
        })],
        ready: READY,
        told: &[CREATED, "ConnectionUpdated", "CredentialsRotated"],
    },
    Scene {
        name: "a name that is taken, until it is free",
        before: CONNECTED,
        deeds: &[
            Do(|world| spec(world, json!({"connectionName": "by-hand"}))),
            Do(|world| {
                world.kms.remove(&row(world, "by-hand").id);
                ask(world);
            }),
        ],
        ready: READY,
        told: &[CREATED, "ConnectionUpdated", "NameConflict", "Recovered"],
    },
    Scene {
        name: "more scopes than the token has, until it has them",
        before: CONNECTED,
        deeds: &[
            Do(|world| spec(world, json!({"scopes": {"useCases": ["SecretScanning", "SecretSync"]}}))),
            Do(|world| spec(world, json!({"scopes": {"useCases": ["SecretScanning"]}}))),
        ],
        ready: READY,
        told: &[CREATED, "Recovered", "ScopesMissing"],
    },
    Scene {
        name: "another project, by an object of the same name",
        before: CONNECTED,
        deeds: &[Do(delete), Do(|world| apply_named(world, NAME, json!({"projectId": PROJECT_B})))],
        ready: READY,
        told: &[CREATED, CREATED, "ConnectionDeleted"],
    },
    Scene {
        name: "a new token",
        before: CONNECTED,
        deeds: &[Do(rotate)],
        ready: READY,
        told: &[CREATED, "CredentialsRotated"],
    },
    Scene {
        name: "a token that Bitbucket refuses, then a good one",
        before: CONNECTED,
        deeds: &[Do(rotate_badly), Do(rotate)],
        ready: READY,
        told: &[CREATED, "CredentialsRejected", "CredentialsRotated", "Recovered"],
    },
    Scene {
        name: "a new e-mail",
        before: CONNECTED,
        deeds: &[Do(|world| {
            issue(world, "renamed@example.com", TOKEN);
            put_token(world, "renamed@example.com", TOKEN, "2027-02-01");
        })],
        ready: READY,
        told: &[CREATED, "ConnectionUpdated"],
    },
    Scene {
        name: "a Secret that is deleted and created again",
        before: CONNECTED,
        deeds: &[Do(|world| {
            delete_secret(world);
            apply_secret(world);
        })],
        ready: READY,
        told: &[CREATED],
    },
    Scene {
        name: "a Secret that is deleted and created again with a new token",
        before: CONNECTED,
        deeds: &[Do(|world| {
            delete_secret(world);
            apply_secret(world);
            rotate(world);
        })],
        ready: READY,
        told: &[CREATED, "CredentialsRotated"],
    },
    Scene {
        name: "an object that is forced away and applied again",
        before: CONNECTED,
        deeds: &[Do(|world| {
            force_away(world);
            apply(world);
        })],
        ready: READY,
        told: &[CREATED, CREATED],
    },
    Scene {
        name: "workspaces that the token doesn't reach, until it does",
        before: CONNECTED,
        deeds: &[
            Do(|world| spec(world, json!({"workspaces": ["acme"]}))),
            Do(|world| {
                world.bitbucket.set_workspaces(TOKEN, ["acme"]);
                ask(world);
            }),
        ],
        ready: READY,
        told: &[CREATED, "Recovered", "WorkspacesMissing"],
    },
    Scene {
        name: "the end of a token comes near, and passes",
        before: &[base, |world| {
            put_token(world, EMAIL, TOKEN, "2026-04-15");
            apply_named(world, NAME, json!({"interval": "24h"}));
        }],
        deeds: &[
            Do(|world| world.turn_clocks(20 * DAY.as_secs().cast_signed())),
            Pass(INTERVAL),
            Do(|world| world.turn_clocks(30 * DAY.as_secs().cast_signed())),
            Pass(INTERVAL),
        ],
        ready: READY,
        told: &[CREATED, "TokenExpired", "TokenExpiring"],
    },
    Scene { name: "a look that is asked for", before: CONNECTED, deeds: &[Do(ask)], ready: READY, told: &[CREATED] },
    Scene {
        name: "a look that is asked for after a rotation",
        before: &[base, apply, rotate],
        deeds: &[Do(ask)],
        ready: READY,
        told: &[CREATED, "CredentialsRotated"],
    },
    Scene {
        name: "adopt",
        before: &[base, |world| {
            world.kms.insert(Connection::new(NAME).project(PROJECT).description("Made by hand"));
        }],
        deeds: &[Do(|world| apply_named(world, NAME, json!({"adoptionPolicy": "Adopt"})))],
        ready: READY,
        told: &["ConnectionAdopted"],
    },
    Scene {
        name: "adopt after a conflict, and let go",
        before: &[base, |world| {
            world.kms.insert(Connection::new(NAME).project(PROJECT).description("Made by hand"));
            apply(world);
        }],
        deeds: &[Do(|world| spec(world, json!({"adoptionPolicy": "Adopt"}))), Do(delete)],
        ready: "",
        told: &["ConnectionAdopted", "ConnectionRetained", "NameConflict", "Recovered"],
    },
    Scene {
        name: "observe, then manage",
        before: &[base, |world| apply_named(world, NAME, json!({"managementPolicy": "Observe"}))],
        deeds: &[Do(|world| spec(world, json!({"managementPolicy": "Full"})))],
        ready: READY,
        told: &[CREATED],
    },
    Scene {
        name: "changes that pile up under Observe",
        before: &[base, apply, |world| spec(world, json!({"managementPolicy": "Observe"}))],
        deeds: &[
            Do(|world| spec(world, json!({"description": "Payments"}))),
            Do(rotate),
            Do(|world| spec(world, json!({"managementPolicy": "Full"}))),
        ],
        ready: READY,
        told: &[CREATED, "ConnectionUpdated", "CredentialsRotated"],
    },
    Scene {
        name: "suspend, and resume after changes",
        before: CONNECTED,
        deeds: &[
            Do(|world| spec(world, json!({"managementPolicy": "Suspended"}))),
            Do(|world| {
                spec(world, json!({"connectionName": "renamed"}));
                rotate(world);
            }),
            Do(|world| spec(world, json!({"managementPolicy": "Full"}))),
        ],
        ready: READY,
        told: &[CREATED, "ConnectionUpdated", "CredentialsRotated"],
    },
    Scene {
        name: "a name that was changed in the KMS",
        before: CONNECTED,
        deeds: &[Do(|world| edit(world, |row| "somebody-else-s".clone_into(&mut row.name)))],
        ready: READY,
        told: &[CREATED, "DriftCorrected"],
    },
    Scene {
        name: "credentials that were changed in the KMS",
        before: CONNECTED,
        deeds: &[Do(|world| edit(world, |row| row.write_credentials(EMAIL, "ATATT3x-of-somebody")))],
        ready: READY,
        told: &[CREATED, "DriftCorrected"],
    },
    Scene {
        name: "a description that was changed in the KMS",
        before: CONNECTED,
        deeds: &[Do(|world| {
            edit(world, |row| row.description = row.description.as_ref().map(|text| format!("Mine {text}")));
        })],
        ready: READY,
        told: &[CREATED, "DriftCorrected"],
    },
    Scene {
        name: "a connection that was deleted in the KMS",
        before: CONNECTED,
        deeds: &[Do(|world| {
            world.kms.remove(&row(world, NAME).id);
            ask(world);
        })],
        ready: READY,
        told: &[CREATED, "DriftCorrected"],
    },
    Scene {
        name: "a mark that was taken off, then put back",
        before: CONNECTED,
        deeds: &[
            Do(|world| edit(world, |row| row.description = Some("Mine".to_owned()))),
            Do(|world| edit(world, |row| row.description = Some(owner(NAME).mark(Origin::Created)))),
        ],
        ready: READY,
        told: &[CREATED, "OwnershipMarkMissing", "Recovered"],
    },
    Scene { name: "delete", before: CONNECTED, deeds: &[Do(delete)], ready: "", told: &[CREATED, "ConnectionDeleted"] },
    Scene {
        name: "delete while it is in use",
        before: CONNECTED,
        deeds: &[
            Do(|world| {
                world.kms.attach(&row(world, NAME).id);
                delete(world);
            }),
            Do(|world| {
                world.kms.detach(&row(world, NAME).id);
                ask(world);
            }),
        ],
        ready: "",
        told: &[CREATED, "ConnectionDeleted", "DeletionBlocked"],
    },
    Scene {
        name: "retain",
        before: CONNECTED,
        deeds: &[Do(|world| {
            spec(world, json!({"deletionPolicy": "Retain"}));
            delete(world);
        })],
        ready: "",
        told: &[CREATED, "ConnectionRetained"],
    },
    Scene {
        name: "delete while suspended",
        before: CONNECTED,
        deeds: &[Do(|world| {
            spec(world, json!({"managementPolicy": "Suspended"}));
            delete(world);
        })],
        ready: "",
        told: &[CREATED, "ConnectionRetained"],
    },
    Scene {
        name: "a namespace that is deleted",
        before: CONNECTED,
        deeds: &[Do(delete_namespace)],
        ready: "",
        told: &[],
    },
    Scene {
        name: "a namespace that is deleted with its instance",
        before: &[base_with_own_instance, |world| apply_named(world, NAME, json!({"kmsRef": {"name": "kms"}}))],
        deeds: &[Do(delete_namespace)],
        ready: "",
        told: &[],
    },
    Scene {
        name: "an instance that is deleted before its connection",
        before: &[base_with_own_instance, |world| apply_named(world, NAME, json!({"kmsRef": {"name": "kms"}}))],
        deeds: &[Do(delete_own_instance), Do(delete)],
        ready: "",
        told: &[CREATED, "ConnectionDeleted"],
    },
    Scene {
        name: "a new client secret",
        before: CONNECTED,
        deeds: &[
            Do(|world| {
                replace_client_secret(world);
                put_client_secret(world);
            }),
            Do(rotate),
        ],
        ready: READY,
        told: &[CREATED, "CredentialsRotated"],
    },
    Scene {
        name: "a client secret that was revoked first",
        before: CONNECTED,
        deeds: &[
            Do(|world| {
                replace_client_secret(world);
                ask(world);
            }),
            Do(put_client_secret),
        ],
        ready: READY,
        told: &[CREATED],
    },
    Scene {
        name: "another name of the host",
        before: CONNECTED,
        deeds: &[Do(|world| instance_spec(world, json!({"host": KMS_TOO}))), Do(rotate)],
        ready: READY,
        told: &[CREATED, "CredentialsRotated"],
    },
    Scene {
        name: "another KMS, and back",
        before: CONNECTED,
        deeds: &[
            Do(|world| {
                world.other.add_identity("client", "client-secret");
                world.other.add_project(PROJECT);
                instance_spec(world, json!({"host": OTHER_KMS}));
            }),
            Do(rotate),
            Do(|world| instance_spec(world, json!({"host": KMS}))),
        ],
        ready: READY,
        told: &[CREATED, "CredentialsRotated", "Recovered"],
    },
    Scene {
        name: "grants that are taken away, then given back",
        before: CONNECTED,
        deeds: &[
            Do(|world| {
                instance_spec(world, json!({"grants": []}));
                rotate(world);
            }),
            Do(|world| instance_spec(world, json!({"grants": [grant()]}))),
        ],
        ready: READY,
        told: &[CREATED, "CredentialsRotated", "Recovered"],
    },
];
