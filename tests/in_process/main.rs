//! The whole operator in one process, against a cluster in memory, with the clock in the test's hand: what takes hours, or
//! many thousands of objects.

mod crashes;
mod day;
mod ends;
mod faults;
mod fleet;
mod hands;
mod health;
mod histories;
mod pace;
mod process;
mod recorded;
mod scenes;
mod stage;
mod stale;
mod world;
