//! From the old process to the new one without losing a connection.
//!
//! The new process starts beside the old one; when it is seen to serve, the old one is told to finish (SIGUSR1,
//! Management Guide, section 4). How the listening sockets get from one to the other is the [`Strategy`]; what was measured
//! of each is in the book's page on handover.
//!
//! | strategy | what happens to a connection that arrives meanwhile |
//! |---|---|
//! | `pass-fds` | nothing: both processes hold the very same sockets |
//! | `drop-syn` | its first packet is dropped in a short window; the client's kernel sends it again after 1 s |
//! | `none` | it may be reset, if it sat in the old process's queue |

mod capability;
mod drop_syn;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::process::{ListeningSocket, ProcessId, listening, still_open};

pub(crate) use capability::can_drop_syn;
pub use drop_syn::FirewallError;
pub(crate) use drop_syn::{DropSyn, MAX_SETTLE, chain_name};

/// How long after arming rules they are armed again, if the old process still has its sockets open.
const ARM_AGAIN: Duration = Duration::from_millis(500);

/// How the old process hands over to the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The new process gets the listening sockets from the old one over its runtime socket (`-x`).
    PassFds,
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
            Self::DropSyn => "drop-syn",
            Self::None => "none",
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
    /// The best that the machine and the running process can do.
    #[default]
    Auto,
    /// Only [`Strategy::PassFds`].
    PassFds,
    /// Only [`Strategy::DropSyn`].
    DropSyn,
    /// [`Strategy::None`], whatever else could be done.
    None,
}

/// A strategy and why it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// How.
    pub strategy: Strategy,
    /// Why, in words for status.
    pub reason: String,
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
    #[error("the firewall could not be prepared for drop-syn")]
    Firewall(#[from] FirewallError),
    /// The old process could not be told to finish. Both listen.
    #[error("process {pid} could not be told to finish")]
    Signal {
        /// The old process.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
}

/// Chooses by what is asked for, and what can be had: `passing` and `dropping` are why not, or nothing if they can.
///
/// # Errors
/// When one is asked for that cannot be had.
pub(crate) fn choose(
    asked: HandoverChoice,
    passing: Option<String>,
    dropping: Option<String>,
) -> Result<Choice, HandoverError> {
    let unavailable = |asked, reason| Err(HandoverError::Unavailable { asked, reason });
    let (strategy, reason) = match (asked, passing, dropping) {
        (HandoverChoice::PassFds, Some(reason), _) => {
            return unavailable(Strategy::PassFds, reason);
        }
        (HandoverChoice::DropSyn, _, Some(reason)) => {
            return unavailable(Strategy::DropSyn, reason);
        }
        (HandoverChoice::PassFds, None, _) => (Strategy::PassFds, "the settings ask for it".into()),
        (HandoverChoice::DropSyn, _, None) => (Strategy::DropSyn, "the settings ask for it".into()),
        (HandoverChoice::None, _, _) => (Strategy::None, "the settings ask for it".into()),
        (HandoverChoice::Auto, None, _) => (
            Strategy::PassFds,
            "the running HAProxy passes its listening sockets on".into(),
        ),
        (HandoverChoice::Auto, Some(why), None) => (
            Strategy::DropSyn,
            format!("sockets cannot be passed ({why})"),
        ),
        (HandoverChoice::Auto, Some(why), Some(why_not)) => (
            Strategy::None,
            format!("sockets cannot be passed ({why}) and SYNs cannot be dropped ({why_not})"),
        ),
    };
    Ok(Choice { strategy, reason })
}

/// Tells `old` to finish, and waits until it has closed its listening sockets; whether it did within `deadline`. A
/// `firewall` is armed first, `settle` is given to handshakes under way, and it is disarmed when the sockets are closed.
///
/// # Errors
/// When the process cannot be signalled, or the firewall could not be armed; the process was told to finish even so, since
/// two that listen would part the connections between them.
pub(crate) async fn finish(
    old: ProcessId,
    firewall: Option<&DropSyn>,
    settle: Duration,
    deadline: Duration,
) -> Result<bool, HandoverError> {
    let sockets = listening(old).unwrap_or_default();
    let armed = firewall.map_or(Ok(()), DropSyn::arm);
    if firewall.is_some() && armed.is_ok() {
        tokio::time::sleep(settle).await;
    }
    let signalled = old.signal(Signal::USR1);
    let is_closed = match &signalled {
        Ok(true) => closed_within(old, &sockets, firewall, deadline).await,
        Ok(false) => true,
        Err(_) => false,
    };
    let disarmed = firewall.map_or(Ok(()), DropSyn::disarm);
    signalled.map_err(|source| HandoverError::Signal {
        pid: old.pid,
        source,
    })?;
    armed?;
    disarmed?;
    Ok(is_closed)
}

/// Waits until the sockets are closed; whether they were within `deadline`. On a starved machine that can take longer than
/// rules stay armed, so they are armed anew meanwhile.
async fn closed_within(
    old: ProcessId,
    sockets: &[ListeningSocket],
    firewall: Option<&DropSyn>,
    deadline: Duration,
) -> bool {
    let closed = async {
        let mut pause = tokio::time::interval(Duration::from_millis(1));
        let mut armed = Instant::now();
        while still_open(old, sockets) {
            if let Some(firewall) = firewall.filter(|_| armed.elapsed() > ARM_AGAIN) {
                let _ = firewall.arm();
                armed = Instant::now();
            }
            pause.tick().await;
        }
    };
    tokio::time::timeout(deadline, closed).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn auto_takes_the_best_that_can_be_had() {
        let best = choose(HandoverChoice::Auto, None, None).unwrap();
        assert_eq!(best.strategy, Strategy::PassFds);
        let second = choose(HandoverChoice::Auto, why("no socket"), None).unwrap();
        assert_eq!(second.strategy, Strategy::DropSyn);
        let last = choose(HandoverChoice::Auto, why("no socket"), why("not root")).unwrap();
        assert_eq!(last.strategy, Strategy::None);
        assert!(last.reason.contains("no socket") && last.reason.contains("not root"));
    }

    #[test]
    fn what_is_asked_for_is_had_or_refused() {
        assert_eq!(
            choose(HandoverChoice::None, None, None).unwrap().strategy,
            Strategy::None
        );
        let refused = choose(HandoverChoice::DropSyn, None, why("iptables is missing"));
        let words = refused.unwrap_err().to_string();
        assert!(
            words.contains("drop-syn") && words.contains("iptables"),
            "{words}"
        );
    }
}
