//! One node of a fleet under test: a namespace with an agent and its HAProxy in it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::agent::{Agent, PORT, Settings, log_tail};
use crate::deadline::{wait_for, wait_until};
use crate::namespace::Namespace;
use crate::process::Process;
use crate::spec::TRAFFIC_PORT;

/// A node. Its agent and its HAProxy can be killed, stopped and started one by one.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    agent: Mutex<Option<Agent>>,
    has_no_seeds: AtomicBool,
    namespace: Namespace,
}

impl Node {
    /// A node whose agent does not run yet.
    pub fn new(settings: Settings, namespace: Namespace) -> Self {
        Self {
            settings,
            agent: Mutex::new(None),
            has_no_seeds: AtomicBool::new(false),
            namespace,
        }
    }

    /// Its node id.
    pub fn id(&self) -> &str {
        &self.settings.id
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.settings.address
    }

    /// What its agent is told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What its agent is told, to be changed before its next start.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where its agent answers, as `--endpoint` takes it.
    pub fn endpoint(&self) -> String {
        format!("{}:{PORT}", self.address())
    }

    /// Where its HAProxy listens.
    pub fn traffic(&self) -> SocketAddr {
        (self.address(), TRAFFIC_PORT).into()
    }

    /// Whether its agent is told seeds from its next start on.
    pub fn tell_seeds(&self, told: bool) {
        self.has_no_seeds.store(!told, Ordering::Relaxed);
    }

    /// Starts its agent.
    pub fn start_agent(&self) {
        let mut settings = self.settings.clone();
        if self.has_no_seeds.load(Ordering::Relaxed) {
            settings.seeds.clear();
        }
        self.start_agent_as(&settings);
    }

    /// Starts its agent with other settings than its own.
    pub fn start_agent_as(&self, settings: &Settings) {
        let started = Agent::start(&self.namespace, settings);
        *self.agent() = Some(started);
    }

    /// `kill -9` of its agent.
    pub fn kill_agent(&self) {
        *self.agent() = None;
    }

    /// Its agent is asked to leave, and has.
    pub fn terminate_agent(&self) {
        let agent = self.agent().take();
        let status = agent.expect("an agent runs").terminate();
        assert!(
            status.success(),
            "{} left with {status}:\n{}",
            self.id(),
            self.log_tail(20)
        );
    }

    /// Its agent stands still until [`Node::go_on`].
    pub fn stop_agent(&self) {
        self.with_agent(|agent| agent.stop());
    }

    /// Its agent goes on.
    pub fn go_on(&self) {
        self.with_agent(|agent| agent.go_on());
    }

    /// Its agent's process.
    pub fn agent_process(&self) -> Process {
        self.with_agent(|agent| agent.process())
    }

    /// Whether its agent runs.
    pub fn has_agent(&self) -> bool {
        self.agent()
            .as_mut()
            .is_some_and(|agent| agent.ended().is_none())
    }

    /// Waits until its agent has ended by itself, and returns what it said last.
    ///
    /// # Panics
    /// When it runs on.
    pub fn wait_ended(&self) -> String {
        wait_until("an agent ends by itself", Duration::from_secs(30), || {
            !self.has_agent()
        });
        self.log_tail(5)
    }

    /// Does something with its running agent.
    pub fn with_agent<T>(&self, work: impl FnOnce(&mut Agent) -> T) -> T {
        work(self.agent().as_mut().expect("an agent runs"))
    }

    /// All its HAProxies: one, and more for a moment around a reload.
    pub fn haproxies(&self) -> Vec<Process> {
        let all = self.namespace.processes();
        all.into_iter()
            .filter(|process| process.program == "haproxy")
            .collect()
    }

    /// Its HAProxy, once there is exactly one.
    pub fn haproxy(&self) -> Process {
        wait_for(
            "a node has one HAProxy",
            Duration::from_secs(20),
            || match self.haproxies().as_slice() {
                [one] => Ok(one.clone()),
                other => Err(format!("{} has {other:?}", self.id())),
            },
        )
    }

    /// Its agent's last words.
    pub fn log_tail(&self, lines: usize) -> String {
        log_tail(&self.settings.log(), lines)
    }

    /// Waits until its agent has logged `words`.
    pub fn wait_logged(&self, words: &str) {
        let limit = Duration::from_secs(30);
        wait_for("an agent logs what it has to", limit, || {
            let text = self.log_tail(usize::MAX);
            if text.contains(words) {
                Ok::<_, String>(())
            } else {
                Err(format!("no {words:?} in\n{text}"))
            }
        });
    }

    fn agent(&self) -> MutexGuard<'_, Option<Agent>> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
