//! What the tests are written with.
//!
//! ```ignore
//! let world = World::start().await;
//! world.secret("bitbucket-token", EMAIL, TOKEN).await;
//! world.instance().await;
//! world.connection("payments").apply().await;
//! world.ready("payments").await;
//! assert_eq!(world.kms.writes(), 1);
//! ```
//!
//! - `plane` control planes: one for all tests, or one for a test alone; `rights` what the operator may do on them: what
//!   the chart gives its ServiceAccount, whose token the operator has
//! - `operator` the process under test, and its log
//! - `pod` the same process as an image and a kubelet start it
//! - `world` all of it together; `tenant` one namespace and what is done there; `objects` what is applied
//! - `waiting` for something to become true, by watches; `report` what is printed when it doesn't; `failures`, that
//!   it is printed at once; `settled` until nothing is left to do
//! - `reading` conditions, events, metrics; `kstatus`, what GitOps tools make of an object; `writes` of the operator
//! - `chart` renders the Helm chart
//! - `silence` finds secrets where none may be
//!
//! Everything waits with an end, [`PATIENCE`], and a failure prints all there is to see.

// Each test uses what it needs, and no build of this crate holds all tests at all times.
#![allow(dead_code, reason = "words for tests to come")]

pub mod chart;
mod failures;
mod kstatus;
mod objects;
mod operator;
mod plane;
mod pod;
mod reading;
mod report;
pub mod rights;
mod settled;
mod silence;
mod tenant;
mod waiting;
mod world;
mod writes;

use std::time::Duration;

#[allow(unused_imports, reason = "words for tests to come")]
pub use self::{
    kstatus::{Kstatus, kstatus},
    objects::{Connection, dynamic, merge},
    operator::{Launch, Operator},
    plane::{Plane, install_crypto},
    pod::entrypoint,
    reading::{Metrics, assert_condition, condition, conditions},
    silence::gives_away,
    tenant::Tenant,
    waiting::{in_time, is_settled},
    world::{Builder, World, needed_by},
    writes::Write,
};

/// How long anything may take. Long, because a test that fails by it is wrong or finds a bug, on however slow a machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The pause between two questions, where there is nothing that tells when the answer changes.
pub const PAUSE: Duration = Duration::from_millis(20);

/// A project that the KMS has.
pub const PROJECT: &str = "7ffbb072-2575-495a-b5b0-127f88caef78";
/// The e-mail of the good token.
pub const EMAIL: &str = "bot@example.com";
/// A token with exactly the scopes for SecretScanning.
pub const TOKEN: &str = "ATATT3xFfGF0-canary-of-the-good-token";
/// The client id of the identity in the KMS.
pub const CLIENT_ID: &str = "client-id-of-the-identity";
/// Its client secret.
pub const CLIENT_SECRET: &str = "canary-of-the-client-secret";
/// The Secret that a connection refers to unless told otherwise.
pub const SECRET: &str = "bitbucket-token";
