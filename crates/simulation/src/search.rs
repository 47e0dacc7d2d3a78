//! Many simulations, as many at once as there are processors, until one breaks an invariant.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::plan::Plan;
use crate::world::run;

/// How often it is told how far a search is.
const TELL: Duration = Duration::from_millis(500);

/// What many simulations came to.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// In how many no invariant was broken.
    pub passed: u64,
    /// How many events there were in all of them.
    pub events: u64,
    /// How many writes clients were told of.
    pub acknowledged: u64,
    /// How many of those as committed.
    pub committed: u64,
    /// One in which an invariant was broken; others were not begun any more.
    pub failed: Option<Plan>,
}

#[derive(Debug, Default)]
struct Search {
    next: AtomicU64,
    passed: AtomicU64,
    is_over: AtomicBool,
    found: Mutex<Found>,
}

/// Simulates what `plan` gives for each number below `count`, on `threads` threads. `progress` is told now and then how many
/// have passed.
pub fn search(
    count: u64,
    threads: usize,
    plan: impl Fn(u64) -> Plan + Sync,
    mut progress: impl FnMut(u64),
) -> Found {
    let search = Search::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1))
            .map(|_| scope.spawn(|| search.work(count, &plan)))
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            progress(search.passed.load(Ordering::Relaxed));
            thread::park_timeout(TELL);
        }
    });
    search.found.into_inner().unwrap_or_default()
}

impl Search {
    fn work(&self, count: u64, plan: &impl Fn(u64) -> Plan) {
        while !self.is_over.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            let plan = plan(index);
            let report = run(&plan, false);
            let Ok(mut found) = self.found.lock() else {
                return;
            };
            let (acknowledged, committed) = report.acknowledged;
            found.events += report.events;
            found.acknowledged += acknowledged as u64;
            found.committed += committed as u64;
            if report.violation.is_none() {
                found.passed += 1;
                self.passed.store(found.passed, Ordering::Relaxed);
                continue;
            }
            self.is_over.store(true, Ordering::Relaxed);
            // The lowest of those that fail at once.
            let is_lower = |other: &Plan| plan.seed < other.seed;
            if found.failed.as_ref().is_none_or(is_lower) {
                found.failed = Some(plan);
            }
        }
    }
}
