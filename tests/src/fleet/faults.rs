//! What can befall a fleet, one line each.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

use super::{Fleet, OUTSIDE};
use crate::agent::Settings;
use crate::namespace::Namespace;
use crate::node::Node;

impl Fleet {
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
                .cut(self.node(number).address(), other.address());
        });
    }

    /// Undoes [`Fleet::cut`].
    pub fn heal(&self, number: usize) {
        self.others(number).for_each(|other| {
            self.network
                .heal(self.node(number).address(), other.address());
        });
    }

    /// Nothing reaches node `number` and nothing leaves it, clients and servers included: its machine is gone, and no
    /// connection was closed.
    pub fn cut_off(&self, number: usize) {
        self.cut(number);
        self.network.cut(self.node(number).address(), OUTSIDE);
    }

    /// Undoes [`Fleet::cut_off`].
    pub fn rejoin(&self, number: usize) {
        self.network.heal(self.node(number).address(), OUTSIDE);
        self.heal(number);
    }

    /// Another machine whose agent has the id of node `number`, and a certificate and seeds to go with it. It does not run
    /// yet.
    pub fn twin(&self, number: usize) -> Node {
        static TWINS: AtomicU8 = AtomicU8::new(0);
        let original = self.node(number).settings();
        let count = TWINS.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::new(10, 77, 0, 100 + count % 100);
        let name = format!("twin{count}");
        let namespace = Namespace::new(&name);
        self.network.attach(&namespace, address);
        let settings = Settings {
            address,
            identity: self.authority.twin(&name, &original.id, address),
            home: self.scratch.directory(&format!("{name}-home")),
            environment: [].into(),
            ..original.clone()
        };
        Node::new(settings, namespace)
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
}
