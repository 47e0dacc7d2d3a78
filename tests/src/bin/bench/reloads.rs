//! Connections lost in reloads that pass the listening sockets, under a steady load.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use hafleet_tests::load::{Load, Outcome, Plan};
use hafleet_tests::{Fleet, wait_until};

use crate::figure::{Figure, percentile_ms, progress};
use crate::served::{targets, watch};

/// New connections a second over all nodes, one request each.
const RATE: u32 = 1000;
/// How long the load runs without reloads, to compare with.
const CONTROL: Duration = Duration::from_secs(10);
/// A reload every so often, far more often than agents reload unless they are told to: the load is there for the
/// reloads.
const APART: Duration = Duration::from_millis(300);

/// Reloads so many times on every node.
pub(crate) fn measure(rounds: u32) -> Vec<Figure> {
    let hasty = format!("reload_min_interval = \"{}ms\"", APART.as_millis());
    let fleet = Fleet::builder()
        .settings(move |settings| settings.haproxy.push(hasty.clone()))
        .start();
    let revision = fleet.apply(1, &fleet.spec("first"));
    fleet.wait_converged(&revision);
    fleet.wait_served("first");
    eprintln!("load without reloads, for {CONTROL:?}");
    let load = start(&fleet);
    pass(CONTROL);
    let control = load.stop();
    eprintln!("  {control}");

    let mut reloads = Reloads::count(&fleet);
    let (load, mut served) = (start(&fleet), Vec::new());
    for round in 1..=rounds {
        let marker = format!("reload-{round}");
        let begun = Instant::now();
        let last = watch(fleet.outside(), targets(&fleet), marker.clone(), begun);
        fleet.apply(1, &fleet.spec(&marker));
        let last = last
            .join()
            .expect("the watch does not panic")
            .expect("a spec is served within the limit");
        served.push(last);
        reloads.look(&fleet);
        progress(
            "reloads under load",
            round,
            rounds,
            &format!("served after {:.0} ms", last.as_secs_f64() * 1e3),
        );
        pass((APART + APART / 4).saturating_sub(begun.elapsed()));
    }
    let outcome = load.stop();
    eprintln!("  {outcome}");
    let handover = handover(&fleet);
    let name = format!("failed connections at {RATE}/s, {rounds} reloads per node");
    vec![
        Figure::exactly(&name, count(outcome.failed()), "of all", 0.0).beside(format!(
            "of {}: {}; {reloads}, {handover}",
            outcome.sent,
            kinds(&outcome)
        )),
        Figure::plain(
            "the same without reloads",
            count(control.failed()),
            "of all",
        )
        .beside(format!("of {}: {}", control.sent, kinds(&control))),
        Figure::plain(
            "apply to served by all three under that load, p99",
            percentile_ms(&served, 99),
            "ms",
        )
        .beside(format!("p50 {:.0} ms", percentile_ms(&served, 50))),
        latency("latency under reloads, p99", &outcome),
        latency("latency without reloads, p99", &control),
    ]
}

/// The load of all measurements here.
fn start(fleet: &Fleet) -> Load {
    Load::start(
        fleet.outside(),
        Plan {
            targets: targets(fleet),
            rate: RATE,
        },
    )
}

/// Lets `time` go by.
pub(crate) fn pass(time: Duration) {
    let begun = Instant::now();
    wait_until("time goes by", time + Duration::from_secs(1), || {
        begun.elapsed() >= time
    });
}

fn kinds(outcome: &Outcome) -> String {
    if outcome.faults.is_empty() {
        return "none refused, reset, timed out or truncated".into();
    }
    let kinds = outcome
        .faults
        .iter()
        .map(|(fault, count)| format!("{count} {fault}"));
    kinds.collect::<Vec<_>>().join(", ")
}

fn latency(name: &str, outcome: &Outcome) -> Figure {
    let ms = |percent| outcome.percentile(percent).as_secs_f64() * 1e3;
    Figure::plain(name, ms(99.0), "ms").beside(format!(
        "p50 {:.1}, p99.9 {:.1}, max {:.1} ms",
        ms(50.0),
        ms(99.9),
        ms(100.0)
    ))
}

fn handover(fleet: &Fleet) -> String {
    let status = fleet.status_of(1).unwrap_or_default();
    let first = status.nodes.into_iter().next();
    first
        .and_then(|node| node.haproxy)
        .map(|haproxy| haproxy.handover)
        .unwrap_or_default()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of requests are far below 2^52"
)]
pub(crate) fn count(requests: u64) -> f64 {
    requests as f64
}

/// New HAProxy processes, seen in the process table and not taken from what agents say.
pub(crate) struct Reloads {
    seen: BTreeSet<u32>,
    new: usize,
}

impl Reloads {
    /// Counts from now on.
    pub(crate) fn count(fleet: &Fleet) -> Self {
        let mut reloads = Self {
            seen: BTreeSet::new(),
            new: 0,
        };
        reloads.look(fleet);
        reloads.new = 0;
        reloads
    }

    /// Counts the processes that were not there at the last look.
    pub(crate) fn look(&mut self, fleet: &Fleet) {
        let all = fleet
            .numbers()
            .into_iter()
            .flat_map(|number| fleet.node(number).haproxies());
        let now: BTreeSet<_> = all.map(|process| process.pid).collect();
        self.new += now.difference(&self.seen).count();
        self.seen = now;
    }
}

impl fmt::Display for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} new processes seen", self.new)
    }
}
