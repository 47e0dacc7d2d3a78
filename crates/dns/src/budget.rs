//! How many requests may be made: one account of Route53 takes five in a second, whoever asks (Amazon Route 53 Developer
//! Guide, "Quotas").

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The first distance between two requests of an account that is asked too much.
const FIRST_DISTANCE: Duration = Duration::from_millis(250);

/// The longest one; each throttling doubles it up to there.
const LONGEST_DISTANCE: Duration = Duration::from_secs(2);

/// So long after the last throttling all is as before.
const RECOVERY: Duration = Duration::from_secs(30);

/// A bucket of tokens that holds those of one second. Clones share it.
///
/// Others spend of the same account. When it is asked too much, requests keep a distance to each other: a write that follows its
/// read at once would be turned away each time, and so would the next pair.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    per_second: u16,
    /// When the bucket is full again.
    full_at: Option<Instant>,
    /// When the last request may be or was made.
    last: Option<Instant>,
    /// How far requests are from each other, since when.
    distance: Option<(Duration, Instant)>,
}

impl Budget {
    /// So many requests in a second, at least one; as many may be made in one stroke.
    pub fn new(per_second: u16) -> Self {
        Self(Arc::new(Mutex::new(State {
            per_second: per_second.max(1),
            full_at: None,
            last: None,
            distance: None,
        })))
    }

    /// From now on so many in a second, at least one.
    pub fn set(&self, per_second: u16) {
        self.state().per_second = per_second.max(1);
    }

    /// Waits until another request may be made. Whoever stops waiting has spent its token all the same.
    pub async fn turn(&self) {
        tokio::time::sleep_until(self.reserve()).await;
    }

    /// The account was asked too much: requests keep more distance for a while.
    pub fn throttled(&self) {
        let mut state = self.state();
        let now = Instant::now();
        let distance = state.distance(now).map_or(FIRST_DISTANCE, |old| old * 2);
        state.distance = Some((distance.min(LONGEST_DISTANCE), now));
    }

    fn reserve(&self) -> Instant {
        let mut state = self.state();
        let now = Instant::now();
        let each = Duration::from_secs(1) / u32::from(state.per_second);
        let full_at = state.full_at.map_or(now, |full_at| full_at.max(now)) + each;
        state.full_at = Some(full_at);
        let turn = full_at
            .checked_sub(Duration::from_secs(1))
            .map_or(now, |at| at.max(now));
        let apart = state.last.zip(state.distance(now));
        let turn = apart.map_or(turn, |(last, distance)| turn.max(last + distance));
        state.last = Some(turn);
        turn
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The distance to keep at `now`; none when nothing was throttled of late.
    fn distance(&self, now: Instant) -> Option<Duration> {
        let (distance, since) = self.distance?;
        (now.saturating_duration_since(since) < RECOVERY).then_some(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_has_so_many_and_then_they_wait() {
        let budget = Budget::new(5);
        let begun = Instant::now();
        for _ in 0..5 {
            budget.turn().await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..10 {
            budget.turn().await;
        }
        assert_eq!(begun.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_spent_is_not_saved_up() {
        let budget = Budget::new(2);
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        for _ in 0..4 {
            budget.turn().await;
        }
        assert_eq!(begun.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_throttling_requests_keep_a_distance_for_a_while() {
        let budget = Budget::new(5);
        budget.turn().await;
        for distance in [250, 500, 1000, 2000, 2000] {
            budget.throttled();
            let begun = Instant::now();
            budget.turn().await;
            budget.turn().await;
            assert_eq!(begun.elapsed().as_millis(), 2 * distance);
        }
        tokio::time::advance(RECOVERY).await;
        let begun = Instant::now();
        for _ in 0..5 {
            budget.turn().await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
