//! The contract of all sources, held to each of them with the real thing behind it. A suite of its own for every source is
//! in `suite`; what only one kind can go through is in `faults`.

#![cfg(test)]

mod faults;
mod suite;
mod watcher;
mod world;
mod worlds;
