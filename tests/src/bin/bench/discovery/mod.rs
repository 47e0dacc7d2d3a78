//! Discovery: how soon what a source has is served, what many instances cost, and how often EC2 is asked.
//!
//! A fleet of real agents and HAProxies finds its servers in a real etcd, a real Docker engine, and in moto, which stands
//! in for EC2. What is measured is what a client sees: a new connection that the new server answers.

mod arrival;
mod calls;
mod cloudy;
mod containers;
mod instances;
mod keys;
mod many;

use crate::figure::Figure;

/// Measures all; `rounds` gives how often something is done, by how often it is done in full.
pub(crate) fn measure(rounds: impl Fn(u32) -> u32) -> Vec<Figure> {
    [
        instances::measure(rounds(50)),
        keys::measure(rounds(50)),
        containers::measure(rounds(20)),
        many::measure(rounds(30)),
        calls::measure(rounds(60)),
    ]
    .concat()
}
