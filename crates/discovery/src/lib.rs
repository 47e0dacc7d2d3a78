//! Where servers come from: the sources that a spec names, and what of their answers may be believed.
//!
//! One way through: a spec's sources become [`Query`]s, equal ones asked once ([`query`]); each query has a [`Source`]
//! that runs as a task and gives [`Answer`]s; [`mapping`] makes a backend's servers of them; [`guard`] decides whether
//! those may replace the ones before. Mapping and guard are pure.
//!
//! This crate writes no document and knows no leader: the agent starts and stops the sources, and writes what comes out.

pub mod answer;
pub mod dns;
pub mod file;
mod pauses;
pub mod query;
pub mod source;

pub use answer::{Address, AddressKind, Answer, Condition, Found, LeftOut, SourceError};
pub use query::Query;
pub use source::{Answers, Source, SourceSettings};
