//! What a node says of itself, and what others may rely on it for.
//!
//! A report is small (gossip carries it, each field under a key of its own) and is a statement of one node about
//! itself only. Nothing a report says can replace a document: bodies are fetched and their digests verified.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::document::DocumentKind;
use crate::name::NodeId;
use crate::revision::{Revision, Stamp, Term};
use crate::spec::NodeAddress;

/// The facts that one node publishes about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Which node.
    pub id: NodeId,
    /// Grows at each start of the agent.
    pub generation: u64,
    /// Where its gRPC port is.
    pub address: SocketAddr,
    /// Where clients reach its HAProxy.
    pub data_address: IpAddr,
    /// Its addresses that may be published in DNS, as its agent was told.
    #[serde(default)]
    pub addresses: BTreeMap<NodeAddress, IpAddr>,
    /// Its share of clients where names in DNS spread them by weight, 0 to 255.
    #[serde(default = "NodeReport::default_weight")]
    pub weight: u8,
    /// Its availability zone, if it was told one.
    pub zone: Option<String>,
    /// The agent's version.
    pub version: String,
    /// It runs no HAProxy: it counts when a majority is asked for and may lead, and is never in service.
    #[serde(default)]
    pub is_witness: bool,
    /// The EC2 instance that it runs on, if it knows.
    #[serde(default)]
    pub instance: Option<InstanceName>,
    /// The public key to which what only nodes may read is sealed for it; none of a version that knows of none.
    #[serde(default)]
    pub sealing_key: Option<String>,
    /// Why it cannot lead; none when it can.
    pub unfit: Option<String>,
    /// It is looking around, since it has just started or was stalled, and would not replace a leader that is gone.
    #[serde(default)]
    pub is_settling: bool,
    /// The term in which it claims to lead.
    pub claim: Option<Term>,
    /// The newest revision of each document that it has stored.
    pub held: BTreeMap<DocumentKind, Stamp>,
    /// What it last tried to bring its HAProxy to, and how that went.
    pub apply: ApplyState,
    /// The configuration that it runs in place of the fleet's, if it was told to. It has applied no spec then.
    #[serde(default)]
    pub own_configuration: Option<OwnConfiguration>,
    /// How far it is with what discovery found.
    pub endpoints: EndpointsState,
    /// Its HAProxy.
    pub data_plane: DataPlane,
    /// The certificate that its agent shows; none from agents that do not say.
    #[serde(default)]
    pub certificate: Option<CertificateState>,
    /// The numbers of the lists of revoked certificates that it holds, by authority.
    #[serde(default)]
    pub revocations: BTreeMap<String, u64>,
    /// Where it takes requests of new nodes, if it does.
    #[serde(default)]
    pub join_address: Option<SocketAddr>,
}

/// A configuration that one node alone has, in place of the fleet's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnConfiguration {
    /// Who gave it to the node.
    pub author: String,
    /// How it came, such as from which address; may be empty.
    pub comment: String,
    /// When, in milliseconds since 1970 by the node's clock.
    pub since_ms: i64,
    /// Why HAProxy does not run it; none when it does, or is about to.
    pub error: Option<String>,
}

/// The certificate that an agent shows to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateState {
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// Valid from, in milliseconds since 1970.
    pub not_before_ms: i64,
    /// Valid until, in milliseconds since 1970.
    pub not_after_ms: i64,
    /// What is wrong with it, or with the files that should take its place.
    pub error: Option<String>,
}

impl CertificateState {
    /// So long before its end a certificate is worth a warning, unless it is short-lived.
    const WARNING_MS: i64 = 30 * 24 * 3_600_000;

    /// Whether it ends soon: within 30 days, or within the last third of its life if that is shorter.
    pub fn is_ending(&self, now_ms: i64) -> bool {
        let third = self.not_after_ms.saturating_sub(self.not_before_ms) / 3;
        self.not_after_ms.saturating_sub(now_ms) < Self::WARNING_MS.min(third)
    }
}

impl NodeReport {
    /// The weight of a node that was told none.
    pub fn default_weight() -> u8 {
        100
    }
}

/// An instance of EC2 and where it is, written `REGION/ID`, such as `eu-west-1/i-0123456789abcdef0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceName {
    /// Its region.
    pub region: String,
    /// Its id.
    pub id: String,
}

/// A text that names no instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} names no instance: REGION/ID does, such as eu-west-1/i-0123456789abcdef0")]
pub struct InstanceNameError {
    found: String,
}

