//! What a fleet looks like from outside: through its agents' status, and through the answers that it serves.

use std::time::Duration;

use hafleet_api::v1::{self, apply_status::State, node_status::Liveness};

use super::{Fleet, PATIENCE};
use crate::deadline::wait_for;
use crate::request::{Answer, Fault, ask_from};
use crate::spec::MARKER;

impl Fleet {
    /// The number of the node that leads, as all nodes with an agent agree.
    pub fn leader(&self) -> usize {
        let running: Vec<_> = self
            .numbers()
            .into_iter()
            .filter(|number| self.node(*number).has_agent())
            .collect();
        self.leader_among(&running)
    }

    /// The number of the node that leads, as the nodes `numbers` agree: one of them.
    pub fn leader_among(&self, numbers: &[usize]) -> usize {
        wait_for("nodes agree on a leader", PATIENCE, || {
            let leaders = numbers
                .iter()
                .map(|number| Ok(leadership(&self.status_of(*number)?)));
            let leaders: Vec<_> = leaders.collect::<Result<_, String>>()?;
            let agreed = leaders.windows(2).all(|pair| pair[0] == pair[1]);
            let leader = numbers
                .iter()
                .find(|number| self.node(**number).id() == leaders[0].0);
            leader
                .copied()
                .filter(|_| agreed)
                .ok_or_else(|| format!("{numbers:?} say {leaders:?}"))
        })
    }

    /// The number of a node that does not lead.
    pub fn follower(&self) -> usize {
        let leader = self.leader();
        self.numbers()
            .into_iter()
            .find(|number| *number != leader)
            .expect("a fleet has more than a leader")
    }

    /// The fleet as the agent of node `number` sees it.
    ///
    /// # Errors
    /// What the command says when it fails.
    pub fn status_of(&self, number: usize) -> Result<v1::FleetStatus, String> {
        self.client_of(number)
            .status()
            .map_err(|finished| finished.to_string())
    }

    /// The newest revision that node `number` holds; empty before the first.
    pub fn current(&self, number: usize) -> String {
        let status = self
            .status_of(number)
            .expect("a node that is asked for its revision answers");
        status.spec.map(|info| info.revision).unwrap_or_default()
    }

    /// Waits until every agent sees every node live, and all see one leader.
    pub fn wait_formed(&self) {
        wait_for("a fleet forms", PATIENCE, || {
            let all = self
                .numbers()
                .into_iter()
                .map(|number| self.status_of(number));
            let all: Vec<_> = all.collect::<Result<_, _>>()?;
            let live = |status: &v1::FleetStatus| {
                status
                    .nodes
                    .iter()
                    .filter(|node| node.liveness() == Liveness::Live)
                    .count()
            };
            let leader = leadership(&all[0]);
            let complete = all
                .iter()
                .all(|status| live(status) == self.nodes.len() && leadership(status) == leader);
            (complete && !leader.0.is_empty())
                .then_some(())
                .ok_or_else(|| format!("{all:#?}"))
        });
    }

    /// Waits until every node has brought its HAProxy to `revision`.
    pub fn wait_converged(&self, revision: &str) {
        self.wait_applied(&self.numbers(), revision);
    }

    /// Waits until each of the nodes `numbers` says of itself that its HAProxy runs `revision`.
    pub fn wait_applied(&self, numbers: &[usize], revision: &str) {
        for number in numbers {
            self.wait_apply(*number, |apply| {
                apply.state() == State::Applied && apply.revision == revision
            });
        }
    }

    /// Waits until what node `number` says of its own work on the spec satisfies `condition`, and returns that.
    pub fn wait_apply(
        &self,
        number: usize,
        condition: impl Fn(&v1::ApplyStatus) -> bool,
    ) -> v1::ApplyStatus {
        wait_for("a node brings its HAProxy to a spec", PATIENCE, || {
            let status = self.status_of(number)?;
            let own = status
                .nodes
                .iter()
                .find(|node| node.id == self.node(number).id());
            let apply = own.and_then(|node| node.apply.clone()).unwrap_or_default();
            if condition(&apply) {
                Ok(apply)
            } else {
                Err(format!("{status:#?}"))
            }
        })
    }

    /// Asks the HAProxy of node `number` for `/`.
    ///
    /// # Errors
    /// How that failed.
    pub fn ask(&self, number: usize) -> Result<Answer, Fault> {
        ask_from(
            &self.outside,
            self.node(number).traffic(),
            Duration::from_secs(5),
        )
    }

    /// Waits until every node serves the spec with `marker`.
    pub fn wait_served(&self, marker: &str) {
        self.wait_served_by(&self.numbers(), marker);
    }

    /// Waits until each of the nodes `numbers` serves the spec with `marker`.
    pub fn wait_served_by(&self, numbers: &[usize], marker: &str) {
        for number in numbers {
            wait_for("a node serves a spec", PATIENCE, || {
                match self.ask(*number) {
                    Ok(answer) if answer.header(MARKER) == Some(marker) => Ok(()),
                    other => Err(format!("node {number}: {other:?}")),
                }
            });
        }
    }

    /// Asserts that node `number` serves the spec with `marker` now.
    #[track_caller]
    pub fn assert_serves(&self, number: usize, marker: &str) {
        let answer = self.ask(number);
        let served = answer
            .as_ref()
            .ok()
            .and_then(|answer| answer.header(MARKER));
        assert_eq!(served, Some(marker), "node {number}: {answer:?}");
    }
}

/// Who leads, and in which term, as `status` says.
pub(crate) fn leadership(status: &v1::FleetStatus) -> (String, u64) {
    let leadership = status.leadership.clone().unwrap_or_default();
    (leadership.leader, leadership.term)
}
