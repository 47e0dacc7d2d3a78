//! Processes that were told to finish and are still finishing.

use std::time::Duration;

use rustix::process::Signal;

use crate::process::ProcessId;

/// The most old processes that may finish at once. Each holds its memory and its connections; more come only from reloads
/// in quick succession under long-lived connections. `hard-stop-after` ends them by age.
const MAX_OLD: usize = 10;

/// Processes that were told to finish, oldest first.
#[derive(Debug, Default)]
pub(super) struct OldProcesses {
    all: Vec<(u64, ProcessId)>,
}

impl OldProcesses {
    /// Takes in a process that was told to finish.
    pub(super) fn add(&mut self, process: ProcessId, generation: u64) {
        self.all.push((generation, process));
        self.all.sort_unstable();
        self.all.dedup();
    }

    /// Whether `process` is among them.
    pub(super) fn has(&self, process: ProcessId) -> bool {
        self.all.iter().any(|(_, known)| *known == process)
    }

    /// Forgets those that ended, and ends the oldest of too many (SIGTERM).
    pub(super) fn look_after(&mut self) {
        self.all.retain(|(_, process)| process.is_alive());
        let excess = self.all.len().saturating_sub(MAX_OLD);
        for (generation, process) in &self.all[..excess] {
            tracing::warn!(
                pid = process.pid,
                generation,
                "more than {MAX_OLD} old processes: ending the oldest"
            );
            let _ = process.signal(Signal::TERM);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    /// Their generations.
    pub(super) fn generations(&self) -> impl Iterator<Item = u64> {
        self.all.iter().map(|(generation, _)| *generation)
    }

    /// Waits for all to end, and ends by force those that have not after `grace`.
    pub(super) async fn end(&mut self, grace: Duration) {
        if tokio::time::timeout(grace, self.ended()).await.is_ok() {
            return;
        }
        for (_, process) in &self.all {
            let _ = process.signal(Signal::KILL);
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), self.ended()).await;
    }

    async fn ended(&mut self) {
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        loop {
            self.all.retain(|(_, process)| process.is_alive());
            if self.all.is_empty() {
                return;
            }
            pause.tick().await;
        }
    }
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
            old.add(ProcessId::of(child.id()).unwrap(), generation);
            children.push(child);
        }
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
}
