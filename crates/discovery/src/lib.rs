//! Where servers come from: the sources that a spec names, and what of their answers may be believed.
//!
//! One way through: a spec's sources become [`Query`]s, equal ones asked once ([`query`]); each query has a [`Source`]
//! that runs as a task and gives [`Answer`]s; [`mapping`] makes a backend's servers of them; [`guard`] decides whether
//! those may replace the ones before; [`judge`] puts it all together. Those three are pure. [`Engine`] runs the sources and
//! is what the leader holds.
//!
//! This crate writes no document and knows no leader: the agent starts and stops the sources, and writes what comes out.

pub mod answer;
mod book;
pub mod dns;
pub mod docker;
pub mod ec2;
pub mod engine;
pub mod etcd;
pub mod file;
pub mod guard;
pub mod judge;
pub mod mapping;
mod pauses;
pub mod query;
pub mod services;
pub mod source;
pub mod status;
mod wanted;

pub use answer::{Address, AddressKind, Answer, Condition, Found, LeftOut, SourceError};
pub use engine::{Engine, Launch};
pub use file::watch::DirectoryWatch;
pub use judge::{BackendState, Judgement};
pub use query::Query;
pub use source::{Answers, Source, SourceSettings};
pub use status::{BackendStatus, SourceStatus, Status};
