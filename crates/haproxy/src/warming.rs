//! Servers in the midst of a slow start whose process was replaced.
//!
//! HAProxy begins the slow start of such a server anew (2.6 to 3.x: reading a state counts as a change of it), so that one
//! could stay at a small share for as long as reloads go on. Instead they begin with the share that they had, as a weight,
//! and their weights grow on to the whole. Should the agent die meanwhile, the next one gives them the whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plan::Target;
use crate::render::{Rendered, RenderedServer};

/// The servers of a process that are on their way to their whole share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Warming(BTreeMap<Target, Warm>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Warm {
    since: Instant,
    lasts: Duration,
    weight: u16,
}

impl Warm {
    /// The weight that is due at `now`.
    fn due(self, now: Instant) -> u16 {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= self.lasts {
            return self.weight;
        }
        let share = u128::from(self.weight) * elapsed.as_millis() / self.lasts.as_millis().max(1);
        u16::try_from(share)
            .unwrap_or(self.weight)
            .max(self.weight.min(1))
    }
}

impl Warming {
    /// Has `server`, which came up `elapsed` before `now`, go on warming; the weight that is due to it. None where it is
    /// done, or never began.
    pub(crate) fn begin(
        &mut self,
        server: &RenderedServer,
        elapsed: Duration,
        now: Instant,
    ) -> Option<u16> {
        let lasts = server.slow_start.filter(|lasts| elapsed < *lasts)?;
        let warm = Warm {
            since: now.checked_sub(elapsed)?,
            lasts,
            weight: server.weight,
        };
        self.0.insert(Target::of(server), warm);
        Some(warm.due(now))
    }

    /// How long `server` has been warming by our doing.
    pub(crate) fn elapsed(&self, server: &RenderedServer, now: Instant) -> Option<Duration> {
        let warm = self.0.get(&Target::of(server))?;
        Some(now.saturating_duration_since(warm.since))
    }

    /// The same servers with the weights that `rendered` gives them, without those that it does not have, or elsewhere.
    pub(crate) fn towards(&self, rendered: &Rendered) -> Self {
        let mut warming = Self::default();
        for server in rendered.servers() {
            let target = Target::of(server);
            if let Some(warm) = self.0.get(&target).filter(|_| server.slow_start.is_some()) {
                let weight = server.weight;
                warming.0.insert(target, Warm { weight, ..*warm });
            }
        }
        warming
    }

    /// The weights that are due at `now`. Those that are whole are given for the last time.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<(Target, u16)> {
        let due = self.0.iter();
        let due = due.map(|(target, warm)| (target.clone(), warm.due(now)));
        let due = due.collect();
        self.0
            .retain(|_, warm| now.saturating_duration_since(warm.since) < warm.lasts);
        due
    }

    /// Whether the weight of `server` grows by itself.
    pub(crate) fn has(&self, server: &RenderedServer) -> bool {
        !self.is_empty() && self.0.contains_key(&Target::of(server))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_to_the_whole() {
        let now = Instant::now();
        let warm = Warm {
            since: now,
            lasts: Duration::from_secs(10),
            weight: 200,
        };
        let at = |secs| warm.due(now + Duration::from_secs(secs));
        assert_eq!(
            [at(0), at(1), at(5), at(10), at(99)],
            [1, 20, 100, 200, 200]
        );
        assert_eq!(Warm { weight: 0, ..warm }.due(now), 0);
    }
}
