//! A fleet of 50 nodes in one process: everyone has what was written and notices who is gone, a partition ends with one
//! leader, and nothing of a fleet is left running.

#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests use it")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use hafleet_cluster::Timing;
use hafleet_memory::MemoryFleet;
use hafleet_memory::fleet::until;
use hafleet_model::NodeId;
use tokio::runtime::{Builder, Handle};

const SIZE: usize = 50;
/// Nothing may take longer, on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(60);

/// The ids of those that `fleet`'s nodes say lead.
fn leaders(fleet: &MemoryFleet) -> BTreeSet<Option<NodeId>> {
    let named = fleet
        .nodes()
        .map(|node| node.view().leadership.leader.clone());
    named.collect()
}

/// Has the leader write, which may still change where the fleet has just settled.
async fn write(fleet: &MemoryFleet, body: &str) {
    for _ in 0..10 {
        let leader = fleet.until_whole(LIMIT).await;
        if let Ok(written) = fleet.write(leader, body).await {
            fleet.until_stored(written.header.stamp, LIMIT).await;
            return;
        }
    }
    panic!("a whole fleet refuses to write");
}

async fn run() {
    let mut fleet = MemoryFleet::start(SIZE, Timing::default()).await;
    write(&fleet, "# everyone has this\n").await;

    let id = fleet.kill(SIZE);
    fleet.until_noticed(&id, LIMIT).await;
    fleet.start_node(SIZE).await;
    write(&fleet, "# and this, who was away included\n").await;

    // A third of the fleet is cut off, the leader among it.
    let leader = fleet.until_whole(LIMIT).await;
    let third: Vec<usize> = (1..=SIZE)
        .filter(|number| number % 3 == leader % 3)
        .collect();
    let addresses: Vec<SocketAddr> = third
        .iter()
        .map(|number| fleet.node(*number).address)
        .collect();
    let leader = fleet.node(leader).id.clone();
    fleet.network().cut_off(&addresses, 1);
    until("the others have a leader of their own", LIMIT, || {
        let others = fleet
            .nodes()
            .filter(|node| !addresses.contains(&node.address));
        let mut named = others.map(|node| node.view().leadership.leader.clone());
        let first = named.next()??;
        (first != leader && named.all(|other| other.as_ref() == Some(&first))).then_some(())
    })
    .await;
    assert!(leaders(&fleet).contains(&Some(leader)), "two leaders");
    fleet.network().heal();
    fleet.until_whole(LIMIT).await;
    assert_eq!(leaders(&fleet).len(), 1);
    write(&fleet, "# and this, on both sides\n").await;

    fleet.end();
    until("nothing of the fleet is left", LIMIT, || {
        (Handle::current().metrics().num_alive_tasks() == 0).then_some(())
    })
    .await;
}

#[test]
fn fifty_nodes_agree_notice_and_heal() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run());
}
