//! Gossip: chitchat over our own connections.
//!
//! chitchat thinks in datagrams and addresses. Here each message travels as a frame of the call `Peer.Gossip` on the
//! connection that a node keeps to each peer, so that every message comes from somebody whose certificate is known.
//!
//! - [`frame`]: which messages may reach chitchat, given that some would stop it.
//! - [`socket`]: chitchat's `Transport` and `Socket`: queues on one side, the inbox on the other.
//! - [`inbox`]: frames of all peers, checked, on their way to chitchat.

mod frame;
mod inbox;
mod socket;

pub(crate) use frame::{FrameError, FrameRules};
pub(crate) use inbox::{Inbox, Refused};
pub(crate) use socket::{Carrier, GossipTransport};
