//! How long handshakes under way need: the longest round trip to a client, by the kernel's own estimates.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::process::round_trip;

/// The longest that is settled for unless the settings ask for more: one client behind a bad line shall not make all
/// others wait.
const LONGEST: Duration = Duration::from_millis(500);

/// How much longer than the longest estimate handshakes get: scheduling on both sides.
const SLACK: Duration = Duration::from_millis(5);

/// The time to settle before sockets at `places` close: the longest round trip of their connections, at least `least`.
pub(crate) fn settle_time(places: &[SocketAddr], least: Duration) -> Duration {
    let ports: BTreeSet<_> = places.iter().map(SocketAddr::port).collect();
    bounded(ports.into_iter().filter_map(round_trip).max(), least)
}

fn bounded(longest: Option<Duration>, least: Duration) -> Duration {
    let wanted = longest.map_or(Duration::ZERO, |longest| longest + SLACK);
    wanted.min(LONGEST).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_round_trip_counts_within_bounds() {
        let ms = Duration::from_millis;
        assert_eq!(bounded(None, ms(50)), ms(50));
        assert_eq!(bounded(Some(ms(20)), ms(50)), ms(50));
        assert_eq!(bounded(Some(ms(120)), ms(50)), ms(125));
        assert_eq!(bounded(Some(ms(9_000)), ms(50)), ms(500));
        assert_eq!(bounded(Some(ms(9_000)), ms(800)), ms(800));
    }
}
