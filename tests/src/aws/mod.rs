//! AWS as tests need it: EC2, Auto Scaling and STS of moto, with faults of the wire in front of it.
//!
//! Nothing but the standard library is used, so that tests of other packages can have these files by `#[path]`.
//!
//! - [`Moto`]: the program, with the calls that make and change what it holds.
//! - [`Gate`]: what stands between it and who asks, and fails as told.
//! - [`Cloud`]: both, and the few words that most tests need.
//! - [`Dns`]: Route53 behind a gate. [`Witness`]: who wrote there, and in which order.
//! - [`InstanceMetadata`]: what machines are told of their addresses.
//! - [`ManyInstances`]: more of them than moto can list in good time.

mod cloud;
mod gate;
mod http;
mod many;
mod metadata;
mod moto;
mod route53;
mod witness;

pub use cloud::{Cloud, REGION};
pub use gate::{Call, Fault, Gate};
pub use many::ManyInstances;
pub use metadata::InstanceMetadata;
pub use moto::{KEY, Moto};
pub use route53::{Dns, Set};
pub use witness::{Batch, Changed, Passage, Witness};
