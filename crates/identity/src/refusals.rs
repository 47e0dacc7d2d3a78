//! Telling of connections that were refused: aloud, and each reason of each address once in a while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::verify::Refusal;

/// How long the same is not told again.
const SILENCE: Duration = Duration::from_secs(600);
/// How many addresses and reasons are remembered; when there are more, further ones are not told.
const MAX_REMEMBERED: usize = 256;

/// What was told.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    told: Mutex<HashMap<(IpAddr, String), Instant>>,
}

impl Refusals {
    /// Warns that a connection from `remote` was refused, unless that was said a short while ago. What is not about a
    /// certificate is left to who counts refusals.
    pub(crate) fn tell(&self, remote: IpAddr, refusal: &Refusal) {
        if matches!(refusal, Refusal::Protocol { .. } | Refusal::Missing) {
            return;
        }
        if self.is_new((remote, refusal.to_string()), Instant::now()) {
            let remedy = refusal.remedy();
            tracing::warn!(%remote, "a connection was refused: {refusal}; {remedy}");
        }
    }

    fn is_new(&self, what: (IpAddr, String), now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.duration_since(*at) < SILENCE);
        if told.contains_key(&what) || told.len() >= MAX_REMEMBERED {
            return false;
        }
        told.insert(what, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_in_a_while_and_a_flood_of_addresses_ends() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let what = |last: u32| (IpAddr::from(last.to_be_bytes()), "expired".to_owned());
        assert!(refusals.is_new(what(1), now));
        assert!(!refusals.is_new(what(1), now));
        assert!(refusals.is_new(what(1), now + SILENCE));
        let told = (0..10_000).filter(|last| refusals.is_new(what(*last), now + SILENCE));
        assert!(told.count() < MAX_REMEMBERED);
    }
}
