//! A real Kubernetes control plane without containers, for the end-to-end tests and the demo; never shipped.
//!
//! ```no_run
//! # async fn example() -> Result<(), controlplane::Error> {
//! use controlplane::{ControlPlane, Printer, Programs};
//!
//! let mut printer = Printer::stderr();
//! let programs = Programs::find_or_build(|progress| printer.show(&progress)).await?;
//! let cluster = ControlPlane::start(&programs).await?;
//! // … use cluster.kubeconfig() or cluster.kubectl() …
//! cluster.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! - [`programs`](Programs) finds etcd, kube-apiserver, kube-controller-manager and kubectl, and has them built from the
//!   Go module in this folder when they are missing;
//! - [`helm`](Helm) does the same for helm and helm-docs, from the Go module in `tests/cluster/helm`;
//! - [`judges`](Judges) asks kstatus and Argo CD's Lua what they make of objects;
//! - [`start`](ControlPlane) runs them, on free ports and in a folder of their own;
//! - [`undertaker`](Undertaker) sees to it that nothing stays behind, however the parent ends.
#![forbid(unsafe_code)]

mod access;
mod audit;
mod building;
mod error;
mod helm;
mod judges;
mod keep;
mod processes;
mod programs;
mod progress;
mod start;
mod undertaker;

pub use access::{ADMIN, TENANT};
pub use error::Error;
pub use helm::Helm;
pub use judges::Judges;
pub use keep::Kept;
pub use programs::{Program, Programs};
pub use progress::{Printer, Progress};
pub use start::ControlPlane;
pub use undertaker::Undertaker;
