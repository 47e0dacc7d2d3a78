//! From the old process to the new one without losing a connection.
//!
//! The new process starts beside the old one; when it is seen to serve, the old one is told to finish (SIGUSR1,
//! Management Guide, section 4). How the connections that arrive meanwhile get to the new one is the [`Strategy`]; what
//! each needs and costs is in the book's page on handover. `choose` decides, `capability` and `migrate` know what the
//! machine can do, `window` stops first packets for a moment with `firewall` and `queue`, `finish` ends the old one.
//!
//! | strategy | what happens to a connection that arrives meanwhile |
//! |---|---|
//! | `pass-fds` | nothing: both processes hold the very same sockets |
//! | `migrate` | the kernel moves it from the socket that closes to the new process's |
//! | `hold-syn` | its first packet waits in the kernel for some milliseconds |
//! | `drop-syn` | its first packet is dropped in a short window; the client's kernel sends it again after 1 s |
//! | `none` | it may be reset, if it sat in the old process's queue |

mod capability;
mod choose;
mod finish;
mod firewall;
mod migrate;
mod queue;
mod settle;
mod window;

use std::fmt;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::files::FileError;

pub(crate) use capability::firewall_obstacle;
pub(crate) use choose::{Situation, choose};
pub(crate) use finish::close_sockets;
pub(crate) use firewall::{ARMED, Firewall, chain_name};
pub use firewall::{FirewallChoice, FirewallError};
pub(crate) use migrate::{enable as enable_migration, obstacle as migration_obstacle};
pub(crate) use settle::settle_time;
pub(crate) use window::{Manner, Window};

/// The longest settle time that may be asked for: it leaves room in the window for the rest.
pub(crate) const MAX_SETTLE: Duration = Duration::from_millis(1_500);

/// How the old process hands over to the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The new process gets the listening sockets from the old one over its runtime socket (`-x`).
    PassFds,
    /// The kernel moves what closing sockets hold to the new process's (`net.ipv4.tcp_migrate_req`).
    Migrate,
    /// New connections' first packets wait in the kernel while the old process closes its sockets (NFQUEUE).
    HoldSyn,
    /// New connections' first packets are dropped while the old process closes its sockets.
    DropSyn,
    /// The old process closes its sockets, and what waits in them is lost.
    None,
}

impl Strategy {
    /// Its name in settings and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PassFds => "pass-fds",
            Self::Migrate => "migrate",
            Self::HoldSyn => "hold-syn",
            Self::DropSyn => "drop-syn",
            Self::None => "none",
        }
    }

    /// What it does with first packets; none where it lets them be.
    pub(crate) fn manner(self) -> Option<Manner> {
        match self {
            Self::HoldSyn => Some(Manner::Hold),
            Self::DropSyn => Some(Manner::Drop),
            Self::PassFds | Self::Migrate | Self::None => None,
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What people ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandoverChoice {
    /// The best that the machine and the running process can do at each reload.
    #[default]
    Auto,
    /// Only [`Strategy::PassFds`].
    PassFds,
    /// Only [`Strategy::Migrate`].
    Migrate,
    /// Only [`Strategy::HoldSyn`].
    HoldSyn,
    /// Only [`Strategy::DropSyn`].
    DropSyn,
    /// [`Strategy::None`], whatever else could be done.
    None,
}

impl HandoverChoice {
    /// The one that is asked for by name.
    pub(crate) fn strategy(self) -> Option<Strategy> {
        match self {
            Self::Auto => None,
            Self::PassFds => Some(Strategy::PassFds),
            Self::Migrate => Some(Strategy::Migrate),
            Self::HoldSyn => Some(Strategy::HoldSyn),
            Self::DropSyn => Some(Strategy::DropSyn),
            Self::None => Some(Strategy::None),
        }
    }
}

/// A strategy and why it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// How.
    pub strategy: Strategy,
    /// Why, in words for status.
    pub reason: String,
    /// Whether the old process has to close its sockets before the new one can open its own.
    pub stops_first: bool,
    /// Whether the kernel is to move what closing sockets hold.
    pub migrates: bool,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.strategy, self.reason)
    }
}

/// Why a reload cannot hand over as it was asked to. Nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The settings ask for a strategy that cannot be had. Permanent until the machine or the settings change.
    #[error("handover = {asked} was asked for and cannot be had: {reason}")]
    Unavailable {
        /// What was asked for.
        asked: Strategy,
        /// Why not.
        reason: String,
    },
    /// The firewall refused. Transient, since another program may hold it.
    #[error("the firewall could not be prepared")]
    Firewall(#[from] FirewallError),
    /// It could not be noted that the firewall may hold rules of ours.
    #[error("the firewall was not touched")]
    Mark(#[source] FileError),
    /// The kernel's setting could not be made.
    #[error("net.ipv4.tcp_migrate_req could not be set")]
    Migrate(#[source] io::Error),
    /// The old process could not be told to finish. Both listen.
    #[error("process {pid} could not be told to finish")]
    Signal {
        /// The old process.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
}
