//! What an agent is told about its HAProxy.

use std::path::PathBuf;
use std::time::Duration;

use hafleet_model::report::NodeContext;

use super::OpenError;
use crate::files;
use crate::handover::{FirewallChoice, HandoverChoice, MAX_SETTLE};
use crate::process::ProcessMode;

/// The settings of one HAProxy.
#[derive(Debug, Clone)]
pub struct Settings {
    /// HAProxy's program; `haproxy` in `PATH` if absent.
    pub binary: Option<PathBuf>,
    /// Where the configuration and the notes on it are kept (`haproxy.cfg`, `applied.json`); survives restarts of the machine.
    pub config_dir: PathBuf,
    /// In which directory the one with the fleet's certificates and their keys is made (`certificates`);
    /// [`Self::config_dir`] if absent.
    pub secrets_dir: Option<PathBuf>,
    /// Where runtime sockets are; a short path, since the system allows about 70 characters.
    pub runtime_dir: PathBuf,
    /// Who starts HAProxy.
    pub process: ProcessMode,
    /// Where a service reads its configuration; `haproxy.cfg` in [`Self::config_dir`] if absent.
    pub config_file: Option<PathBuf>,
    /// Where a service's master can be asked why a reload failed (`haproxy -S`), if it can.
    pub master_socket: Option<PathBuf>,
    /// How reloads hand over.
    pub handover: HandoverChoice,
    /// Which firewall is used where first packets are dropped or held.
    pub firewall: FirewallChoice,
    /// How long handshakes under way get at least before the old process closes its sockets, where first packets are
    /// dropped or held; at most 1.5 s. It is longer, up to 0.5 s, where the kernel knows of slower clients.
    pub settle: Duration,
    /// How long a check or a start may take. One backend of 20,000 servers takes about 6 s.
    pub start_timeout: Duration,
    /// How long a new process may take until it answers and accepts connections.
    pub verify_timeout: Duration,
    /// The node that configurations are rendered for.
    pub node: NodeContext,
}

impl Settings {
    /// Settings with the defaults for all but the places and the node: 50 ms to settle, 60 s to start, 10 s to verify.
    pub fn new(
        node: NodeContext,
        config_dir: impl Into<PathBuf>,
        runtime_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            binary: None,
            config_dir: config_dir.into(),
            secrets_dir: None,
            runtime_dir: runtime_dir.into(),
            process: ProcessMode::Own,
            config_file: None,
            master_socket: None,
            handover: HandoverChoice::Auto,
            firewall: FirewallChoice::Auto,
            settle: Duration::from_millis(50),
            start_timeout: Duration::from_secs(60),
            verify_timeout: Duration::from_secs(10),
            node,
        }
    }

    /// Looks for settings that no machine could serve, without touching anything.
    ///
    /// # Errors
    /// The first that is found.
    pub fn validate(&self) -> Result<(), OpenError> {
        files::check_runtime_dir(&self.runtime_dir)?;
        if let Some(fault) = self.process.fault() {
            let mode = self.process.as_str();
            return Err(OpenError::Process { mode, fault });
        }
        if self.process.is_service() && self.config_file.is_none() {
            return Err(OpenError::Process {
                mode: self.process.as_str(),
                fault: "config_file has to say where the service reads its configuration"
                    .to_owned(),
            });
        }
        if self.settle > MAX_SETTLE {
            return Err(OpenError::SettleTooLong {
                asked: self.settle,
                limit: MAX_SETTLE,
            });
        }
        Ok(())
    }
}
