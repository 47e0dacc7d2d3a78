//! Faults of a disk. They need a fleet with breakable machines.

use std::fmt;

use hafleet_api::v1::apply_status::State;

use super::Fault;
use crate::disk;
use crate::trial::Trial;

/// Nothing more fits on a node's disk until it ends.
#[derive(Debug)]
pub struct FullDisk {
    node: usize,
}

impl FullDisk {
    /// That of the node `node`.
    pub fn of(node: usize) -> Self {
        Self { node }
    }
}

impl fmt::Display for FullDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the disk of node {} is full", self.node)
    }
}

impl Fault for FullDisk {
    fn begin(&mut self, trial: &Trial) {
        disk::fill(&trial.fleet().node(self.node).settings().data());
    }

    fn end(&mut self, trial: &Trial) {
        disk::empty(&trial.fleet().node(self.node).settings().data());
    }
}

/// A node's disk is read-only until it ends: for the running agent, which says so, and for one that is started, which
/// refuses.
#[derive(Debug)]
pub struct ReadOnlyDisk {
    node: usize,
}

impl ReadOnlyDisk {
    /// That of the node `node`.
    pub fn of(node: usize) -> Self {
        Self { node }
    }
}

impl fmt::Display for ReadOnlyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the disk of node {} is read-only", self.node)
    }
}

impl Fault for ReadOnlyDisk {
    fn begin(&mut self, trial: &Trial) {
        let (fleet, node) = (trial.fleet(), trial.fleet().node(self.node));
        disk::forbid_writing(&node.settings().data());
        let apply = fleet.wait_apply(self.node, |apply| apply.state() == State::Failed);
        assert!(
            apply.error.contains("Read-only file system"),
            "a node says why it does not follow: {apply:?}"
        );
        fleet.restart(self.node);
        let said = node.wait_ended();
        assert!(
            said.contains("Read-only file system") && said.contains("let the agent's user write"),
            "an agent that cannot write says so:\n{said}"
        );
    }

    fn end(&mut self, trial: &Trial) {
        let node = trial.fleet().node(self.node);
        disk::allow_writing(&node.settings().data());
        node.start_agent();
    }
}
