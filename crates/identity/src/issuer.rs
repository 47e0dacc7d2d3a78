//! An issuer: a certificate and key by which an agent may certify nodes, without having the authority's key.
//!
//! The authority signs it for a short time. It can certify no further issuer (its path length is 0), and every handshake
//! refuses a person whose certificate is by an issuer (`verify`): with its key one can be any node, and nobody else.

use std::path::Path;
use std::time::{Duration, SystemTime};

use hafleet_model::FleetName;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::CertificateSigningRequestDer;

use crate::authority::{
    Authority, AuthorityError, IssueRequest, Issued, NAME_PREFIX, is_signed_by_key, params_of, put,
    random_serial, read, set_validity,
};
use crate::certificate::{self, CertificateFacts};
use crate::keep;
use crate::principal::Principal;

/// How long an issuer is valid unless it is said.
pub const ISSUER_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);
/// The file that holds an issuer's certificate.
pub const ISSUER_FILE: &str = "issuer.pem";
/// The file that holds an issuer's key.
pub const ISSUER_KEY_FILE: &str = "issuer-key.pem";
/// Between the fleet and the issuer's own name, in its subject.
const ISSUER_WORD: &str = " issuer ";

impl Authority {
    /// Makes an issuer under this authority; `name` tells it from others, such as the node that will have it.
    ///
    /// # Errors
    /// When the authority allows none, or the cryptography fails.
    pub fn make_issuer(
        &self,
        name: &str,
        valid_for: Duration,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let subject = format!("{NAME_PREFIX}{}{ISSUER_WORD}{name}", self.fleet());
        params.distinguished_name.push(DnType::CommonName, subject);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(random_serial()?);
        set_validity(&mut params, now, valid_for);
        Ok(Issued {
            certificate_pem: params.signed_by(&key, &self.signer()?)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

impl Issued {
    /// Writes an issuer to `issuer.pem` and `issuer-key.pem` (mode 0600) of a directory that exists.
    ///
    /// # Errors
    /// When either exists, or cannot be written.
    pub fn save_issuer(&self, directory: &Path) -> Result<(), AuthorityError> {
        let (certificate, key) = (directory.join(ISSUER_FILE), directory.join(ISSUER_KEY_FILE));
        for path in [&certificate, &key] {
            if path.symlink_metadata().is_ok() {
                return Err(AuthorityError::IdentityExists { path: path.clone() });
            }
        }
        put(&key, &self.key_pem, keep::PRIVATE)?;
        put(&certificate, &self.certificate_pem, keep::PUBLIC)
    }
}

/// An issuer with its key.
pub struct NodeIssuer {
    fleet: FleetName,
    certificate_pem: String,
    facts: CertificateFacts,
    key: KeyPair,
}

impl std::fmt::Debug for NodeIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeIssuer")
            .field("subject", &self.facts.subject)
            .finish_non_exhaustive()
    }
}

impl NodeIssuer {
    /// Reads an issuer of `fleet`.
    ///
    /// # Errors
    /// When a file is missing, is not what it should be, or the two do not belong together.
    pub fn load(fleet: &FleetName, certificate: &Path, key: &Path) -> Result<Self, AuthorityError> {
        let certificate_pem = read(certificate)?;
        let key_pair = KeyPair::from_pem(&read(key)?)?;
        let facts = certificate::describe(&certificate_pem).map_err(|source| {
            AuthorityError::Certificate {
                path: certificate.to_owned(),
                source,
            }
        })?;
        let prefix = format!("CN={NAME_PREFIX}{fleet}{ISSUER_WORD}");
        if !facts.is_authority || !facts.subject.starts_with(&prefix) {
            return Err(AuthorityError::NotAnIssuer {
                path: certificate.to_owned(),
                fleet: fleet.to_string(),
            });
        }
        if !is_signed_by_key(&certificate_pem, &key_pair) {
            return Err(AuthorityError::WrongKey {
                path: key.to_owned(),
            });
        }
        Ok(Self {
            fleet: fleet.clone(),
            certificate_pem,
            facts,
            key: key_pair,
        })
    }

    /// What its certificate says.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Certifies the key of `request` (DER, PKCS #10) for the node that `wanted` names, for no longer than the issuer
    /// itself is valid. Of the request nothing but the key counts. The certificate comes with the issuer's behind it, as
    /// PEM.
    ///
    /// # Errors
    /// When the request is not signed by its own key, that key is no ECDSA P-256, or `wanted` is not a node.
    pub fn certify(
        &self,
        request: &[u8],
        wanted: &IssueRequest,
        now: SystemTime,
    ) -> Result<String, AuthorityError> {
        let refused = |reason: &str| AuthorityError::BadRequest {
            reason: reason.to_owned(),
        };
        if !matches!(wanted.principal, Principal::Node(_)) {
            return Err(refused("an issuer certifies nodes only"));
        }
        let der = CertificateSigningRequestDer::from(request);
        let asked = CertificateSigningRequestParams::from_der(&der);
        let mut asked = asked.map_err(|error| refused(&error.to_string()))?;
        if asked.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(refused("its key is no ECDSA P-256"));
        }
        let left = SystemTime::from(self.facts.not_after)
            .duration_since(now)
            .map_err(|_| refused("the issuer's own certificate has expired"))?;
        let wanted = IssueRequest {
            valid_for: wanted.valid_for.min(left),
            ..wanted.clone()
        };
        asked.params = params_of(&self.fleet, &wanted, now)?;
        let signer = Issuer::from_ca_cert_pem(&self.certificate_pem, &self.key)?;
        let certificate = asked.signed_by(&signer)?;
        Ok(format!("{}{}", certificate.pem(), self.certificate_pem))
    }
}

/// A key that was just made, and the request to have it certified.
pub struct KeyRequest {
    key: KeyPair,
    request: Vec<u8>,
}

impl std::fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRequest").finish_non_exhaustive()
    }
}

impl KeyRequest {
    /// Makes a key.
    ///
    /// # Errors
    /// When the cryptography fails.
    pub fn make() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let request = CertificateParams::default().serialize_request(&key)?;
        Ok(Self {
            request: request.der().to_vec(),
            key,
        })
    }

    /// The request (DER, PKCS #10), which does not hold the key's private half.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// The key with the certificate that was made for it.
    pub fn certified(&self, certificate_pem: String) -> Issued {
        Issued {
            certificate_pem,
            key_pem: self.key.serialize_pem(),
        }
    }
}

#[cfg(test)]
#[path = "issuer_tests.rs"]
mod tests;
