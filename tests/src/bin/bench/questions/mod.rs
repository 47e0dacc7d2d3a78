//! Questions over all load balancers: how long an answer takes, how large it is, and what reading a page costs.

mod asked;
mod page;

use crate::figure::Figure;

/// Measures all; `rounds` gives how often something is done, by how often it is done in full.
pub(crate) fn measure(rounds: impl Fn(u32) -> u32) -> Vec<Figure> {
    [
        page::measure(rounds(100)),
        asked::measure(
            &asked::Size {
                nodes: 3,
                servers: 1_000,
            },
            rounds(200),
            100.0,
        ),
        asked::measure(
            // A quick look takes fewer nodes too.
            &asked::Size {
                nodes: u8::try_from(rounds(50)).unwrap_or(50).max(2),
                servers: 200,
            },
            rounds(100),
            500.0,
        ),
    ]
    .concat()
}
