//! The worlds: one for each kind of source.

mod dns;
mod docker;
mod ec2;
mod etcd;
mod file;
mod front;

pub(crate) use dns::{DnsWorld, Mood};
pub(crate) use docker::DockerWorld;
pub(crate) use ec2::Ec2World;
pub(crate) use etcd::EtcdWorld;
pub(crate) use file::FileWorld;
pub(crate) use front::Front;
