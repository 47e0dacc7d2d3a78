//! How often each of many may do something.
//!
//! The generic cell rate algorithm (ITU-T I.371): of each one only the time is kept at which it would have used up what it
//! was allowed, so that a million visitors cost a million times, and those that came long ago cost nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Above so many, those that are allowed everything again are forgotten.
const MAX_KEPT: usize = 10_000;

/// A rate for each key of its own.
#[derive(Debug)]
pub struct Rates<K> {
    /// Between two.
    interval: Duration,
    /// How far ahead of its time a burst may be.
    ahead: Duration,
    used_up: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Rates<K> {
    /// `per_second` for each key, and twice as many in a burst.
    pub fn new(per_second: NonZeroU32) -> Self {
        let second = Duration::from_secs(1);
        Self::of(second / per_second.get(), second * 2)
    }

    /// `per_minute` for each key, all of them in a burst if need be.
    pub fn per_minute(per_minute: NonZeroU32) -> Self {
        let minute = Duration::from_secs(60);
        Self::of(minute / per_minute.get(), minute)
    }

    fn of(interval: Duration, ahead: Duration) -> Self {
        Self {
            interval,
            ahead,
            used_up: Mutex::default(),
        }
    }

    /// Whether [`Rates::allow`] would say yes to `key` at `now`. Nothing counts.
    pub fn would_allow(&self, key: &K, now: Instant) -> bool {
        let used_up = self.used_up.lock().unwrap_or_else(PoisonError::into_inner);
        let at = used_up.get(key).copied().unwrap_or(now);
        at.max(now) + self.interval <= now + self.ahead
    }

    /// Whether `key` may once more, at `now`. If so, it counts.
    pub fn allow(&self, key: K, now: Instant) -> bool {
        let mut used_up = self.used_up.lock().unwrap_or_else(PoisonError::into_inner);
        if used_up.len() > MAX_KEPT {
            used_up.retain(|_, at| *at > now);
        }
        let at = used_up.entry(key).or_insert(now);
        let next = (*at).max(now) + self.interval;
        if next.duration_since(now) > self.ahead {
            return false;
        }
        *at = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_as_many_as_are_allowed() {
        let rates = Rates::new(NonZeroU32::new(10).unwrap());
        let begun = Instant::now();
        let allowed = |at: Duration| (0..100).filter(|_| rates.allow("a", begun + at)).count();
        assert_eq!(allowed(Duration::ZERO), 20);
        assert_eq!(allowed(Duration::from_millis(500)), 5);
        assert_eq!(allowed(Duration::from_millis(599)), 0);
        assert_eq!(allowed(Duration::from_secs(60)), 20);
        assert!(rates.allow("b", begun));
    }

    #[test]
    fn a_minutes_worth_at_once_and_then_one_now_and_then() {
        let rates = Rates::per_minute(NonZeroU32::new(10).unwrap());
        let begun = Instant::now();
        let allowed = |at: u64| {
            let at = begun + Duration::from_secs(at);
            assert_eq!(rates.would_allow(&"a", at), rates.would_allow(&"a", at));
            let allowed =
                (0..100).take_while(|_| rates.would_allow(&"a", at) && rates.allow("a", at));
            allowed.count()
        };
        assert_eq!(allowed(0), 10);
        assert!(!rates.would_allow(&"a", begun) && rates.would_allow(&"b", begun));
        assert_eq!(allowed(5), 0);
        assert_eq!(allowed(6), 1);
        assert_eq!(allowed(90), 10);
    }

    #[test]
    fn those_that_came_once_are_not_kept() {
        let rates = Rates::new(NonZeroU32::new(1_000).unwrap());
        let begun = Instant::now();
        for visitor in 0..50_000_u32 {
            assert!(rates.allow(visitor, begun + Duration::from_millis(visitor.into())));
        }
        assert!(rates.used_up.lock().unwrap().len() <= MAX_KEPT + 1);
    }
}
