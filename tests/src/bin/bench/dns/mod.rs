//! Names in DNS: how soon who is gone leaves them, what stale leaders get written, and what the rest costs.
//!
//! A fleet of three real agents and HAProxies publishes one name in a strict moto, whose batches are atomic and exact as
//! Route53's are. A witness stands between them: what it saw accepted, and when, is what is measured.

mod batch;
mod gone;
#[path = "../../../aws/http.rs"]
#[allow(dead_code, reason = "the tests' gate uses more of it")]
mod http;
mod idle;
mod plan;
pub(crate) mod published;
mod stale;
mod witness;

use crate::figure::Figure;

/// Measures all; `rounds` gives how often something is done, by how often it is done in full.
pub(crate) fn measure(rounds: impl Fn(u32) -> u32) -> Vec<Figure> {
    [
        plan::measure(rounds(200)),
        gone::measure(rounds(20), rounds(10), rounds(20)),
        stale::measure(rounds(20)),
        idle::measure(rounds(180)),
    ]
    .concat()
}
