//! The section `issuer` of the agent's file.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::trust::joins::IssuerConfig;

/// The port of issuers unless told otherwise.
const DEFAULT_PORT: u16 = 7441;
const DEFAULT_VALID_DAYS: u32 = 30;
const MAX_VALID_DAYS: u32 = 365;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuerSection {
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default = "default_port")]
    port: u16,
    #[serde(default = "default_valid_days")]
    valid_days: u32,
}

fn default_port() -> u16 {
    DEFAULT_PORT
}

fn default_valid_days() -> u32 {
    DEFAULT_VALID_DAYS
}

impl IssuerSection {
    /// For an agent that is reached at `address`, listens on `listen`, and has `port` for itself.
    pub(super) fn read(
        self,
        address: IpAddr,
        listen: IpAddr,
        port: u16,
        faults: &mut Vec<String>,
    ) -> IssuerConfig {
        if self.port == 0 || self.port == port {
            faults.push(format!(
                "issuer.port: {} is not allowed: 1 to 65535 are, and not the agent's own",
                self.port
            ));
        }
        if !(1..=MAX_VALID_DAYS).contains(&self.valid_days) {
            faults.push(format!(
                "issuer.valid_days: {} is not allowed: 1 to {MAX_VALID_DAYS} are",
                self.valid_days
            ));
        }
        IssuerConfig {
            certificate: self.certificate,
            key: self.key,
            listen: SocketAddr::new(listen, self.port),
            address: SocketAddr::new(address, self.port),
            valid_for: Duration::from_secs(u64::from(self.valid_days) * 86_400),
        }
    }
}
