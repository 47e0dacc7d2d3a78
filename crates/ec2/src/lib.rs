//! What EC2 and Auto Scaling say of instances, as plain values.
//!
//! [`Ec2`] is asked an [`InstanceQuery`] and gives all [`Instance`]s that match, or an [`Ec2Error`]; never a part of them.
//! It speaks `DescribeInstances` and `DescribeAutoScalingGroups` and nothing else, and changes nothing. [`Metadata`] is the
//! machine's own service, asked for the machine's addresses.
//!
//! A crate of its own, without any other of ours, since AWS's SDK takes minutes to build: an edit anywhere else does not
//! build this again. When to ask, and what of an answer to believe, is for others.

mod calls;
mod client;
mod error;
mod instance;
mod lifecycle;
mod metadata;
mod pace;
mod pages;
mod place;
mod query;
mod reading;
mod settings;

pub use calls::Calls;
pub use client::Ec2;
pub use error::Ec2Error;
pub use instance::{Instance, Lifecycle, SecurityGroup};
pub use metadata::{Metadata, MetadataAddress};
pub use query::InstanceQuery;
pub use settings::{Ec2Settings, Rate, StaticKey};
