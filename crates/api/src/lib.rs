//! The gRPC services that people and programs use, and the authentication before them.
//!
//! This crate owns the wire: the generated types of `proto/hafleet/v1/{admin,query}.proto`, their conversion from and to
//! domain types, which role may make which call, and which error has which status and details. What the calls *do*
//! is behind the [`Fleet`] trait, which the agent implements.
//!
//! - [`v1`]: the generated messages, client and server.
//! - [`fleet`]: the port that the agent fills.
//! - [`service`]: the `Admin` service over it.
//! - [`query`]: the `Query` service, questions over all load balancers.
//! - [`certificates`]: the fleet's certificates, and writes of them.
//! - [`overrides`]: what operators do by hand.
//! - [`convert`]: domain types and messages.
//! - [`access`]: who may call what.
//! - [`gate`]: where that is decided, before all services.
//! - [`vouching`]: calls that one agent hands on to another.
//! - [`lb_agent`]: the HTTP listener for callers of an older program.
//! - [`join`]: what a new node says to an issuer.
//! - [`audit`]: what goes into the audit log.
//! - [`failure`]: errors and their canonical codes, and how a client reads them back.

pub mod access;
pub mod audit;
pub mod certificates;
pub mod convert;
pub mod failure;
pub mod fleet;
pub mod gate;
pub mod join;
pub mod lb_agent;
pub mod overrides;
pub mod query;
pub mod service;
pub mod vouching;

pub use failure::Failure;
pub use fleet::Fleet;
pub use gate::Gate;
pub use service::{AdminService, client, reflection, reflection_v1alpha};

/// The generated messages, client and server of the administration API.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    rust_2018_idioms
)]
pub mod v1 {
    tonic::include_proto!("hafleet.v1");
    include!(concat!(env!("OUT_DIR"), "/hafleet.v1.serde.rs"));

    /// The descriptors of all messages, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/api.descriptors"));
}
