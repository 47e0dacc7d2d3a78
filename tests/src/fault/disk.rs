//! Faults of a disk. They need a fleet with breakable machines.

use std::fmt;

use hafleet_api::v1::apply_status::State;

use super::Fault;
use crate::deadline::wait_for;
use crate::disk;
use crate::fleet::PATIENCE;
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

/// A node's file system fails, and the kernel takes it to be read-only: the files that its agent has open too. The node
/// serves what it served, says why it does not follow, and does not lead. It takes up again what is mounted in its place.
/// Needs a fleet with breakable disks.
#[derive(Debug)]
pub struct BrokenDisk {
    node: usize,
    has_restart: bool,
}

impl BrokenDisk {
    /// That of the node `node`.
    pub fn of(node: usize) -> Self {
        Self {
            node,
            has_restart: false,
        }
    }

    /// And the agent is started again once the disk is whole.
    pub fn with_restart(mut self) -> Self {
        self.has_restart = true;
        self
    }
}

impl fmt::Display for BrokenDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the disk of node {} breaks down", self.node)?;
        match self.has_restart {
            true => write!(f, ", and its agent is started again afterwards"),
            false => Ok(()),
        }
    }
}

impl Fault for BrokenDisk {
    fn begin(&mut self, trial: &Trial) {
        let (fleet, node) = (trial.fleet(), trial.fleet().node(self.node));
        disk::break_down(&node.settings().data());
        let others = fleet.but(&[self.node]);
        let said = wait_for("a node says that its disk failed", PATIENCE, || {
            let status = fleet.status_of(others[0])?;
            let own = status.nodes.iter().find(|one| one.id == node.id());
            let unfit = own.map(|own| own.unfit.clone()).unwrap_or_default();
            match unfit.is_empty() {
                false => Ok(unfit),
                true => Err(format!("{status:#?}")),
            }
        });
        let data = node.settings().data().display().to_string();
        for part in [data.as_str(), "Read-only file system", "mend it"] {
            assert!(said.contains(part), "no {part:?} in: {said}");
        }
        let leader = fleet.leader();
        assert_ne!(leader, self.node, "who cannot write does not lead");
    }

    fn end(&mut self, trial: &Trial) {
        let (fleet, node) = (trial.fleet(), trial.fleet().node(self.node));
        assert!(node.has_agent(), "an agent outlives its disk");
        disk::repair(&node.settings().data());
        if self.has_restart {
            fleet.restart(self.node);
        }
    }
}
