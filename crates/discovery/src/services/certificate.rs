//! The certificates of services: in etcd itself, or the fleet's own.

use std::fmt;

use hafleet_model::secrets::{CertificateName, Confidential};

/// What a source has to be told about certificates, which are not read in this crate.
pub trait Certificates: fmt::Debug + Send + Sync + 'static {
    /// Reads a certificate with its chain and key, in any order and form, and gives it as it is to be kept.
    ///
    /// # Errors
    /// Why it cannot serve: no key, a wrong one, expired. The words hold nothing of the key.
    fn read(&self, pem: &Confidential) -> Result<Confidential, String>;

    /// Whether the fleet has a certificate of this name.
    fn has(&self, name: &CertificateName) -> bool;
}

/// A service's certificate.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: CertificateName,
    /// The certificate itself, if it came with the service.
    pub(super) pem: Option<Confidential>,
    /// What was wrong with the one in etcd, if the one from before serves on.
    pub(super) note: Option<String>,
}

/// The certificate that the service `service` has as its `cert`: a PEM, or the name of one of the fleet's.
///
/// A PEM that cannot serve does not replace one that does: what the fleet has from before is used on.
pub(super) fn wanted(
    service: &str,
    cert: &str,
    certificates: &dyn Certificates,
) -> Result<Wanted, String> {
    let name = |text: &str| CertificateName::new(text).map_err(|error| error.to_string());
    if !cert.contains("-----BEGIN ") {
        return known(name(cert)?, certificates);
    }
    // What a service may be called and a certificate may not.
    let name = name(&format!("etcd-{}.pem", service.replace(':', "@")))?;
    match certificates.read(&Confidential::new(cert)) {
        Ok(pem) => Ok(Wanted {
            name,
            pem: Some(pem),
            note: None,
        }),
        Err(why) if certificates.has(&name) => Ok(Wanted {
            name,
            pem: None,
            note: Some(format!("{why}; the certificate from before serves on")),
        }),
        Err(why) => Err(why),
    }
}

fn known(name: CertificateName, certificates: &dyn Certificates) -> Result<Wanted, String> {
    if !certificates.has(&name) {
        return Err(format!(
            "the fleet has no certificate {name}: add it, or put the PEM itself here"
        ));
    }
    Ok(Wanted {
        name,
        pem: None,
        note: None,
    })
}
