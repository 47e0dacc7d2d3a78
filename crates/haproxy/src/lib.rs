//! One HAProxy: what its configuration is, what it takes to get there, and the process that runs it.
//!
//! Data flows one way: [`mod@render`] makes the configuration of a node out of the spec, [`check`] asks HAProxy whether it
//! is valid, [`plan`] compares it with what runs, [`proxy`] carries the plan out with [`process`] and [`handover`], and
//! reports. [`runtime`] is the client of the Runtime API, [`certificates`] holds the fleet's certificates in files. [`Proxy`] is the front door; whoever only wants to look takes an
//! [`Inspector`].
//!
//! It leaves to others: which spec is wanted and when (the agent), where servers come from (`hafleet-discovery`), and
//! who may ask (`hafleet-api`). HAProxy never dies with the agent.

mod beside;
pub mod binary;
pub mod certificates;
pub mod check;
mod files;
pub mod handover;
pub mod plan;
pub mod process;
pub mod proxy;
pub mod render;
pub mod runtime;
mod state;
mod warming;

pub use binary::{Binary, BinaryError, Version};
pub use certificates::{Certificates, FleetCertificate, HeldCertificate};
pub use check::{CheckError, ToolError};
pub use files::FileError;
pub use handover::{Choice, FirewallChoice, HandoverError, Strategy};
pub use plan::{Plan, Step};
pub use process::{ProcessId, ProcessMode, ServiceError, StartError};
pub use proxy::{
    Applied, ApplyError, HandoverChoice, Inspector, OldProcess, OpenError, PlanError, ProcessWords,
    Proxy, Settings, VerifyError,
};
pub use render::{
    Listener, RenderError, Rendered, RenderedServer, Skeleton, WrittenServer, render,
};
pub use runtime::{RuntimeError, RuntimeSocket};
