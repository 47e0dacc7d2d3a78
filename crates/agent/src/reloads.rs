//! The reloads of this node's HAProxy: how soon the next may come, and what became of the last ones.
//!
//! Changes that need a new process are coalesced: after one reload the next waits for the interval, with some jitter
//! so that a fleet does not reload in step, and takes the newest spec then. The last hundred are kept on disk, so
//! that a restart of the agent does not forget them.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hafleet_model::Revision;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How many reloads are kept.
const KEPT: usize = 100;
/// The version of the file.
const VERSION: u32 = 1;
/// The jitter, as a part of the interval.
const JITTER: f64 = 0.2;

/// One reload, or start, of HAProxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reload {
    /// Counted up from 1 on each node.
    pub(crate) id: u64,
    /// When it began, in milliseconds since 1970 by this node's clock.
    pub(crate) at_ms: i64,
    /// The spec that it was for.
    pub(crate) revision: Revision,
    /// Why a new process was needed.
    pub(crate) reason: String,
    /// How the old process handed over, and why that way; none when there was no old one.
    pub(crate) handover: Option<String>,
    /// How long it took, in milliseconds.
    pub(crate) took_ms: u64,
    /// The new process, or why there is none and the old one goes on.
    pub(crate) outcome: Result<u32, String>,
}

impl From<Reload> for hafleet_api::fleet::Reload {
    fn from(reload: Reload) -> Self {
        Self {
            id: reload.id,
            at_ms: reload.at_ms,
            revision: reload.revision,
            reason: reload.reason,
            handover: reload.handover,
            took_ms: reload.took_ms,
            outcome: reload.outcome,
        }
    }
}

/// The file as written.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    version: u32,
    reloads: VecDeque<Reload>,
}

/// The last reloads, shared between the loop that makes them and the API that shows them.
#[derive(Debug, Clone)]
pub(crate) struct ReloadLog {
    file: PathBuf,
    reloads: Arc<Mutex<VecDeque<Reload>>>,
}

impl ReloadLog {
    /// Reads the log at `file`. One that cannot be read is begun anew: it is for people, and nothing rests on it.
    pub(crate) fn open(file: PathBuf) -> Self {
        let reloads = read(&file);
        Self {
            file,
            reloads: Arc::new(Mutex::new(reloads)),
        }
    }

    /// Adds a reload; its id is given here.
    pub(crate) fn add(&self, reload: Reload) {
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        let id = reloads.back().map_or(1, |last| last.id.saturating_add(1));
        reloads.push_back(Reload { id, ..reload });
        while reloads.len() > KEPT {
            reloads.pop_front();
        }
        let written = Written {
            version: VERSION,
            reloads: reloads.clone(),
        };
        drop(reloads);
        if let Err(error) = write(&self.file, &written) {
            tracing::warn!(%error, file = %self.file.display(), "the log of reloads was not written");
        }
    }

    /// The last reloads, newest first.
    pub(crate) fn newest_first(&self) -> Vec<Reload> {
        let reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.iter().rev().cloned().collect()
    }
}

fn read(file: &Path) -> VecDeque<Reload> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return VecDeque::new(),
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "the log of reloads is begun anew");
            return VecDeque::new();
        }
    };
    match serde_json::from_slice::<Written>(&text) {
        Ok(written) if written.version == VERSION => written.reloads,
        Ok(written) => {
            tracing::warn!(
                version = written.version,
                "the log of reloads is of another version and begun anew"
            );
            VecDeque::new()
        }
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "the log of reloads is begun anew");
            VecDeque::new()
        }
    }
}

fn write(file: &Path, written: &Written) -> std::io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&mut temporary, written)?;
    temporary.flush()?;
    temporary.persist(file)?;
    Ok(())
}

/// When the next reload may begin.
#[derive(Debug)]
pub(crate) struct ReloadPace {
    interval: Duration,
    not_before: Option<Instant>,
}

impl ReloadPace {
    /// At most one reload in `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            not_before: None,
        }
    }

    /// When a reload may begin that is wanted at `now`; none when at once.
    pub(crate) fn wait(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|not_before| *not_before > now)
    }

    /// A reload has begun at `now`. `chance` is from 0 to 1 and decides the jitter.
    pub(crate) fn reloaded(&mut self, now: Instant, chance: f64) {
        let jitter = self.interval.mul_f64(JITTER * chance.clamp(0.0, 1.0));
        self.not_before = Some(now + self.interval + jitter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hafleet_model::Term;

    fn reload(sequence: u64) -> Reload {
        Reload {
            id: 0,
            at_ms: 5,
            revision: Revision::new(Term(1), sequence),
            reason: "frontend web changed".into(),
            handover: None,
            took_ms: 90,
            outcome: if sequence.is_multiple_of(2) {
                Ok(7)
            } else {
                Err("port taken".into())
            },
        }
    }

    #[test]
    fn the_last_hundred_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("reloads.json");
        let log = ReloadLog::open(file.clone());
        for sequence in 1..=103 {
            log.add(reload(sequence));
        }
        let kept = ReloadLog::open(file).newest_first();
        assert_eq!((kept.len(), kept[0].id, kept[99].id), (100, 103, 4));
        assert_eq!(
            kept[0],
            Reload {
                id: 103,
                ..reload(103)
            }
        );
    }

    #[test]
    fn a_log_that_cannot_be_read_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("reloads.json");
        for text in ["", "{", "{\"version\":9,\"reloads\":[]}", "\u{0}"] {
            std::fs::write(&file, text).unwrap();
            assert!(ReloadLog::open(file.clone()).newest_first().is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_waits_for_the_interval_after_the_last() {
        let mut pace = ReloadPace::new(Duration::from_secs(2));
        let now = Instant::now();
        assert_eq!(pace.wait(now), None);
        pace.reloaded(now, 0.5);
        assert_eq!(pace.wait(now), Some(now + Duration::from_millis(2_200)));
        assert_eq!(pace.wait(now + Duration::from_millis(2_200)), None);
    }
}
