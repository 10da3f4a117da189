//! What the API server makes of manifests, without an operator: which it takes, and how it refuses the others. A refusal
//! has to say what to write instead.

mod connection;
mod instance;
mod people;
mod shape;
pub mod table;
mod updates;
