//! Publication: the names in DNS through which clients find the nodes in service.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TimeSpan;
use crate::name::NodeId;

/// Where clients find the fleet. Absent records: nothing is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Publication {
    /// The names that the leader keeps equal to the nodes in service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<PublishedName>,
    /// What becomes of records that somebody else has changed.
    pub drift: Drift,
    /// A leader without a majority may write a name only when nobody has for so long.
    pub lease_ttl: TimeSpan,
    /// Most requests to Route53 in a second; the account's own limit is 5.
    pub requests_per_second: u16,
}

impl Default for Publication {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            drift: Drift::default(),
            lease_ttl: TimeSpan::from_secs(60),
            requests_per_second: 5,
        }
    }
}

/// What becomes of records that are not as they were published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// They are put right.
    #[default]
    Repair,
    /// They are shown, and left.
    Report,
}

/// One name, and the nodes behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishedName {
    /// The zone: in Route53 its id or its name; a name that a public and a private zone have needs the id.
    pub zone: String,
    /// The name, in that zone.
    pub name: String,
    /// Who has the zone.
    #[serde(default)]
    pub provider: DnsProvider,
    /// How long resolvers may keep an answer.
    #[serde(default = "PublishedName::default_ttl")]
    pub ttl: TimeSpan,
    /// Which of each node's addresses are published; A or AAAA records by their family.
    #[serde(default = "PublishedName::default_addresses")]
    pub addresses: Vec<NodeAddress>,
    /// How clients are spread over the nodes.
    #[serde(default)]
    pub routing: Routing,
    /// Fewer nodes than this are never published: the last ones stay.
    #[serde(default = "PublishedName::default_min_published")]
    pub min_published: u32,
    /// Health checks of Route53's own, one per node, so that DNS fails over with all agents gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<DnsHealthCheck>,
    /// Further names of the same zone that stand for this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<DnsAlias>,
}

impl PublishedName {
    fn default_ttl() -> TimeSpan {
        TimeSpan::from_secs(30)
    }

    fn default_addresses() -> Vec<NodeAddress> {
        vec![NodeAddress::Public]
    }

    fn default_min_published() -> u32 {
        1
    }
}

/// Who answers for a zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DnsProvider {
    /// Amazon Route53.
    #[default]
    Route53,
    /// Any name server that takes dynamic updates (RFC 2136).
    Rfc2136(Rfc2136),
}

impl DnsProvider {
    /// The id that `zone` is, without `/hostedzone/`; none if it is a name. Route53's ids are of upper case letters and digits,
    /// and begin with Z or have `/hostedzone/` before them; nobody else has ids.
    pub fn zone_id<'a>(&self, zone: &'a str) -> Option<&'a str> {
        let marked = zone.strip_prefix("/hostedzone/");
        let id = marked.unwrap_or(zone);
        let is_id = (2..=32).contains(&id.len())
            && (marked.is_some() || id.starts_with('Z'))
            && id
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        (*self == Self::Route53 && is_id).then_some(id)
    }
}

/// A name server that takes dynamic updates. The key (TSIG) is in the agents' own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rfc2136 {
    /// The zone's primary: address and port.
    #[schemars(with = "String")]
    pub server: SocketAddr,
    /// The name of the key in the agents' configuration; absent: updates are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// One of the addresses that an agent was told of its node.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum NodeAddress {
    /// Reached from everywhere.
    Public,
    /// Reached within the network.
    Private,
    /// IPv6.
    Ipv6,
}

/// How clients are spread over the nodes (Route53's Developer Guide, "Choosing a routing policy").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// One record set with the addresses of all nodes.
    #[default]
    Simple,
    /// A record set for each node; up to eight healthy ones are answered.
    Multivalue,
    /// A record set for each node with its weight; 0 while it is drained.
    Weighted,
    /// The nodes named first serve, the others when those do not. Needs `health_check`.
    Failover {
        /// The nodes that serve while they can.
        primary: Vec<NodeId>,
    },
}

/// A health check of Route53's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsHealthCheck {
    /// The TCP port that is checked.
    pub port: u16,
    /// Ask for this path over HTTP. Absent: a TCP connection is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Time between two checks: 10s or 30s.
    #[serde(default = "DnsHealthCheck::default_interval")]
    pub interval: TimeSpan,
    /// Bad checks in a row that take a node out, 1 to 10.
    #[serde(default = "DnsHealthCheck::default_fall")]
    pub fall: u16,
}

impl DnsHealthCheck {
    fn default_interval() -> TimeSpan {
        TimeSpan::from_secs(10)
    }

    fn default_fall() -> u16 {
        3
    }
}

/// A further name for a published one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsAlias {
    /// The name.
    pub name: String,
    /// What stands there.
    #[serde(default, rename = "type")]
    pub alias_type: DnsAliasType,
}

/// How a name stands for another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DnsAliasType {
    /// A CNAME record; not at the top of a zone.
    #[default]
    Cname,
    /// An alias record of Route53's.
    Alias,
}
