//! The fleet's certificates on this node: from the newest secrets document to files that HAProxy reads.
//!
//! Both the loop that drives HAProxy and the API bring them up to date, each before it renders, so that whoever was told
//! that a certificate is stored can use it in a spec at once.

use std::sync::{Arc, Mutex, PoisonError};

use hafleet_cluster::Cluster;
use hafleet_haproxy::{Certificates, FileError, FleetCertificate};
use hafleet_identity::Bundle;
use hafleet_model::secrets::{CertificateName, Confidential};
use hafleet_model::{Document, DocumentKind, Secrets, Stamp};

use crate::vault::{Vault, VaultError};

/// Why the files are not what the newest secrets say.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BringError {
    /// They cannot be opened.
    #[error("the fleet's certificates cannot be read: {0}")]
    Vault(#[from] VaultError),
    /// They cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl BringError {
    /// Whether all that lacks is a key, which other nodes have.
    pub(crate) fn lacks_key(&self) -> bool {
        matches!(self, Self::Vault(error) if error.lacks_key())
    }
}

/// Keeps the files of the fleet's certificates as the newest secrets say. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct CertificateKeeper {
    cluster: Cluster,
    certificates: Certificates,
    vault: Vault,
    last: Arc<Mutex<Option<Taken>>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A revision of the secrets, taken apart.
struct Taken {
    stamp: Stamp,
    certificates: Vec<FleetCertificate>,
}

impl CertificateKeeper {
    pub(crate) fn new(cluster: Cluster, certificates: Certificates, vault: Vault) -> Self {
        Self {
            cluster,
            certificates,
            vault,
            last: Arc::default(),
            turn: Arc::default(),
        }
    }

    /// Brings the files to the newest secrets, and puts back those that somebody changed. Returns the revision whose
    /// certificates are held now; none before the first.
    ///
    /// # Errors
    /// Why not; what was held before is held still.
    pub(crate) fn bring(&self) -> Result<Option<Stamp>, BringError> {
        // The newest is read under the lock, so that nobody puts an older one in its place.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(document) = self.newest() else {
            return Ok(None);
        };
        let is_same = |taken: &Taken| taken.stamp == document.stamp();
        if !last.as_ref().is_some_and(is_same) {
            let secrets = self.vault.read(Some(&document))?;
            *last = Some(Taken {
                stamp: document.stamp(),
                certificates: secrets.iter().filter_map(take).collect(),
            });
        }
        let taken = last.as_ref().map(|taken| taken.certificates.clone());
        let held = self.certificates.hold(taken.unwrap_or_default());
        held?;
        Ok(Some(document.stamp()))
    }

    /// What opens and seals them.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The newest secrets that this node has stored, opened.
    ///
    /// # Errors
    /// When they cannot be.
    pub(crate) fn secrets(&self) -> Result<Secrets, VaultError> {
        self.vault.read(self.newest().as_deref())
    }

    /// Waits for its turn to change the secrets on this node, until what is returned is dropped. Changes of different
    /// certificates are to the same document, and one at a time none of them has to be tried anew.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The newest secrets that this node has stored.
    pub(crate) fn newest(&self) -> Option<Arc<Document>> {
        let secrets = self.cluster.document(DocumentKind::Secrets);
        secrets.borrow().clone()
    }
}

/// A certificate with what HAProxy calls it. One that cannot be read was written by another version; the others are
/// not to suffer for it.
fn take((name, pem): (&CertificateName, &Confidential)) -> Option<FleetCertificate> {
    match Bundle::read([pem.expose()]) {
        Ok(bundle) => Some(FleetCertificate {
            name: name.clone(),
            pem: pem.clone(),
            sha1: bundle.leaf().sha1.clone(),
        }),
        Err(error) => {
            tracing::error!(certificate = %name, %error, "a certificate of the fleet cannot be read and is left out");
            None
        }
    }
}
