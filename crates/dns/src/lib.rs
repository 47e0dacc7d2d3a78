//! Where clients find the fleet: names in DNS that are kept equal to the nodes in service.
//!
//! One way through: what the fleet knows of its nodes is weighed into those in [`service`]; the spec makes record sets of
//! them ([`wanted`]); [`plan`] compares those with what a [`Provider`] says is there and makes batches. Every batch carries
//! the [`fence`]: it replaces the name's ownership record exactly as it was read, so that of two leaders only one can
//! write. [`lease`] says which of them may try. All of these are pure.
//!
//! All impure work is done by a [`Publisher`], over the [`Provider`] of each zone. Who drives it does, in a loop:
//!
//! 1. make one when the node begins to lead, over `zones::Providers`, and drop it when it leads no more;
//! 2. gather a [`Scene`]: the [`Claimant`](lease::Claimant), the evidence of each node ([`service::NodeEvidence`]; [`probe`]
//!    makes the leader's own part of it), and the spec's `dns`;
//! 3. [`Publisher::round`]; look at the [`Round`](publisher::Round): a [`rival`](publisher::Round::rival) means that this
//!    node leads no more or has to claim above that term, [`troubles`](publisher::Round::troubles) say whether it can publish
//!    at all, [`names`](publisher::Round::names) are for status;
//! 4. wait until the scene changes, or for [`next`](publisher::Round::next).
//!
//! [`Publisher::plan`], [`Publisher::adopt`] and [`Publisher::release`] are what operators ask for in between. A call may be
//! dropped at any point, but what it had sent has to be read then: better let rounds end, and begin the next with a new scene.
//!
//! This crate knows no cluster: who leads, in which term, and who is alive are values that come in.

pub mod budget;
pub mod checks;
pub mod fence;
pub mod lease;
pub mod plan;
pub mod probe;
pub mod provider;
pub mod publisher;
pub mod record;
#[cfg(feature = "providers")]
pub mod rfc2136;
#[cfg(feature = "providers")]
pub mod route53;
pub mod service;
pub mod wanted;
#[cfg(feature = "providers")]
pub mod zones;

pub use budget::Budget;
pub use fence::Ownership;
pub use provider::{Provider, ProviderError, Zones};
pub use publisher::{Publisher, Scene};
pub use record::{RecordData, RecordSet, RecordType};
