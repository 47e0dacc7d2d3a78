//! The worlds: one for each kind of source.

mod dns;
mod docker;
mod file;

pub(crate) use dns::{DnsWorld, Mood};
pub(crate) use docker::DockerWorld;
pub(crate) use file::FileWorld;
