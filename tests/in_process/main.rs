//! The whole operator in one process, against a cluster in memory, with the clock in the test's hand: what takes hours, or
//! many thousands of objects.

mod crashes;
mod day;
mod fleet;
mod histories;
mod pace;
mod process;
mod world;
