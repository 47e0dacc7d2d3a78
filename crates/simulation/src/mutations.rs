//! Whether the simulation finds what it claims to find: the same seeds with one rule broken on purpose.

use crate::flaw::Flaw;
use crate::plan::Plan;
use crate::witness::Violation;
use crate::world::run;

/// The simulation of a seed in which a rule is broken on purpose.
pub fn flawed(seed: u64, flaw: Flaw) -> Plan {
    Plan {
        flaw: Some(flaw),
        ..Plan::of(seed)
    }
}

/// The first of `seeds` in which it is noticed that `flaw` is there: one of the invariants falls that it must break.
pub fn noticed(flaw: Flaw, seeds: impl IntoIterator<Item = u64>) -> Option<(u64, Violation)> {
    seeds.into_iter().find_map(|seed| {
        let violation = run(&flawed(seed, flaw), false).violation?;
        let is_its_own = flaw.breaks().contains(&violation.invariant);
        is_its_own.then_some((seed, violation))
    })
}
