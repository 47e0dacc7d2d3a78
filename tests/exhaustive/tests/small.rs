//! The smallest fleets that are of interest: all that they can do, or all that they can do in so many steps.

use std::num::NonZeroUsize;
use std::thread;

use hafleet_exhaustive::{Bounds, Fleet};
use stateright::{Checker, HasDiscoveries, Model as _};

const TWO: Bounds = Bounds {
    nodes: 2,
    claims: 2,
    writes: 2,
    crashes: 1,
};
const THREE: Bounds = Bounds {
    nodes: 3,
    claims: 2,
    writes: 2,
    crashes: 0,
};
const RULES: [&str; 2] = ["no step breaks an invariant", "it heals"];

fn explore(fleet: Fleet, depth: Option<usize>, finish: HasDiscoveries) -> impl Checker<Fleet> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut builder = fleet.checker().threads(threads).finish_when(finish);
    if let Some(depth) = depth {
        builder = builder.target_max_depth(depth);
    }
    let checker = builder.spawn_bfs().join();
    println!("{}: {} states", fleet.bounds, checker.unique_state_count());
    checker
}

fn good(bounds: Bounds) -> Fleet {
    Fleet {
        bounds,
        keeps_promises: true,
        shares_terms: false,
    }
}

/// The rule that is first seen to be broken.
fn broken(fleet: Fleet, depth: usize) -> Option<&'static str> {
    let checker = explore(fleet, Some(depth), HasDiscoveries::AnyFailures);
    RULES
        .into_iter()
        .find(|rule| checker.discovery(rule).is_some())
}

#[test]
fn two_nodes_keep_what_they_acknowledge() {
    for shares_terms in [false, true] {
        let fleet = Fleet {
            shares_terms,
            ..good(TWO)
        };
        let checker = explore(fleet, None, HasDiscoveries::All);
        for rule in RULES {
            checker.assert_no_discovery(rule);
        }
        // There was something to see.
        checker.assert_any_discovery("two leaders at once");
        checker.assert_any_discovery("all that is written is committed");
    }
}

#[test]
fn three_nodes_keep_what_they_acknowledge_in_ten_steps() {
    assert_eq!(broken(good(THREE), 10), None);
    let fleet = Fleet {
        shares_terms: true,
        ..good(THREE)
    };
    assert_eq!(broken(fleet, 10), None);
}

#[test]
fn that_promises_are_not_kept_is_found() {
    let fleet = Fleet {
        keeps_promises: false,
        ..good(THREE)
    };
    assert_eq!(broken(fleet, 12), Some("it heals"));
}
