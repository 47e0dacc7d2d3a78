//! Publication on this node: its own addresses, and where it leads, the loop that keeps names in DNS equal to the nodes in
//! service.
//!
//! What is published and behind which fence is `hafleet-dns`'s to decide. Here is what that needs of the fleet: who leads in
//! which term, what is known of each node, the spec, and the leader's own look at the nodes' listeners.

mod addresses;
mod board;
mod leading;
mod listeners;
mod message;
mod sight;

pub(crate) use addresses::{Addresses, AddressesLoop, PACE as ADDRESSES_PACE};
pub(crate) use board::{DnsBoard, Undone};
pub(crate) use leading::{PACE, PublicationLoop};
pub(crate) use listeners::Listeners;
pub(crate) use message::plan_of;
