//! A node with a certificate of the fleet that tells the others lies about third nodes.
//!
//! Nobody can verify what one node says of another. What is held here: nobody falls over it, an earlier run is not believed,
//! and a node of which lies are believed notices, and is heard again after a restart (invariants I5 and I6).

#![allow(clippy::expect_used, reason = "a test that cannot go on has to say so")]

use hafleet_api::v1::{self, node_status::Liveness};
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::hearsay::Hearsay;
use hafleet_tests::stranger::Stranger;
use hafleet_tests::{Fleet, can_make_namespaces, wait_for};

/// A zone that no node is in.
const NOWHERE: &str = "nowhere-at-all";

/// The node whose agent is gone, and whose certificate the liar has.
const LIAR: usize = 3;

/// Says `hearsay` to the agent of node `hearer`, who takes it.
#[track_caller]
fn tell(fleet: &Fleet, hearer: usize, hearsay: &Hearsay) {
    let liar = fleet.node(LIAR);
    let stranger = Stranger::new(liar, &liar.settings().identity);
    let call = hearsay.call(&liar.endpoint());
    let answer = stranger.call(fleet.node(hearer), "/hafleet.v1.Peer/Gossip", call);
    assert_eq!(answer.as_deref().ok(), Some(&[][..]), "{answer:?}");
}

fn node(status: &v1::FleetStatus, id: &str) -> Option<v1::NodeStatus> {
    status.nodes.iter().find(|node| node.id == id).cloned()
}

/// What node `hearer` knows of node `number`.
fn known(fleet: &Fleet, hearer: usize, number: usize) -> v1::NodeStatus {
    let status = fleet.status_of(hearer).expect("it answers");
    node(&status, fleet.node(number).id()).expect("it is known")
}

/// Waits until node `hearer` knows node `number` as the live run after `generation`, without a lie about it.
#[track_caller]
fn wait_heard_again(fleet: &Fleet, hearer: usize, number: usize, generation: u64) {
    let id = fleet.node(number).id();
    wait_for("a node is heard again", PATIENCE, || {
        let status = fleet.status_of(hearer)?;
        let is_heard = node(&status, id).is_some_and(|node| {
            node.liveness() == Liveness::Live
                && node.generation > generation
                && node.zone != NOWHERE
        });
        is_heard.then_some(()).ok_or(format!("{status:#?}"))
    });
}

#[test]
fn lies_about_other_nodes_fell_nobody_and_are_over_when_those_start_again() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, _) = Fleet::serving();
    fleet.kill_agent(LIAR);
    fleet.leader_among(&[1, 2]);
    let (hearer, victim) = (2, 1);
    let (id, address) = (fleet.node(victim).id(), fleet.node(victim).endpoint());
    let first = known(&fleet, hearer, victim).generation;
    let of = |generation| Hearsay::about(id, generation, &address);

    // An earlier run, which says that it leads in a term far ahead: nobody listens to it, and writes go on.
    let earlier = of(first - 1)
        .says("claim", "4000000", 1)
        .says("zone", NOWHERE, 2);
    tell(&fleet, hearer, &earlier);
    let second = fleet.apply(victim, &fleet.spec("second"));
    fleet.wait_applied(&[1, 2], &second);
    for number in [1, 2] {
        let seen = known(&fleet, number, victim);
        assert_eq!(
            (seen.generation, seen.zone.as_str()),
            (first, ""),
            "{seen:#?}"
        );
        let status = fleet.status_of(number).expect("it answers");
        let term = status.leadership.clone().unwrap_or_default().term;
        assert!(term < 4_000_000, "{status:#?}");
    }

    // This run, under versions that are yet to come: what it says itself would not be heard for ever.
    tell(&fleet, hearer, &of(first).says("zone", NOWHERE, 1_000_000));
    let said = fleet.node(victim).wait_ended();
    assert!(
        said.contains("told the fleet what this one never said"),
        "{said}"
    );
    fleet.assert_serves(victim, "second");
    fleet.node(victim).start_agent();
    wait_heard_again(&fleet, hearer, victim, first);

    // A run of the time to come.
    let later = known(&fleet, hearer, victim).generation + 3_600_000;
    tell(&fleet, hearer, &of(later).says("zone", NOWHERE, 1));
    let said = fleet.node(victim).wait_ended();
    assert!(said.contains("knows a later run of this node"), "{said}");
    fleet.node(victim).start_agent();
    wait_heard_again(&fleet, hearer, victim, later);

    // The liar's own node comes back, and all are one fleet.
    fleet.node(LIAR).start_agent();
    fleet.wait_formed();
    let third = fleet.apply(hearer, &fleet.spec("third"));
    fleet.wait_converged(&third);
    for number in fleet.numbers() {
        let log = fleet.node(number).log_tail(usize::MAX);
        assert!(!log.contains("panicked"), "{log}");
    }
}
