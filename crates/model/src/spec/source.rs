//! Sources: where the servers of a backend come from, besides those that the spec lists.
//!
//! A source is written as a mapping with one key, its kind: `- ec2: {security_groups: [web], port: 8080}`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ServerTls, TimeSpan};

/// Where servers of a backend come from. The leader asks; every node gets the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Instances of EC2.
    Ec2(Ec2Source),
    /// Addresses and services in DNS.
    Dns(DnsSource),
    /// Keys of etcd.
    Etcd(EtcdSource),
    /// Containers of the nodes' own Docker engines. Not asked by the leader but by every node that has one.
    Docker(DockerSource),
    /// A file on the leader's machine.
    File(FileSource),
}

/// Instances of EC2 that match everything given, as `DescribeInstances` has its filters (Amazon EC2 API Reference).
/// Of lists, any one has to match. Only running instances are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ec2Source {
    /// Security groups, by id (`sg-…`) or by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// Tags and their values; `*` and `?` stand for any text and any character.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Auto Scaling groups by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auto_scaling_groups: Vec<String>,
    /// A VPC by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// Any other filter of `DescribeInstances`, with its values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: BTreeMap<String, Vec<String>>,
    /// Regions to ask. None: the region of the agent's own environment or instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// Roles to assume, by ARN; each is asked for itself. None: the agent's own credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Which address of an instance is its server's.
    #[serde(default)]
    pub address: Ec2Address,
    /// The servers' TCP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A tag whose value is the port; `port` is for instances without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_tag: Option<String>,
    /// The servers' weight, 0 to 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// A tag whose value is the weight; `weight` is for instances without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_tag: Option<String>,
    /// A tag whose value is the server's name. Absent, or for instances without it: the instance's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_tag: Option<String>,
    /// What becomes of instances that their Auto Scaling group holds in Standby or is terminating.
    #[serde(default)]
    pub standby: Standby,
}

/// Which address of an instance.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Ec2Address {
    /// The private IPv4 address.
    #[default]
    Private,
    /// The public IPv4 address.
    Public,
    /// The first IPv6 address.
    Ipv6,
}

/// What becomes of instances that are in service no more, or not yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standby {
    /// They are no servers.
    #[default]
    LeaveOut,
    /// They stay servers with weight 0: what has begun there goes on, nothing new comes.
    Drain,
}

/// What a name in DNS stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsSource {
    /// The name asked for. It is taken as fully qualified.
    pub name: String,
    /// Which records.
    #[serde(default)]
    pub record: DnsRecord,
    /// The servers' TCP port. Needed for addresses; with `srv` it replaces the records' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The servers' weight, 0 to 256; with `srv` it replaces the records' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Name servers to ask, each an address or an address and a port. None: those of the agent's system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<Resolver>,
}

/// A name server: an IP address, with port 53 unless it says another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Resolver(pub SocketAddr);

/// A text that is no name server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a name server: write an IP address, or an address and a port, such as 192.0.2.53:5353 or [2001:db8::53]:53"
)]
pub struct ResolverError {
    found: String,
}

impl TryFrom<String> for Resolver {
    type Error = ResolverError;

    fn try_from(text: String) -> Result<Self, ResolverError> {
        let with_port = text.parse();
        let alone = || text.parse().map(|address| SocketAddr::new(address, 53));
        with_port
            .or_else(|_| alone())
            .map(Self)
            .map_err(|_| ResolverError {
                found: text.chars().take(80).collect(),
            })
    }
}

impl From<Resolver> for String {
    fn from(Resolver(address): Resolver) -> Self {
        address.to_string()
    }
}

impl JsonSchema for Resolver {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Resolver".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "an IP address, or an address and a port",
            "examples": ["192.0.2.53", "192.0.2.53:5353", "[2001:db8::53]:53"]
        })
    }
}

/// Records of DNS that stand for servers.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DnsRecord {
    /// IPv4 addresses.
    #[default]
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services with port and weight (RFC 2782).
    Srv,
}

/// Servers that are keys of etcd, below `backends/<the backend's name>/` of the fleet's prefix: the last part of a key is
/// the server's name, the value is `address:port` or JSON with `address`, `port`, `weight` and `zone`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EtcdSource {
    /// Another prefix than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The TCP port of servers whose value has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The weight of servers whose value has none, 0 to 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

/// Containers with the label `hafleet.backend`. `hafleet.port` and `hafleet.weight` say the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DockerSource {
    /// The value of `hafleet.backend`. Absent: the backend's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The network in which the servers' addresses are. Absent: the label `hafleet.network` says, or the container has
    /// only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The TCP port of containers that do not say theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The weight of containers that do not say theirs, 0 to 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

/// A JSON file that is read again whenever it changes: a list of mappings with `address`, and `name`, `port`, `weight` and
/// `zone` if they have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// The file, with its whole path, on every node that may lead.
    pub path: String,
    /// The TCP port of servers that have none there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The weight of servers that have none there, 0 to 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

/// What all servers of a backend that come from sources have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoveredServers {
    /// Most connections to each at once; more wait in a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxconn: Option<u32>,
    /// Speak TLS to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// Where servers are in the load balancer's own zone, those of other zones are backups.
    #[serde(default)]
    pub prefer_own_zone: bool,
}

/// How sources are asked, and how far their answers are believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    /// Time between two questions to a source that cannot tell of changes by itself; each is up to a tenth longer or
    /// shorter.
    pub poll_interval: TimeSpan,
    /// The largest share of a backend, in percent, that may go at once. An answer that removes more, or everything, is
    /// held back.
    pub max_shrink: u8,
    /// An answer held back is believed when it has come so many times in a row.
    pub shrink_confirm: u32,
    /// The etcd cluster that sources of that kind are keys of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<Etcd>,
    /// Whole services, with their routes and certificates, out of etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<ServicesSource>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            poll_interval: TimeSpan::from_secs(10),
            max_shrink: 50,
            shrink_confirm: 3,
            etcd: None,
            services: None,
        }
    }
}

/// An etcd cluster (version 3). User, password and certificates are in the agents' own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Etcd {
    /// Its members' client URLs, such as `https://192.0.2.10:2379`.
    pub endpoints: Vec<String>,
    /// What the fleet's keys begin with. Absent: `/hafleet/<fleet>/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// Services as keys of etcd in the layout of confd users: below the prefix,
/// `services/<name>/{domain,url_beg,port,cert,balance}` for HTTP and
/// `tcp-services/<name>/{external_port,internal_port}` for TCP. Each becomes a backend, and a route or a frontend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServicesSource {
    /// What the keys begin with, such as `/haproxy-prod`.
    pub prefix: String,
    /// The frontend that HTTP services get their routes in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontend: Option<String>,
    /// The frontend of services with a certificate; the certificates are added to its binds with TLS. Absent: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_frontend: Option<String>,
    /// Take `url_beg` off the path before a request goes to the service.
    #[serde(default)]
    pub strip_prefix: bool,
    /// A service's servers are what its name stands for in DNS; this is put after the name, such as `.internal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_suffix: Option<String>,
    /// Which records of that name.
    #[serde(default)]
    pub record: DnsRecord,
    /// Name servers to ask. None: those of the agent's system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<Resolver>,
}
