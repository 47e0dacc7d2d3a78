//! What an agent costs while nothing happens.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hafleet_tests::{Fleet, spec};

use crate::figure::Figure;
use crate::reloads::pass;

/// Servers in the spec.
const SERVERS: u16 = 1000;
/// How long a fleet settles after the spec has been applied.
const SETTLE: Duration = Duration::from_secs(6);
/// How long it is watched.
const WATCH: Duration = Duration::from_secs(30);

/// The largest memory and processor time of three agents; the busiest node is the one that counts.
pub(crate) fn measure() -> Vec<Figure> {
    let fleet = Fleet::builder().start();
    let servers: Vec<SocketAddr> = (0..SERVERS)
        .map(|n| ([10, 77, 1, 1], 10_000 + n).into())
        .collect();
    let revision = fleet.apply(1, &spec::marked("rest", &servers));
    fleet.wait_converged(&revision);
    pass(SETTLE);
    eprintln!("agents at rest with {SERVERS} servers, for {WATCH:?}");
    let agents: Vec<_> = fleet
        .numbers()
        .into_iter()
        .map(|number| fleet.node(number).agent_process())
        .collect();
    let before: Vec<_> = agents
        .iter()
        .map(hafleet_tests::process::Process::processor_time)
        .collect();
    let begun = Instant::now();
    pass(WATCH);
    let watched = begun.elapsed().as_secs_f64();
    let used = agents
        .iter()
        .zip(before)
        .map(|(agent, before)| agent.processor_time().saturating_sub(before));
    let cpu: Vec<_> = used
        .map(|used| used.as_secs_f64() / watched * 100.0)
        .collect();
    let memory: Vec<_> = agents
        .iter()
        .map(|agent| megabytes(agent.resident_bytes()))
        .collect();
    let words = |values: &[f64]| {
        let values: Vec<_> = values.iter().map(|value| format!("{value:.2}")).collect();
        format!("each: {}", values.join(", "))
    };
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    vec![
        Figure::under(
            "agent's resident memory at rest",
            most(&memory),
            "MiB",
            40.0,
        )
        .beside(words(&memory)),
        Figure::under(
            "agent's processor time at rest",
            most(&cpu),
            "% of a core",
            1.0,
        )
        .beside(words(&cpu)),
    ]
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of processes are far below 2^52 bytes"
)]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
