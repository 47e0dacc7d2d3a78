//! Requests at a steady rate, whatever becomes of the earlier ones.
//!
//! The loop is open: each request has its scheduled time, and its latency counts from then. A server that stalls
//! delays the answers, not the questions, so that a stall shows in full in the percentiles.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::namespace::Namespace;
use crate::request::{Fault, ask, runtime};

/// How long one request may take. Longer than two retries of a lost SYN.
const LIMIT: Duration = Duration::from_secs(8);

/// What to ask, and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Asked in turn.
    pub targets: Vec<SocketAddr>,
    /// Requests a second over all targets.
    pub rate: u32,
}

/// Requests under way. They end when it is stopped or dropped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome>>,
}

/// What became of the requests.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Requests begun.
    pub sent: u64,
    /// Those that failed, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Microseconds from the scheduled time to the whole answer, of those that succeeded.
    pub latency: Histogram<u64>,
}

impl Load {
    /// Begins to ask from inside `namespace`.
    pub fn start(namespace: &Namespace, plan: Plan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = namespace.thread(move || runtime().block_on(run(plan, &stopped)));
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Begins no more requests, waits for those under way, and says what became of all.
    pub fn stop(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a load is stopped once");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn run(plan: Plan, stopped: &AtomicBool) -> Outcome {
    let mut outcome = Outcome::default();
    let mut under_way = JoinSet::new();
    let (begun, interval) = (Instant::now(), Duration::from_secs(1) / plan.rate);
    for (number, target) in plan.targets.iter().cycle().enumerate() {
        let scheduled = begun + interval * u32::try_from(number).unwrap_or(u32::MAX);
        sleep_until(scheduled).await;
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let target = *target;
        under_way
            .spawn(async move { (ask(target, "/", LIMIT).await.map(drop), scheduled.elapsed()) });
        outcome.sent += 1;
        while let Some(finished) = under_way.try_join_next() {
            outcome.count(finished.expect("a request does not panic"));
        }
    }
    while let Some(finished) = under_way.join_next().await {
        outcome.count(finished.expect("a request does not panic"));
    }
    outcome
}

impl Default for Outcome {
    fn default() -> Self {
        let latency =
            Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that are in order");
        Self {
            sent: 0,
            faults: BTreeMap::new(),
            latency,
        }
    }
}

impl Outcome {
    fn count(&mut self, (result, took): (Result<(), Fault>, Duration)) {
        match result {
            Ok(()) => self
                .latency
                .saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            Err(fault) => *self.faults.entry(fault).or_default() += 1,
        }
    }

    /// Counts the requests of `other` too.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        self.latency
            .add(&other.latency)
            .expect("both have the same bounds");
    }

    /// Requests that failed in any way.
    pub fn failed(&self) -> u64 {
        self.faults.values().sum()
    }

    /// The latency that `percent` of the requests did not exceed.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_percentile(percent))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} failed", self.sent, self.failed())?;
        for (fault, count) in &self.faults {
            write!(f, ", {count} {fault}")?;
        }
        let [p50, p99, p999] =
            [50.0, 99.0, 99.9].map(|percent| self.percentile(percent).as_secs_f64() * 1e3);
        let most = Duration::from_micros(self.latency.max()).as_secs_f64() * 1e3;
        write!(
            f,
            "; latency p50 {p50:.1}, p99 {p99:.1}, p99.9 {p999:.1}, max {most:.1} ms"
        )
    }
}
