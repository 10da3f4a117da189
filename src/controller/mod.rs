//! The operator.
//!
//! [`reconcile`](reconcile::reconcile) tells the story of a connection; [`observe`], [`verify`], [`act`] and [`report`]
//! are its rooms. [`instance`] does the same for the instances of the KMS. [`watches`] brings the news, [`triggers`]
//! carries it to the queues, and [`control`] runs these; with several replicas, [`election`] decides which of them does.
//! [`caches`] holds what is watched, read without what nobody needs ([`pruned`]), connections packed ([`cached`]).
//! [`operator`] puts all of it together, and [`run`] starts it.

mod act;
mod adoptions;
mod cached;
mod caches;
mod clock;
mod context;
mod control;
mod election;
mod errors;
mod guard;
mod held;
mod instance;
mod instances;
mod leadership;
mod memory;
mod mint;
mod namespaces;
mod observe;
mod operator;
mod options;
mod pruned;
mod queues;
mod reconcile;
mod report;
mod run;
mod samples;
mod sources;
mod triggers;
#[cfg(test)]
mod troubleshooting;
mod trust;
mod users;
mod verdicts;
mod verify;
mod watches;
#[cfg(test)]
pub(crate) mod words;

pub use clock::Clock;
pub use election::{ElectionOptions, Lost};
pub use operator::{Operator, Outside};
pub use options::{Error, Options};
pub use run::run;
