//! The daemon: composes the other crates into reconcile loops. Nothing else composes.
//!
//! - [`config`]: the agent's file and environment.
//! - [`run`]: start and end of an agent; which part gets what.
//! - [`reconcile`]: the one shape of everything that acts.
//! - [`data_plane`]: the loop that brings HAProxy to the fleet's spec.
//! - [`reloads`]: how soon the next reload may come, and what became of the last ones.
//! - [`fleet`]: what the administration API asks, answered from cluster and HAProxy.
//! - [`forward`]: calls that another agent has to answer.
//! - [`certificates`]: the fleet's certificates, in files on this node.
//! - [`vault`]: the fleet's secrets, sealed and opened.
//! - [`hardening`]: what keeps the agent's memory from ending up in a file.
//! - [`limits`]: how much anybody may ask of the agent over a connection.
//! - [`endpoints`]: what discovery found, as this node has it.
//! - [`instance`]: which instance of EC2 this node is.
//! - [`members`]: who is in the fleet, kept where this node leads.
//! - [`tasks`]: the agent's tasks, watched in one place.
//! - [`overrides`]: what operators did by hand, as this node has it.
//! - [`own`]: a configuration that this node alone has.
//! - [`lb_agent`]: what callers of an older program ask over HTTP.
//! - [`discovery`]: the sources, asked where this node leads, and this node's own containers.
//! - [`publication`]: the names in DNS, kept where this node leads, and this node's own addresses.
//! - [`fitness`]: whether this node can do what only a leader does.
//! - [`composer`]: spec, endpoints and certificates put together.
//! - [`audit`]: what was denied and what was changed.
//! - [`trust`]: renewal, revocation and joining: certificates while the agent runs.
//! - [`candidate`]: a spec that somebody proposes, and what this node makes of it.

mod audit;
mod candidate;
mod certificates;
mod composer;
mod compute;
pub mod config;
mod data_plane;
mod discovery;
mod endpoints;
mod fitness;
mod fleet;
mod forward;
mod hardening;
mod instance;
mod lb_agent;
mod limits;
mod log;
mod members;
mod overrides;
mod own;
mod publication;
mod questions;
pub mod reconcile;
mod reloads;
mod run;
mod tasks;
mod trust;
mod vault;

pub use audit::AuditFileConfig;
pub use config::{Config, ConfigError};
pub use limits::RequestLimits;
pub use run::{AgentError, check, run, stop_haproxy};
pub use tasks::Fall;
pub use trust::joins::IssuerConfig;
