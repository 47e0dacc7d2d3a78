//! What a fleet is: the spec that people write, the documents that agents replicate, and the words for both.
//!
//! This crate is values only. It reads no file, asks no clock and knows neither HAProxy's syntax (that is
//! `hafleet-haproxy`) nor how documents travel (`hafleet-cluster`). Everything that enters hafleet as text
//! becomes one of these types at the edge, in one place, and is valid from then on.
//!
//! - [`spec`]: frontends, backends, servers, templates; loading with field-exact errors; validation.
//! - [`document`]: the unit of replication, its header and its revision.
//! - [`endpoints`]: the servers that discovery found, and what they make of a spec.
//! - [`overrides`]: what operators did by hand.
//! - [`report`]: what a node says of itself.
//! - [`secrets`]: the certificates and keys of the traffic.

pub mod causes;
pub mod diff;
pub mod document;
pub mod endpoints;
pub mod name;
pub mod overrides;
pub mod report;
pub mod revision;
pub mod secrets;
pub mod spec;

pub use causes::with_causes;
pub use document::{Document, DocumentKind, Header};
pub use endpoints::Endpoints;
pub use name::{FleetName, NameError, NodeId};
pub use overrides::Overrides;
pub use revision::{Digest, Revision, Stamp, Term};
pub use secrets::Secrets;
pub use spec::Spec;
