//! Which nodes a name publishes, read from its records. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hafleet_model::{FleetName, NodeId};

use crate::record::{Policy, RecordData, RecordSet};
use crate::service::NodeEvidence;
use crate::wanted::{HealthChecks, identifier_prefix};

/// The nodes to which `sets` send clients: those whose addresses are in them, and those for whom they were made.
pub(super) fn published_now(
    sets: &[RecordSet],
    fleet: &FleetName,
    nodes: &BTreeMap<NodeId, NodeEvidence>,
) -> BTreeSet<NodeId> {
    let serving = sets
        .iter()
        .filter(|set| set.policy != Policy::Weighted(0))
        .collect::<Vec<_>>();
    let is_published = |id: &NodeId, node: &NodeEvidence| {
        serving.iter().any(|set| {
            let has_address = |values: &BTreeSet<String>| {
                let mut addresses = node.addresses.values();
                addresses.any(|address| values.contains(&address.to_string()))
            };
            node_of(set, fleet) == Some(id.as_str())
                || matches!(&set.data, RecordData::Values { values, .. } if has_address(values))
        })
    };
    let published = nodes.iter().filter(|(id, node)| is_published(id, node));
    published.map(|(id, _)| id.clone()).collect()
}

/// The health checks on which `sets` depend.
pub(super) fn checks_now(sets: &[RecordSet], fleet: &FleetName) -> HealthChecks {
    let mut checks = HealthChecks::default();
    for set in sets {
        let Some(id) = set.health_check.clone() else {
            continue;
        };
        match (&set.policy, node_of(set, fleet).map(NodeId::new)) {
            (Policy::Primary, _) => checks.of_primaries = Some(id),
            (_, Some(Ok(node))) => {
                checks.of_nodes.insert(node, id);
            }
            _ => {}
        }
    }
    checks
}

/// What stands in a set's identifier after the fleet's prefix.
fn node_of<'a>(set: &'a RecordSet, fleet: &FleetName) -> Option<&'a str> {
    let identifier = set.key.identifier.as_deref()?;
    identifier.strip_prefix(&identifier_prefix(fleet))
}

#[cfg(test)]
mod tests {
    use hafleet_model::spec::NodeAddress;

    use super::*;
    use crate::record::RecordType;

    fn nodes(ids: &[(&str, u8)]) -> BTreeMap<NodeId, NodeEvidence> {
        let node = |last: u8| NodeEvidence {
            addresses: [(NodeAddress::Public, [192, 0, 2, last].into())].into(),
            weight: 1,
            is_live: true,
            is_serving: true,
            has_spec: true,
            is_drained: false,
            probe: None,
        };
        let nodes = ids.iter();
        nodes
            .map(|(id, last)| (NodeId::new(*id).unwrap(), node(*last)))
            .collect()
    }

    #[test]
    fn nodes_are_known_by_address_or_identifier_and_not_while_their_weight_is_0() {
        let fleet = FleetName::new("shop").unwrap();
        let of = |identifier: &str, last: u8, weight| {
            let set = RecordSet::simple("w.test", RecordType::A, 30, [format!("192.0.2.{last}")]);
            RecordSet {
                key: set.key.with_identifier(identifier),
                policy: Policy::Weighted(weight),
                ..set
            }
        };
        let sets = [
            of("hafleet-shop-a", 9, 1),
            of("hafleet-shop-b", 2, 0),
            of("other", 3, 1),
        ];
        let found = published_now(
            &sets,
            &fleet,
            &nodes(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]),
        );
        let found: Vec<_> = found.iter().map(NodeId::as_str).collect();
        assert_eq!(found, ["a", "c"]);
    }
}
