//! Errors that come back several times a second while their cause lasts: aloud once, and again every half minute.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long an error that was said is not said again.
const SILENCE: Duration = Duration::from_secs(30);

/// What was complained of, and when.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    said: BTreeMap<&'static str, (Instant, String)>,
}

impl Complaints {
    /// Whether `error` in doing `what` is to be said at `now`: it is another than before, or was not said for long.
    pub(crate) fn is_due(&mut self, now: Instant, what: &'static str, error: &str) -> bool {
        let is_known = |(at, said): &(Instant, String)| {
            said == error && now.saturating_duration_since(*at) < SILENCE
        };
        if self.said.get(what).is_some_and(is_known) {
            return false;
        }
        self.said.insert(what, (now, error.to_owned()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_stays_is_said_twice_a_minute_and_another_at_once() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let said = (0..600).filter(|tenths| complaints.is_due(at(*tenths), "term", "read-only"));
        assert_eq!(said.collect::<Vec<_>>(), [0, 300]);
        assert!(complaints.is_due(at(600), "members", "read-only"));
        assert!(complaints.is_due(at(600), "term", "full"));
        assert!(!complaints.is_due(at(601), "term", "full"));
    }
}
