//! What each step does: the driver of the rules, as agents have one.

use std::collections::{BTreeMap, BTreeSet};

use hafleet_cluster::machines::repair::take_in;
use hafleet_cluster::machines::write::{self, Push, Pushed};
use hafleet_cluster::machines::{AskError, PushOutcome, Refusal, answer};
use hafleet_model::{Stamp, Term};

use crate::model::{Fleet, Step};
use crate::node::{KIND, Node, id, index_of};
use crate::state::{Phase, State, Writing};

impl Fleet {
    /// None when the step makes no sense.
    pub(crate) fn take(&self, state: &mut State, step: Step) -> Option<()> {
        match step {
            Step::Claim(node) => self.claim(state, node),
            Step::Begin(by) => self.begin(state, by),
            Step::Ask {
                write,
                peer,
                is_heard,
            } => self.ask(state, write, peer, is_heard),
            Step::Hear(write) => self.hear(state, write),
            Step::Hand {
                write,
                peer,
                is_heard,
            } => self.hand(state, write, peer, is_heard),
            Step::Tell(write) => self.tell(state, write),
            Step::Repair(me, peer) => {
                let other = state.nodes.get(peer)?.clone();
                state.nodes.get_mut(me)?.repair(me, peer, &other)
            }
            Step::Crash(node) => {
                state.crashes += 1;
                forget(state, node)
            }
        }
    }

    fn claim(&self, state: &mut State, node: usize) -> Option<()> {
        let own = state.nodes.get(node)?.highest_term();
        let known = match self.shares_terms {
            true => own,
            false => state.nodes.iter().map(Node::highest_term).max()?,
        };
        let term = known.next();
        let node = state.nodes.get_mut(node)?;
        node.act(|documents| documents.raise_term(term))?.ok()?;
        node.leads = Some(term);
        state.claims += 1;
        Some(())
    }

    fn begin(&self, state: &mut State, by: usize) -> Option<()> {
        let leader = state.nodes.get(by)?;
        let writing = Writing {
            number: state.writings.len(),
            by,
            term: leader.leads?,
            phase: Phase::Asking,
            asked: BTreeSet::new(),
            heads: BTreeMap::new(),
            ancestry: Vec::new(),
            handed: BTreeSet::new(),
            stored: BTreeSet::new(),
            begun: state.acknowledged.len(),
        };
        let (_, step) = writing.machine(self.bounds.nodes, leader.ready)?;
        let write = state.writings.len();
        state.writings.push(writing);
        self.go_on(state, write, step)
    }

    fn ask(&self, state: &mut State, write: usize, peer: usize, is_heard: bool) -> Option<()> {
        let writing = state.writings.get_mut(write)?;
        let (leader, term) = (id(writing.by)?, writing.term);
        let asked = state.nodes.get_mut(peer)?;
        let heads = asked.act(|documents| match self.keeps_promises {
            true => answer::heads(documents, &leader, term),
            false => Ok(documents.heads()),
        })?;
        let heads = match heads {
            Ok(heads) => Ok(heads
                .into_iter()
                .find(|(kind, _)| *kind == KIND)
                .map(|(_, stamp)| stamp)),
            Err(Refusal::LaterTerm(later)) => Err(later),
            Err(_) => return None,
        };
        writing.asked.insert(peer);
        if is_heard {
            writing.heads.insert(peer, heads);
        }
        Some(())
    }

    fn hear(&self, state: &mut State, write: usize) -> Option<()> {
        let writing = state.writings.get(write)?;
        let (machine, _) = writing.machine(self.bounds.nodes, None)?;
        let own = state.nodes.get(writing.by)?.head();
        let step = machine.heard(own, &writing.answers()?);
        self.go_on(state, write, step)
    }

    fn go_on(&self, state: &mut State, write: usize, step: write::Step) -> Option<()> {
        let by = state.writings.get(write)?.by;
        match step {
            write::Step::AskHeads { .. } => Some(()),
            write::Step::Fetch { from } => {
                let holder = state.nodes.get(index_of(&from)?)?;
                let fetched = holder.look(|documents| answer::fetch(documents, KIND, None))?;
                let (document, ancestry) = fetched.ok()?;
                let leader = state.nodes.get_mut(by)?;
                let taken = leader.act(|documents| take_in(documents, document, &ancestry))?;
                let (machine, _) = state
                    .writings
                    .get(write)?
                    .machine(self.bounds.nodes, None)?;
                self.go_on(state, write, machine.fetched(taken))
            }
            write::Step::Refuse { learned, .. } => {
                state.writings.get_mut(write)?.phase = Phase::Over(None);
                learn(state, by, learned)
            }
            write::Step::Append => self.append(state, write),
        }
    }

