//! Seeing that something changed where a file is: its directory is watched, so that a file that takes the place of another
//! is seen too (a rename, or the link that a directory of links goes through).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

/// So long nothing may happen before what was changed is taken for whole.
const QUIET: Duration = Duration::from_millis(30);

/// So long is waited for that at most.
const NOISE: Duration = Duration::from_millis(300);

/// Which directory it was: device and inode.
type Identity = (u64, u64);

/// A watched directory. Without a watch, because there is no such directory or the kernel has none left, it never changes;
/// the file is still read at each interval.
#[derive(Debug)]
pub struct DirectoryWatch {
    directory: PathBuf,
    signals: Arc<Signals>,
    watched: Option<(Identity, RecommendedWatcher)>,
    failed: bool,
}

#[derive(Debug, Default)]
struct Signals {
    changed: Notify,
    lost: AtomicBool,
}

impl DirectoryWatch {
    /// For the directory that `file` is in. Nothing is watched before [`renew`](Self::renew).
    pub fn of(file: &Path) -> Self {
        Self {
            directory: file.parent().unwrap_or(file).to_owned(),
            signals: Arc::default(),
            watched: None,
            failed: false,
        }
    }

    /// Watches the directory that has the name now, if that is not watched yet. To be called before the file is read.
    pub fn renew(&mut self) {
        let now = identity(&self.directory);
        let lost = self.signals.lost.swap(false, Ordering::SeqCst);
        let watched = self.watched.as_ref().map(|(identity, _)| *identity);
        if !lost && watched == now {
            return;
        }
        self.watched = None;
        let Some(identity) = now else { return };
        match watch(&self.directory, &self.signals) {
            Ok(watcher) => {
                self.watched = Some((identity, watcher));
                self.failed = false;
            }
            Err(error) if !self.failed => {
                let directory = self.directory.display();
                warn!(%error, "{directory} cannot be watched: its file is read at each interval only");
                self.failed = true;
            }
            Err(_) => {}
        }
    }

    /// Resolves some time after something changed in the directory, when it has gone quiet. May resolve for nothing.
    /// Nothing is lost when it is dropped before: a change that was not waited for is still there.
    pub async fn changed(&self) {
        self.signals.changed.notified().await;
        let latest = Instant::now() + NOISE;
        let quiet = async {
            while timeout(QUIET, self.signals.changed.notified())
                .await
                .is_ok()
            {}
        };
        // A directory that never goes quiet is looked at all the same.
        let _ = timeout_at(latest, quiet).await;
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    let metadata = std::fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn watch(directory: &Path, signals: &Arc<Signals>) -> notify::Result<RecommendedWatcher> {
    let (signals, watched) = (Arc::clone(signals), directory.to_owned());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        match &event {
            Ok(event) if !is_change(event.kind) => return,
            Ok(event) if event.kind.is_remove() && event.paths.contains(&watched) => {
                signals.lost.store(true, Ordering::SeqCst);
            }
            Ok(_) => {}
            Err(_) => signals.lost.store(true, Ordering::SeqCst),
        }
        signals.changed.notify_one();
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Our own reading is an event too, and changes nothing.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}
