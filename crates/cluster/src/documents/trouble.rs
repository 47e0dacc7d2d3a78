//! Whether documents can be written down.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::StoreError;

/// How long a failure to write is taken to last when nothing was tried since: longer than any pause of the repair.
const LASTS: Duration = Duration::from_secs(60);

/// When a document could last not be written down, and why; nothing since one was.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    last: Mutex<Option<(Instant, String)>>,
}

impl Trouble {
    /// What became of writing one at `now`.
    pub(super) fn note(&self, written: &Result<(), StoreError>, now: Instant) {
        let failure = written.as_ref().err();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            failure.map(|error| (now, error.to_string()));
    }

    /// Why they cannot be, as far as is known at `now`.
    pub(super) fn recent(&self, now: Instant) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, reason) = last.as_ref()?;
        (now.saturating_duration_since(*at) < LASTS).then(|| reason.clone())
    }
}
