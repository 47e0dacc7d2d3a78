//! How fast a cluster moves.

use std::time::Duration;

/// The durations that decide how fast a cluster notices and acts. The defaults were measured: see the decision on
/// gossip and election in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a node gossips. Membership without other evidence is judged over about five of these (phi 8).
    pub gossip_interval: Duration,
    /// How long nobody must have claimed to lead before somebody new does, when the last leader merely fell silent
    /// or when a node has just started. At least the time that silence takes to be noticed.
    pub settle_silent: Duration,
    /// The same when the last leader answers nobody: our own connection to it broke so long ago, gossip through others has
    /// fallen silent since, and a majority is connected. No less than silence takes to be noticed.
    pub settle_unanswered: Duration,
    /// The same when the last leader is known to be gone: its process no longer listens, or it said goodbye.
    pub settle_refused: Duration,
    /// The longest pause of a node's own loop after which it still trusts what it thought before.
    pub stall: Duration,
    /// How long a write waits for each peer to store it.
    pub push_deadline: Duration,
}

impl Timing {
    /// Timing around one gossip interval: settling takes ten of them in general, six after a leader that answers nobody,
    /// one and a half after one that is known to be gone, and a pause of one (but at least a second) counts as a stall.
    pub fn from_interval(gossip_interval: Duration) -> Self {
        Self {
            gossip_interval,
            settle_silent: gossip_interval * 10,
            settle_unanswered: gossip_interval * 6,
            settle_refused: gossip_interval * 3 / 2,
            stall: gossip_interval.max(Duration::from_secs(1)),
            push_deadline: Duration::from_secs(3),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::from_interval(Duration::from_secs(1))
    }
}
