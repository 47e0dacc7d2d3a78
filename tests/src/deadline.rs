//! Waiting for a condition, never for a time.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
pub const POLL: Duration = Duration::from_millis(25);

/// Asks `probe` again and again until it gives a value, and returns that.
///
/// # Panics
/// When it has not within `limit`; the message has `what` and the last reason that `probe` gave.
pub fn wait_for<T, E: Display>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> T {
    let begun = Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(reason) if begun.elapsed() >= limit => {
                panic!("{what}: not within {limit:?}: {reason}")
            }
            Err(_) => pause(),
        }
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// When it has not within `limit`.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, limit, || {
        if condition() {
            Ok(())
        } else {
            Err("it never held")
        }
    });
}

/// How long a fault lasts: `full`, as users may see it, where `HAFLEET_LONG` is set (`make test-long`), and `short`
/// otherwise.
pub fn lasting(short: Duration, full: Duration) -> Duration {
    match std::env::var_os("HAFLEET_LONG") {
        Some(_) => full,
        None => short,
    }
}

/// Waits until a fault that began at `begun` has lasted for `length`, and looks at `holds` meanwhile.
///
/// # Panics
/// When `holds` does.
pub fn while_it_lasts(begun: Instant, length: Duration, mut holds: impl FnMut()) {
    while begun.elapsed() < length {
        holds();
        pause();
    }
}

/// Lets others run until the next look.
pub(crate) fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the poll interval of a loop that has a deadline"
    )]
    std::thread::sleep(POLL);
}
