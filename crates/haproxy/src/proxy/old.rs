//! Processes that were told to finish and are still finishing.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::{ProcessId, connections};

/// The most old processes that may finish at once. Each holds its memory and its connections; more come only from reloads
/// in quick succession under long-lived connections. `hard-stop-after` ends them by age.
const MAX_OLD: usize = 10;

/// How much longer than `hard-stop-after` a process may take that should have ended itself by then, before it is told
/// (SIGTERM); and again that long before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A process that was told to finish and has connections left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldProcess {
    /// Its id.
    pub pid: u32,
    /// How long ago it was told to finish; by this agent, if it was told by an earlier one too.
    pub age: Duration,
    /// The established TCP connections that it holds, to clients and to servers.
    pub connections: u32,
}

#[derive(Debug, Clone, Copy)]
struct Retired {
    generation: u64,
    process: ProcessId,
    told: Instant,
    /// `hard-stop-after` of its configuration.
    limit: Option<Duration>,
}

/// Processes that were told to finish, oldest first.
#[derive(Debug, Default)]
pub(super) struct OldProcesses {
    all: Vec<Retired>,
}

impl OldProcesses {
    /// Takes in a process that was told to finish, and ends by itself within `limit`.
    pub(super) fn add(&mut self, process: ProcessId, generation: u64, limit: Option<Duration>) {
        if self.has(process) {
            return;
        }
        self.all.push(Retired {
            generation,
            process,
            told: Instant::now(),
            limit,
        });
        self.all.sort_by_key(|old| (old.generation, old.process));
    }

    /// Whether `process` is among them.
    pub(super) fn has(&self, process: ProcessId) -> bool {
        self.all.iter().any(|old| old.process == process)
    }

    /// Forgets those that ended, ends those that are too old, and the oldest of too many (SIGTERM).
    pub(super) fn look_after(&mut self) {
        self.all.retain(|old| has_more_to_do(old.process));
        let excess = self.all.len().saturating_sub(MAX_OLD);
        for old in &self.all[..excess] {
            let (pid, generation) = (old.process.pid, old.generation);
            tracing::warn!(
                pid,
                generation,
                "more than {MAX_OLD} old processes: ending the oldest"
            );
            let _ = old.process.signal(Signal::TERM);
        }
        for old in &self.all {
            let Some(signal) = overdue(old.told.elapsed(), old.limit) else {
                continue;
            };
            let pid = old.process.pid;
            tracing::warn!(
                pid,
                ?signal,
                "an old process runs beyond hard-stop-after: ending it"
            );
            let _ = old.process.signal(signal);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    /// Each of them, oldest first.
    pub(super) fn list(&self) -> Vec<OldProcess> {
        let alive = self.all.iter().filter(|old| old.process.is_alive());
        let alive: Vec<_> = alive.collect();
        let processes: Vec<_> = alive.iter().map(|old| old.process).collect();
        let counted = alive.iter().zip(connections(&processes));
        let listed = counted.map(|(old, connections)| OldProcess {
            pid: old.process.pid,
            age: old.told.elapsed(),
            connections,
        });
        listed.collect()
    }

    /// Their generations.
    pub(super) fn generations(&self) -> impl Iterator<Item = u64> {
        self.all.iter().map(|old| old.generation)
    }

    /// Waits for all to end, and ends by force those that have not after `grace`.
    pub(super) async fn end(&mut self, grace: Duration) {
        if tokio::time::timeout(grace, self.ended()).await.is_ok() {
            return;
        }
        for old in &self.all {
            let _ = old.process.signal(Signal::KILL);
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), self.ended()).await;
    }

    async fn ended(&mut self) {
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        loop {
            self.all.retain(|old| has_more_to_do(old.process));
            if self.all.is_empty() {
                return;
            }
            pause.tick().await;
        }
    }
}

/// What a process has to be told that should have ended after `limit`.
fn overdue(age: Duration, limit: Option<Duration>) -> Option<Signal> {
    let limit = limit?;
    if age > limit.saturating_add(2 * GRACE) {
        return Some(Signal::KILL);
    }
    (age > limit.saturating_add(GRACE)).then_some(Signal::TERM)
}

/// The `hard-stop-after` of a configuration (Configuration Manual, section 3.1; times as in section 2.5); the last counts.
pub(super) fn hard_stop_after(config: &str) -> Option<Duration> {
    let mut spans = config.lines().rev().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("hard-stop-after")).then(|| words.next().and_then(time))
    });
    spans.next().flatten()
}

/// A time as HAProxy writes it: a number and `us`, `ms`, `s`, `m`, `h` or `d`; milliseconds without.
fn time(word: &str) -> Option<Duration> {
    let word = word.trim_matches(['\'', '"']);
    let end = word
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(word.len());
    let number: u64 = word.get(..end)?.parse().ok()?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match word.get(end..)? {
        "us" => Some(Duration::from_micros(number)),
        "" | "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3_600),
        "d" => seconds(86_400),
        _ => None,
    }
}

/// Whether a process that was told to finish still runs. The remains of one that does not are taken away.
fn has_more_to_do(process: ProcessId) -> bool {
    let is_alive = process.is_alive();
    if !is_alive {
        process.take_remains();
    }
    is_alive
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn the_oldest_of_too_many_are_ended() {
        let mut old = OldProcesses::default();
        let mut children = Vec::new();
        for generation in 0..12 {
            let child = Command::new("sleep").arg("60").spawn().unwrap();
            old.add(ProcessId::of(child.id()).unwrap(), generation, None);
            children.push(child);
        }
        assert_eq!(old.list().len(), 12);
        old.look_after();
        for child in &mut children[..2] {
            assert!(!child.wait().unwrap().success());
        }
        old.look_after();
        assert_eq!(old.count(), 10);
        assert_eq!(old.generations().next(), Some(2));
        old.end(Duration::ZERO).await;
        assert_eq!(old.count(), 0);
    }

    #[test]
    fn those_beyond_their_time_are_ended() {
        let s = Duration::from_secs;
        assert_eq!(overdue(s(10_000), None), None);
        assert_eq!(overdue(s(69), Some(s(60))), None);
        assert_eq!(overdue(s(71), Some(s(60))), Some(Signal::TERM));
        assert_eq!(overdue(s(81), Some(s(60))), Some(Signal::KILL));
        assert_eq!(overdue(s(81), Some(Duration::MAX)), None);
    }

    #[test]
    fn the_time_is_read_from_the_configuration() {
        let of = |text: &str| hard_stop_after(&format!("global\n    {text}\ndefaults\n"));
        assert_eq!(
            of("hard-stop-after 600000ms"),
            Some(Duration::from_secs(600))
        );
        assert_eq!(of("hard-stop-after 10m"), Some(Duration::from_secs(600)));
        assert_eq!(
            of("hard-stop-after 1500"),
            Some(Duration::from_millis(1_500))
        );
        assert_eq!(of("maxconn 5"), None);
        assert_eq!(of("hard-stop-after 99999999999999999999d"), None);
    }
}
