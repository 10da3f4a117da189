//! The operator.
//!
//! [`reconcile`](reconcile::reconcile) tells the story of a connection; [`observe`], [`verify`], [`act`] and [`report`]
//! are its rooms. [`instance`] does the same for the instances of the KMS. [`watches`] brings the news, [`triggers`]
//! carries it to the queues, and [`run`] puts all of it together.

mod act;
mod adoptions;
mod clock;
mod context;
mod errors;
mod guard;
mod held;
mod instance;
mod instances;
mod memory;
mod mint;
mod namespaces;
mod observe;
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

pub use run::{Error, Options, run};
