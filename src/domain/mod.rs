//! The rules, pure: no I/O, no async, no clock (now is an argument), no Kubernetes client.
//!
//! Each module is one rule or one thing that rules speak about; each can be read and tested alone.

pub mod access;
pub mod conditions;
pub mod connection;
pub mod credential;
pub mod duration;
pub mod events;
pub mod expiry;
pub mod grants;
mod hex;
pub mod host;
pub mod instance;
pub mod leadership;
pub mod limit;
pub mod login;
pub mod names;
pub mod ownership;
pub mod place;
pub mod plan;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub mod schedule;
pub mod scopes;
pub mod spec;
pub mod status;
pub mod text;
pub mod texts;
pub mod token;
pub mod trust;
pub mod verdict;
pub mod versions;
pub mod workspaces;
