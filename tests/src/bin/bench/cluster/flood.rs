//! Applies while bad connections pour in at the leader's peer port.

use std::time::{Duration, Instant};

use hafleet_tests::agent::PORT;
use hafleet_tests::flood::Flood;
use hafleet_tests::{Fleet, wait_until};

use crate::figure::{Figure, percentile_ms, progress};

/// Bad connections a second.
const PER_SECOND: u32 = 10_000;

/// Applies `applies` specs during the flood, and says how long the slowest took.
pub(crate) fn measure(applies: u32) -> Vec<Figure> {
    let (fleet, _) = Fleet::serving();
    let leader = fleet.leader();
    let bystander = fleet.bystander(0);
    let target = (fleet.node(leader).address(), PORT).into();
    let flood = Flood::start(&bystander, target, PER_SECOND);
    wait_until("the flood is there", Duration::from_secs(30), || {
        flood.made() > u64::from(PER_SECOND)
    });
    let (begun, before) = (Instant::now(), flood.made());
    let mut times = Vec::new();
    for apply in 1..=applies {
        let spec = fleet.spec(&format!("flood-{apply}"));
        let at = Instant::now();
        let revision = fleet.apply(leader, &spec);
        times.push(at.elapsed());
        progress(
            "apply during a flood",
            apply,
            applies,
            &format!("{:.1?}", at.elapsed()),
        );
        fleet.wait_converged(&revision);
    }
    let made = (flood.made() - before) as f64 / begun.elapsed().as_secs_f64();
    let slowest = percentile_ms(&times, 100) / 1e3;
    vec![
        Figure::plain("bad connections made at the peer port", made, "/s")
            .beside(format!("{PER_SECOND} asked for, 1 core for the flood")),
        Figure::under("apply during the flood, slowest", slowest, "s", 2.0)
            .beside(format!("{applies} applies")),
    ]
}
