//! The operator end to end: the real binary, a real API server, stand-ins for Bitbucket and the KMS.
//!
//! `harness` starts and stops all that and holds the words in which the tests are written; each other file is about one
//! thing that users can rely on. The control plane is found or built by itself: see `controlplane`.

mod expiry;
mod grants;
mod harness;
mod instances;
mod process;
mod scale;
mod schema;
mod silence;
mod story;
