//! The Helm chart, with the real Helm, on a real API server. That its roles are enough is shown by all other tests, whose
//! operator runs under them.

mod environment;
mod first_day;
mod flags;
mod generated;
mod manifests;
mod people;
mod release;
mod render;
mod rights;
mod values;
