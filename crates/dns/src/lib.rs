//! Where clients find the fleet: names in DNS that are kept equal to the nodes in service.
//!
//! One way through: what the fleet knows of its nodes is weighed into those in [`service`]; the spec makes record sets of
//! them ([`wanted`]); [`plan`] compares those with what a [`Provider`] says is there and makes batches. Every batch carries
//! the [`fence`]: it replaces the name's ownership record exactly as it was read, so that of two leaders only one can
//! write. [`lease`] says which of them may try. All of these are pure.
//!
//! This crate knows no cluster: who leads, in which term, and who is alive are values that come in.

pub mod fence;
pub mod lease;
pub mod plan;
pub mod provider;
pub mod record;
pub mod service;
pub mod wanted;

pub use fence::Ownership;
pub use provider::{Provider, ProviderError};
pub use record::{RecordData, RecordSet, RecordType};
