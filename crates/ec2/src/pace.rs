//! The limit that we set ourselves: calls wait for their turn, in the order in which they came.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::settings::Rate;

/// No rate is lower than a call in this time, also none that is no rate.
const LONGEST_TOKEN: Duration = Duration::from_secs(3600);

/// A bucket of tokens. Kept as the moment at which it will be full again: each call moves that on by the time of one token, and
/// waits while it is further away than the bucket is deep.
#[derive(Debug)]
pub(crate) struct Pace {
    full_at: Mutex<Option<Instant>>,
    token: Duration,
    depth: Duration,
}

impl Pace {
    pub(crate) fn new(rate: Rate) -> Self {
        let token = Duration::try_from_secs_f64(1.0 / rate.per_second);
        let token = token.unwrap_or(LONGEST_TOKEN).min(LONGEST_TOKEN);
        Self {
            full_at: Mutex::new(None),
            token,
            depth: token.saturating_mul(rate.burst.max(1)),
        }
    }

    /// Waits for a turn. A caller that is dropped meanwhile has not had one.
    pub(crate) async fn turn(&self) {
        let mut full_at = self.full_at.lock().await;
        let now = Instant::now();
        let after = full_at.unwrap_or(now).max(now) + self.token;
        tokio::time::sleep_until(after.checked_sub(self.depth).unwrap_or(now)).await;
        *full_at = Some(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seconds_for(pace: &Pace, calls: u32) -> f64 {
        let begun = Instant::now();
        for _ in 0..calls {
            pace.turn().await;
        }
        begun.elapsed().as_secs_f64()
    }

    fn pace() -> Pace {
        Pace::new(Rate {
            burst: 5,
            per_second: 2.0,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_more_come_at_the_rate() {
        let pace = pace();
        assert!(seconds_for(&pace, 5).await < 0.01);
        let more = seconds_for(&pace, 4).await;
        assert!((1.9..2.1).contains(&more), "{more}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_bucket_fills_again_and_no_higher_than_it_is() {
        let pace = pace();
        seconds_for(&pace, 5).await;
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(seconds_for(&pace, 5).await < 0.01);
        assert!(seconds_for(&pace, 1).await > 0.4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_rate_is_the_lowest() {
        for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let pace = Pace::new(Rate {
                burst: 1,
                per_second,
            });
            assert!(seconds_for(&pace, 2).await < 3601.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_has_taken_no_turn() {
        let pace = pace();
        seconds_for(&pace, 5).await;
        let given_up = tokio::time::timeout(Duration::from_millis(100), pace.turn()).await;
        assert!(given_up.is_err());
        let next = seconds_for(&pace, 1).await;
        assert!(next < 0.45, "{next}");
    }
}
