//! The pages of docs/: what is generated of them, where their links lead, the site that is made of them, that the tests
//! are there that the page of threats names, and that manifests and commands work: `run` applies and runs them on a real
//! API server.

mod fields;
#[path = "../cluster/harness/mod.rs"]
mod harness;
mod links;
mod run;
mod site;
mod threats;
