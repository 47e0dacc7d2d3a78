//! From `hafleet apply` to served by all three nodes.
//!
//! The clock starts before the command does and stops when the last node's HAProxy answers a new connection with the
//! header that the new spec sets: what a person sees, start of the command and its connection included.
//!
//! Agents leave some time between two reloads (`haproxy.reload_min_interval`), so applies are that far apart here: each
//! meets nodes that may reload. How long one waits that comes right behind another is shown beside it.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hafleet_tests::fleet::written;
use hafleet_tests::request::ask;
use hafleet_tests::spec::MARKER;
use hafleet_tests::{Fleet, Namespace};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::figure::{Figure, percentile_ms, progress};
use crate::reloads::{Reloads, pass};

/// Time between two requests to one node while its answer is awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(3);
/// When a spec counts as never served.
const LIMIT: Duration = Duration::from_secs(30);

/// More than the agents' least time between two reloads, 2 s, and its jitter of a fifth.
const APART: Duration = Duration::from_millis(2450);
/// Applies that come right behind another.
const HURRIED: u32 = 4;

/// Applies so many specs, each of which needs a reload.
pub(crate) fn measure(rounds: u32) -> Vec<Figure> {
    let (fleet, _) = Fleet::serving();
    let mut reloads = Reloads::count(&fleet);
    let (mut served, mut acknowledged, mut hurried) = (Vec::new(), Vec::new(), Vec::new());
    pass(APART);
    for round in 1..=rounds {
        let begun = Instant::now();
        let (last, acknowledgement) = apply(&fleet, round);
        served.push(last);
        acknowledged.push(acknowledgement);
        reloads.look(&fleet);
        let ms = last.as_secs_f64() * 1e3;
        progress(
            "apply to served by all three nodes",
            round,
            rounds,
            &format!("{ms:.0} ms"),
        );
        pass(APART.saturating_sub(begun.elapsed()));
    }
    // The first of these only makes the others hurried.
    apply(&fleet, rounds + 1);
    for round in rounds + 2..=rounds + 1 + HURRIED {
        hurried.push(apply(&fleet, round).0);
    }
    let p50 = percentile_ms(&served, 50);
    let most = percentile_ms(&served, 100);
    let ack = percentile_ms(&acknowledged, 50);
    vec![
        Figure::plain("apply to served by all three, p50", p50, "ms")
            .beside(format!("{rounds} applies, {reloads}")),
        Figure::under(
            "apply to served by all three, p99",
            percentile_ms(&served, 99),
            "ms",
            1000.0,
        )
        .beside(format!(
            "max {most:.0} ms; the command itself ended after {ack:.0} ms at p50"
        )),
        Figure::plain(
            "the same right behind another apply, p50",
            percentile_ms(&hurried, 50),
            "ms",
        )
        .beside("agents leave 2 s between reloads"),
    ]
}

/// Applies the spec of `round` and returns when all nodes served it, and when the command ended.
fn apply(fleet: &Fleet, round: u32) -> (Duration, Duration) {
    let marker = format!("served-{round}");
    let via = fleet.numbers()[round as usize % fleet.numbers().len()];
    let begun = Instant::now();
    let last = watch(fleet.outside(), targets(fleet), marker.clone(), begun);
    let applied = fleet.client_of(via).apply(&fleet.spec(&marker), &[]);
    written(&applied);
    let last = last.join().expect("the watch does not panic");
    (
        last.expect("a spec is served within the limit"),
        applied.took,
    )
}

/// Where each node's HAProxy listens.
pub(crate) fn targets(fleet: &Fleet) -> Vec<SocketAddr> {
    fleet
        .numbers()
        .into_iter()
        .map(|number| fleet.node(number).traffic())
        .collect()
}

/// Waits on a thread of its own until all `targets` serve `marker`, and returns the time since `begun`.
pub(crate) fn watch(
    namespace: &Namespace,
    targets: Vec<SocketAddr>,
    marker: String,
    begun: Instant,
) -> JoinHandle<Option<Duration>> {
    namespace.thread(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut waits = JoinSet::new();
            for target in targets {
                waits.spawn(serves(target, marker.clone(), begun));
            }
            let all = waits.join_all().await;
            all.into_iter()
                .collect::<Option<Vec<_>>>()
                .and_then(|times| times.into_iter().max())
        })
    })
}

async fn serves(target: SocketAddr, marker: String, begun: Instant) -> Option<Duration> {
    while begun.elapsed() < LIMIT {
        let answer = ask(target, "/", LIMIT).await;
        if answer.is_ok_and(|answer| answer.header(MARKER) == Some(&marker)) {
            return Some(begun.elapsed());
        }
        sleep(LOOK_AGAIN).await;
    }
    None
}
