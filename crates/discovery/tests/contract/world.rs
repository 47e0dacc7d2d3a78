//! What a test can do to the thing that a source asks.

use std::io::Write;
use std::time::Duration;

use async_trait::async_trait;
use hafleet_discovery::{Answer, Found, Source, SourceSettings};
use tokio::time::{Instant, sleep};

/// Longer than anything takes here on a machine that does much else.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// What sources are told here: short, so that tests are.
pub(crate) const SETTINGS: SourceSettings = SourceSettings {
    interval: Duration::from_secs(2),
    timeout: Duration::from_secs(5),
};

/// The thing that a source asks, with servers in it that have numbers. It is its test's own, and gone with it.
#[async_trait(?Send)]
pub(crate) trait World: Sized {
    /// The kind of source.
    const NAME: &'static str;

    /// How many servers are many here.
    const MANY: u8 = 12;

    /// Starts it, with no server in it. An error is why it cannot be on this machine.
    async fn start() -> Result<Self, String>;

    /// The source that asks it.
    fn source(&self, settings: SourceSettings) -> Box<dyn Source>;

    /// Puts a server there.
    async fn add(&mut self, number: u8);

    /// Makes something else of a server that is there; its number stays.
    async fn change(&mut self, number: u8);

    /// Takes a server away.
    async fn remove(&mut self, number: u8);

    /// From now on it cannot be asked. What is in it stays.
    async fn break_down(&mut self);

    /// It can be asked again.
    async fn mend(&mut self);

    /// Whoever watches it, or keeps a connection to it, loses that. What is in it stays.
    async fn interrupt(&mut self);

    /// Which number a server has that was found.
    fn number(found: &Found) -> u8 {
        numbered(&found.id)
    }

    /// The numbers of all servers of an answer, in order.
    fn numbers(answer: &Answer) -> Vec<u8> {
        let mut numbers: Vec<_> = answer.found.iter().map(Self::number).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// Starts a world, or says aloud why there is none and its test is passed over.
pub(crate) async fn start<W: World>() -> Option<W> {
    match W::start().await {
        Ok(world) => Some(world),
        Err(reason) => {
            // Not by `println`, which tests that pass keep for themselves.
            let _ = writeln!(std::io::stderr(), "skipped, no {} here: {reason}", W::NAME);
            None
        }
    }
}

/// The number in a name such as `server-7` and what follows it.
pub(crate) fn numbered(name: &str) -> u8 {
    let digits = name.strip_prefix("server-").unwrap_or_default();
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().unwrap()
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what} did not come about");
        sleep(Duration::from_millis(20)).await;
    }
}
