//! Fleets in one process: the cluster of real agents, over a network of memory.
//!
//! Everything above the wire is what agents run: gossip, elections, documents, stores, gRPC. Only TCP and TLS are missing,
//! so that hundreds of nodes fit into one process, and any of them can die or be cut off at a moment that the test picks.
//!
//! - [`network`]: addresses, connections between them, and the faults.
//! - [`stream`]: one end of a connection.
//! - [`fleet`]: nodes on it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness fails by panicking, so that the test fails with the reason"
)]

pub mod fleet;
pub mod network;
mod stream;

pub use fleet::{MemoryFleet, MemoryNode};
pub use network::MemoryNetwork;
