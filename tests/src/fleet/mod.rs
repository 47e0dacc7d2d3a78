//! A whole fleet under test: the switch, the nodes, the outside, and every fault in one line.
//!
//! Nodes are counted from 1. Node `i` is called `n<i>` and has the address `10.77.0.<10 + i>`.

mod builder;
mod faults;
mod found;
mod state;

use std::net::Ipv4Addr;
use std::time::Duration;

use hafleet_api::v1;

use crate::authority::Authority;
use crate::backend::Backend;
use crate::client::{Client, Finished};
use crate::disk::Disk;
use crate::namespace::Namespace;
use crate::network::Network;
use crate::node::Node;
use crate::scratch::Scratch;
use crate::spec;

pub use builder::Builder;
pub(crate) use state::leadership;

/// How long a fleet may take for what it does by itself: forming, electing, catching up. On a machine that is busy
/// with other tests; the benches measure the real times.
pub const PATIENCE: Duration = Duration::from_secs(60);

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// A running fleet. Dropping it removes all of it; when the test has failed, the agents' last words are printed.
#[derive(Debug)]
pub struct Fleet {
    /// Before the directories that they are mounted on.
    _disks: Vec<Disk>,
    nodes: Vec<Node>,
    backends: Vec<Backend>,
    outside: Namespace,
    network: Network,
    authority: Authority,
    scratch: Scratch,
}

impl Fleet {
    /// A fleet of three nodes, unless it is told otherwise.
    pub fn builder() -> Builder {
        Builder::default()
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

    /// A further namespace in the fleet's network, at `10.77.0.<200 + number>`: where somebody is whom the fleet does not
    /// know.
    pub fn bystander(&self, number: u8) -> Namespace {
        let namespace = Namespace::new("bystander");
        let address = Ipv4Addr::new(10, 77, 0, 200 + number);
        self.network.attach(&namespace, address);
        namespace
    }

    /// The authority of its certificates.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A directory for a test's own files.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The numbers of all nodes but `numbers`.
    pub fn but(&self, numbers: &[usize]) -> Vec<usize> {
        let all = self.numbers().into_iter();
        all.filter(|number| !numbers.contains(number)).collect()
    }

    /// The switch between them.
    pub fn network(&self) -> &Network {
        &self.network
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

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("--- {} says last:\n{}", node.id(), node.log_tail(40));
            }
        }
    }
}
