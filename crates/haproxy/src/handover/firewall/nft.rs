//! A table of nftables whose rules match while a port is in a set; its elements have a timeout (nft(8), "Sets").

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::{ARMED, FirewallError, Target, call};

/// A table of the node's own, in the family `inet`, which sees IPv4 and IPv6.
#[derive(Debug, Clone)]
pub(crate) struct NftTable {
    name: String,
    ports: BTreeSet<u16>,
}

impl NftTable {
    /// Puts the table with the rules for `sockets` in place, unarmed: in one transaction, as a whole or not at all.
    pub(super) async fn install(
        chain: &str,
        target: Target,
        sockets: &[SocketAddr],
    ) -> Result<Self, FirewallError> {
        let name = table_name(chain);
        let rules: BTreeSet<_> = sockets.iter().map(|socket| rule(*socket, target)).collect();
        let rules: Vec<_> = rules.into_iter().collect();
        // A table of that name that is there already, from a former run, is replaced.
        let text = format!(
            "add table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n\
             set armed {{ type inet_service; flags timeout;\n }}\n\
             chain input {{\ntype filter hook input priority -10; policy accept;\n{}\n}}\n}}\n",
            rules.join("\n")
        );
        run(&text).await?;
        Ok(Self {
            name,
            ports: sockets.iter().map(SocketAddr::port).collect(),
        })
    }

    /// Lets the rules match for [`ARMED`] at most. One transaction: ports that match go on matching.
    pub(super) async fn arm(&self) -> Result<(), FirewallError> {
        let name = &self.name;
        let elements = self.ports.iter();
        let elements: Vec<_> = elements
            .map(|port| format!("{port} timeout {}s", ARMED.as_secs()))
            .collect();
        let add = match elements.as_slice() {
            [] => String::new(),
            some => format!(
                "add element inet {name} armed {{ {}\n}}\n",
                some.join(",\n")
            ),
        };
        run(&format!("flush set inet {name} armed\n{add}")).await
    }

    /// Lets everything through again.
    pub(super) async fn disarm(&self) -> Result<(), FirewallError> {
        run(&format!("flush set inet {} armed\n", self.name)).await
    }

    /// Removes the table of a node; whether nothing is left.
    pub(super) async fn remove(chain: &str) -> bool {
        let name = table_name(chain);
        match run(&format!(
            "add table inet {name}\ndelete table inet {name}\n"
        ))
        .await
        {
            Ok(()) => true,
            Err(FirewallError::Run { source, .. }) => source.kind() == std::io::ErrorKind::NotFound,
            Err(_) => false,
        }
    }
}

fn table_name(chain: &str) -> String {
    chain.to_ascii_lowercase()
}

fn rule(socket: SocketAddr, target: Target) -> String {
    let port = socket.port();
    let destination = match socket {
        _ if socket.ip().is_unspecified() && socket.is_ipv6() => String::new(),
        SocketAddr::V4(_) if socket.ip().is_unspecified() => "meta nfproto ipv4 ".to_owned(),
        SocketAddr::V4(at) => format!("ip daddr {} ", at.ip()),
        SocketAddr::V6(at) => format!("ip6 daddr {} ", at.ip()),
    };
    let verdict = match target {
        Target::Drop => "drop".to_owned(),
        Target::Queue(number) => format!("queue num {number} bypass"),
    };
    format!(
        "{destination}tcp dport {port} tcp dport @armed tcp flags & (fin|syn|rst|ack) == syn {verdict}"
    )
}

async fn run(text: &str) -> Result<(), FirewallError> {
    call("nft", &["-f", "-"], text).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_is_covered_in_its_families() {
        let of = |text: &str| rule(text.parse().unwrap(), Target::Drop);
        assert!(of("[::]:80").starts_with("tcp dport 80 tcp dport @armed"));
        assert!(of("0.0.0.0:80").starts_with("meta nfproto ipv4 tcp dport 80"));
        assert!(of("192.0.2.1:80").starts_with("ip daddr 192.0.2.1 "));
        assert!(of("[::1]:80").starts_with("ip6 daddr ::1 "));
        assert!(
            rule("[::1]:80".parse().unwrap(), Target::Queue(3)).ends_with("queue num 3 bypass")
        );
    }
}
