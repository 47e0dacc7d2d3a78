//! How many requests may be made: one account of Route53 takes five in a second, whoever asks (Amazon Route 53 Developer
//! Guide, "Quotas").

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A bucket of tokens that holds those of one second. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    per_second: u16,
    /// When the bucket is full again.
    full_at: Option<Instant>,
}

impl Budget {
    /// So many requests in a second, at least one; as many may be made in one stroke.
    pub fn new(per_second: u16) -> Self {
        Self(Arc::new(Mutex::new(State {
            per_second: per_second.max(1),
            full_at: None,
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

    fn reserve(&self) -> Instant {
        let mut state = self.state();
        let now = Instant::now();
        let each = Duration::from_secs(1) / u32::from(state.per_second);
        let full_at = state.full_at.map_or(now, |full_at| full_at.max(now)) + each;
        state.full_at = Some(full_at);
        full_at
            .checked_sub(Duration::from_secs(1))
            .map_or(now, |at| at.max(now))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
}
