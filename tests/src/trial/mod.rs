//! A fleet under load and under writes, to which faults happen; and what has to hold after each.
//!
//! While a fault lasts, requests go to each HAProxy at a steady rate and a writer applies one spec after the other. When
//! it is over, the fleet has to settle: a write is taken, all nodes serve it, and all agree on one leader. Then the
//! [`Verdict`] says what the fault cost and whether that was more than it may.

mod verdict;
mod writes;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hafleet_api::v1::{self, apply_status::State, node_status::Liveness};

use crate::deadline::{pause, wait_until, while_it_lasts};
use crate::fault::{Fault, Lasts};
use crate::fleet::{Fleet, PATIENCE, leadership};
use crate::load::{Load, Plan};
use crate::spec::MARKER;

pub use verdict::Verdict;
use writes::{Write, Writes};

/// Requests a second to each HAProxy.
const RATE: u32 = 30;
/// How long a write that was taken may take to be served everywhere before another is tried.
const SERVED: Duration = Duration::from_secs(20);

/// A fleet that goes through faults.
#[derive(Debug)]
pub struct Trial {
    fleet: Fleet,
    writes: Writes,
}

impl Trial {
    /// Of three nodes that can break in every way, which serve a first spec.
    pub fn begin() -> Self {
        Self::of(Fleet::builder().breakable_machines().start())
    }

    /// Of `fleet`.
    pub fn of(fleet: Fleet) -> Self {
        let trial = Self {
            fleet,
            writes: Writes::default(),
        };
        if let Err(reason) = trial.settle() {
            panic!("a fleet serves a first spec: {reason}");
        }
        trial
    }

    /// The fleet.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Lets `fault` happen and pass, and says what came of it.
    pub fn suffer(&self, fault: &mut dyn Fault) -> Verdict {
        let costs = fault.costs_traffic_of();
        self.judge(&fault.to_string(), &costs, || {
            fault.begin(self);
            match fault.lasts() {
                Lasts::Writes(count) => self.wait_written(count),
                Lasts::For(time) => while_it_lasts(Instant::now(), time, || {}),
            }
            fault.end(self);
        })
    }

    /// [`Trial::suffer`] of one fault after another.
    ///
    /// # Panics
    /// When one costs more than it may.
    #[track_caller]
    pub fn bear(&self, faults: impl IntoIterator<Item = Box<dyn Fault>>) {
        for mut fault in faults {
            let verdict = self.suffer(&mut *fault);
            eprintln!("{verdict}");
            verdict.assert_kept();
        }
    }

