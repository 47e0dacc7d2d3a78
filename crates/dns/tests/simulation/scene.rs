//! Fleets, as leaders see them.

use std::collections::BTreeMap;

use hafleet_dns::Scene;
use hafleet_dns::lease::Claimant;
use hafleet_dns::service::{NodeEvidence, Probe};
use hafleet_model::spec::{DnsAlias, NodeAddress, Publication, PublishedName, Routing, TimeSpan};
use hafleet_model::{FleetName, NodeId, Term};

pub(crate) fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

pub(crate) fn node(last: u8, is_up: bool) -> NodeEvidence {
    NodeEvidence {
        addresses: [(NodeAddress::Public, [192, 0, 2, last].into())].into(),
        weight: 1,
        is_live: is_up,
        is_serving: is_up,
        has_spec: true,
        is_drained: false,
        probe: (!is_up).then_some(Probe::Fails),
    }
}

/// Nodes `n1`, `n2` …, of which those are up.
pub(crate) fn nodes(up: &[bool]) -> BTreeMap<NodeId, NodeEvidence> {
    let nodes = (1..).zip(up);
    nodes
        .map(|(last, is_up)| (id(&format!("n{last}")), node(last, *is_up)))
        .collect()
}

pub(crate) fn name(text: &str) -> PublishedName {
    PublishedName {
        zone: "test".into(),
        name: text.into(),
        provider: Default::default(),
        ttl: TimeSpan::from_secs(30),
        addresses: vec![NodeAddress::Public],
        routing: Routing::Simple,
        min_published: 1,
        health_check: None,
        aliases: Vec::new(),
    }
}

/// `www.test` with an alias, and `each.test` with a set for each node.
pub(crate) fn publication() -> Publication {
    let aliased = PublishedName {
        aliases: vec![DnsAlias {
            name: "shop.test".into(),
            alias_type: Default::default(),
        }],
        ..name("www.test")
    };
    let each = PublishedName {
        routing: Routing::Multivalue,
        ..name("each.test")
    };
    Publication {
        records: vec![aliased, each],
        ..Publication::default()
    }
}

/// A leader with a majority, and three nodes that are up.
pub(crate) fn scene(leader: &str, term: u64) -> Scene {
    Scene {
        claimant: Claimant {
            fleet: FleetName::new("shop").unwrap(),
            authorities: Vec::new(),
            node: id(leader),
            term: Term(term),
            has_majority: true,
        },
        nodes: nodes(&[true, true, true]),
        publication: publication(),
    }
}
