//! Simulated fleets by seed: in how many of them all invariants hold.

use std::thread;

use hafleet_simulation::plan::Plan;
use hafleet_simulation::{explain, run, search};

use crate::figure::{Figure, progress};

/// How many seeds pass between two words about how far it is.
const TELL_EVERY: u32 = 1_000;

/// Simulates the first `seeds`, until one breaks an invariant.
pub(super) fn measure(seeds: u32) -> Vec<Figure> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut last = 0;
    let found = search(u64::from(seeds), threads, Plan::of, |passed| {
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed / TELL_EVERY > last / TELL_EVERY {
            progress("seeds", passed / TELL_EVERY * TELL_EVERY, seeds, "all hold");
        }
        last = passed;
    });
    if let Some(plan) = &found.failed
        && let Some(violation) = run(plan, false).violation
    {
        eprintln!("{}", explain(plan, &violation));
    }
    let (passed, all) = (crate::reloads::count(found.passed), f64::from(seeds));
    vec![
        Figure::over("seeds passed in simulation", passed, "", all).beside(format!(
            "{} events, {} writes acknowledged",
            found.events, found.acknowledged
        )),
    ]
}