    fn append(&self, state: &mut State, write: usize) -> Option<()> {
        let writing = state.writings.get_mut(write)?;
        let (machine, _) = writing.machine(self.bounds.nodes, None)?;
        let leader = state.nodes.get_mut(writing.by)?;
        leader.ready = Some(writing.term);
        let leads = leader.leads;
        let appended = leader.act(|documents| {
            let document = machine.append(documents, |term| leads == Some(term)).ok()?;
            Some((document.stamp(), documents.ancestry(KIND, document.stamp())))
        })?;
        match appended {
            Some((stamp, ancestry)) => {
                writing.phase = Phase::Handing(stamp);
                writing.ancestry = ancestry;
            }
            None => {
                writing.phase = Phase::Over(None);
                // It has promised another leader, and is to claim above that one.
                if leader
                    .leads
                    .is_some_and(|term| term < leader.highest_term())
                {
                    leader.leads = None;
                }
            }
        }
        Some(())
    }

    fn hand(&self, state: &mut State, write: usize, peer: usize, is_heard: bool) -> Option<()> {
        let writing = state.writings.get_mut(write)?;
        let (by, stamp) = (writing.by, writing.stamp()?);
        let found = state
            .nodes
            .get(by)?
            .look(|documents| documents.stamped(KIND, stamp))?;
        let document = found.ok()??;
        let mut push = Push::new(writing.ancestry.clone().into());
        let peer_node = state.nodes.get_mut(peer)?;
        let term = match self.keeps_promises {
            true => writing.term,
            false => writing.term.max(peer_node.highest_term()),
        };
        let leader = id(by)?;
        let stored = peer_node.act(|documents| {
            answer::store(documents, (&leader, term), document, push.ancestry())
        })?;
        writing.handed.insert(peer);
        let answer = match stored {
            Ok(outcome) => Ok(PushOutcome::from(outcome)),
            Err(Refusal::LaterTerm(later)) => Err(AskError::LaterTerm(later)),
            Err(_) => return None,
        };
        match push.answered(&answer) {
            _ if !is_heard => Some(()),
            Pushed::Stored => {
                writing.stored.insert(peer);
                Some(())
            }
            Pushed::NotStored { learned } => learn(state, by, learned),
            // All that there is was sent.
            Pushed::Again => None,
        }
    }

    fn tell(&self, state: &mut State, write: usize) -> Option<()> {
        let writing = state.writings.get_mut(write)?;
        let stamp = writing.stamp()?;
        let (machine, _) = writing.machine(self.bounds.nodes, None)?;
        let found = state
            .nodes
            .get(writing.by)?
            .look(|documents| documents.stamped(KIND, stamp))?;
        let stored = writing
            .stored
            .iter()
            .map(|peer| id(*peer))
            .collect::<Option<_>>()?;
        let written = machine.pushed(&found.ok()??, &*writing.view(self.bounds.nodes)?, stored);
        writing.phase = Phase::Over(Some(stamp));
        let before: Vec<Stamp> = state
            .acknowledged
            .iter()
            .take(writing.begun)
            .filter(|(_, is_committed)| *is_committed)
            .map(|(stamp, _)| *stamp)
            .collect();
        if written.committed && !before.iter().all(|stamp| writing.ancestry.contains(stamp)) {
            state.broken =
                Some("I4: what is committed does not come after what was before it began");
        }
        state.acknowledged.push((stamp, written.committed));
        Some(())
    }
}

/// A leader that hears of a later term leads no more, until it claims again.
fn learn(state: &mut State, node: usize, learned: Option<Term>) -> Option<()> {
    let Some(later) = learned else {
        return Some(());
    };
    let leader = state.nodes.get_mut(node)?;
    leader.act(|documents| documents.raise_term(later))?.ok()?;
    leader.leads = None;
    Some(())
}

/// A node starts anew. Its writes are nobody's any more; what it has sent may still arrive.
fn forget(state: &mut State, node: usize) -> Option<()> {
    let forgetful = state.nodes.get_mut(node)?;
    forgetful.leads = None;
    forgetful.ready = None;
    let own = state
        .writings
        .iter_mut()
        .filter(|writing| writing.by == node);
    for writing in own {
        writing.phase = Phase::Over(writing.stamp());
    }
    Some(())
}