    /// Has everything going on while `befalling` runs, and judges what happened to the fleet. Named `name`, it may cost the
    /// traffic of the nodes `costs`.
    pub fn judge<'c>(
        &self,
        name: &str,
        costs: impl IntoIterator<Item = &'c usize>,
        befalling: impl FnOnce(),
    ) -> Verdict {
        let loads: BTreeMap<_, _> = self
            .fleet
            .numbers()
            .into_iter()
            .map(|number| (number, self.load(number)))
            .collect();
        let before = self.writes.counted();
        self.while_writing(befalling);
        let settled = self.settle();
        let traffic = loads
            .into_iter()
            .map(|(number, load)| (number, load.stop()))
            .collect();
        Verdict {
            fault: name.to_owned(),
            settled,
            traffic,
            costs_traffic_of: costs.into_iter().copied().collect(),
            writes: self.writes.counted() - before,
            lost: self.lost_writes(),
            remains: self.remains(),
        }
    }

    /// Applies one spec more through the nodes `numbers` as soon as they take it, and returns its revision.
    ///
    /// # Panics
    /// When they do not.
    pub fn write_when_taken(&self, numbers: &[usize], arguments: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            match self.writes.attempt(&self.fleet, numbers, arguments) {
                Ok(write) => return write.revision,
                Err(finished) if begun.elapsed() > PATIENCE => {
                    panic!("no write is taken: {finished}")
                }
                Err(_) => pause(),
            }
        }
    }

    fn load(&self, number: usize) -> Load {
        let plan = Plan {
            targets: vec![self.fleet.node(number).traffic()],
            rate: RATE,
        };
        Load::start(self.fleet.outside(), plan)
    }

    fn while_writing(&self, befalling: impl FnOnce()) {
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = self.writes.attempt(&self.fleet, &self.fleet.numbers(), &[]);
                    pause();
                }
            });
            // Also when a fault panics.
            let _stop = Stop(&is_over);
            befalling();
        });
    }

    fn wait_written(&self, count: usize) {
        let wanted = self.writes.counted().acknowledged + count;
        wait_until("writes go on", PATIENCE, || {
            self.writes.counted().acknowledged >= wanted
        });
    }

    /// Waits until a write is taken, every node serves it, and all agree on one leader; returns how long that took.
    fn settle(&self) -> Result<Duration, String> {
        let begun = Instant::now();
        let mut reason = String::new();
        while begun.elapsed() < PATIENCE {
            let write = match self.writes.attempt(&self.fleet, &self.fleet.numbers(), &[]) {
                Ok(write) => write,
                Err(finished) => {
                    reason = finished.to_string();
                    pause();
                    continue;
                }
            };
            // Another may overtake it that was under way when the fault ended.
            let written = Instant::now();
            while written.elapsed() < SERVED {
                match self.disagreement(&write) {
                    None => return Ok(begun.elapsed()),
                    Some(other) => reason = other,
                }
                pause();
            }
        }
        Err(reason)
    }

    /// What is still in the way of all nodes serving `write` and agreeing on everything.
    fn disagreement(&self, write: &Write) -> Option<String> {
        for number in self.fleet.numbers() {
            let answer = self.fleet.ask(number);
            let marker = answer
                .as_ref()
                .ok()
                .and_then(|answer| answer.header(MARKER));
            if marker != Some(&write.marker) {
                return Some(format!("node {number}: {answer:?}, not {}", write.marker));
            }
        }
        let mut leaders = Vec::new();
        for number in self.fleet.numbers() {
            let status = match self.fleet.status_of(number) {
                Ok(status) => status,
                Err(reason) => return Some(reason),
            };
            if !self.is_settled(number, &status, &write.revision) {
                return Some(format!("node {number}: {status:#?}"));
            }
            leaders.push(leadership(&status));
        }
        let is_agreed = leaders.windows(2).all(|pair| pair[0] == pair[1]);
        (!is_agreed || leaders[0].0.is_empty()).then(|| format!("leaders: {leaders:?}"))
    }

    fn is_settled(&self, number: usize, status: &v1::FleetStatus, revision: &str) -> bool {
        let is_live = |node: &&v1::NodeStatus| node.liveness() == Liveness::Live;
        let live = status.nodes.iter().filter(is_live).count();
        let own = status
            .nodes
            .iter()
            .find(|node| node.id == self.fleet.node(number).id());
        let apply = own.and_then(|node| node.apply.clone()).unwrap_or_default();
        live == self.fleet.numbers().len()
            && apply.state() == State::Applied
            && apply.revision == revision
    }

    /// Acknowledged writes that some node has neither in its history nor among its conflicts.
    fn lost_writes(&self) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let lost: Vec<_> = self
                .fleet
                .numbers()
                .into_iter()
                .flat_map(|number| self.writes.missing_at(&self.fleet, number))
                .collect();
            if lost.is_empty() || begun.elapsed() > PATIENCE {
                return lost;
            }
            pause();
        }
    }

    /// What should not be there any more: rules of a firewall, and signs of a panic.
    fn remains(&self) -> Vec<String> {
        let of_node = |number: usize| {
            let node = self.fleet.node(number);
            let mut remains = verdict::rules(node.namespace());
            if node.log_tail(usize::MAX).contains("panicked at") {
                remains.push("a panic in the log".to_owned());
            }
            remains
                .into_iter()
                .map(move |what| format!("node {number}: {what}"))
        };
        self.fleet.numbers().into_iter().flat_map(of_node).collect()
    }
}
