//! Catching up: fetching what peers hold and this node does not.
//!
//! Pushes are fast and may miss a node; what peers say they hold never does. Bodies come from whoever has them, with
//! their digests verified.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hafleet_model::{DocumentKind, NodeId, Stamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::documents::{AdoptError, Documents, Outcome};
use crate::exchange::client::{AskError, Peer};
use crate::links::Links;
use crate::offload::offload;
use crate::store::StoreError;
use crate::view::{View, held_by_peers};

/// How long one fetch may take: the largest document over a slow line.
const FETCH_DEADLINE: Duration = Duration::from_secs(60);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many missing bodies are fetched in one go.
const BATCH: usize = 64;

/// Why a repair did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepairError {
    #[error("no peer that holds it is connected")]
    NoHolder,
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("what came does not fit: {0}")]
    Adopt(AdoptError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("this agent is stopping")]
    Stopping,
}

/// Fetches the newest revision that `peer` holds and takes it in, with its ancestry.
pub(crate) async fn fetch_newest(
    documents: &Arc<Documents>,
    peer: Peer,
    kind: DocumentKind,
) -> Result<(), RepairError> {
    fetch(documents, peer, kind, None).await
}

async fn fetch(
    documents: &Arc<Documents>,
    mut peer: Peer,
    kind: DocumentKind,
    stamp: Option<Stamp>,
) -> Result<(), RepairError> {
    let (document, ancestry) = peer.fetch(kind, stamp).await?;
    let (documents, found) = (Arc::clone(documents), document.stamp());
    let adopted = offload(move || documents.adopt(document, &ancestry, true)).await;
    let outcome = adopted
        .ok_or(RepairError::Stopping)?
        .map_err(|error| match error {
            AdoptError::Store(error) => RepairError::Store(error),
            other => RepairError::Adopt(other),
        })?;
    match outcome {
        Outcome::Adopted { lost: 0 } => tracing::info!(%kind, stamp = %found, "caught up"),
        Outcome::Adopted { lost } => {
            tracing::warn!(%kind, stamp = %found, lost, "caught up; own revisions became conflicts");
        }
        outcome => tracing::debug!(%kind, stamp = %found, ?outcome, "fetched"),
    }
    Ok(())
}

/// The task that keeps this node's documents up to its peers'.
pub(crate) struct Repairer {
    pub(crate) documents: Arc<Documents>,
    pub(crate) links: Arc<Links>,
    pub(crate) view: watch::Receiver<Arc<View>>,
    /// How long a push gets before it is taken for missed.
    pub(crate) grace: Duration,
    /// How often to look without being told of a change.
    pub(crate) interval: Duration,
    pub(crate) stop: CancellationToken,
}

/// Where one document's repair stands.
#[derive(Debug, Default)]
struct Course {
    /// What is wanted, and since when.
    wanted: Option<(Stamp, Instant)>,
    /// Not before then, after this many failures.
    pause: Option<(Instant, u32)>,
    /// Missing revisions that none of these peers has any more.
    unobtainable: (Vec<NodeId>, HashSet<Stamp>),
}

