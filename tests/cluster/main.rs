//! The operator end to end: the real binary, a real API server, stand-ins for Bitbucket and the KMS.
//!
//! `harness` starts and stops all that and holds the words in which the tests are written; each other file is about one
//! thing that users can rely on. The control plane is found or built by itself: see `controlplane`.

mod adoption;
mod api_server;
mod attacks;
mod chart;
mod crash;
mod credentials;
mod deletion;
mod demo;
mod descriptions;
mod drift;
mod expiry;
mod grants;
mod harness;
mod held;
mod histories;
mod identities;
mod image;
mod instance_changes;
mod instances;
mod kms_refusals;
mod kms_versions;
mod leadership;
mod lifecycle;
mod limits;
mod list;
mod memory_api;
mod misuse;
mod modes;
mod moves;
mod observability;
mod order;
mod owner_ids;
mod ownership;
mod process;
mod rotation;
mod scale;
mod schema;
mod scopes;
mod silence;
mod sockets;
mod story;
mod stranger;
mod teardown;
mod tls;
mod traces;
mod workspaces;