impl InstanceName {
    /// Whether `text` has the form of an instance's id (EC2 API Reference, Instance, `instanceId`).
    pub fn is_id(text: &str) -> bool {
        text.strip_prefix("i-").is_some_and(|digits| {
            matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }
}

impl std::str::FromStr for InstanceName {
    type Err = InstanceNameError;

    fn from_str(text: &str) -> Result<Self, InstanceNameError> {
        let is_region = |region: &str| {
            (1..=40).contains(&region.len())
                && region
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        match text.split_once('/') {
            Some((region, id)) if is_region(region) && Self::is_id(id) => Ok(Self {
                region: region.to_owned(),
                id: id.to_owned(),
            }),
            _ => Err(InstanceNameError {
                found: text.chars().take(80).collect(),
            }),
        }
    }
}

impl TryFrom<String> for InstanceName {
    type Error = InstanceNameError;

    fn try_from(text: String) -> Result<Self, InstanceNameError> {
        text.parse()
    }
}

impl From<InstanceName> for String {
    fn from(name: InstanceName) -> Self {
        name.to_string()
    }
}

impl std::fmt::Display for InstanceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.region, self.id)
    }
}

/// How far a node is with the spec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum ApplyState {
    /// It has no spec yet.
    #[default]
    Waiting,
    /// It is bringing HAProxy to this revision.
    Applying {
        /// The revision under way.
        revision: Revision,
    },
    /// HAProxy runs this revision.
    Applied {
        /// The revision that runs.
        revision: Revision,
        /// What it took.
        change: Change,
    },
    /// HAProxy could not be brought to this revision and runs what it ran before (a NACK).
    Failed {
        /// The revision that failed.
        revision: Revision,
        /// The reason, in one line and under 1 kB.
        error: String,
        /// The revision that still runs, if any.
        running: Option<Revision>,
    },
}

impl ApplyState {
    /// The revision that HAProxy runs, as far as the node knows.
    pub fn running(&self) -> Option<Revision> {
        match self {
            Self::Applied { revision, .. } => Some(*revision),
            Self::Failed { running, .. } => *running,
            Self::Waiting | Self::Applying { .. } => None,
        }
    }
}

/// How far a node is with the endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointsState {
    /// The revision whose servers HAProxy has; none when it has none, or nobody knows.
    pub applied: Option<Revision>,
    /// Why it does not have the newest; none when it does, or is about to.
    pub error: Option<String>,
}

/// What it takes to bring HAProxy from what it runs to what it should run, from least to most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It runs that already.
    #[default]
    Nothing,
    /// Commands over the Runtime API.
    Runtime,
    /// A new process that takes over from the old one.
    Reload,
    /// HAProxy does not run and is started.
    Start,
}

impl Change {
    /// The word for it in status and plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Runtime => "runtime",
            Self::Reload => "reload",
            Self::Start => "start",
        }
    }
}

/// A node's HAProxy as its agent sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPlane {
    /// Whether it serves.
    pub health: DataPlaneHealth,
    /// The process that listens.
    pub pid: Option<u32>,
    /// Its version, such as 2.6.12.
    pub version: Option<String>,
    /// Old processes that are finishing their connections.
    pub old_processes: u32,
    /// How the next reload would hand over, and why that way.
    pub handover: String,
}

/// Whether a node's HAProxy serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataPlaneHealth {
    /// Nobody has asked it to.
    #[default]
    Idle,
    /// It answers on its runtime socket and accepts connections.
    Up,
    /// It should serve and does not.
    Down,
}

impl DataPlaneHealth {
    /// The word for it in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What a configuration may depend on besides the spec: the facts of the node it is rendered for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeContext {
    /// The fleet's name.
    pub fleet: String,
    /// The node's id.
    pub id: NodeId,
    /// Where clients reach its HAProxy: what a bind on `node` listens on.
    pub address: IpAddr,
    /// Its availability zone, if it was told one.
    pub zone: Option<String>,
    /// The directory in which the node keeps the certificates that binds name.
    pub certificate_dir: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_ending_in_its_last_month_or_the_last_third_of_a_short_life() {
        const DAY: i64 = 24 * 3_600_000;
        let lasting = |days: i64| CertificateState {
            serial: "01".into(),
            not_before_ms: 0,
            not_after_ms: days * DAY,
            error: None,
        };
        assert!(!lasting(365).is_ending(335 * DAY));
        assert!(lasting(365).is_ending(335 * DAY + 1));
        assert!(!lasting(9).is_ending(6 * DAY));
        assert!(lasting(9).is_ending(6 * DAY + 1));
        assert!(lasting(9).is_ending(i64::MAX));
    }
}
