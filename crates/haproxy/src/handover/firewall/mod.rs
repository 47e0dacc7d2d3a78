//! The firewall for a moment: new connections' first packets are dropped or held on the sockets that change hands.
//!
//! Invariant I7: no death or hang of the agent at any point leaves a rule that stops traffic. Rules match only while an
//! entry of the kernel's own list is younger than [`ARMED`]; the rule alone does nothing, and the kernel itself lets the
//! entry expire. Everything is in a chain or table of the node's own, which is swept when the agent starts; nothing else
//! in the firewall is read or changed.

mod nft;
mod recent;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use hafleet_model::{Digest, NodeId};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::binary::in_path;

pub(super) use nft::NftTable;
pub(super) use recent::RecentRules;

/// How long an armed rule matches, if nobody disarms it: the kernel's own limit on the window.
pub(crate) const ARMED: Duration = Duration::from_secs(2);

/// How long one call of a firewall's program may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Which program puts rules into the firewall.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirewallChoice {
    /// `iptables` and `ip6tables`, and `nft` where they are not installed or refuse.
    #[default]
    Auto,
    /// `iptables` and `ip6tables`, whichever variant the machine has under these names.
    Iptables,
    /// `iptables-legacy` and `ip6tables-legacy`.
    IptablesLegacy,
    /// `iptables-nft` and `ip6tables-nft`.
    IptablesNft,
    /// `nft`.
    Nft,
}

impl FirewallChoice {
    /// Its name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Iptables => "iptables",
            Self::IptablesLegacy => "iptables-legacy",
            Self::IptablesNft => "iptables-nft",
            Self::Nft => "nft",
        }
    }

    /// The firewalls that may be tried, best first.
    pub(crate) fn candidates(self) -> &'static [Self] {
        match self {
            Self::Auto => &[Self::Iptables, Self::Nft],
            Self::Iptables => &[Self::Iptables],
            Self::IptablesLegacy => &[Self::IptablesLegacy],
            Self::IptablesNft => &[Self::IptablesNft],
            Self::Nft => &[Self::Nft],
        }
    }

    /// The programs for IPv4 and IPv6; both the same where one program serves both.
    fn programs(self) -> [&'static str; 2] {
        match self {
            Self::Auto | Self::Iptables => ["iptables", "ip6tables"],
            Self::IptablesLegacy => ["iptables-legacy", "ip6tables-legacy"],
            Self::IptablesNft => ["iptables-nft", "ip6tables-nft"],
            Self::Nft => ["nft", "nft"],
        }
    }

    /// The first program that this choice needs and the machine lacks, if one is missing for every candidate.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let mut missing = self.candidates().iter().map(|one| {
            let is_here = |name: &&str| in_path(name).iter().any(|path| path.is_file());
            one.programs().into_iter().find(|name| !is_here(name))
        });
        let first = missing.next()??;
        missing.all(|name| name.is_some()).then_some(first)
    }
}

/// What rules do with the packets that they match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The kernel forgets them; clients send them again after 1 s.
    Drop,
    /// They wait in this queue to userspace; where nobody listens to it, they pass.
    Queue(u16),
}

/// Why the firewall does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The program could not be run.
    #[error("{program} could not be run")]
    Run {
        /// Such as `iptables`.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The program took too long.
    #[error("{program} did not end within {} s", DEADLINE.as_secs())]
    TimedOut {
        /// Such as `iptables`.
        program: &'static str,
    },
    /// The program refused, in its own words.
    #[error("{program} {arguments} was refused: {words}")]
    Refused {
        /// Such as `iptables`.
        program: &'static str,
        /// What it was asked.
        arguments: String,
        /// Its words.
        words: String,
        /// How it ended.
        status: Option<i32>,
    },
    /// The rules could not be armed or disarmed.
    #[error("{} could not be written", path.display())]
    Arm {
        /// The kernel's file of the list.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel gave no queue in which to hold packets.
    #[error("the kernel gave no queue for held packets")]
    Queue(#[source] io::Error),
}

/// The chain of a node: at most 28 characters, as iptables demands, and unlike that of any other node on the machine.
pub(crate) fn chain_name(node: &NodeId) -> String {
    format!("HAFLEET-{}", &fingerprint(node)[..12])
}

/// The queue of a node: the first of a few that it may try, in a range that few others use.
pub(crate) fn first_queue(chain: &str) -> u16 {
    let digits = chain.rsplit('-').next().and_then(|text| text.get(..3));
    let number = digits.and_then(|text| u16::from_str_radix(text, 16).ok());
    0x6000 + number.unwrap_or(0)
}

fn fingerprint(node: &NodeId) -> String {
    Digest::of(node.as_str().as_bytes()).to_string()
}

/// The rules of one handover. They are there from [`Firewall::install`] to [`Firewall::remove`] and do nothing unless armed.
#[derive(Debug, Clone)]
pub(crate) enum Firewall {
    Recent(RecentRules),
    Nft(NftTable),
}

impl Firewall {
    /// Puts the rules for `sockets` in place, unarmed. `kind` is a single firewall, one of [`FirewallChoice::candidates`].
    pub(crate) async fn install(
        kind: FirewallChoice,
        chain: &str,
        target: Target,
        sockets: &[SocketAddr],
    ) -> Result<Self, FirewallError> {
        if kind == FirewallChoice::Nft {
            let table = NftTable::install(chain, target, sockets).await?;
            return Ok(Self::Nft(table));
        }
        let rules = RecentRules::install(kind.programs(), chain, target, sockets).await?;
        Ok(Self::Recent(rules))
    }

    /// Lets the rules match for [`ARMED`] at most; again, if they match already.
    pub(crate) async fn arm(&self) -> Result<(), FirewallError> {
        match self {
            Self::Recent(rules) => rules.arm(),
            Self::Nft(table) => table.arm().await,
        }
    }

    /// Lets everything through again.
    pub(crate) async fn disarm(&self) -> Result<(), FirewallError> {
        match self {
            Self::Recent(rules) => rules.disarm(),
            Self::Nft(table) => table.disarm().await,
        }
    }

    /// Removes what a node has in the firewall `kind`, whoever put it there; whether nothing is left. What is not there is
    /// no error. What stays for a moment, such as while another program holds the lock, is not armed and stops nothing.
    pub(crate) async fn remove(kind: FirewallChoice, chain: &str) -> bool {
        match kind {
            FirewallChoice::Nft => NftTable::remove(chain).await,
            other => RecentRules::remove(other.programs(), chain).await,
        }
    }
}

/// Runs a program with a deadline and `input` on its standard input.
async fn call(
    program: &'static str,
    arguments: &[&str],
    input: &str,
) -> Result<Output, FirewallError> {
    let run = |source| FirewallError::Run { program, source };
    let ran = async {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(run)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read what it is given says why in its own words.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await.map_err(run)
    };
    let output = tokio::time::timeout(DEADLINE, ran)
        .await
        .map_err(|_| FirewallError::TimedOut { program })??;
    if output.status.success() {
        return Ok(output);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(FirewallError::Refused {
        program,
        arguments: arguments.join(" "),
        words: words.trim().chars().take(500).collect(),
        status: output.status.code(),
    })
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
        assert!((0x6000..0x7000).contains(&first_queue(&chain_name(&long))));
    }
}
