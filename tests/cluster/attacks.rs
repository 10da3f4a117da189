//! What somebody may try who has rights in one namespace, or even some in the KMS, and what keeps it from working.
//!
//! | attack | what keeps it out | test |
//! |---|---|---|
//! | another team's project, the whole organization, another team's instance; in Observe too | grants, checked before any call | [`grants`]`::a_grant_is_not_stretched` |
//! | taking over a connection that syncs secrets elsewhere | `adoption` in the grant; the grant's project | [`grants`]`::a_grant_is_not_stretched` |
//! | a finalizer set by hand, to have something deleted | the mark | [`grants`]`::a_grant_is_not_stretched` |
//! | going on after the grant was taken back | the same check, in each pass | [`grants`]`::a_grant_that_is_taken_back_ends_writes_and_reads` |
//! | learning of others by messages and events | messages name what the reader's own manifest names | [`messages`], `grants::a_tenant_is_told_nothing_of_another_namespace` |
//! | an instance at the attacker's host, however it is spelt | `--allowed-kms-hosts`, compared as parsed, before anything is read | [`hosts`], `instances::a_host_that_is_not_allowed_never_sees_a_byte` |
//! | a redirect of an allowed host, a server that repeats what it was sent | redirects are off; servers' words are scrubbed | `silence` |
//! | a Secret or a ServiceAccount of another namespace | references have no namespace; the instance's own is used | [`references`], `identities::a_cluster_instance_mints_in_its_namespace_alone` |
//! | names with `../` in fields that become parts of an address | the schema, and the operator where something slipped past it | [`names`], `schema` |
//! | another object's mark: in a description, or copied by hand in the KMS | marks in texts are left out; the status's id comes first | [`marks`] |
//! | another object's status | the mark decides, not the status; it must be in the spec's scope | [`statuses`] |
//! | guessing a password by the fingerprint | only tokens that Bitbucket accepted have one | [`fingerprints`] |

mod fingerprints;
mod grants;
mod hosts;
mod marks;
mod messages;
mod names;
mod references;
mod statuses;

use bitbucket_connection_operator::{
    api::BitbucketConnection,
    domain::{
        ownership::{Origin, Owner, OwnerId},
        scopes::UseCase,
    },
};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sim::Token;

use crate::harness::{Tenant, World, merge, needed_by};

/// A project that nobody grants.
const ANOTHER_PROJECT: &str = "0b1c4b52-93a0-4b9e-8d4f-5f0a4f6f7a11";

/// A Secret with a token of its own, which Bitbucket takes; returns the token.
async fn secret(world: &World, tenant: &Tenant, name: &str) -> String {
    let (email, token) = (format!("{name}@example.com"), format!("ATATT3x-canary-of-{name}"));
    world.bitbucket.add(Token::new(&email, &token).scopes(needed_by(&[UseCase::SecretScanning])));
    tenant.secret(name, &email, &token).await;
    token
}

/// What a ClusterKmsInstance grants a namespace.
fn grant(tenant: &Tenant, change: Value) -> Value {
    let labels = json!({"kubernetes.io/metadata.name": tenant.namespace()});
    let mut grant = json!({"namespaceSelector": {"matchLabels": labels}});
    merge(&mut grant, change);
    grant
}

/// Writes into a status, as somebody with the right to do so can, or a backup that is restored.
async fn overwrite_status(tenant: &Tenant, name: &str, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    let patched = tenant.api::<BitbucketConnection>().patch_status(name, &PatchParams::default(), &patch).await;
    patched.unwrap_or_else(|error| panic!("cannot overwrite the status of {name}: {error}"));
}

/// The connection that a status tells of.
fn recorded(bbc: &BitbucketConnection) -> Value {
    let connection = bbc.status.as_ref().and_then(|status| status.connection.as_ref()).expect("a connection");
    serde_json::to_value(connection).expect("JSON")
}

/// The mark of an object, as anybody can compute it who knows the owner id.
fn mark_of(owner_id: &str, tenant: &Tenant, name: &str) -> String {
    Owner::of(&OwnerId::new(owner_id).expect("an owner id"), tenant.namespace(), name).mark(Origin::Created)
}
