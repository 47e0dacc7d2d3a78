//! The cluster: how soon all have what was written and notice who is gone, what that costs as fleets grow, and that nobody
//! who is slow is taken for dead.

mod alarms;
mod flood;
mod memory;
mod real;
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::figure::{Figure, told};
use memory::{Limits, Rounds};

/// How many seeds have to pass.
const SEEDS: u32 = 100_000;

/// Measures the parts that have `part` in their name; `rounds` gives how often something is done, by how often it is done in
/// full, and `alarms_s` for how many seconds fleets under hardship are watched.
pub(crate) fn measure(rounds: impl Fn(u32) -> u32, alarms_s: u32, part: &str) -> Vec<Figure> {
    let tried = |name: &str, measure: &dyn Fn(&mut Vec<Figure>)| match name.contains(part) {
        true => tried(name, measure),
        false => Vec::new(),
    };
    let of = |writes, deaths, rest_s| Rounds {
        writes: rounds(writes),
        deaths: rounds(deaths),
        rest_s: rounds(rest_s).max(5),
    };
    let limits = |stored_s| Limits {
        stored_s,
        killed_s: 2.0,
        gone_s: 8.0,
    };
    let in_memory = |size, rounds: Rounds, limits| {
        tried(&format!("{size} nodes in one process"), &|figures| {
            memory::measure(size, rounds, limits, figures);
        })
    };
    [
        tried("simulated seeds", &|figures| {
            figures.extend(told(seeds::measure(rounds(SEEDS))));
        }),
        in_memory(3, of(60, 4, 10), Some(limits(0.3))),
        in_memory(10, of(30, 2, 10), None),
        in_memory(50, of(30, 4, 15), Some(limits(1.0))),
        in_memory(200, of(12, 4, 20), Some(limits(3.0))),
        in_memory(500, of(2, 1, 20), None),
        tried("3 agents", &|figures| {
            real::measure(rounds(15), rounds(4), limits(0.3), figures);
        }),
        tried("a flood of bad connections", &|figures| {
            figures.extend(told(flood::measure(rounds(12))));
        }),
        tried("false alarms", &|figures| {
            figures.extend(told(alarms::measure(rounds(alarms_s))));
        }),
    ]
    .concat()
}

/// The figures of a part, each said as soon as it is there. A part that fails leaves the others their turn.
fn tried(what: &str, measure: impl FnOnce(&mut Vec<Figure>)) -> Vec<Figure> {
    eprintln!("{what}");
    let mut figures = Vec::new();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| measure(&mut figures))) {
        let why = panic.downcast_ref::<String>().map(String::as_str);
        let why = why.or_else(|| panic.downcast_ref::<&str>().copied());
        let why = why.unwrap_or("it did not come about");
        let rest = format!("{what}: the rest");
        figures.extend(told(vec![Figure::missing(&rest, "", why)]));
    }
    figures
}
