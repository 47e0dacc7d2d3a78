//! The protocol between agents (`proto/hafleet/v1/peer.proto`): what a node answers, and how it asks.

pub mod answer;
pub(crate) mod client;
pub(crate) mod server;
pub(crate) mod wire;

#[cfg(test)]
mod tests;
