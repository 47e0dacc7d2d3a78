//! Faults of processes: they are killed, stand still, or get nothing from the system.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::{Fault, Lasts};
use crate::deadline::wait_until;
use crate::fleet::PATIENCE;
use crate::node::Node;
use crate::process::Process;
use crate::trial::Trial;

/// `kill -9` of agents, which are started again when it ends.
#[derive(Debug)]
pub struct KilledAgents {
    nodes: Vec<usize>,
}

impl KilledAgents {
    /// Of the nodes `nodes`.
    pub fn of(nodes: &[usize]) -> Self {
        Self {
            nodes: nodes.to_vec(),
        }
    }
}

impl fmt::Display for KilledAgents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill -9 of the agents of nodes {:?}", self.nodes)
    }
}

impl Fault for KilledAgents {
    fn begin(&mut self, trial: &Trial) {
        self.nodes
            .iter()
            .for_each(|node| trial.fleet().kill_agent(*node));
    }

    fn end(&mut self, trial: &Trial) {
        self.nodes
            .iter()
            .for_each(|node| trial.fleet().restart(*node));
    }
}

/// `kill -9` of all agents at once, and their start.
#[derive(Debug)]
pub struct RestartedAgents {
    have_seeds: bool,
}

impl RestartedAgents {
    /// They know their seeds, as before.
    pub fn with_seeds() -> Self {
        Self { have_seeds: true }
    }

    /// They are told no seeds, and find each other by what they remember.
    pub fn without_seeds() -> Self {
        Self { have_seeds: false }
    }
}

impl fmt::Display for RestartedAgents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = if self.have_seeds { "with" } else { "without" };
        write!(f, "all agents are killed and started {seeds} seeds")
    }
}

impl Fault for RestartedAgents {
    fn begin(&mut self, trial: &Trial) {
        let fleet = trial.fleet();
        for number in fleet.numbers() {
            fleet.node(number).tell_seeds(self.have_seeds);
            fleet.node(number).agent_process().signal(Signal::KILL);
        }
        for number in fleet.numbers() {
            fleet.restart(number);
        }
    }

    fn end(&mut self, trial: &Trial) {
        let fleet = trial.fleet();
        for number in fleet.numbers() {
            fleet.node(number).tell_seeds(true);
        }
    }
}

/// SIGSTOP of an agent, which goes on when it ends.
#[derive(Debug)]
pub struct StoppedAgent {
    node: usize,
}

impl StoppedAgent {
    /// Of the node `node`.
    pub fn of(node: usize) -> Self {
        Self { node }
    }
}

impl fmt::Display for StoppedAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIGSTOP of the agent of node {}", self.node)
    }
}

impl Fault for StoppedAgent {
    fn begin(&mut self, trial: &Trial) {
        trial.fleet().stop(self.node);
    }

    fn end(&mut self, trial: &Trial) {
        trial.fleet().go_on(self.node);
    }
}

/// `kill -9` of an HAProxy, which its agent starts again.
#[derive(Debug)]
pub struct KilledHaproxy {
    node: usize,
}

impl KilledHaproxy {
    /// Of the node `node`.
    pub fn of(node: usize) -> Self {
        Self { node }
    }
}

impl fmt::Display for KilledHaproxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill -9 of the HAProxy of node {}", self.node)
    }
}

impl Fault for KilledHaproxy {
    fn begin(&mut self, trial: &Trial) {
        let node = trial.fleet().node(self.node);
        node.haproxies().iter().for_each(Process::kill);
        wait_until("an agent starts HAProxy again", PATIENCE, || {
            trial.fleet().ask(self.node).is_ok()
        });
    }

    fn end(&mut self, _: &Trial) {}

    fn costs_traffic_of(&self) -> BTreeSet<usize> {
        [self.node].into()
    }
}

/// SIGSTOP of an HAProxy, which goes on when it ends.
#[derive(Debug)]
pub struct StoppedHaproxy {
    node: usize,
    stopped: Vec<Process>,
}

impl StoppedHaproxy {
    /// Of the node `node`.
    pub fn of(node: usize) -> Self {
        Self {
            node,
            stopped: Vec::new(),
        }
    }
}

impl fmt::Display for StoppedHaproxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIGSTOP of the HAProxy of node {}", self.node)
    }
}

impl Fault for StoppedHaproxy {
    fn begin(&mut self, trial: &Trial) {
        self.stopped = trial.fleet().node(self.node).haproxies();
        self.stopped
            .iter()
            .for_each(|process| process.signal(Signal::STOP));
    }

    fn end(&mut self, _: &Trial) {
        self.stopped
            .drain(..)
            .for_each(|process| process.signal(Signal::CONT));
    }

    fn costs_traffic_of(&self) -> BTreeSet<usize> {
        [self.node].into()
    }
}

/// A running agent that may open no file and take no connection more.
#[derive(Debug)]
pub struct FewDescriptors {
    node: usize,
    before: Option<(Process, u64)>,
}

impl FewDescriptors {
    /// That of the node `node`.
    pub fn of(node: usize) -> Self {
        Self { node, before: None }
    }
}

impl fmt::Display for FewDescriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no file descriptor is left to the agent of node {}",
            self.node
        )
    }
}

impl Fault for FewDescriptors {
    fn begin(&mut self, trial: &Trial) {
        let process = trial.fleet().node(self.node).agent_process();
        let open = fs::read_dir(format!("/proc/{}/fd", process.pid)).expect("an agent's files");
        let before = limit(&process, open.count() as u64);
        self.before = Some((process, before));
    }

    fn end(&mut self, _: &Trial) {
        if let Some((process, before)) = self.before.take() {
            limit(&process, before);
        }
    }
}

/// Limits the descriptors of `process`, which has this process's own hard limit, and returns the limit before.
fn limit(process: &Process, descriptors: u64) -> u64 {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    let new = Rlimit {
        current: Some(descriptors),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let before = prlimit(pid, Resource::Nofile, new);
    let before = before.expect("the limits of one's own child can be set");
    before.current.unwrap_or(descriptors)
}

/// Another machine with a node's id and a certificate for it: the later of the two is heard, and the earlier ends.
#[derive(Debug)]
pub struct Twin {
    node: usize,
    twin: Option<Node>,
}

impl Twin {
    /// Of the node `node`.
    pub fn of(node: usize) -> Self {
        Self { node, twin: None }
    }
}

impl fmt::Display for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another machine has the id of node {}", self.node)
    }
}

impl Fault for Twin {
    fn begin(&mut self, trial: &Trial) {
        let fleet = trial.fleet();
        let twin = fleet.twin(self.node);
        twin.start_agent();
        let said = fleet.node(self.node).wait_ended();
        assert!(
            said.contains("two agents run under this node's id"),
            "an agent that another replaced says so:\n{said}"
        );
        self.twin = Some(twin);
    }

    fn end(&mut self, trial: &Trial) {
        self.twin = None;
        trial.fleet().restart(self.node);
    }

    fn lasts(&self) -> Lasts {
        Lasts::For(Duration::ZERO)
    }
}
