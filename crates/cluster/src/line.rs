//! A document's line of history: which revisions came one after the other, and what a new one means for them.
//!
//! Stamps are ordered: by revision, and where two bodies bear one revision, by their digests, so that all nodes prefer the
//! same. But order alone does not say whether one was written with knowledge of another. That is what ancestry is for: the stamps before a revision, newest first. A node that adopts a revision whose ancestry
//! lacks some of its own has found a fork, and those of its own become conflicts. Pure: values in, values out.

use hafleet_model::Stamp;

/// The stamps of a document's revisions, oldest first. Each is the parent of the next; the oldest may have a parent
/// that is no longer kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    stamps: Vec<Stamp>,
}

/// What a revision that arrives means for a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It is in the line.
    Known,
    /// It is older than what the line still keeps, and may well have been in it.
    Older,
    /// It is older than the newest and not in the line: it lost, and belongs to the conflicts.
    Lost,
    /// The line has another digest under the same revision (invariant I3), which stays: it is the greater one, or another
    /// revision has come after it.
    Divergent,
    /// Newer, but the ancestry is too short to tell what becomes of the line.
    NeedsAncestry,
    /// Newer: the line becomes what it was up to `base`, then `between`, then the newcomer.
    Adopt(Adoption),
}

/// How a line changes to end in a newer revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Revisions that come before the newcomer and are not held, oldest first.
    pub between: Vec<Stamp>,
    /// Own revisions that do not come before the newcomer, oldest first: the losing side of a fork.
    pub lost: Vec<Stamp>,
}

/// Stamps that cannot be an ancestry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AncestryError {
    /// Not in order.
    #[error("{earlier} cannot come right before {later}")]
    OutOfOrder {
        /// The one that is said to be the parent.
        earlier: Stamp,
        /// The one that is said to be its child.
        later: Stamp,
    },
    /// Sequences begin at 1.
    #[error("a revision has sequence 0")]
    SequenceZero,
    /// The first of a line has no parent.
    #[error("{first} is the first of its line, and yet something is said to come before it")]
    BeforeTheFirst {
        /// The revision with sequence 1.
        first: Stamp,
    },
}

/// Checks that `ancestry` (newest first) can be what came before `stamp`: sequences fall by one, terms never rise.
///
/// # Errors
/// When it cannot.
pub fn check_ancestry(stamp: Stamp, ancestry: &[Stamp]) -> Result<(), AncestryError> {
    if stamp.revision.sequence == 0 {
        return Err(AncestryError::SequenceZero);
    }
    let mut later = stamp;
    for &earlier in ancestry {
        if later.revision.sequence == 1 {
            return Err(AncestryError::BeforeTheFirst { first: later });
        }
        let follows = earlier.revision.sequence.checked_add(1) == Some(later.revision.sequence)
            && earlier.revision.sequence > 0
            && earlier.revision.term <= later.revision.term;
        if !follows {
            return Err(AncestryError::OutOfOrder { earlier, later });
        }
        later = earlier;
    }
    Ok(())
}

impl Line {
    /// A line of `stamps`, oldest first.
    pub fn new(stamps: Vec<Stamp>) -> Self {
        Self { stamps }
    }

    /// The newest.
    pub fn head(&self) -> Option<Stamp> {
        self.stamps.last().copied()
    }

    /// All, oldest first.
    pub fn stamps(&self) -> &[Stamp] {
        &self.stamps
    }

    /// Whether it has exactly this stamp.
    pub fn contains(&self, stamp: Stamp) -> bool {
        self.position(stamp).is_some()
    }

    /// What comes before `stamp`, newest first; empty when the line does not have it.
    pub fn ancestry(&self, stamp: Stamp) -> Vec<Stamp> {
        let before = self
            .position(stamp)
            .and_then(|position| self.stamps.get(..position));
        before.unwrap_or_default().iter().rev().copied().collect()
    }

    /// What `incoming` means for this line, given the stamps before it, newest first. The ancestry must have passed
    /// [`check_ancestry`].
    pub fn judge(&self, incoming: Stamp, ancestry: &[Stamp]) -> Judgement {
        let Some(head) = self.head() else {
            return self.judge_newer(incoming, ancestry);
        };
        if self.contains(incoming) {
            return Judgement::Known;
        }
        if incoming > head {
            return self.judge_newer(incoming, ancestry);
        }
        if self.diverges(incoming) {
            Judgement::Divergent
        } else if self.is_within(incoming) {
            Judgement::Lost
        } else {
            Judgement::Older
        }
    }

    fn judge_newer(&self, incoming: Stamp, ancestry: &[Stamp]) -> Judgement {
        let common = ancestry.iter().position(|stamp| self.contains(*stamp));
        if let Some(common) = common {
            let base = ancestry
                .get(common)
                .and_then(|stamp| self.position(*stamp))
                .unwrap_or_default();
            let between = oldest_first(ancestry.get(..common).unwrap_or_default());
            let lost = self.stamps.get(base + 1..).unwrap_or_default().to_vec();
            return Judgement::Adopt(Adoption { between, lost });
        }
        let oldest = ancestry.last().copied().unwrap_or(incoming);
        if oldest.revision.sequence > 1 {
            return Judgement::NeedsAncestry;
        }
        Judgement::Adopt(Adoption {
            between: oldest_first(ancestry),
            lost: self.stamps.clone(),
        })
    }

    /// As [`Line::judge`], for an ancestry that nobody can lengthen: what it does not prove to come before
    /// `incoming` counts as lost, so that nothing is dropped silently (invariant I4).
    pub fn judge_finally(&self, incoming: Stamp, ancestry: &[Stamp]) -> Judgement {
        match self.judge(incoming, ancestry) {
            Judgement::NeedsAncestry => Judgement::Adopt(Adoption {
                between: oldest_first(ancestry),
                lost: self.stamps.clone(),
            }),
            judged => judged,
        }
    }

    /// Carries out what [`Line::judge`] decided for `incoming`.
    pub fn adopt(&mut self, incoming: Stamp, adoption: &Adoption) {
        self.stamps.retain(|stamp| !adoption.lost.contains(stamp));
        self.stamps.extend(&adoption.between);
        self.stamps.push(incoming);
    }

    /// Drops the oldest beyond `limit` and returns them.
    pub fn trim(&mut self, limit: usize) -> Vec<Stamp> {
        let excess = self.stamps.len().saturating_sub(limit.max(1));
        self.stamps.drain(..excess).collect()
    }

    /// Whether it has another digest under the revision of `stamp`.
    pub fn diverges(&self, stamp: Stamp) -> bool {
        let bears_it = |own: &Stamp| own.revision == stamp.revision && *own != stamp;
        self.stamps.iter().any(bears_it)
    }

    fn position(&self, stamp: Stamp) -> Option<usize> {
        let position = self
            .stamps
            .binary_search_by_key(&stamp.revision, |own| own.revision)
            .ok()?;
        (self.stamps.get(position) == Some(&stamp)).then_some(position)
    }

    /// Whether a revision that is older than the newest would be in the line if it belonged to it.
    fn is_within(&self, stamp: Stamp) -> bool {
        self.stamps
            .first()
            .is_some_and(|first| first.revision.sequence == 1 || stamp.revision > first.revision)
    }
}

fn oldest_first(ancestry: &[Stamp]) -> Vec<Stamp> {
    ancestry.iter().rev().copied().collect()
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
