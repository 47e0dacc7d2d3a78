//! How long a zone is left alone after something went wrong.

use std::time::Duration;

use tokio::time::Instant;

use crate::provider::ProviderError;

/// The first pause after a provider was throttled or did not answer; each next one may be twice as long.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// The pause where somebody has to act first.
const UNTIL_SOMEBODY_ACTS: Duration = Duration::from_secs(60);

/// The pause of one zone.
#[derive(Debug, Clone, Default)]
pub(super) struct Pause {
    failures: u32,
    ends: Option<(Instant, ProviderError)>,
}

impl Pause {
    /// Something went wrong. `chance` is from 0 to 1: half of the pause is left to it, so that leaders and zones do not return
    /// together.
    pub(super) fn begin(&mut self, error: &ProviderError, chance: f64) {
        let whole = match error {
            ProviderError::Refused { .. } | ProviderError::Zone { .. } => UNTIL_SOMEBODY_ACTS,
            ProviderError::Rejected { .. }
            | ProviderError::Throttled { .. }
            | ProviderError::Unknown { .. } => {
                (FIRST * 2u32.pow(self.failures.min(10))).min(LONGEST)
            }
        };
        self.failures = self.failures.saturating_add(1);
        let pause = whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        self.ends = Some((Instant::now() + pause, error.clone()));
    }

    /// All is well again.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// When it is over, and why it is made; none if there is none.
    pub(super) fn until(&self) -> Option<(Instant, &ProviderError)> {
        self.ends.as_ref().map(|(at, why)| (*at, why))
    }

    /// Whether nothing is to be asked at `now`.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.until().is_some_and(|(at, _)| now < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_a_limit_and_begin_small_again() {
        let error = ProviderError::Throttled {
            what: "z".into(),
            why: "y".into(),
        };
        let mut pause = Pause::default();
        let mut lengths = Vec::new();
        for _ in 0..8 {
            pause.begin(&error, 1.0);
            let (at, _) = pause.until().unwrap();
            lengths.push(at.duration_since(Instant::now()).as_secs());
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 30, 30, 30]);
        pause.end();
        assert!(!pause.lasts(Instant::now()));
        pause.begin(&error, 0.0);
        let (at, why) = pause.until().unwrap();
        assert_eq!(at.duration_since(Instant::now()).as_millis(), 500);
        assert_eq!(why, &error);
    }
}
