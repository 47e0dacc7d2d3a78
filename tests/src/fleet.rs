//! A whole fleet under test: the switch, the nodes, the outside, and every fault in one line.
//!
//! Nodes are counted from 1. Node `i` is called `n<i>` and has the address `10.77.0.<10 + i>`.

use std::net::Ipv4Addr;
use std::time::Duration;

use hafleet_api::v1::{self, apply_status::State, node_status::Liveness};

use crate::agent::{PORT, Settings};
use crate::authority::Authority;
use crate::backend::Backend;
use crate::client::{Client, Finished};
use crate::deadline::wait_for;
use crate::namespace::Namespace;
use crate::network::Network;
use crate::node::Node;
use crate::request::{Answer, Fault, ask_from};
use crate::scratch::Scratch;
use crate::spec::{self, MARKER};

/// How long a fleet may take for what it does by itself: forming, electing, catching up. On a machine that is busy
/// with other tests; the benches measure the real times.
pub const PATIENCE: Duration = Duration::from_secs(60);

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// A running fleet. Dropping it removes all of it; when the test has failed, the agents' last words are printed.
#[derive(Debug)]
pub struct Fleet {
    nodes: Vec<Node>,
    backends: Vec<Backend>,
    outside: Namespace,
    network: Network,
    authority: Authority,
    scratch: Scratch,
}

/// A fleet to be.
pub struct Builder {
    nodes: u8,
    adjust: Box<dyn Fn(&mut Settings)>,
}

impl Builder {
    /// With so many nodes; three otherwise.
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// Whose agents are told what `adjust` makes of their settings.
    pub fn settings(mut self, adjust: impl Fn(&mut Settings) + 'static) -> Self {
        self.adjust = Box::new(adjust);
        self
    }

    /// Everything but the agents.
    pub fn prepare(self) -> Fleet {
        let scratch = Scratch::new();
        let authority = Authority::create("shop", scratch.directory("pki"));
        let (network, outside) = (Network::new(), Namespace::new("outside"));
        network.attach(&outside, OUTSIDE);
        let seeds: Vec<_> = (1..=self.nodes)
            .map(|number| format!("{}:{PORT}", address(number)))
            .collect();
        let node = |number: u8| {
            let (id, address) = (format!("n{number}"), address(number));
            let namespace = Namespace::new(&id);
            network.attach(&namespace, address);
            let mut settings = Settings {
                fleet: authority.fleet().to_owned(),
                address,
                seeds: seeds.clone(),
                identity: authority.node(&id, address),
                home: scratch.directory(&id),
                haproxy: Vec::new(),
                environment: [].into(),
                id,
            };
            (self.adjust)(&mut settings);
            Node::new(settings, namespace)
        };
        let nodes = (1..=self.nodes).map(node).collect();
        let backend = |port: u16| {
            Backend::start(&outside, (OUTSIDE, port).into(), &format!("backend {port}"))
        };
        let backends = [8001, 8002].map(backend).into();
        authority.person("ada", "admin");
        Fleet {
            nodes,
            backends,
            outside,
            network,
            authority,
            scratch,
        }
    }

    /// Everything, and waits until all nodes agree on who is there and who leads.
    pub fn start(self) -> Fleet {
        let fleet = self.prepare();
        fleet.nodes.iter().for_each(Node::start_agent);
        fleet.wait_formed();
        fleet
    }
}

impl Fleet {
    /// A fleet of three nodes, unless it is told otherwise.
    pub fn builder() -> Builder {
        Builder {
            nodes: 3,
            adjust: Box::new(|_| {}),
        }
    }

    /// A fleet of three that serves [`Fleet::spec`] with the marker `first`, and its revision.
    pub fn serving() -> (Self, String) {
        let fleet = Self::builder().start();
        let revision = fleet.apply(1, &fleet.spec("first"));
        fleet.wait_converged(&revision);
        fleet.wait_served("first");
        (fleet, revision)
    }

