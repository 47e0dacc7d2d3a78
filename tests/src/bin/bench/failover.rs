//! From `kill -9` of the leader to the next write acknowledged.

use std::time::{Duration, Instant};

use hafleet_tests::fleet::written;
use hafleet_tests::{Fleet, wait_for};

use crate::figure::{Figure, percentile_ms, progress};

/// When a fleet counts as stuck.
const LIMIT: Duration = Duration::from_secs(60);

/// Kills so many leaders, each of which comes back before the next.
pub(crate) fn measure(kills: u32) -> Vec<Figure> {
    let (fleet, _) = Fleet::serving();
    let mut times = Vec::new();
    for kill in 1..=kills {
        let leader = fleet.leader();
        let rest: Vec<_> = fleet
            .numbers()
            .into_iter()
            .filter(|number| *number != leader)
            .collect();
        let spec = fleet.spec(&format!("kill-{kill}"));
        fleet.kill_agent(leader);
        let begun = Instant::now();
        let revision = wait_for(
            "a write is acknowledged after the leader's death",
            LIMIT,
            || {
                let finished = fleet.client_as("ada", &rest).apply(&spec, &[]);
                if finished.code == Some(0) {
                    Ok(written(&finished))
                } else {
                    Err(finished)
                }
            },
        );
        times.push(begun.elapsed());
        progress(
            "leader killed to next apply acknowledged",
            kill,
            kills,
            &format!("{:.1?}", begun.elapsed()),
        );
        fleet.restart(leader);
        fleet.wait_formed();
        fleet.wait_converged(&revision);
    }
    let p50 = percentile_ms(&times, 50) / 1e3;
    let (p99, most) = (
        percentile_ms(&times, 99) / 1e3,
        percentile_ms(&times, 100) / 1e3,
    );
    vec![
        Figure::plain("leader killed to next apply acknowledged, p50", p50, "s")
            .beside(format!("{kills} kills")),
        Figure::under(
            "leader killed to next apply acknowledged, p99",
            p99,
            "s",
            8.0,
        )
        .beside(format!("max {most:.2} s")),
    ]
}
