//! Whole fleets on real HAProxy, in network namespaces that the tests make and remove.
//!
//! A test builds a [`Fleet`]: a switch, one namespace for each node with its agent and its HAProxy, and one outside
//! them for clients and servers. Each fault is a line: `fleet.kill_agent(1)`, `fleet.cut(2)`, `fleet.node(3).stop()`.
//! What a test sees, it sees as users do: through the `hafleet` command and through requests to each HAProxy.
//!
//! - [`machine`]: what a test needs of the machine, and what it says when that is missing.
//! - [`namespace`], [`network`] and [`delay`]: namespaces, the switch between them, cuts, and paths that take time.
//! - [`fleet`], [`node`], [`agent`], [`process`]: what runs in them, and what can be done to it.
//! - [`systemd`]: one that really runs, with the agent's unit.
//! - [`disk`] and [`clock`]: those of one agent, which can fail.
//! - [`fault`] and [`trial`]: what is broken on purpose, and what has to hold all the same.
//! - [`authority`] and [`client`]: certificates, and the `hafleet` command as a person runs it.
//! - [`certificate`]: certificates of the traffic, and what clients are shown.
//! - [`starve`]: processes that get little of the processor, and programs that keep it busy.
//! - [`backend`], [`request`], [`load`], [`kept`]: servers, single requests, requests at a steady rate, and clients
//!   that keep their connections.
//! - [`spec`]: the specs that tests apply.
//! - [`listed`]: servers that a source finds in a file. [`etcd`]: a real one.
//! - [`knot`]: a real name server that takes updates.
//! - [`docker`]: a real engine of containers in a namespace.
//! - [`aws`]: EC2, Auto Scaling and STS of moto, and faults of the wire before it.
//! - [`published`]: a fleet whose names are in Route53, and what befalls both.
//! - [`demo`]: the demo as a user starts it.
//! - [`wire`]: what somebody hears who listens.
//! - [`flood`]: bad connections by the thousands.
//! - [`stranger`]: peers that say what no agent would. [`hearsay`]: what they say of others.
//!   [`protobuf`]: how that is put.
//!
//! Nothing outlives a test: guards kill and remove what it made, and the next test removes what a killed one left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a harness fails by panicking, so that the test fails with the reason"
)]

pub mod agent;
pub mod authority;
pub mod aws;
pub mod backend;
pub mod certificate;
pub mod client;
pub mod clock;
pub mod deadline;
pub mod delay;
pub mod demo;
pub mod disk;
pub mod docker;
pub mod etcd;
pub mod fault;
pub mod fleet;
pub mod flood;
pub mod hearsay;
pub mod kept;
pub mod knot;
pub mod listed;
pub mod load;
pub mod machine;
pub mod namespace;
pub mod network;
pub mod node;
pub mod process;
pub mod protobuf;
pub mod published;
pub mod request;
pub mod scratch;
pub mod spec;
pub mod starve;
pub mod stranger;
pub mod systemd;
pub mod trial;
pub mod wire;

pub use client::{Client, Finished};
pub use deadline::{lasting, wait_for, wait_until, while_it_lasts};
pub use fault::Fault;
pub use fleet::Fleet;
pub use machine::can_make_namespaces;
pub use namespace::Namespace;
pub use node::Node;
pub use trial::Trial;
