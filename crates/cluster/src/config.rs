//! What a node has to be told to join a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hafleet_model::report::{InstanceName, NodeReport};
use hafleet_model::spec::NodeAddress;
use hafleet_model::{Document, FleetName, NodeId};

use crate::timing::Timing;

/// How long a node that is gone is remembered, unless told otherwise.
pub const MEMBER_RETENTION: Duration = Duration::from_secs(24 * 3600);
/// How many revisions of each document are kept.
pub const HISTORY_LIMIT: usize = 1000;

/// How the nodes that the fleet has removed are read from the newest overrides.
pub type ReadRemoved = fn(&Document) -> Option<BTreeSet<NodeId>>;

/// The keys under which documents are sealed, as far as this node has them. What they look like is not the cluster's
/// business; it carries them from node to node.
pub trait KeyShares: Debug + Send + Sync {
    /// The key `id`, sealed to `recipient`; none when this node does not have it, or nothing can be sealed to that.
    fn share(&self, id: &str, recipient: &str) -> Option<String>;
}

/// What a node has to be told to join a cluster.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The fleet, the same as in its certificate.
    pub fleet: FleetName,
    /// Its id, the same as in its certificate.
    pub node_id: NodeId,
    /// Where peers reach its gRPC port.
    pub address: SocketAddr,
    /// Where clients reach its HAProxy.
    pub data_address: IpAddr,
    /// Its addresses that may be published in DNS, as far as they are known when it starts.
    pub addresses: BTreeMap<NodeAddress, IpAddr>,
    /// Its share of clients where names in DNS spread them by weight.
    pub weight: u8,
    /// Whether it runs no HAProxy.
    pub is_witness: bool,
    /// The EC2 instance that it runs on, if it knows.
    pub instance: Option<InstanceName>,
    /// Its availability zone.
    pub zone: Option<String>,
    /// The agent's version.
    pub version: String,
    /// The public key to which others seal what is for this node.
    pub sealing_key: Option<String>,
    /// What gives other nodes the keys that this one has; without it they are told that it has none.
    pub key_shares: Option<Arc<dyn KeyShares>>,
    /// Where to look for the fleet, `host:port` each; resolved again and again.
    pub seeds: Vec<String>,
    /// How fast it moves.
    pub timing: Timing,
    /// How long a node that is gone is remembered after the fleet has removed it; and after how long a node that starts
    /// takes all that it remembers for outdated.
    pub member_retention: Duration,
    /// Reads from the overrides which nodes the fleet has removed: left, forgotten, terminated. None when the document
    /// cannot be read, which changes nothing.
    pub removed: ReadRemoved,
    /// How many revisions of each document are kept, at least 1.
    pub history_limit: usize,
}

impl ClusterConfig {
    /// A node at `address` without seeds, with the default timing and limits. HAProxy is taken to be at the same IP
    /// address.
    pub fn new(fleet: FleetName, node_id: NodeId, address: SocketAddr) -> Self {
        Self {
            fleet,
            node_id,
            address,
            data_address: address.ip(),
            addresses: BTreeMap::new(),
            weight: NodeReport::default_weight(),
            is_witness: false,
            instance: None,
            zone: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sealing_key: None,
            key_shares: None,
            seeds: Vec::new(),
            timing: Timing::default(),
            member_retention: MEMBER_RETENTION,
            removed: |_| Some(BTreeSet::new()),
            history_limit: HISTORY_LIMIT,
        }
    }
}
