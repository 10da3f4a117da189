//! What the operator tells about itself: logs, metrics, traces, health.

pub mod health;
pub mod logs;
pub mod metrics;
#[cfg(test)]
mod page;
pub mod queue;
mod samples;
mod scrape;
pub mod traces;
