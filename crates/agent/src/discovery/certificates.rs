//! Certificates that come with services: what a source has to know of the fleet's, and which of them are new.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use hafleet_discovery::services::Certificates;
use hafleet_identity::Bundle;
use hafleet_model::Stamp;
use hafleet_model::secrets::{CertificateName, Confidential};

use crate::certificates::CertificateKeeper;

/// The fleet's certificates as sources ask for them.
pub(super) struct FleetCertificates {
    keeper: CertificateKeeper,
    /// The names in the secrets of this revision.
    names: Mutex<(Option<Stamp>, BTreeSet<CertificateName>)>,
}

impl FleetCertificates {
    pub(super) fn new(keeper: CertificateKeeper) -> Self {
        Self {
            keeper,
            names: Mutex::default(),
        }
    }
}

impl fmt::Debug for FleetCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetCertificates").finish_non_exhaustive()
    }
}

impl Certificates for FleetCertificates {
    fn read(&self, pem: &Confidential) -> Result<Confidential, String> {
        let bundle = Bundle::read([pem.expose()]).map_err(|error| error.to_string())?;
        let timely = bundle.check_time(jiff::Timestamp::now());
        timely.map_err(|error| error.to_string())?;
        Ok(bundle.pem().clone())
    }

    fn has(&self, name: &CertificateName) -> bool {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let document = self.keeper.newest();
        let stamp = document.as_ref().map(|document| document.stamp());
        if names.0 != stamp {
            let Ok(held) = self.keeper.vault().read(document.as_deref()) else {
                return false;
            };
            *names = (stamp, held.iter().map(|(name, _)| name.clone()).collect());
        }
        names.1.contains(name)
    }
}
