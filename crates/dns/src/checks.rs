//! The health checks that published names want of their provider, so that DNS fails over with all agents gone. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hafleet_model::NodeId;
use hafleet_model::spec::{PublishedName, Routing};

use crate::record::normal;
use crate::service::{NodeEvidence, Service};
use crate::wanted::HealthChecks;

/// Which check of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckKey {
    /// The published name that depends on it.
    pub name: String,
    /// What it tells of.
    pub subject: CheckSubject,
}

/// What a check tells of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckSubject {
    /// One node.
    Node(NodeId),
    /// Whether any primary node serves (failover).
    Primaries,
}

/// A check as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedCheck {
    /// Which one.
    pub key: CheckKey,
    /// What it looks at.
    pub looks_at: LooksAt,
}

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LooksAt {
    /// A port of a node.
    Port {
        /// The node's address.
        address: IpAddr,
        /// The port.
        port: u16,
        /// Asked for over HTTP; none: a TCP connection is enough.
        path: Option<String>,
        /// Time between two checks.
        interval: Duration,
        /// So many bad checks in a row make it bad.
        fall: u16,
    },
    /// Good while any of those is.
    AnyOf(Vec<CheckKey>),
}

/// The checks of a name whose nodes are so. Those that others depend on come first.
pub fn wanted_checks(
    published: &PublishedName,
    nodes: &BTreeMap<NodeId, NodeEvidence>,
    service: &Service,
) -> Vec<WantedCheck> {
    let Some(check) = &published.health_check else {
        return Vec::new();
    };
    let name = normal(&published.name);
    let key = |subject| CheckKey {
        name: name.clone(),
        subject,
    };
    let address = |id: &NodeId| {
        let addresses = &nodes.get(id)?.addresses;
        let mut kinds = published.addresses.iter();
        kinds.find_map(|kind| addresses.get(kind)).copied()
    };
    let members = service.published.union(&service.draining);
    let mut checks: Vec<_> = members
        .filter_map(|id| {
            Some(WantedCheck {
                key: key(CheckSubject::Node(id.clone())),
                looks_at: LooksAt::Port {
                    address: address(id)?,
                    port: check.port,
                    path: check.path.clone(),
                    interval: check.interval.duration(),
                    fall: check.fall,
                },
            })
        })
        .collect();
    if let Routing::Failover { primary } = &published.routing {
        let is_primary = |wanted: &&WantedCheck| matches!(&wanted.key.subject, CheckSubject::Node(id) if primary.contains(id));
        let of: Vec<_> = checks
            .iter()
            .filter(is_primary)
            .map(|wanted| wanted.key.clone())
            .collect();
        if !of.is_empty() {
            checks.push(WantedCheck {
                key: key(CheckSubject::Primaries),
                looks_at: LooksAt::AnyOf(of),
            });
        }
    }
    checks
}

/// The ids of the checks of `name`, out of those of all.
pub fn checks_of(name: &str, ids: &BTreeMap<CheckKey, String>) -> HealthChecks {
    let name = normal(name);
    let mut checks = HealthChecks::default();
    for (key, id) in ids.iter().filter(|(key, _)| key.name == name) {
        match &key.subject {
            CheckSubject::Node(node) => {
                checks.of_nodes.insert(node.clone(), id.clone());
            }
            CheckSubject::Primaries => checks.of_primaries = Some(id.clone()),
        }
    }
    checks
}

impl fmt::Display for CheckKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            CheckSubject::Node(id) => write!(f, "{} {id}", self.name),
            CheckSubject::Primaries => write!(f, "{} primaries", self.name),
        }
    }
}
