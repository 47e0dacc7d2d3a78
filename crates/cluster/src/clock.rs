//! Time. The wall clock is for what people read and for the generation of a start, and one that is wrong breaks neither.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The clocks that the rules are given: the machine's, or a simulation's, in which time goes by differently.
#[derive(Clone)]
pub struct Clock {
    monotonic: Arc<dyn Fn() -> Instant + Send + Sync>,
    wall_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl Clock {
    /// The machine's.
    pub fn of_machine() -> Self {
        Self::new(Instant::now, now_ms)
    }

    /// A clock that only goes forward, and one that says what time of day it is, in milliseconds since 1970, and may be
    /// set.
    pub fn new(
        monotonic: impl Fn() -> Instant + Send + Sync + 'static,
        wall_ms: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            monotonic: Arc::new(monotonic),
            wall_ms: Arc::new(wall_ms),
        }
    }

    /// The time by which durations are measured.
    pub fn now(&self) -> Instant {
        (self.monotonic)()
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        (self.wall_ms)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
