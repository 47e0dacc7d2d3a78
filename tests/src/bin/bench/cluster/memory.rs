//! Fleets in one process: what grows with their size.
//!
//! All nodes share this machine's cores, so a figure of 200 nodes has 200 agents on them; each has a machine of its own
//! in a real fleet. Nothing is simulated: the clusters are those of agents, over a network of memory.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use hafleet_cluster::Timing;
use hafleet_memory::MemoryFleet;
use hafleet_model::NodeId;
use hafleet_tests::process::Process;
use tokio::runtime::Builder;

use crate::figure::{Figure, percentile_ms, progress, told};

/// Nothing may take longer.
const LIMIT: Duration = Duration::from_secs(240);
/// Up to so many nodes this machine's cores can gossip at the usual interval.
const AT_USUAL_PACE: usize = 200;
/// The interval of a larger fleet.
const SLOW_PACE: Duration = Duration::from_secs(3);
/// How long a fleet settles before it is watched.
const SETTLE: Duration = Duration::from_secs(5);

/// How far apart writes are at least, for each node.
const BETWEEN_WRITES: Duration = Duration::from_millis(15);

/// How often each thing is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    /// Writes.
    pub(super) writes: u32,
    /// Processes that are killed, and as many machines that are lost.
    pub(super) deaths: u32,
    /// For how many seconds a fleet is watched at rest.
    pub(super) rest_s: u32,
}

/// What a fleet has to reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) stored_s: f64,
    pub(super) killed_s: f64,
    pub(super) gone_s: f64,
}

/// Measures a fleet of `size`. Without `limits` the figures are there to compare with.
///
/// # Panics
/// When the fleet does not do what is to be measured.
pub(super) fn measure(
    size: usize,
    rounds: Rounds,
    limits: Option<Limits>,
    figures: &mut Vec<Figure>,
) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let measured = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(measure_all(size, rounds, limits, figures));
    }));
    // Whatever came of it: nothing of the fleet may be left to disturb the next.
    runtime.shutdown_timeout(Duration::from_secs(10));
    if let Err(panic) = measured {
        resume_unwind(panic);
    }
}

async fn measure_all(
    size: usize,
    rounds: Rounds,
    limits: Option<Limits>,
    figures: &mut Vec<Figure>,
) {
    let begun = Instant::now();
    let timing = match size > AT_USUAL_PACE {
        true => Timing::from_interval(SLOW_PACE),
        false => Timing::default(),
    };
    let interval = timing.gossip_interval;
    let mut fleet = MemoryFleet::start(size, timing).await;
    fleet.until_whole(LIMIT).await;
    let formed = begun.elapsed().as_secs_f64();
    let formed = Figure::plain(&name(size, "started to whole"), formed, "s");
    figures.extend(told(vec![formed.beside(format!(
        "all know all, and agree who leads; gossip every {interval:?}"
    ))]));
    tokio::time::sleep(SETTLE).await;
    figures.extend(told(at_rest(&fleet, size, rounds.rest_s).await));
    figures.extend(told(writes(&fleet, size, rounds.writes, limits).await));
    figures.extend(told(deaths(&mut fleet, size, rounds.deaths, limits).await));
}

/// What a node costs while nothing happens.
async fn at_rest(fleet: &MemoryFleet, size: usize, seconds: u32) -> Vec<Figure> {
    let this = Process::find(std::process::id()).expect("this very process");
    let (sent, used) = (fleet.network().sent(), this.processor_time());
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    let sent = fleet.network().sent() - sent;
    let used = this.processor_time().saturating_sub(used);
    let each = |all: f64| all / f64::from(seconds) / size_f64(size);
    let megabytes = Duration::from_micros(this.resident_bytes()).as_secs_f64() / size_f64(size);
    vec![
        Figure::plain(
            &name(size, "sent by a node at rest"),
            each(Duration::from_micros(sent).as_secs_f64() * 1e3),
            "kB/s",
        )
        .beside("without TCP and TLS"),
        Figure::plain(
            &name(size, "processor time of a node at rest"),
            each(used.as_secs_f64() * 100.0),
            "% of a core",
        ),
        Figure::plain(&name(size, "memory of a node"), megabytes, "MB"),
    ]
}

