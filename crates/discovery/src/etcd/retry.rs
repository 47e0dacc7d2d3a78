//! When to try again, and when to say that nothing helped. Pure.

use std::time::Duration;

/// The pause after the first round in which no member answered.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

/// Failures in a row. One round is a try with each member; within it there is no pause and no word.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    members: u32,
    longest_pause: Duration,
    failed: u32,
}

impl Retry {
    pub(super) fn new(members: usize, longest_pause: Duration) -> Self {
        Self {
            members: u32::try_from(members).unwrap_or(u32::MAX).max(1),
            longest_pause,
            failed: 0,
        }
    }

    /// A connection has proved itself.
    pub(super) fn well(&mut self) {
        self.failed = 0;
    }

    /// One more failed. After a whole round of them there is a pause, and the last error is to be told. `random` is
    /// between 0 and 1, and takes up to half of the pause away.
    pub(super) fn failed(&mut self, random: f64) -> Option<Duration> {
        self.failed = self.failed.saturating_add(1);
        if !self.failed.is_multiple_of(self.members) {
            return None;
        }
        let doublings = (self.failed / self.members - 1).min(16);
        let pause = SHORTEST_PAUSE.saturating_mul(1 << doublings);
        Some(pause.min(self.longest_pause).mul_f64(1.0 - random / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_is_tried_before_a_pause_that_grows_to_the_longest() {
        let mut retry = Retry::new(3, Duration::from_secs(1));
        let mut pauses = Vec::new();
        for _ in 0..4 {
            assert_eq!((retry.failed(0.0), retry.failed(0.0)), (None, None));
            pauses.extend(retry.failed(0.0).map(|pause| pause.as_millis()));
        }
        assert_eq!(pauses, [250, 500, 1000, 1000]);
        retry.well();
        assert_eq!((retry.failed(1.0), retry.failed(1.0)), (None, None));
        assert_eq!(retry.failed(1.0), Some(Duration::from_millis(125)));
    }

    #[test]
    fn no_count_is_too_large() {
        let mut retry = Retry::new(0, Duration::from_secs(10));
        retry.failed = u32::MAX - 1;
        assert_eq!(retry.failed(0.0), Some(Duration::from_secs(10)));
        assert!(retry.failed(0.5).is_some());
    }
}
