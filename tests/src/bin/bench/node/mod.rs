//! One node: what its reloads and runtime changes cost those who use it.
//!
//! Each measurement drives the crate that the agent drives (`hafleet_haproxy::Proxy`), in a process of its own inside the
//! load balancer's namespace, so that nothing but one HAProxy is measured. What is compared is measured in one run, in
//! turns.

mod call;
mod drain;
mod handovers;
mod helper;
mod plain;
mod refused;
mod servers;
mod site;

use crate::figure::Figure;

pub(crate) use helper::run as run_helper;

/// The argument that makes this program a helper: see [`helper`].
pub(crate) const HELPER: &str = "node-helper";

/// Measures all, with `reloads` for each strategy and round trip.
pub(crate) fn measure(reloads: u32) -> Vec<Figure> {
    let share = |full: u32| (full * reloads / 100).clamp(1, full);
    [
        servers::measure(share(50), share(20)),
        drain::measure(),
        refused::measure(share(20)),
        handovers::measure(reloads),
    ]
    .concat()
}
