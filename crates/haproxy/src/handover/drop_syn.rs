//! The classic handover: for a moment, the first packets of new connections are dropped, so that none is in the queue of
//! a socket that closes. The client's kernel sends them again after 1 s.
//!
//! Invariant I7: no death or hang of the agent at any point leaves a rule that stops traffic. The rules match only
//! while an entry of the kernel's `recent` list is younger than [`ARMED_SECS`] (iptables-extensions(8), `recent`): the rule
//! alone does nothing, arming is one write to `/proc/net/xt_recent`, and the kernel itself lets it expire.
//! Everything is in a chain of the node's own, which is swept when the agent starts.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use hafleet_model::{Digest, NodeId};
use tokio::process::Command;

/// How long an armed rule drops, if nobody disarms it: the kernel's own limit on the window, in seconds.
pub(crate) const ARMED_SECS: u64 = 2;

/// The longest settle time that leaves room in the window for the rest.
pub(crate) const MAX_SETTLE: Duration = Duration::from_millis(ARMED_SECS * 1000 - 500);

/// How long one call of iptables may take; it waits half of that for the lock.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why the firewall does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// iptables could not be run.
    #[error("{program} could not be run")]
    Run {
        /// iptables or ip6tables.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// iptables took too long.
    #[error("{program} did not end within {} s", DEADLINE.as_secs())]
    TimedOut {
        /// iptables or ip6tables.
        program: &'static str,
    },
    /// iptables refused, in its own words.
    #[error("{program} {arguments} was refused: {words}")]
    Refused {
        /// iptables or ip6tables.
        program: &'static str,
        /// What it was asked.
        arguments: String,
        /// Its words.
        words: String,
    },
    /// The rules could not be armed or disarmed.
    #[error("{} could not be written", path.display())]
    Arm {
        /// The kernel's file of the list.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The chain of a node: at most 28 characters, as iptables demands, and unlike that of any other node on the machine.
pub(crate) fn chain_name(node: &NodeId) -> String {
    let digest = Digest::of(node.as_str().as_bytes()).to_string();
    format!("HAFLEET-{}", &digest[..12])
}

/// The rules of one handover. They are there from [`DropSyn::install`] to [`DropSyn::remove`] and drop nothing unless armed.
#[derive(Debug)]
pub(crate) struct DropSyn {
    chain: String,
    families: Vec<&'static Family>,
}

#[derive(Debug)]
struct Family {
    program: &'static str,
    /// Distinguishes the lists of the two, which share a directory.
    suffix: &'static str,
    unspecified: &'static str,
}

static IPV4: Family = Family {
    program: "iptables",
    suffix: "-4",
    unspecified: "0.0.0.0",
};
static IPV6: Family = Family {
    program: "ip6tables",
    suffix: "-6",
    unspecified: "::",
};

impl DropSyn {
    /// Puts the rules for `sockets` into `chain`, unarmed.
    pub(crate) async fn install(
        chain: &str,
        sockets: &[SocketAddr],
    ) -> Result<Self, FirewallError> {
        Self::remove(chain).await;
        let mut families = Vec::new();
        for family in [&IPV4, &IPV6] {
            let rules: BTreeSet<_> = sockets
                .iter()
                .filter_map(|socket| family.destination(*socket))
                .collect();
            if rules.is_empty() {
                continue;
            }
            families.push(family);
            family.call(&["-N", chain]).await?;
            let list = family.list(chain);
            for (address, port) in rules {
                let port = port.to_string();
                let mut words = vec!["-A", chain, "-p", "tcp", "--syn", "--dport", &port];
                let address = address.map(|address| address.to_string());
                if let Some(address) = &address {
                    words.extend(["-d", address]);
                }
                let seconds = ARMED_SECS.to_string();
                words.extend([
                    "-m",
                    "recent",
                    "--name",
                    &list,
                    "--rcheck",
                    "--seconds",
                    &seconds,
                ]);
                words.extend(["--rdest", "--mask", family.unspecified, "-j", "DROP"]);
                family.call(&words).await?;
            }
            family
                .call(&["-I", "INPUT", "-p", "tcp", "--syn", "-j", chain])
                .await?;
        }
        Ok(Self {
            chain: chain.to_owned(),
            families,
        })
    }

    /// Lets the rules drop for [`ARMED_SECS`] at most.
    pub(crate) fn arm(&self) -> Result<(), FirewallError> {
        self.write(|family| format!("+{}\n", family.unspecified))
    }

    /// Lets everything through again.
    pub(crate) fn disarm(&self) -> Result<(), FirewallError> {
        self.write(|_| "/\n".to_owned())
    }

    fn write(&self, words: impl Fn(&Family) -> String) -> Result<(), FirewallError> {
        for family in &self.families {
            let path = PathBuf::from("/proc/net/xt_recent").join(family.list(&self.chain));
            fs::write(&path, words(family))
                .map_err(|source| FirewallError::Arm { path, source })?;
        }
        Ok(())
    }

    /// Removes the rules and the chain of a node, whoever put them there. What is not there is no error.
    pub(crate) async fn remove(chain: &str) {
        for family in [&IPV4, &IPV6] {
            while family
                .call(&["-D", "INPUT", "-p", "tcp", "--syn", "-j", chain])
                .await
                .is_ok()
            {}
            let _ = family.call(&["-F", chain]).await;
            let _ = family.call(&["-X", chain]).await;
        }
    }
}

impl Family {
    fn list(&self, chain: &str) -> String {
        format!("{chain}{}", self.suffix)
    }

    /// What a rule of this family has to match to cover `socket`; none when it is the other family's. A wildcard
    /// IPv6 socket takes IPv4 too, unless it is told not to, and a rule too many does no harm.
    fn destination(&self, socket: SocketAddr) -> Option<(Option<IpAddr>, u16)> {
        let address = socket.ip();
        let is_any = address.is_unspecified();
        let is_mine = match address {
            IpAddr::V4(_) => self.suffix == IPV4.suffix,
            IpAddr::V6(_) => is_any || self.suffix == IPV6.suffix,
        };
        is_mine.then(|| (Some(address).filter(|_| !is_any), socket.port()))
    }

    async fn call(&self, arguments: &[&str]) -> Result<(), FirewallError> {
        let program = self.program;
        let output = Command::new(program)
            .args(["-w", "5"])
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(DEADLINE, output)
            .await
            .map_err(|_| FirewallError::TimedOut { program })?
            .map_err(|source| FirewallError::Run { program, source })?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(FirewallError::Refused {
            program,
            arguments: arguments.join(" "),
            words: words.trim().chars().take(500).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_has_a_legal_name() {
        let long = NodeId::new("x".repeat(63)).unwrap();
        let other = NodeId::new("y").unwrap();
        assert!(chain_name(&long).len() <= 28);
        assert_ne!(chain_name(&long), chain_name(&other));
    }

    #[test]
    fn each_socket_is_covered_in_its_families() {
        let any6: SocketAddr = "[::]:80".parse().unwrap();
        let one4: SocketAddr = "192.0.2.1:81".parse().unwrap();
        assert_eq!(IPV4.destination(any6), Some((None, 80)));
        assert_eq!(IPV6.destination(any6), Some((None, 80)));
        assert_eq!(IPV4.destination(one4), Some((Some(one4.ip()), 81)));
        assert_eq!(IPV6.destination(one4), None);
    }
}
