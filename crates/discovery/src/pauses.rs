//! Pauses between questions: even ones while answers come, growing ones after errors. Each is a little different, so that
//! many agents do not ask in step.

use std::time::Duration;

/// The first pause after an error is this part of the interval; each further one is twice as long, up to the interval.
const FIRST_PART: u32 = 16;

/// How long one source waits before it asks again.
#[derive(Debug)]
pub(crate) struct Pauses {
    interval: Duration,
    failures: u32,
}

impl Pauses {
    /// For a source that is asked each `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            failures: 0,
        }
    }

    /// After an answer: the interval, or up to a tenth less. The time that an answer takes comes on top.
    pub(crate) fn after_answer(&mut self) -> Duration {
        self.failures = 0;
        self.interval.mul_f64(rand::random_range(0.9..=1.0))
    }

    /// After an error: more each time in a row, never more than the interval; half of it is chance.
    pub(crate) fn after_error(&mut self) -> Duration {
        let longest = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let whole = (self.interval / FIRST_PART).saturating_mul(longest);
        whole
            .min(self.interval)
            .mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_after_errors_grow_to_the_interval_and_begin_anew_after_an_answer() {
        let interval = Duration::from_secs(16);
        let mut pauses = Pauses::new(interval);
        for (at_least, at_most) in [(500, 1000), (1000, 2000), (2000, 4000), (4000, 8000)] {
            let pause = pauses.after_error().as_millis();
            assert!((at_least..=at_most).contains(&pause), "{pause}");
        }
        for _ in 0..100 {
            assert!(pauses.after_error() <= interval);
        }
        assert!(pauses.after_answer() >= interval.mul_f64(0.9));
        assert!(pauses.after_error() <= Duration::from_secs(1));
    }
}
