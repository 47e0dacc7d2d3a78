//! Some thousands of seeds, and those that once broke an invariant.

use std::thread;

use hafleet_simulation::plan::Plan;
use hafleet_simulation::{explain, run, search};

/// So many seeds in each run of the tests; `make simulate` runs as many as wanted.
const SEEDS: u64 = 2_000;

/// Seeds that broke an invariant once, and how.
const KEPT: &[(u64, &str)] = &[
    (
        3647,
        "a revision came down in a write that a full disk had failed; as part of a later one's ancestry it lost its header",
    ),
    (63, "the same, and the first to be found"),
    (
        2009058,
        "a gap was given up since one peer did not have the revision yet, and the other was not connected and not asked",
    ),
    (
        2009558,
        "a fleet that formed behind a cut did so twice: each half had most of the nodes that it had met",
    ),
    (
        7607,
        "two leaders of one term, cut from each other, observed different endpoints; each node kept what it had of the two",
    ),
    (
        47167,
        "a write that a full disk had refused had come down all the same, and the next one took its place",
    ),
];

fn check(seed: u64) -> Option<String> {
    let plan = Plan::of(seed);
    let violation = run(&plan, false).violation?;
    Some(explain(&plan, &violation))
}

#[test]
fn no_invariant_is_broken_whatever_befalls_a_fleet() {
    let threads = thread::available_parallelism().unwrap().get();
    let found = search(SEEDS, threads, Plan::of, |_| {});
    if let Some(plan) = found.failed {
        panic!("{}", check(plan.seed).unwrap_or_default());
    }
    assert_eq!(found.passed, SEEDS);
}

#[test]
fn seeds_that_broke_an_invariant_once_do_so_no_more() {
    for (seed, story) in KEPT {
        if let Some(explanation) = check(*seed) {
            panic!("again ({story}):\n{explanation}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_simulation() {
    // The last has the real store.
    for seed in [1, 17, 42, 63] {
        let plan = Plan::of(seed);
        let (first, second) = (run(&plan, true), run(&plan, true));
        assert_eq!(first, second, "seed {seed}");
        assert!(first.events > 500 && !first.trace.is_empty(), "seed {seed}");
        let quiet = run(&plan, false);
        assert_eq!(quiet.digest, first.digest, "telling changes nothing");
    }
}
