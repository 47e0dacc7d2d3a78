//! Where a fleet stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hafleet_cluster::machines::AskError;
use hafleet_cluster::machines::write::{Answer, Step, Write};
use hafleet_cluster::{Expect, View, WriteRequest};
use hafleet_model::{NodeId, Stamp, Term};

use crate::node::{KIND, Node, fleet, id};

/// Where a write stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Heads are asked for.
    Asking,
    /// It is handed to peers.
    Handing(Stamp),
    /// Its leader is done with it, one way or another. What was sent may still arrive.
    Over(Option<Stamp>),
}

/// What a peer answered to a leader that asked for its heads: what is its newest, or a later term.
pub(crate) type Heads = Result<Option<Stamp>, Term>;

/// A write, from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Writing {
    pub(crate) number: usize,
    pub(crate) by: usize,
    pub(crate) term: Term,
    pub(crate) phase: Phase,
    /// Whom the question for heads has reached, and the answers that came back.
    pub(crate) asked: BTreeSet<usize>,
    pub(crate) heads: BTreeMap<usize, Heads>,
    /// What comes before the revision, newest first.
    pub(crate) ancestry: Vec<Stamp>,
    /// Whom the revision has reached, and who is known to have stored it.
    pub(crate) handed: BTreeSet<usize>,
    pub(crate) stored: BTreeSet<usize>,
    /// How many writes were acknowledged when it began.
    pub(crate) begun: usize,
}

/// Where a whole fleet stands.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct State {
    pub(crate) nodes: Vec<Node>,
    pub(crate) writings: Vec<Writing>,
    /// What clients were told of: which revision, and whether as committed.
    pub(crate) acknowledged: Vec<(Stamp, bool)>,
    pub(crate) crashes: usize,
    pub(crate) claims: usize,
    /// The invariant that a step has broken.
    pub(crate) broken: Option<&'static str>,
}

impl Writing {
    /// The machine of this write, as it was when it began.
    pub(crate) fn machine(&self, nodes: usize, ready: Option<Term>) -> Option<(Write, Step)> {
        let request = WriteRequest {
            kind: KIND,
            body: format!("write {}", self.number).into(),
            expect: Expect::Any,
            author: "a client".to_owned(),
            comment: String::new(),
            force: false,
        };
        let view = self.view(nodes)?;
        Write::begin(&id(self.by)?, request, &view, ready, 0).ok()
    }

    /// The fleet as its leader sees it: everyone is there.
    pub(crate) fn view(&self, nodes: usize) -> Option<Arc<View>> {
        let others = (0..nodes).filter(|node| *node != self.by);
        fleet(self.by, Some(self.term), others.map(|node| (node, None)))
    }

    /// The answers to the question for heads, as the machine takes them.
    pub(crate) fn answers(&self) -> Option<Vec<(NodeId, Answer)>> {
        let answer = |(node, heads): (&usize, &Heads)| {
            let heads = match heads {
                Ok(newest) => Ok(newest.map(|stamp| (KIND, stamp)).into_iter().collect()),
                Err(later) => Err(AskError::LaterTerm(*later)),
            };
            Some((id(*node)?, heads))
        };
        self.heads.iter().map(answer).collect()
    }

    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Over(_))
    }

    /// What it has written, and hands or has handed to peers.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        match self.phase {
            Phase::Asking => None,
            Phase::Handing(stamp) => Some(stamp),
            Phase::Over(stamp) => stamp,
        }
    }
}
