//! Rules that are broken on purpose, one at a time, to see that the simulation finds it.
//!
//! The machines stay as they are: what is broken is what carries out their decisions, or what they are shown. A disk says
//! that something is durable and forgets it, a driver leaves a step out or takes another in its place. Each flaw is named
//! for the rule that it breaks, and has the invariants of which one must be seen to fall.

use std::sync::Arc;

use clap::ValueEnum;
use hafleet_cluster::View;
use hafleet_cluster::machines::Facts;
use hafleet_dns::RecordSet;
use hafleet_dns::provider::Change;
use hafleet_model::{Stamp, Term};

use crate::publication::NAME;

/// A rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Flaw {
    /// A term is claimed and promised before it is durable.
    TermNotDurable,
    /// A revision is acknowledged before it is durable.
    RevisionNotDurable,
    /// The generation is not remembered.
    GenerationForgotten,
    /// A majority is one of the nodes that are live.
    MajorityOfLive,
    /// A leader writes without having heard from a majority what is newest.
    HeadsNotAsked,
    /// What loses at a fork is dropped.
    LoserDropped,
    /// What is fetched is taken in without its ancestry.
    AncestryNotFetched,
    /// Revisions that are known by their stamp only are never fetched.
    GapsLeft,
    /// What a push missed is never fetched.
    NothingRepaired,
    /// Nobody's claim to lead is believed.
    ClaimsNotHeard,
    /// Of a node's runs the oldest is believed.
    OldestRunBelieved,
    /// A leader without a majority takes a name in DNS without waiting for the lease to lapse.
    LeaseNotAwaited,
    /// A batch of records is written whoever has written since they were read.
    FenceNotCompared,
    /// Old records are deleted in one batch, and the new ones left to the next.
    BatchSplit,
}

/// What a disk forgets though it said that it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Of terms: the last ones before a loss of power.
    Terms,
    /// Of revisions: the last ones before a loss of power.
    Revisions,
    /// The generation.
    Generations,
    /// What is to become a conflict.
    Conflicts,
}

impl Flaw {
    /// The invariants of which one falls, as ARCHITECTURE.md numbers them.
    pub fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::TermNotDurable => &["I1"],
            Self::GenerationForgotten | Self::OldestRunBelieved => &["I5"],
            Self::ClaimsNotHeard => &["I2"],
            Self::NothingRepaired => &["I3"],
            Self::LeaseNotAwaited | Self::FenceNotCompared => &["I9"],
            Self::BatchSplit => &["I8"],
            Self::RevisionNotDurable
            | Self::MajorityOfLive
            | Self::HeadsNotAsked
            | Self::LoserDropped
            | Self::AncestryNotFetched
            | Self::GapsLeft => &["I4"],
        }
    }
}

/// How the rules are kept: all of them, or all but one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Keeping(pub(crate) Option<Flaw>);

impl Keeping {
    fn is_without(self, flaw: Flaw) -> bool {
        self.0 == Some(flaw)
    }

    /// What disks forget.
    pub(crate) fn lie(self) -> Option<Lie> {
        match self.0? {
            Flaw::TermNotDurable => Some(Lie::Terms),
            Flaw::RevisionNotDurable => Some(Lie::Revisions),
            Flaw::GenerationForgotten => Some(Lie::Generations),
            Flaw::LoserDropped => Some(Lie::Conflicts),
            _ => None,
        }
    }

    /// The fleet as the rules of writes are shown it.
    pub(crate) fn fleet(self, view: &Arc<View>) -> Arc<View> {
        if !self.is_without(Flaw::MajorityOfLive) {
            return Arc::clone(view);
        }
        let mut view = View::clone(view);
        view.members.retain(|member| member.liveness.is_live());
        view.unmet_seeds.clear();
        view.seeds_short = None;
        Arc::new(view)
    }

    /// The term for which a leader of `term` takes its document for ready.
    pub(crate) fn ready(self, ready: Option<Term>, term: Term) -> Option<Term> {
        match self.is_without(Flaw::HeadsNotAsked) {
            true => Some(term),
            false => ready,
        }
    }

    /// What comes before a fetched revision, as its taker is told.
    pub(crate) fn ancestry(self, ancestry: &[Stamp]) -> &[Stamp] {
        match self.is_without(Flaw::AncestryNotFetched) {
            true => &[],
            false => ancestry,
        }
    }

    /// Whether a repair is left undone.
    pub(crate) fn leaves_out(self, is_gap: bool) -> bool {
        self.is_without(Flaw::NothingRepaired) || (is_gap && self.is_without(Flaw::GapsLeft))
    }

    /// Whether a run of a node is believed, of which there are older ones or not.
    pub(crate) fn believes(self, is_oldest: bool) -> bool {
        is_oldest || !self.is_without(Flaw::OldestRunBelieved)
    }

    /// What is heard of a node that says `facts`.
    pub(crate) fn facts(self, facts: &Arc<Facts>) -> Arc<Facts> {
        let mut facts = Arc::clone(facts);
        if self.is_without(Flaw::ClaimsNotHeard) {
            Arc::make_mut(&mut Arc::make_mut(&mut facts).report).claim = None;
        }
        facts
    }

    /// Whether a leader takes itself for one with a majority.
    pub(crate) fn has_majority(self, has_majority: bool) -> bool {
        has_majority || self.is_without(Flaw::LeaseNotAwaited)
    }

    /// The batch that is sent to Route53, where `read` is what was there.
    pub(crate) fn batch(self, batch: Vec<Change>, read: &[RecordSet]) -> Vec<Change> {
        match self.0 {
            Some(Flaw::FenceNotCompared) => {
                let forced = |change| match change {
                    Change::Delete(_) => None,
                    Change::Create(set) | Change::Upsert(set) => Some(Change::Upsert(set)),
                };
                batch.into_iter().filter_map(forced).collect()
            }
            Some(Flaw::BatchSplit) => {
                let replaced = |set: &RecordSet| {
                    let old = read.iter().find(|old| old.key == set.key);
                    old.filter(|old| old.key.name == NAME).cloned()
                };
                let first = |change| match change {
                    Change::Upsert(set) => match replaced(&set) {
                        Some(old) => Change::Delete(old),
                        None => Change::Upsert(set),
                    },
                    other => other,
                };
                batch.into_iter().map(first).collect()
            }
            _ => batch,
        }
    }
}
