//! What the decision costs in a large fleet: the pure functions, without the fleet and without Route53.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use hafleet_dns::RecordSet;
use hafleet_dns::fence::Ownership;
use hafleet_dns::plan::{self, NameChanges};
use hafleet_dns::service::{NodeEvidence, Probe, service};
use hafleet_dns::wanted::{HealthChecks, wanted};
use hafleet_model::spec::{self, NodeAddress, PublishedName};
use hafleet_model::{FleetName, NodeId, Term};

use crate::figure::{Figure, percentile_ms};

const NODES: u8 = 50;
const NAMES: usize = 20;
/// The changes of a batch, and the characters of their values (Amazon Route 53 Developer Guide, "Quotas").
const LIMITS: (usize, usize) = (1000, 32_000);

/// Plans so many times what follows when one of 50 nodes dies that are in 20 names, each with a record set of its own.
pub(super) fn measure(times: u32) -> Vec<Figure> {
    let names = names();
    let own = own();
    let zone: Vec<_> = names
        .iter()
        .flat_map(|name| published(name, &own))
        .collect();
    let nodes = nodes(true);
    let once = || {
        let begun = Instant::now();
        let batches = planned(&names, &own, &nodes, &zone);
        let took = begun.elapsed();
        let changes: usize = batches
            .iter()
            .flatten()
            .map(|name| name.changes.len())
            .sum();
        assert_eq!(changes, NAMES * 3, "a set goes, and the fence is replaced");
        took
    };
    let all: Vec<_> = (0..times).map(|_| once()).collect();
    let most = format!("{times} times, max {:.2} ms", percentile_ms(&all, 100));
    let name = format!("plan of {NODES} nodes in {NAMES} names, p99");
    vec![Figure::under(&name, percentile_ms(&all, 99), "ms", 10.0).beside(most)]
}

/// From what is known of the nodes and of the zone to batches behind the fence.
fn planned(
    names: &[PublishedName],
    own: &Ownership,
    nodes: &BTreeMap<NodeId, NodeEvidence>,
    zone: &[RecordSet],
) -> Vec<Vec<NameChanges>> {
    let highest =
        plan::highest(|found| found.fleet == own.fleet, zone).expect("the fleet owns names");
    let before = nodes.keys().cloned().collect();
    let mut changes = Vec::new();
    for name in names {
        let in_service = service(nodes, &before, name.min_published);
        let checks = HealthChecks::default();
        for (name, sets) in wanted(name, &own.fleet, nodes, &in_service, &checks) {
            let present = plan::present(&name, zone);
            let difference = plan::difference(&name, &present, &sets, &own.fleet);
            let difference = difference.expect("nobody else has records there");
            let next = highest.successor(own.term, &own.leader, 1);
            changes.push(plan::fenced(&name, &present, difference, &next));
        }
    }
    assert_eq!(
        plan::owned(|found| found.fleet == own.fleet, zone).len(),
        names.len()
    );
    let (batches, refused) = plan::batches(changes, LIMITS.0, LIMITS.1);
    assert_eq!(refused, []);
    batches
}

fn names() -> Vec<PublishedName> {
    let mut text = "version: 1\ndns:\n  records:\n".to_owned();
    for number in 0..NAMES {
        let record = "zone: example.com, routing: multivalue, addresses: [private]";
        writeln!(text, "    - {{name: n{number}.example.com, {record}}}").expect("text takes text");
    }
    let loaded = spec::load(&text).expect("the spec is right");
    loaded.spec.dns.records
}

fn own() -> Ownership {
    Ownership {
        fleet: FleetName::new("shop").expect("a name"),
        term: Term(7),
        leader: id(1),
        sequence: 3,
        nonce: 0,
        authority: None,
    }
}

/// What the zone has of a name with all nodes in service.
fn published(name: &PublishedName, own: &Ownership) -> Vec<RecordSet> {
    let nodes = nodes(false);
    let in_service = service(&nodes, &nodes.keys().cloned().collect(), 1);
    let sets = wanted(
        name,
        &own.fleet,
        &nodes,
        &in_service,
        &HealthChecks::default(),
    );
    let sets = sets.into_values().flatten();
    sets.chain([own.record(&name.name)]).collect()
}

fn nodes(is_one_dead: bool) -> BTreeMap<NodeId, NodeEvidence> {
    let node = |number: u8| {
        let is_up = !is_one_dead || number < NODES;
        let evidence = NodeEvidence {
            addresses: [(NodeAddress::Private, [10, 0, 0, number].into())].into(),
            weight: 1,
            is_live: is_up,
            is_serving: is_up,
            has_spec: true,
            is_drained: false,
            probe: Some(if is_up { Probe::Answers } else { Probe::Fails }),
        };
        (id(number), evidence)
    };
    (1..=NODES).map(node).collect()
}

fn id(number: u8) -> NodeId {
    NodeId::new(format!("n{number}")).expect("an id")
}
