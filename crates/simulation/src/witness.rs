//! Who watches: after each step it looks whether an invariant is broken.

use std::collections::{BTreeMap, BTreeSet};

use hafleet_cluster::Written;
use hafleet_cluster::machines::Documents;
use hafleet_model::{DocumentKind, Stamp, Term};

use crate::node::{KINDS, Run};
use crate::plan::Millis;

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which, as ARCHITECTURE.md numbers it.
    pub invariant: &'static str,
    /// When.
    pub at: Millis,
    /// What was seen.
    pub what: String,
}

/// A write that a client was told of.
#[derive(Debug, Clone)]
struct Acknowledged {
    kind: DocumentKind,
    stamp: Stamp,
    is_committed: bool,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// Whether clients insist in this simulation: then what was committed may lose.
    has_force: bool,
    terms: BTreeMap<usize, Term>,
    claims: BTreeMap<usize, Term>,
    generations: BTreeMap<usize, u64>,
    held: BTreeMap<(usize, DocumentKind), BTreeSet<Stamp>>,
    acknowledged: Vec<Acknowledged>,
    /// Of a write under way: how many were acknowledged when it began.
    begun: BTreeMap<u64, usize>,
}

type Seen = Result<(), (&'static str, String)>;

impl Witness {
    pub(crate) fn new(has_force: bool) -> Self {
        Self {
            has_force,
            ..Self::default()
        }
    }

    pub(crate) fn acknowledged(&self) -> (usize, usize) {
        let committed = self.acknowledged.iter().filter(|one| one.is_committed);
        (self.acknowledged.len(), committed.count())
    }

    /// A node has started.
    pub(crate) fn started(&mut self, node: usize, run: &Run) -> Seen {
        let before = self.generations.insert(node, run.generation);
        if let Some(before) = before.filter(|before| *before >= run.generation) {
            let generation = run.generation;
            let what = format!("n{node} starts with generation {generation} after {before}");
            return Err(("I5", what));
        }
        self.documents(node, run)
    }

    /// A node has done something.
    pub(crate) fn stepped(&mut self, node: usize, run: &Run) -> Seen {
        let Ok(term) = run.documents.highest_term() else {
            // It has no power, and is about to be gone.
            return Ok(());
        };
        let before = self.terms.insert(node, term).unwrap_or_default();
        if term < before {
            return Err(("I1", format!("n{node} falls from term {before} to {term}")));
        }
        let Some(claim) = run.claim() else {
            return Ok(());
        };
        if claim > term {
            let what = format!("n{node} claims term {claim}, and term {term} is durable");
            return Err(("I1", what));
        }
        let before = self.claims.insert(node, claim).unwrap_or_default();
        if claim < before {
            let what = format!("n{node} claims term {claim} after {before}");
            return Err(("I1", what));
        }
        Ok(())
    }

    /// The documents of a node have changed.
    pub(crate) fn documents(&mut self, node: usize, run: &Run) -> Seen {
        // What is observed is nobody's write, and may be dropped.
        let kind = DocumentKind::Spec;
        // What cannot be read is not gone.
        let Ok(_) = run.documents.history(kind) else {
            return Ok(());
        };
        let holds = holds(&run.documents, kind);
        let before = self.held.entry((node, kind)).or_default();
        if let Some(gone) = before.difference(&holds).next() {
            let what = format!("n{node} held {kind} {gone}, in neither history nor conflicts now");
            return Err(("I4", what));
        }
        *before = holds;
        Ok(())
    }

    /// A client's write begins.
    pub(crate) fn begin(&mut self, id: u64) {
        self.begun.insert(id, self.acknowledged.len());
    }

    /// A client is told that its write is done.
    pub(crate) fn written(&mut self, id: u64, node: usize, run: &Run, written: &Written) -> Seen {
        let (kind, stamp) = (written.header.kind, written.header.stamp);
        let begun = self.begun.remove(&id).unwrap_or_default();
        if written.committed && !self.has_force && !kind.is_observed() {
            let ancestry: BTreeSet<_> = run.documents.ancestry(kind, stamp).into_iter().collect();
            let before = self.acknowledged.iter().take(begun);
            let mut before = before.filter(|one| one.is_committed && one.kind == kind);
            let missing = before.find(|one| !ancestry.contains(&one.stamp));
            if let Some(missing) = missing {
                let what = format!(
                    "n{node} commits {kind} {stamp}, which does not come after {}, committed before it began",
                    missing.stamp
                );
                return Err(("I4", what));
            }
        }
        self.acknowledged.push(Acknowledged {
            kind,
            stamp,
            is_committed: written.committed,
        });
        Ok(())
    }

    /// The end, long after all faults: the nodes are all up.
    pub(crate) fn ended(&self, runs: &[&Run]) -> Seen {
        let Some(first) = runs.first() else {
            return Ok(());
        };
        let leaders: Vec<_> = runs.iter().filter(|run| run.is_leader()).collect();
        if leaders.len() != 1 {
            return Err(("I2", format!("{} nodes lead at the end", leaders.len())));
        }
        for run in runs {
            if run.leader() != first.leader() {
                let what = format!("{} takes another node for the leader", run.id);
                return Err(("I2", what));
            }
            for other in runs {
                let seen = run.view.member(&other.id);
                let generation = seen.map(|member| member.report.generation);
                if generation != Some(other.generation) {
                    let what = format!("{} sees run {generation:?} of {}", run.id, other.id);
                    return Err(("I5", what));
                }
            }
        }
        for kind in KINDS {
            let head = |run: &Run| run.documents.newest(kind).map(|newest| newest.stamp());
            let wanted = head(first);
            if let Some(run) = runs.iter().find(|run| head(run) != wanted) {
                let found = head(run);
                let what = format!(
                    "{} has {kind} {found:?}, {} has {wanted:?}",
                    run.id, first.id
                );
                return Err(("I3", what));
            }
        }
        self.all_is_kept(runs)
    }

    fn all_is_kept(&self, runs: &[&Run]) -> Seen {
        let kind = DocumentKind::Spec;
        for run in runs {
            let holds = holds(&run.documents, kind);
            let line = line(&run.documents, kind);
            for one in self.acknowledged.iter().filter(|one| one.kind == kind) {
                let stamp = one.stamp;
                if !holds.contains(&stamp) {
                    let what = format!(
                        "{kind} {stamp} was acknowledged, and {} has lost it",
                        run.id
                    );
                    return Err(("I4", what));
                }
                if one.is_committed && !self.has_force && !line.contains(&stamp) {
                    let what = format!(
                        "{kind} {stamp} was committed, and {} has it as a conflict",
                        run.id
                    );
                    return Err(("I4", what));
                }
            }
        }
        Ok(())
    }
}

/// All stamps in the line.
fn line(documents: &Documents, kind: DocumentKind) -> BTreeSet<Stamp> {
    let newest = documents.newest(kind).map(|newest| newest.stamp());
    let ancestry = newest.map_or_else(Vec::new, |newest| documents.ancestry(kind, newest));
    ancestry.into_iter().chain(newest).collect()
}

/// All that is held: in the line with its body, or as a conflict.
fn holds(documents: &Documents, kind: DocumentKind) -> BTreeSet<Stamp> {
    let history = documents.history(kind).unwrap_or_default();
    let conflicts = documents.conflicts(kind);
    let conflicts = conflicts.iter().map(|conflict| conflict.header.stamp);
    let history = history.into_iter().map(|header| header.stamp);
    history.chain(conflicts).collect()
}
