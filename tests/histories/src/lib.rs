//! Random histories: what people, accidents and outages do to the world of the operator, and where that must end.
//!
//! A history is a list of [`step::Step`]s, made by chance and made smaller by proptest when one fails. It is played on two
//! levels, in process with a moving clock and against the real binary; both use the same steps, carried out by the same
//! [`hands`], and are judged by the same model.
//!
//! The model knows nothing of the operator's code. It reads the [`facts`] that others than the operator made (specs,
//! Secrets, instances, Bitbucket's tokens) and what the KMS holds, and says what each object must be like once nothing
//! happens any more ([`model`]). What must hold at every moment is checked at every write to the KMS ([`guard`]) and
//! between steps.
//!
//! Where to find what: `cast` who and what there is · `step` what can happen · `chance` how histories are made · `hands`
//! what people do · `ledger` what is remembered of it · `facts` the world as it is · `token` what a token is good for ·
//! `model` where an object must end · `judge` whether it did · `guard` what may be written · `silence` where no secret
//! may be.

#![forbid(unsafe_code)]

pub mod cast;
pub mod chance;
pub mod facts;
pub mod guard;
pub mod hands;
pub mod judge;
pub mod ledger;
pub mod model;
pub mod silence;
pub mod step;
pub mod token;