impl Repairer {
    pub(crate) async fn run(mut self) {
        let mut courses: HashMap<DocumentKind, Course> = HashMap::new();
        loop {
            let mut wait = self.interval;
            let view = Arc::clone(&self.view.borrow_and_update());
            for kind in DocumentKind::ALL {
                let course = courses.entry(kind).or_default();
                if let Some(again) = self.attend(kind, &view, course).await {
                    wait = wait.min(again);
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = self.view.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Does what is due for `kind`. Returns when to look again, if sooner than usual.
    async fn attend(
        &self,
        kind: DocumentKind,
        view: &View,
        course: &mut Course,
    ) -> Option<Duration> {
        let now = Instant::now();
        let Some((stamp, holders)) = self.wanted(kind, view) else {
            course.wanted = None;
            return self.backfill(kind, view, course, now).await;
        };
        let since = course
            .wanted
            .filter(|(wanted, _)| *wanted == stamp)
            .map_or(now, |(_, since)| since);
        course.wanted = Some((stamp, since));
        let due = course.pause.map_or(since + self.grace, |(until, _)| {
            until.max(since + self.grace)
        });
        if now < due {
            return Some(due - now);
        }
        let repaired = self.fetch_from(kind, stamp, &holders).await;
        self.settle(kind, course, repaired)
    }

    /// What peers hold that is newer than ours, or bears our revision with another digest.
    fn wanted(&self, kind: DocumentKind, view: &View) -> Option<(Stamp, Vec<NodeId>)> {
        let own = self.documents.newest(kind).map(|document| document.stamp());
        let held = held_by_peers(view).remove(&kind)?;
        let newer = |stamp: &Stamp| match own {
            None => true,
            Some(own) if own.revision == stamp.revision => {
                own != *stamp && !kind.is_observed() && !self.documents.is_conflict(kind, *stamp)
            }
            Some(own) => stamp.revision > own.revision,
        };
        held.into_iter().rev().find(|(stamp, _)| newer(stamp))
    }

    /// Fetches revisions in the line of which only the stamp is known.
    async fn backfill(
        &self,
        kind: DocumentKind,
        view: &View,
        course: &mut Course,
        now: Instant,
    ) -> Option<Duration> {
        if let Some((until, _)) = course.pause.filter(|(until, _)| now < *until) {
            return Some(until - now);
        }
        let holders: Vec<_> = view
            .live_peers()
            .map(|member| member.report.id.clone())
            .collect();
        if course.unobtainable.0 != holders {
            course.unobtainable = (holders.clone(), HashSet::new());
        }
        let mut missing = self.documents.missing(kind).unwrap_or_default();
        missing.retain(|stamp| !course.unobtainable.1.contains(stamp));
        if missing.is_empty() || holders.is_empty() {
            course.pause = None;
            return None;
        }
        for stamp in missing.into_iter().rev().take(BATCH) {
            match self.fetch_from(kind, stamp, &holders).await {
                Ok(()) => {}
                Err(RepairError::Ask(AskError::NotFound)) => {
                    tracing::info!(%kind, %stamp, "no peer has this revision any more");
                    course.unobtainable.1.insert(stamp);
                }
                Err(error) => return self.settle(kind, course, Err(error)),
            }
        }
        course.pause = None;
        Some(Duration::ZERO)
    }

    /// Fetches `stamp` from the first of `holders` that has it. "Not found" is the answer only when all say so.
    async fn fetch_from(
        &self,
        kind: DocumentKind,
        stamp: Stamp,
        holders: &[NodeId],
    ) -> Result<(), RepairError> {
        let mut result = Err(RepairError::NoHolder);
        for holder in holders {
            let Some(channel) = self.links.channel(holder) else {
                continue;
            };
            let peer = Peer::new(channel, FETCH_DEADLINE);
            let fetched = tokio::select! {
                () = self.stop.cancelled() => Err(RepairError::Stopping),
                fetched = fetch(&self.documents, peer, kind, Some(stamp)) => fetched,
            };
            match (&fetched, &result) {
                (Ok(()), _) => return Ok(()),
                // Another failure says more: that peer may have it.
                (
                    Err(RepairError::Ask(AskError::NotFound)),
                    Err(RepairError::Ask(_) | RepairError::Adopt(_)),
                ) => {}
                _ => result = fetched,
            }
        }
        result
    }

    fn settle(
        &self,
        kind: DocumentKind,
        course: &mut Course,
        result: Result<(), RepairError>,
    ) -> Option<Duration> {
        let Err(error) = result else {
            course.pause = None;
            return None;
        };
        let failures = course
            .pause
            .map_or(0, |(_, failures)| failures)
            .saturating_add(1);
        let pause = self
            .interval
            .saturating_mul(1 << failures.min(6))
            .min(LONGEST_PAUSE);
        course.pause = Some((Instant::now() + pause, failures));
        tracing::warn!(%kind, %error, ?pause, "catching up failed, and is tried again");
        Some(pause)
    }
}
