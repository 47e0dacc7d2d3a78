//! The rules of catching up, without the wire: what to fetch, from whom, and when to try again.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use hafleet_model::{Document, DocumentKind, NodeId, Stamp};

use super::RepairError;
use crate::documents::{AdoptError, Documents, Outcome};
use crate::exchange::client::AskError;
use crate::view::{View, held_by_peers};
use crate::write::rules::live_peers;

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What to do next for a document.
#[derive(Debug)]
pub enum Next {
    /// Fetch this; then [`Course::ended`].
    Fetch(Fetch),
    /// Nothing, until something changes or so much time has passed.
    Wait(Option<Duration>),
}

/// One revision to be fetched, from the first of some peers that has it. "Not found" is the answer only when all were asked
/// and say so.
#[derive(Debug)]
pub struct Fetch {
    kind: DocumentKind,
    stamp: Stamp,
    holders: VecDeque<NodeId>,
    failure: Option<RepairError>,
    is_backfill: bool,
}

impl Fetch {
    /// Of which document.
    pub fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// Which revision.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The way to whom to ask next, as `way` has it; none when all were asked that can be, and [`Fetch::failure`] says how
    /// it ended. Who cannot be asked may have it.
    pub fn next_holder<W>(&mut self, way: impl Fn(&NodeId) -> Option<W>) -> Option<W> {
        while let Some(holder) = self.holders.pop_front() {
            match way(&holder) {
                Some(way) => return Some(way),
                None => self.failed(RepairError::NoHolder),
            }
        }
        None
    }

    /// The peer that was to be asked did not help.
    pub fn failed(&mut self, error: RepairError) {
        let says_enough = |failure: &RepairError| says(failure) <= says(&error);
        if self.failure.as_ref().is_none_or(says_enough) {
            self.failure = Some(error);
        }
    }

    /// Why it failed.
    pub fn failure(self) -> RepairError {
        self.failure.unwrap_or(RepairError::NoHolder)
    }
}

/// How much a failure says: that a peer does not have the revision says nothing of the others.
fn says(failure: &RepairError) -> u8 {
    match failure {
        RepairError::Ask(AskError::NotFound) => 0,
        RepairError::NoHolder => 1,
        _ => 2,
    }
}

/// Where one document's repair stands.
#[derive(Debug)]
pub struct Course {
    kind: DocumentKind,
    /// How long a push gets before it is taken for missed.
    grace: Duration,
    /// How often to look without being told of a change.
    interval: Duration,
    /// What is wanted, and since when.
    wanted: Option<(Stamp, Instant)>,
    /// Not before then, after this many failures.
    pause: Option<(Instant, u32)>,
    /// Missing revisions that none of these peers has any more.
    unobtainable: (Vec<NodeId>, HashSet<Stamp>),
}

impl Course {
    /// The repair of `kind`. A push gets `grace` before it is taken for missed; `interval` is how often the caller looks
    /// without being told of a change.
    pub fn new(kind: DocumentKind, grace: Duration, interval: Duration) -> Self {
        Self {
            kind,
            grace,
            interval,
            wanted: None,
            pause: None,
            unobtainable: (Vec::new(), HashSet::new()),
        }
    }

    /// What is due.
    pub fn next(&mut self, view: &View, documents: &Documents, now: Instant) -> Next {
        let paused = self.pause.map(|(until, _)| until);
        let Some((stamp, holders)) = self.wanted(view, documents) else {
            self.wanted = None;
            if let Some(until) = paused.filter(|until| now < *until) {
                return Next::Wait(Some(until - now));
            }
            return self.backfill(view, documents);
        };
        let since = self
            .wanted
            .filter(|(wanted, _)| *wanted == stamp)
            .map_or(now, |(_, since)| since);
        self.wanted = Some((stamp, since));
        let due = (since + self.grace).max(paused.unwrap_or(since));
        if now < due {
            return Next::Wait(Some(due - now));
        }
        Next::Fetch(self.fetch(stamp, holders, false))
    }

    /// What peers hold that is newer than ours, or bears our revision with another digest.
    fn wanted(&self, view: &View, documents: &Documents) -> Option<(Stamp, Vec<NodeId>)> {
        let kind = self.kind;
        let own = documents.newest(kind).map(|document| document.stamp());
        let held = held_by_peers(view).remove(&kind)?;
        let newer = |stamp: &Stamp| match own {
            None => true,
            // The lesser of two bodies that bear our revision is a conflict, where conflicts are kept.
            Some(own) if own.revision == stamp.revision && own > *stamp => {
                !kind.is_observed() && !documents.is_conflict(kind, *stamp)
            }
            Some(own) => *stamp > own,
        };
        held.into_iter().rev().find(|(stamp, _)| newer(stamp))
    }

    /// Revisions in the line of which only the stamp is known.
    fn backfill(&mut self, view: &View, documents: &Documents) -> Next {
        let holders = live_peers(view);
        if self.unobtainable.0 != holders {
            self.unobtainable = (holders.clone(), HashSet::new());
        }
        let mut missing = documents.missing(self.kind).unwrap_or_default();
        missing.retain(|stamp| !self.unobtainable.1.contains(stamp));
        match missing.pop() {
            Some(newest) if !holders.is_empty() => Next::Fetch(self.fetch(newest, holders, true)),
            _ => {
                self.pause = None;
                Next::Wait(None)
            }
        }
    }

    fn fetch(&self, stamp: Stamp, holders: Vec<NodeId>, is_backfill: bool) -> Fetch {
        Fetch {
            kind: self.kind,
            stamp,
            holders: holders.into(),
            failure: None,
            is_backfill,
        }
    }

    /// What became of a fetch: success, or all peers that were to be asked did not help.
    pub fn ended(&mut self, fetch: Fetch, is_fetched: bool, now: Instant) {
        if is_fetched {
            self.pause = None;
            return;
        }
        let (kind, stamp) = (self.kind, fetch.stamp);
        let is_backfill = fetch.is_backfill;
        let error = fetch.failure();
        if is_backfill && matches!(error, RepairError::Ask(AskError::NotFound)) {
            tracing::info!(%kind, %stamp, "no peer has this revision any more");
            self.unobtainable.1.insert(stamp);
            return;
        }
        let failures = self
            .pause
            .map_or(0, |(_, failures)| failures)
            .saturating_add(1);
        let pause = self
            .interval
            .saturating_mul(1 << failures.min(6))
            .min(LONGEST_PAUSE);
        self.pause = Some((now + pause, failures));
        tracing::warn!(%kind, %error, ?pause, "catching up failed, and is tried again");
    }
}

/// Takes in a revision that was fetched, with all that its holder knows to come before it.
///
/// # Errors
/// When it does not fit, or the disk refuses.
pub fn take_in(
    documents: &Documents,
    document: Document,
    ancestry: &[Stamp],
) -> Result<(), RepairError> {
    let (kind, stamp) = (document.kind(), document.stamp());
    let outcome = documents
        .adopt(document, ancestry, true)
        .map_err(|error| match error {
            AdoptError::Store(error) => RepairError::Store(error),
            other => RepairError::Adopt(other),
        })?;
    match outcome {
        Outcome::Adopted { lost: 0 } => tracing::info!(%kind, %stamp, "caught up"),
        Outcome::Adopted { lost } => {
            tracing::warn!(%kind, %stamp, lost, "caught up; own revisions became conflicts");
        }
        outcome => tracing::debug!(%kind, %stamp, ?outcome, "fetched"),
    }
    Ok(())
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
