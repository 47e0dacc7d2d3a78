//! A node that leaves where names are published: no client is sent to it any more before it goes.

use std::time::{Duration, Instant};

use hafleet_tests::aws::Passage;
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::published::Published;
use hafleet_tests::{can_make_namespaces, wait_for, wait_until};

/// The records' TTL in [`Published::start`]: for so long resolvers remember.
const TTL: Duration = Duration::from_secs(5);

#[test]
fn a_node_is_out_of_dns_and_forgotten_by_resolvers_before_it_leaves() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let (leader, leaver) = (fleet.leader(), fleet.follower());
    let id = fleet.node(leaver).id();
    let client = fleet.client_of(leader);

    // What the leader writes to Route53 does not get there: the node stays, drained, and the command says so.
    published.set(leader, Passage::BatchesHeld);
    let late = client.run(&["node", "leave", id, "--wait", "3s"]);
    let late = late.expect_code(4);
    late.expect_complaint(&["drained", "--now", "hafleet node undrain"]);
    assert!(fleet.node(leaver).has_agent());
    let status = fleet.status_of(leader).expect("it answers");
    assert!(status.nodes.iter().any(|node| node.id == id), "{status:#?}");
    published.set(leader, Passage::Open);

    let left = client.run(&["node", "leave", id, "-m", "scaled in"]);
    let ended = Instant::now();
    left.expect_code(0);
    published.wait_published(&published.others(leaver));
    wait_until("its agent ends", PATIENCE, || {
        !fleet.node(leaver).has_agent()
    });
    let batches = published.witness().batches();
    let address = fleet.node(leaver).address().to_string();
    let sets: Vec<_> = batches
        .iter()
        .filter(|batch| batch.is_applied)
        .flat_map(|batch| batch.changes.iter().map(|change| (batch.answered, change)))
        .filter(|(_, change)| change.kind == "A" && change.action != "DELETE")
        .collect();
    let last_with = sets
        .iter()
        .rposition(|(_, set)| set.values.contains(&address));
    let without = sets.get(last_with.map_or(0, |last| last + 1));
    let (gone_from_dns, _) = without.expect("a set without the node, and none with it after that");
    let waited = ended.saturating_duration_since(*gone_from_dns);
    assert!(
        waited >= TTL,
        "it left {waited:?} after its record did: {sets:#?}"
    );
    let status = fleet.status_of(leader).expect("it answers");
    assert!(status.nodes.iter().all(|node| node.id != id), "{status:#?}");
    fleet.assert_serves(leaver, "first");
    published.witness().assert_fenced();
}

#[test]
fn a_node_that_takes_its_haproxy_along_waits_for_the_clients_there() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let leaver = fleet.follower();
    let id = fleet.node(leaver).id();
    let client = fleet.client();
    let kept = fleet
        .outside()
        .run(|| std::net::TcpStream::connect(fleet.node(leaver).traffic()));
    let kept = kept.expect("it serves");

    let late = client.run(&["node", "leave", id, "--stop-haproxy", "--wait", "8s"]);
    let late = late.expect_code(4);
    late.expect_complaint(&["1 connection is left", "it is in the fleet and drained"]);
    assert!(fleet.node(leaver).has_agent());
    assert_eq!(fleet.node(leaver).haproxies().len(), 1);
    drop(kept);

    let left = client.run(&["node", "leave", id, "--stop-haproxy"]);
    left.expect_code(0);
    wait_for("its HAProxy and its agent end", PATIENCE, || {
        let haproxies = fleet.node(leaver).haproxies();
        match haproxies.is_empty() && !fleet.node(leaver).has_agent() {
            true => Ok(()),
            false => Err(format!("{haproxies:?}")),
        }
    });
    published.wait_published(&published.others(leaver));
    for number in published.others(leaver) {
        fleet.assert_serves(number, "first");
    }
}
