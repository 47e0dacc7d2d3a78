//! How long a fleet at its production timing is without a leader. Slow, and about numbers: run with `--ignored`.

mod support;

use std::time::{Duration, Instant};

use hafleet_cluster::{Expect, Timing};
use support::{Fleet, write_spec};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures: takes half a minute"]
async fn a_killed_leader_is_replaced_within_six_seconds() {
    let timing = Timing::default();
    let began = Instant::now();
    let mut fleet = Fleet::with_timing(3, timing).await;
    let mut leader = fleet.agreed_leader().await.id.clone();
    println!("fresh fleet: leader after {:?}", began.elapsed());
    tokio::time::sleep(timing.settle_silent + Duration::from_secs(1)).await;
    for round in 0..2 {
        fleet
            .node(&leader)
            .cluster
            .write(write_spec("before", Expect::Any))
            .await
            .unwrap();
        let killed = Instant::now();
        fleet.kill(&leader).await;
        let next = fleet.agreed_leader().await;
        let elected = killed.elapsed();
        let written = next
            .cluster
            .write(write_spec("after", Expect::Any))
            .await
            .unwrap();
        let acknowledged = killed.elapsed();
        println!(
            "round {round}: elected after {elected:?}, first write acknowledged after {acknowledged:?}"
        );
        assert!(written.committed);
        assert!(acknowledged < Duration::from_secs(6));
        let next = next.id.clone();
        fleet.start(&leader).await;
        let back = Instant::now();
        fleet.node(&leader).until_spec_is("after").await;
        println!(
            "round {round}: caught up {:?} after its start",
            back.elapsed()
        );
        tokio::time::sleep(timing.settle_silent + Duration::from_secs(1)).await;
        leader = next;
    }
}