    /// Node `number`, from 1.
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number - 1]
    }

    /// Node `number`, to change its settings.
    pub fn node_mut(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number - 1]
    }

    /// The numbers of all nodes.
    pub fn numbers(&self) -> Vec<usize> {
        (1..=self.nodes.len()).collect()
    }

    /// Where clients and servers are.
    pub fn outside(&self) -> &Namespace {
        &self.outside
    }

    /// The authority of its certificates.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A directory for a test's own files.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// `kill -9` of the agent of node `number`. Its HAProxy goes on.
    pub fn kill_agent(&self, number: usize) {
        self.node(number).kill_agent();
    }

    /// Starts the agent of node `number` again, after a kill or in place of the running one.
    pub fn restart(&self, number: usize) {
        self.kill_agent(number);
        self.node(number).start_agent();
    }

    /// The agent of node `number` stands still, as on a machine that is suspended.
    pub fn stop(&self, number: usize) {
        self.node(number).stop_agent();
    }

    /// The agent of node `number` goes on.
    pub fn go_on(&self, number: usize) {
        self.node(number).go_on();
    }

    /// Node `number` and the other nodes no longer hear each other. Clients and servers are not cut off.
    pub fn cut(&self, number: usize) {
        self.others(number).for_each(|other| {
            self.network
                .cut(self.node(number).address(), other.address())
        });
    }

    /// Undoes [`Fleet::cut`].
    pub fn heal(&self, number: usize) {
        self.others(number).for_each(|other| {
            self.network
                .heal(self.node(number).address(), other.address())
        });
    }

    /// No node hears any other.
    pub fn cut_all(&self) {
        for (index, one) in self.nodes.iter().enumerate() {
            self.nodes[index + 1..]
                .iter()
                .for_each(|other| self.network.cut(one.address(), other.address()));
        }
    }

    /// Undoes [`Fleet::cut_all`].
    pub fn heal_all(&self) {
        for (index, one) in self.nodes.iter().enumerate() {
            self.nodes[index + 1..]
                .iter()
                .for_each(|other| self.network.heal(one.address(), other.address()));
        }
    }

    fn others(&self, number: usize) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .enumerate()
            .filter(move |(index, _)| index + 1 != number)
            .map(|(_, node)| node)
    }

    /// The command line of an administrator who knows all nodes.
    pub fn client(&self) -> Client<'_> {
        self.client_as("ada", &self.numbers())
    }

    /// The command line of an administrator who knows only node `number`.
    pub fn client_of(&self, number: usize) -> Client<'_> {
        self.client_as("ada", &[number])
    }

    /// The command line of `person`, to whom the authority has issued an identity, who knows the nodes `numbers`.
    pub fn client_as(&self, person: &str, numbers: &[usize]) -> Client<'_> {
        Client {
            namespace: Some(&self.outside),
            endpoints: numbers
                .iter()
                .map(|number| self.node(*number).endpoint())
                .collect(),
            identity: Some(self.authority.directory().with_file_name(person)),
            scratch: &self.scratch,
        }
    }

    /// A spec that marks its answers with `marker`, before the fleet's own servers.
    pub fn spec(&self, marker: &str) -> String {
        self.spec_on(marker, &[spec::TRAFFIC_PORT])
    }

    /// [`Fleet::spec`] on other ports.
    pub fn spec_on(&self, marker: &str, ports: &[u16]) -> String {
        let servers: Vec<_> = self.backends.iter().map(Backend::address).collect();
        spec::on_ports(marker, ports, &servers)
    }

    /// Applies `spec` through node `number` and returns its revision.
    ///
    /// # Panics
    /// When it is not committed.
    #[track_caller]
    pub fn apply(&self, number: usize, spec: &str) -> String {
        written(&self.client_of(number).apply(spec, &[]))
    }

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

/// The revision that a committed write made.
///
/// # Panics
/// When the write failed or is not committed.
#[track_caller]
pub fn written(finished: &Finished) -> String {
    let finished = finished.clone().expect_code(0);
    let response: v1::WriteSpecResponse = finished.json();
    assert!(response.committed, "{finished}");
    response.revision.expect("a write has a revision").revision
}

fn leadership(status: &v1::FleetStatus) -> (String, u64) {
    let leadership = status.leadership.clone().unwrap_or_default();
    (leadership.leader, leadership.term)
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 10 + number)
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("--- {} says last:\n{}", node.id(), node.log_tail(40));
            }
        }
    }
}
