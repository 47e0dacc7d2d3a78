//! Whole fleets of the real state machines over a simulated network, disk and clock, by seed.
//!
//! A [`Plan`](plan::Plan) follows from a seed: how many nodes, what befalls them when, what clients ask. [`run`] lets it
//! take place: the machines of `hafleet_cluster::machines` and the pure rules of `hafleet-dns`, the same that agents
//! run, are driven by one queue of events in which time is a number. After each step a witness looks whether an
//! invariant of ARCHITECTURE.md is broken. [`shrink`] makes a plan that breaks one small.
//!
//! What is not real here: gossip is a spread of the same facts with chitchat's measured times of detection, a connection
//! is three states and a time, and Route53 is what it documents itself to be.
//!
//! The same seed gives the same simulation on any machine: nothing is read from the outside, and chance is `rng`'s.

pub mod disk;
pub mod flaw;
mod gossip;
mod machine;
pub mod mutations;
mod network;
mod node;
mod packet;
pub mod plan;
mod publication;
pub mod rng;
mod search;
mod shrink;
mod witness;
mod world;
mod zone;

pub use search::{Found, search};
pub use shrink::shrink;
pub use witness::Violation;
pub use world::{Report, run};

use plan::Plan;

/// Runs the simulation of one seed.
pub fn simulate(seed: u64) -> Report {
    run(&Plan::of(seed), false)
}

/// All that there is to say about a seed whose simulation fails: a plan made as small as it goes, and what happens in it.
pub fn explain(plan: &Plan, violation: &Violation) -> String {
    let small = shrink(plan, violation);
    let report = run(&small, true);
    let found = report.violation.as_ref().unwrap_or(violation);
    let mut lines = vec![format!(
        "seed {}: {} is broken at {} ms: {}",
        plan.seed, violation.invariant, violation.at, violation.what
    )];
    lines.push(format!(
        "made smaller, to {} nodes of {} and {} actions of {}:",
        small.nodes,
        plan.nodes,
        small.actions.len(),
        plan.actions.len()
    ));
    lines.extend(report.trace.iter().map(|line| format!("  {line}")));
    lines.push(format!("  {}: {}", found.invariant, found.what));
    lines.join("\n")
}
