//! Names in DNS: how soon who is gone leaves them, what stale leaders get written, and what the rest costs.
//!
//! A fleet of three real agents and HAProxies publishes one name in a strict moto, whose batches are atomic and exact as
//! Route53's are. A witness stands between them: what it saw accepted, and when, is what is measured.

mod gone;
mod idle;
mod plan;
pub(crate) mod published;
mod simulated;
mod stale;

use crate::figure::Figure;

/// Measures all; `rounds` gives how often something is done, by how often it is done in full.
pub(crate) fn measure(rounds: impl Fn(u32) -> u32 + Sync) -> Vec<Figure> {
    let planned = plan::measure(rounds(200));
    let simulated = simulated::measure(rounds(200));
    let gone = gone::measure(rounds(12), rounds(8), rounds(12));
    // Neither of these is timed.
    let (stale, idle) = std::thread::scope(|scope| {
        let idle = scope.spawn(|| idle::measure(rounds(120)));
        let stale = stale::measure(rounds(20));
        (stale, idle.join().expect("a measurement ends"))
    });
    [planned, gone, simulated, stale, idle].concat()
}