async fn writes(
    fleet: &MemoryFleet,
    size: usize,
    rounds: u32,
    limits: Option<Limits>,
) -> Vec<Figure> {
    let mut times = Vec::new();
    for round in 1..=rounds {
        // Not in the wake of the write before, of which everybody tells everybody.
        tokio::time::sleep(BETWEEN_WRITES.mul_f64(size_f64(size))).await;
        let leader = fleet.until_whole(LIMIT).await;
        let begun = Instant::now();
        let body = format!("# revision {round} of {size} nodes\n");
        let written = match fleet.write(leader, &body).await {
            Ok(written) => written,
            Err(why) => return vec![Figure::missing(&name(size, "stored by all"), "s", &why)],
        };
        fleet.until_stored(written.header.stamp, LIMIT).await;
        times.push(begun.elapsed());
        progress(
            "stored by all",
            round,
            rounds,
            &format!("{:.1?}", begun.elapsed()),
        );
    }
    self::times(
        &name(size, "write to stored by all"),
        &times,
        limits.map(|limits| limits.stored_s),
    )
}

async fn deaths(
    fleet: &mut MemoryFleet,
    size: usize,
    rounds: u32,
    limits: Option<Limits>,
) -> Vec<Figure> {
    let (mut killed, mut lost) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let leader = fleet.until_whole(LIMIT).await;
        let victim = victim(size, leader, round);
        killed.push(death(fleet, victim, MemoryFleet::kill).await);
        progress("killed to noticed by all", round, rounds, &words(&killed));
        let leader = fleet.until_whole(LIMIT).await;
        let victim = self::victim(size, leader, round);
        lost.push(death(fleet, victim, MemoryFleet::lose).await);
        progress("lost to noticed by all", round, rounds, &words(&lost));
    }
    let killed_name = name(size, "process killed to noticed by all");
    let lost_name = name(size, "machine gone to noticed by all");
    let mut all = times(&killed_name, &killed, limits.map(|limits| limits.killed_s));
    all.extend(times(&lost_name, &lost, limits.map(|limits| limits.gone_s)));
    all
}

/// Who dies next: each fourth time whoever leads.
fn victim(size: usize, leader: usize, round: u32) -> usize {
    let next = |number: usize| number % size + 1;
    if round.is_multiple_of(4) {
        return leader;
    }
    let victim = next(round as usize * 7);
    if victim == leader {
        next(victim)
    } else {
        victim
    }
}

/// Node `victim` dies in the way of `die`, and comes back when all have noticed.
async fn death(
    fleet: &mut MemoryFleet,
    victim: usize,
    die: impl FnOnce(&mut MemoryFleet, usize) -> NodeId,
) -> Duration {
    let id = die(fleet, victim);
    let noticed = fleet.until_noticed(&id, LIMIT).await;
    fleet.network().heal();
    fleet.start_node(victim).await;
    noticed
}

fn words(times: &[Duration]) -> String {
    times
        .last()
        .map_or_else(String::new, |last| format!("{last:.1?}"))
}

/// The median and the 99th percentile of `times`, which must stay under the limit if there is one.
pub(super) fn times(name: &str, times: &[Duration], limit_s: Option<f64>) -> Vec<Figure> {
    let of = |percent| percentile_ms(times, percent) / 1e3;
    let (p50, p99) = (format!("{name}, p50"), format!("{name}, p99"));
    let most = format!("max {:.2} s", of(100));
    let p99 = match limit_s {
        Some(limit) => Figure::under(&p99, of(99), "s", limit),
        None => Figure::plain(&p99, of(99), "s"),
    };
    vec![
        Figure::plain(&p50, of(50), "s").beside(format!("{} times", times.len())),
        p99.beside(most),
    ]
}

fn name(size: usize, what: &str) -> String {
    format!("{size} nodes: {what}")
}

fn size_f64(size: usize) -> f64 {
    crate::reloads::count(size as u64)
}
