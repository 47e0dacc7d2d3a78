//! What is in use of credentials at this moment, shared by everything that was set up with them.

use std::sync::{Arc, PoisonError, RwLock};

use hafleet_model::FleetName;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};

use crate::certificate::{self, CertificateFacts};
use crate::principal::{Identity, Principal};
use crate::revocation::{RevocationList, Revocations};
use crate::ties::{Tie, Ties};
use crate::verify::{Refusal, refuse};

/// Certificate, key and authorities, which belong together.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) facts: CertificateFacts,
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) certified: Arc<CertifiedKey>,
    /// Holds certificates to our authorities, to their validity, and to the client's use.
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
}

/// What handshakes look at. It outlives the [`crate::Credentials`] that it was made with where a connection needs it.
#[derive(Debug)]
pub(crate) struct Shared {
    fleet: FleetName,
    material: RwLock<Arc<Material>>,
    revocations: RwLock<Arc<Revocations>>,
    ties: Arc<Ties>,
}

impl Shared {
    pub(crate) fn new(fleet: FleetName, material: Material) -> Arc<Self> {
        Arc::new(Self {
            fleet,
            material: RwLock::new(Arc::new(material)),
            revocations: RwLock::default(),
            ties: Arc::default(),
        })
    }

    pub(crate) fn material(&self) -> Arc<Material> {
        let material = self.material.read();
        Arc::clone(&material.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn revocations(&self) -> Arc<Revocations> {
        let revocations = self.revocations.read();
        Arc::clone(&revocations.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, material: Arc<Material>) {
        let kept = self.revocations().signed_by(&material.authorities);
        *write(&self.material) = material;
        *write(&self.revocations) = Arc::new(kept);
    }

    /// Takes `list` if it is newer than what is there. Whether it was.
    pub(crate) fn revoke(&self, list: RevocationList) -> bool {
        {
            let mut revocations = write(&self.revocations);
            let Some(more) = revocations.with(list) else {
                return false;
            };
            *revocations = Arc::new(more);
        }
        let revocations = self.revocations();
        self.ties.cut(|serial| revocations.is_revoked(serial));
        true
    }

    /// Ties a connection to the certificates that its other side has shown: it breaks when one of them is revoked.
    pub(crate) fn tie(&self, chain: &[CertificateDer<'_>]) -> Tie {
        let tie = self.ties.open(certificate::serials(chain));
        // A list that came between the handshake and now is seen here, a later one by `revoke`.
        let revocations = self.revocations();
        tie.cut_if(|serial| revocations.is_revoked(serial));
        tie
    }

    /// Whom a client's certificate names, when it is one that counts.
    pub(crate) fn check_client(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Identity, rustls::Error> {
        let material = self.material();
        material
            .verifier
            .verify_client_cert(leaf, intermediates, now)?;
        self.member(leaf, intermediates).map_err(refuse)
    }

    /// Whom a certificate whose signatures and validity were checked names, when that is somebody of our fleet, it is not
    /// revoked, and who vouched for them may.
    pub(crate) fn member(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<Identity, Refusal> {
        let (identity, _) = certificate::holder(leaf).map_err(|error| Refusal::Unusable {
            reason: error.to_string(),
        })?;
        if identity.fleet != self.fleet {
            return Err(Refusal::OtherFleet {
                found: identity.fleet,
            });
        }
        let revocations = self.revocations();
        let chain = std::iter::once(leaf).chain(intermediates);
        let serials = chain.flat_map(|shown| certificate::serials(std::slice::from_ref(shown)));
        if { serials }.any(|serial| revocations.is_revoked(&serial)) {
            return Err(Refusal::Revoked);
        }
        // The signature was made by whom the certificate names as its issuer, and no issuer has an authority's name: only
        // the authority itself could have given it that.
        let is_direct = certificate::is_issued_by(leaf, &self.material().authorities);
        match identity.principal {
            Principal::Person { .. } if !is_direct => Err(Refusal::NotByAuthority {
                found: identity.principal,
            }),
            _ => Ok(identity),
        }
    }
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Shows our certificate, whichever it is at the time.
#[derive(Debug)]
pub(crate) struct OwnCertificate(pub(crate) Arc<Shared>);

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.material().certified))
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.material().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
