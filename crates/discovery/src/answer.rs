//! What a source says: everything it knows at one moment, or why it does not know it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hafleet_model::endpoints::Service;
use hafleet_model::secrets::{CertificateName, Confidential};

/// A whole answer. What is not in it, is not there: a source never gives a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Servers, in any order.
    pub found: Vec<Found>,
    /// Services found whole, in any order (etcd).
    pub services: Vec<Service>,
    /// Certificates that came with those.
    pub certificates: BTreeMap<CertificateName, Confidential>,
    /// What was there and could not be used. All the rest is used.
    pub left_out: Vec<LeftOut>,
}

/// One server as its source knows it, before a backend says which of its addresses is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// What the source calls it: an instance's id, a key, a container's name. Unique in an answer.
    pub id: String,
    /// Its addresses, in the source's order.
    pub addresses: Vec<Address>,
    /// The port that the source knows.
    pub port: Option<u16>,
    /// The weight that the source knows.
    pub weight: Option<u16>,
    /// Its availability zone.
    pub zone: Option<String>,
    /// Whether it is meant to serve.
    pub condition: Condition,
    /// Tags of an instance, labels of a container.
    pub labels: BTreeMap<String, String>,
}

/// One address of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Which of them.
    pub kind: AddressKind,
    /// The address itself.
    pub ip: IpAddr,
}

/// Which of a server's addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressKind {
    /// The one that there is, or within its own network.
    Private,
    /// Reached from everywhere.
    Public,
    /// IPv6 of an instance.
    Ipv6,
    /// In the network of this name (Docker).
    Network(String),
}

/// Whether a server is meant to serve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It is.
    #[default]
    InService,
    /// It is there but set aside (Auto Scaling: Standby), not ready yet, or leaves (Terminating).
    SetAside,
}

/// Something that a source holds and that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// What, as its source names it.
    pub what: String,
    /// Why, and what to do.
    pub why: String,
}

/// Why a source does not know. Never the same as an empty answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It cannot be reached, or does not answer in time.
    #[error("{what} does not answer: {why}")]
    Unreachable {
        /// Who was asked.
        what: String,
        /// What was seen.
        why: String,
    },
    /// It wants other credentials, or forbids the question.
    #[error("{what} refuses: {why}")]
    Refused {
        /// Who was asked.
        what: String,
        /// What it said.
        why: String,
    },
    /// It was asked too often.
    #[error("{what} wants fewer questions: {why}")]
    Throttled {
        /// Who was asked.
        what: String,
        /// What it said.
        why: String,
    },
    /// It answered something that is no whole answer.
    #[error("{what} gave no whole answer: {why}")]
    Malformed {
        /// Who was asked.
        what: String,
        /// What was seen.
        why: String,
    },
    /// The spec or the agent's configuration does not say enough to ask.
    #[error("{what} cannot be asked: {why}")]
    Unconfigured {
        /// Who would be asked.
        what: String,
        /// What is missing, and where to give it.
        why: String,
    },
}
