//! The cluster: how soon all have what was written and notice who is gone, what that costs as fleets grow, and that nobody
//! who is slow is taken for dead.

mod alarms;
mod flood;
mod memory;
mod real;

use crate::figure::Figure;
use memory::{Limits, Rounds};

/// Measures all; `rounds` gives how often something is done, by how often it is done in full.
pub(crate) fn measure(rounds: impl Fn(u32) -> u32) -> Vec<Figure> {
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
    [
        alarms::measure(rounds(600)),
        flood::measure(rounds(20)),
        real::measure(rounds(30), rounds(8), limits(0.3)),
        memory::measure(3, of(100, 8, 30), Some(limits(0.3))),
        memory::measure(10, of(50, 4, 30), None),
        memory::measure(50, of(50, 8, 30), Some(limits(1.0))),
        memory::measure(200, of(20, 8, 30), Some(limits(3.0))),
        memory::measure(500, of(5, 2, 30), None),
    ]
    .concat()
}
