//! The switch between namespaces, and cuts in it.
//!
//! A cut drops what two addresses send each other, without a word, as a failed network does: neither side sees a link go
//! down or a connection refused. It is of both directions or of one; a lossy path drops some of the packets.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::deadline::wait_until;
use crate::namespace::{Namespace, ip};

const RULES: &str = "table bridge cuts {
    set pairs { type ipv4_addr . ipv4_addr; }
    chain between {
        type filter hook forward priority 0; policy accept;
        ip saddr . ip daddr @pairs drop
        jump lossy
    }
    chain lossy { }
}";

/// A switch in a namespace of its own.
#[derive(Debug)]
pub struct Network {
    switch: Namespace,
    ports: AtomicU32,
}

impl Network {
    /// A switch without ports.
    pub fn new() -> Self {
        let switch = Namespace::new("switch");
        ip(&[
            "-n",
            switch.name(),
            "link",
            "add",
            "bridge",
            "type",
            "bridge",
        ]);
        ip(&["-n", switch.name(), "link", "set", "bridge", "up"]);
        switch.output(Command::new("nft").arg(RULES));
        Self {
            switch,
            ports: AtomicU32::new(0),
        }
    }

    /// Connects `namespace` under `address`, in a network of 24 bits.
    pub fn attach(&self, namespace: &Namespace, address: Ipv4Addr) {
        let (switch, name) = (self.switch.name(), namespace.name());
        let port = format!("port{}", self.ports.fetch_add(1, Ordering::Relaxed));
        let wire = ["type", "veth", "peer", "name", "eth0", "netns", name];
        ip(&[&["-n", switch, "link", "add", &port][..], &wire].concat());
        ip(&["-n", switch, "link", "set", &port, "master", "bridge", "up"]);
        ip(&[
            "-n",
            name,
            "address",
            "add",
            &format!("{address}/24"),
            "dev",
            "eth0",
        ]);
        ip(&["-n", name, "link", "set", "eth0", "up"]);
        // The kernel brings a wire up some time after it was told to, and drops without a word what is sent until then.
        wait_until("the wire carries", Duration::from_secs(10), || {
            let port = ip(&["-n", switch, "-details", "link", "show", &port]);
            let end = ip(&["-n", name, "link", "show", "eth0"]);
            port.contains("state UP")
                && port.contains("state forwarding")
                && end.contains("state UP")
        });
    }

    /// Nothing passes between `one` and `other` from now on.
    pub fn cut(&self, one: Ipv4Addr, other: Ipv4Addr) {
        self.change("add", &[(one, other), (other, one)]);
    }

    /// All passes again.
    pub fn heal(&self, one: Ipv4Addr, other: Ipv4Addr) {
        self.change("delete", &[(one, other), (other, one)]);
    }

    /// What `from` sends to `to` is dropped from now on; what comes back is not.
    pub fn cut_one_way(&self, from: Ipv4Addr, to: Ipv4Addr) {
        self.change("add", &[(from, to)]);
    }

    /// Undoes [`Network::cut_one_way`].
    pub fn heal_one_way(&self, from: Ipv4Addr, to: Ipv4Addr) {
        self.change("delete", &[(from, to)]);
    }

    /// Of the packets between `one` and `other`, `percent` in a hundred are dropped from now on, whichever they are.
    pub fn lose(&self, one: Ipv4Addr, other: Ipv4Addr, percent: u8) {
        for (from, to) in [(one, other), (other, one)] {
            let rule = format!(
                "add rule bridge cuts lossy ip saddr {from} ip daddr {to} numgen random mod 100 < {percent} drop"
            );
            self.switch.output(Command::new("nft").arg(rule));
        }
    }

    /// No packet is lost by chance any more.
    pub fn lose_nothing(&self) {
        let flush = ["flush", "chain", "bridge", "cuts", "lossy"];
        self.switch.output(Command::new("nft").args(flush));
    }

    fn change(&self, verb: &str, ways: &[(Ipv4Addr, Ipv4Addr)]) {
        let ways: Vec<_> = ways
            .iter()
            .map(|(from, to)| format!("{from} . {to}"))
            .collect();
        let pairs = format!("{{ {} }}", ways.join(", "));
        self.switch
            .output(Command::new("nft").args([verb, "element", "bridge", "cuts", "pairs", &pairs]));
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}
