//! The Bitbucket Connection Operator: keeps Bitbucket app connections of Hanzo KMS in step with Kubernetes Secrets.
//!
//! A reconcile is a story told once, in one file, in this order: **observe → verify → plan → act → report**. Everything
//! else is a room that the story enters and leaves:
//!
//! | room | what is in it |
//! |---|---|
//! | [`api`] | what users write and read: the kinds, their schema and its rules; no logic, no I/O |
//! | [`domain`] | the rules, pure: no I/O, no async, no clock of their own, no Kubernetes client |
//! | [`bitbucket`] | the client of Bitbucket Cloud: who is this token, and what may it do? |
//! | [`kms`] | the client of the KMS: sessions, connections, errors |
//! | [`http`] | what both clients share: limits, and taking secrets out of what servers say |
//! | [`controller`] | the operator: the story, and the only writer of status and events |
//! | [`telemetry`] | logs, metrics, traces, health |
//! | [`cli`] | the command line |
//!
//! Dependencies point one way: `cli, controller → kms, bitbucket → domain → api`.

// Nothing in a running operator may end the process. (Not in Cargo.toml: tests and their helpers may panic.)
#![warn(clippy::panic, clippy::unwrap_used)]
// Standard output belongs to cli::output, which survives a reader that leaves.
#![warn(clippy::print_stdout)]

pub mod api;
pub mod bitbucket;
pub mod cli;
pub mod controller;
#[cfg(test)]
mod corpus;
pub mod domain;
pub mod http;
pub mod kms;
pub mod telemetry;
