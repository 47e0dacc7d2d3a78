//! Building a fleet: certificates, namespaces, agents, and the wait until they have met.

use std::net::Ipv4Addr;

use super::{Fleet, OUTSIDE};
use crate::agent::{PORT, Settings};
use crate::authority::Authority;
use crate::backend::Backend;
use crate::clock;
use crate::disk::Disk;
use crate::machine::hafleet;
use crate::namespace::Namespace;
use crate::network::Network;
use crate::node::Node;
use crate::scratch::Scratch;

/// The size of a small disk. A store of some hundred small specs takes some of it.
const DISK_MEBIBYTES: u32 = 64;

/// A fleet to be; of three nodes, unless it is told otherwise.
pub struct Builder {
    name: String,
    nodes: u8,
    has_breakable_machines: bool,
    has_breakable_disks: bool,
    adjust: Box<dyn Fn(&mut Settings)>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            name: "shop".to_owned(),
            nodes: 3,
            has_breakable_machines: false,
            has_breakable_disks: false,
            adjust: Box::new(|_| {}),
        }
    }
}

impl Builder {
    /// Called `name`; `shop` otherwise.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// With so many nodes; three otherwise.
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// Whose nodes have a small disk for the agent's data and a clock of their own each, so that both can fail.
    pub fn breakable_machines(mut self) -> Self {
        self.has_breakable_machines = true;
        self
    }

    /// Whose nodes have a disk for the agent's data each that can break down while files on it are open; where
    /// [`can_mount_files`](crate::disk::can_mount_files).
    pub fn breakable_disks(mut self) -> Self {
        self.has_breakable_disks = true;
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
        let authority = Authority::create(&self.name, scratch.directory("pki"));
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
                program: hafleet(),
                fleet: authority.fleet().to_owned(),
                address,
                seeds: seeds.clone(),
                identity: authority.node(&id, address),
                home: scratch.directory(&id),
                haproxy: Vec::new(),
                parts: Vec::new(),
                launcher: Vec::new(),
                environment: [].into(),
                id,
            };
            if self.has_breakable_machines {
                clock::give(&mut settings);
            }
            (self.adjust)(&mut settings);
            Node::new(settings, namespace)
        };
        let nodes: Vec<_> = (1..=self.nodes).map(node).collect();
        let disk = |node: &Node| {
            let data = node.settings().data();
            match (self.has_breakable_disks, self.has_breakable_machines) {
                (true, _) => Some(Disk::mount_breakable(&data, DISK_MEBIBYTES)),
                (false, true) => Some(Disk::mount(&data, DISK_MEBIBYTES)),
                (false, false) => None,
            }
        };
        let disks = nodes.iter().filter_map(disk).collect();
        let backend = |port: u16| {
            Backend::start(&outside, (OUTSIDE, port).into(), &format!("backend {port}"))
        };
        let backends = [8001, 8002].map(backend).into();
        authority.person("ada", "admin");
        Fleet {
            _disks: disks,
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

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 10 + number)
}
