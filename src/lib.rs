//! The Bitbucket Connection Operator.

pub mod api;
pub mod bitbucket;
pub mod cli;
pub mod controller;
pub mod domain;
pub mod http;
pub mod kms;
pub mod telemetry;
