//! Stand-ins for the two services that the operator talks to, for tests and for trying things by hand. Never shipped.
//!
//! [`Bitbucket`] and [`Kms`] live in memory, listen on 127.0.0.1 and start in milliseconds. They copy what the real
//! services do where the operator meets them, oddities included; both keep a journal of every request and fail on
//! demand, which [`Front`] holds once for both.
//!
//! ```no_run
//! # async fn example() {
//! use sim::{Bitbucket, Caller, Fault, Kms, Match, Operation, State, Token};
//!
//! let bitbucket = Bitbucket::start().await;
//! bitbucket.add(Token::new("bot@example.com", "ATATT3x").scopes(["read:user:bitbucket"]));
//! let kms = Kms::start(&bitbucket).await;
//! kms.add_identity("client", "secret");
//! kms.fail_when(Match::op(Operation::Create).times(1), Fault::LoseAnswer);
//! // … let the operator work …
//! kms.answered(&Match::op(Operation::Create), 1).await;
//! bitbucket.set("ATATT3x", State::Revoked);
//! assert_eq!(bitbucket.calls_by(Caller::Operator), 1);
//! # }
//! ```
//!
//! Where to find what: `journal` what arrived · `tally` how much of it · `fault` what can go wrong · `front` the way of
//! a request through both · `quota` rate limits · `wire` connections that are cut · `tls` certificates · `bitbucket` and
//! `kms` the services ·
//! [`seed`] an example of everything.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bitbucket;
mod fault;
mod front;
mod journal;
mod kms;
mod quota;
pub mod seed;
mod tally;
mod tls;
mod wire;

pub use bitbucket::{Account, Bitbucket, State, Token};
pub use fault::{Fault, Match};
pub use front::{Closed, Front};
pub use journal::{Auth, Caller, Entry, Operation, Outcome};
pub use kms::{Connection, Flavor, Kms, Limits, ORG_ID, Proof};
pub use tally::Tally;
pub use tls::{Authority, Certificates, Terminator};
