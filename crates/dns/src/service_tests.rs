use proptest::prelude::*;

use super::*;

fn good() -> NodeEvidence {
    NodeEvidence {
        addresses: BTreeMap::new(),
        weight: 100,
        is_live: true,
        is_serving: true,
        has_spec: true,
        is_drained: false,
        probe: Some(Probe::Answers),
    }
}

fn dead() -> NodeEvidence {
    NodeEvidence {
        is_live: false,
        is_serving: false,
        probe: Some(Probe::Fails),
        ..good()
    }
}

fn ids(text: &str) -> BTreeSet<NodeId> {
    text.split_whitespace()
        .map(|id| NodeId::new(id).unwrap())
        .collect()
}

fn fleet(nodes: &[(&str, NodeEvidence)]) -> BTreeMap<NodeId, NodeEvidence> {
    let nodes = nodes.iter().cloned();
    nodes
        .map(|(id, node)| (NodeId::new(id).unwrap(), node))
        .collect()
}

#[test]
fn silence_alone_takes_nobody_out() {
    let silent = NodeEvidence {
        is_live: false,
        probe: Some(Probe::Answers),
        ..good()
    };
    let unprobed = NodeEvidence {
        probe: None,
        ..silent.clone()
    };
    for node in [silent, unprobed] {
        let nodes = fleet(&[("a", good()), ("b", node)]);
        assert_eq!(service(&nodes, &ids("a b"), 1).published, ids("a b"));
        assert_eq!(
            service(&nodes, &ids("a"), 1).published,
            ids("a"),
            "nor brings it in"
        );
    }
}

#[test]
fn silence_and_a_failed_probe_do() {
    let nodes = fleet(&[("a", good()), ("b", dead())]);
    let service = service(&nodes, &ids("a b"), 1);
    assert_eq!((service.published, service.held_back), (ids("a"), None));
}

#[test]
fn a_dead_haproxy_beside_a_live_agent_goes_too() {
    let down = NodeEvidence {
        is_serving: false,
        probe: Some(Probe::Fails),
        ..good()
    };
    let nodes = fleet(&[("a", good()), ("b", down)]);
    assert_eq!(service(&nodes, &ids("a b"), 1).published, ids("a"));
}

#[test]
fn the_last_ones_stay_though_all_seem_gone() {
    let nodes = fleet(&[("a", dead()), ("b", dead()), ("c", dead())]);
    let service = service(&nodes, &ids("a b"), 1);
    assert_eq!(service.published, ids("a b"));
    assert!(service.held_back.unwrap().contains("min_published is 1"));
}

#[test]
fn fewer_than_wanted_are_never_published() {
    let nodes = fleet(&[("a", good()), ("b", dead()), ("c", dead())]);
    assert_eq!(service(&nodes, &ids("a b c"), 2).published, ids("a b c"));
    assert_eq!(service(&nodes, &ids("a"), 2).published, ids("a"));
}

#[test]
fn drained_nodes_leave_unless_they_are_the_last() {
    let drained = NodeEvidence {
        is_drained: true,
        ..good()
    };
    let nodes = fleet(&[("a", good()), ("b", drained.clone())]);
    let service_of = |nodes: &BTreeMap<_, _>, before| service(nodes, &ids(before), 1);
    let service = service_of(&nodes, "a b");
    assert_eq!((service.published, service.draining), (ids("a"), ids("b")));
    let nodes = fleet(&[("b", drained)]);
    let service = service_of(&nodes, "b");
    assert_eq!((service.published, service.draining), (ids("b"), ids("")));
}

#[test]
fn a_node_without_a_spec_is_not_published() {
    let fresh = NodeEvidence {
        has_spec: false,
        ..good()
    };
    let nodes = fleet(&[("a", good()), ("b", fresh)]);
    assert_eq!(service(&nodes, &ids("a"), 1).published, ids("a"));
}

fn any_node() -> impl Strategy<Value = NodeEvidence> {
    let probe = prop_oneof![
        Just(None),
        Just(Some(Probe::Answers)),
        Just(Some(Probe::Fails))
    ];
    (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        probe,
    )
        .prop_map(
            |(is_live, is_serving, has_spec, is_drained, probe)| NodeEvidence {
                is_live,
                is_serving,
                has_spec,
                is_drained,
                probe,
                ..good()
            },
        )
}

proptest! {
    /// What was published is never replaced by nothing, nor by less than is wanted.
    #[test]
    fn never_empty(nodes in prop::collection::vec(any_node(), 1..6), published in any::<u8>(), least in 0u32..4) {
        let name = |index: usize| NodeId::new(format!("n{index}")).unwrap();
        let before: BTreeSet<_> = (0..nodes.len()).filter(|index| published >> index & 1 == 1).map(name).collect();
        let nodes = nodes.into_iter().enumerate().map(|(index, node)| (name(index), node)).collect();
        let service = service(&nodes, &before, least);
        prop_assert!(before.is_empty() || !service.published.is_empty());
        let enough = (least.max(1) as usize).min(before.len());
        prop_assert!(service.published.len() >= enough);
        prop_assert!(service.published.is_disjoint(&service.draining));
    }
}
