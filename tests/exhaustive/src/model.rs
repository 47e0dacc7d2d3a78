//! What can happen next in a fleet, and what must never.

use std::fmt;

use stateright::{Model, Property};

use crate::heal::heals;
use crate::node::{KIND, Node};
use crate::state::{Phase, State, Writing};

/// How far it is explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How many nodes.
    pub nodes: usize,
    /// How often somebody claims to lead.
    pub claims: usize,
    /// How many writes begin.
    pub writes: usize,
    /// How often somebody loses its memory.
    pub crashes: usize,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            nodes,
            claims,
            writes,
            crashes,
        } = self;
        write!(
            f,
            "{nodes} nodes, {claims} claims, {writes} writes, {crashes} losses of memory"
        )
    }
}

/// A fleet within bounds.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    /// How far.
    pub bounds: Bounds,
    /// Whether nodes keep what they promise to leaders. Without that it must be seen to fail.
    pub keeps_promises: bool,
    /// Whether two nodes may claim the same term, knowing nothing of each other.
    pub shares_terms: bool,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A node claims the next term that it knows of, and leads.
    Claim(usize),
    /// A client writes by way of a leader.
    Begin(usize),
    /// A leader's question for heads arrives; its answer gets back or not.
    Ask {
        /// Of which write.
        write: usize,
        /// Who is asked.
        peer: usize,
        /// Whether the leader hears the answer.
        is_heard: bool,
    },
    /// A leader waits for no more answers.
    Hear(usize),
    /// A revision arrives; the answer gets back or not.
    Hand {
        /// Of which write.
        write: usize,
        /// To whom.
        peer: usize,
        /// Whether the leader hears the answer.
        is_heard: bool,
    },
    /// A leader waits for no more acknowledgements, and tells its client.
    Tell(usize),
    /// A node fetches what another has.
    Repair(usize, usize),
    /// A node starts anew from its disk.
    Crash(usize),
}

impl Model for Fleet {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            nodes: (0..self.bounds.nodes).map(|_| Node::new()).collect(),
            writings: Vec::new(),
            acknowledged: Vec::new(),
            crashes: 0,
            claims: 0,
            broken: None,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.broken.is_some() {
            return;
        }
        for (index, node) in state.nodes.iter().enumerate() {
            if node.leads.is_none() && state.claims < self.bounds.claims {
                steps.push(Step::Claim(index));
            }
            let mut open = state.writings.iter().filter(|writing| writing.is_open());
            let is_free = !open.any(|writing| writing.by == index);
            if node.leads.is_some() && is_free && state.writings.len() < self.bounds.writes {
                steps.push(Step::Begin(index));
            }
            if node.leads.is_some() && state.crashes < self.bounds.crashes {
                steps.push(Step::Crash(index));
            }
            for peer in (0..self.bounds.nodes).filter(|peer| *peer != index) {
                steps.push(Step::Repair(index, peer));
            }
        }
        for (write, writing) in state.writings.iter().enumerate() {
            self.of_write(write, writing, steps);
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        self.take(&mut next, step)?;
        if next == *state {
            return None;
        }
        for (before, after) in state.nodes.iter().zip(&next.nodes) {
            if after.highest_term() < before.highest_term() {
                next.broken = Some("I1: a term has fallen");
            }
            if !before.held().is_subset(&after.held()) {
                next.broken = Some("I4: a node has lost a revision");
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no step breaks an invariant", |_, state: &State| {
                state.broken.is_none()
            }),
            Property::always("it heals", |_, state: &State| heals(state)),
            Property::sometimes("two leaders at once", |_, state: &State| {
                let leaders = state.nodes.iter().filter(|node| node.leads.is_some());
                leaders.count() > 1
            }),
            Property::sometimes(
                "all that is written is committed",
                |model: &Self, state: &State| {
                    let committed = state
                        .acknowledged
                        .iter()
                        .filter(|(_, is_committed)| *is_committed);
                    committed.count() == model.bounds.writes
                },
            ),
            Property::sometimes("what was told of has lost", |_, state: &State| {
                let mut told = state.acknowledged.iter();
                told.any(|(stamp, _)| {
                    let mut nodes = state.nodes.iter();
                    nodes.any(|node| {
                        node.look(|documents| documents.is_conflict(KIND, *stamp)) == Some(true)
                    })
                })
            }),
        ]
    }

    fn format_action(&self, step: &Step) -> String {
        format!("{step:?}")
    }
}

impl Fleet {
    fn of_write(&self, write: usize, writing: &Writing, steps: &mut Vec<Step>) {
        let peers = (0..self.bounds.nodes).filter(|peer| *peer != writing.by);
        let heard: &[bool] = if writing.is_open() {
            &[true, false]
        } else {
            &[false]
        };
        for peer in peers {
            for is_heard in heard.iter().copied() {
                if matches!(writing.phase, Phase::Asking) && !writing.asked.contains(&peer) {
                    steps.push(Step::Ask {
                        write,
                        peer,
                        is_heard,
                    });
                }
                if writing.stamp().is_some() && !writing.handed.contains(&peer) {
                    steps.push(Step::Hand {
                        write,
                        peer,
                        is_heard,
                    });
                }
            }
        }
        match writing.phase {
            Phase::Asking => steps.push(Step::Hear(write)),
            Phase::Handing(_) => steps.push(Step::Tell(write)),
            Phase::Over(_) => {}
        }
    }
}
