//! Discovery on this node: where it leads, the loop that asks the sources and writes what they come to; on every node
//! that has a Docker engine, the loop that tells the leader of its containers.
//!
//! What is asked and what is believed is `hafleet-discovery`'s to decide. Here is what that needs of the fleet: the spec,
//! the endpoints as they are, somebody who leads, and the writes.

mod board;
mod certificates;
mod containers;
mod difference;
mod found;
mod launch;
mod lead;
mod leading;
mod message;
mod standing;

pub(crate) use board::{Board, Confirmed, Request, Unconfirmed};
pub(crate) use containers::{ContainersLoop, PACE as CONTAINERS_PACE};
pub(crate) use found::answer_of;
pub(crate) use launch::Launcher;
pub(crate) use leading::{DiscoveryLoop, PACE};
pub(crate) use standing::is_behind;
