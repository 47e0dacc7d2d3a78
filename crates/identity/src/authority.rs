//! The fleet's certificate authority: made once, kept in a directory, and asked for certificates.
//!
//! Certificates are ECDSA P-256 (RFC 5480), which every TLS stack speaks. A node's certificate serves both sides of a
//! connection; a person's only the client's.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hafleet_model::{FleetName, NodeId};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::certificate::{self, CertificateError, CertificateFacts, Serial};
use crate::credentials::IdentityFiles;
use crate::keep;
use crate::principal::{Identity, Principal};
use crate::revocation::{RevocationError, RevocationList};

/// How long an authority is valid.
pub const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3650 * 24 * 3600);
/// How long a certificate is valid unless the request says otherwise.
pub const CERTIFICATE_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);
/// The file that holds an authority's certificate.
pub const AUTHORITY_FILE: &str = "ca.pem";
/// The file that holds an authority's key.
pub const AUTHORITY_KEY_FILE: &str = "ca-key.pem";
/// By how much clocks may differ: certificates are valid from this long before they were made.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
pub(crate) const NAME_PREFIX: &str = "hafleet ";

/// What stops an authority from being made, kept, read or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is one already.
    #[error(
        "{path} exists already, and replacing an authority would lock out every node: use another directory, or move it away first"
    )]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// There is an identity already.
    #[error("{path} exists already: use another directory, or move it away first")]
    IdentityExists {
        /// The file in the way.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no authority where one was looked for.
    #[error(
        "there is no authority in {path}: name the directory that `hafleet pki init` made with --authority"
    )]
    NoAuthority {
        /// The directory.
        path: PathBuf,
    },
    /// What the file holds is not an authority's certificate.
    #[error("{path}: {source}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// A certificate, but not of a hafleet authority.
    #[error(
        "{path} is not the certificate of a hafleet authority: make one with `hafleet pki init`"
    )]
    NotAnAuthority {
        /// Which file.
        path: PathBuf,
    },
    /// The key is not the certificate's.
    #[error("{path} is not the key of the authority beside it: restore both from the same backup")]
    WrongKey {
        /// Which file.
        path: PathBuf,
    },
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers")]
    NoRandomness,
    /// A certificate, but not of an issuer of this fleet.
    #[error(
        "{path} is not the certificate of an issuer of fleet {fleet}: make one with `hafleet pki issuer`"
    )]
    NotAnIssuer {
        /// Which file.
        path: PathBuf,
        /// This fleet.
        fleet: String,
    },
    /// A list of revoked certificates that cannot be extended.
    #[error("{path}: {source}")]
    Revocations {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: crate::revocation::RevocationError,
    },
    /// A request for a certificate that cannot be granted.
    #[error("the request for a certificate cannot be granted: {reason}")]
    BadRequest {
        /// Why.
        reason: String,
    },
    /// The certificate is not to be renewed here.
    #[error("{path} cannot be renewed: {reason}")]
    NotRenewable {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The cryptography refused.
    #[error("a certificate could not be made: {0}")]
    Generate(#[from] rcgen::Error),
}

/// A certificate to be issued.
#[derive(Debug, Clone)]
pub struct IssueRequest {
    /// For whom.
    pub principal: Principal,
    /// The addresses at which a node is reached. When there are any, peers hold the node to them.
    pub addresses: Vec<IpAddr>,
    /// Further host names, beside a node's own id.
    pub host_names: Vec<String>,
    /// For how long, from now.
    pub valid_for: Duration,
}

impl IssueRequest {
    /// A certificate for `principal` with no further names and the default validity.
    pub fn new(principal: Principal) -> Self {
        Self {
            principal,
            addresses: Vec::new(),
            host_names: Vec::new(),
            valid_for: CERTIFICATE_VALIDITY,
        }
    }

    /// A certificate for the node `id`, reached at `addresses`.
    pub fn node(id: NodeId, addresses: Vec<IpAddr>) -> Self {
        Self {
            addresses,
            ..Self::new(Principal::Node(id))
        }
    }
}

impl IssueRequest {
    /// A certificate that says the same as the one in `facts`.
    ///
    /// # Errors
    /// When that names nobody.
    pub fn like(facts: &CertificateFacts, valid_for: Duration) -> Result<Self, CertificateError> {
        let identity = facts.identity.clone();
        let identity = identity.ok_or(CertificateError::NoIdentity)?;
        let hosts = facts
            .sans
            .iter()
            .filter_map(|name| name.strip_prefix("DNS:"));
        Ok(Self {
            principal: identity.principal,
            addresses: facts.addresses.clone(),
            host_names: hosts.map(str::to_owned).collect(),
            valid_for,
        })
    }
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key (PKCS #8).
    pub key_pem: String,
}

impl Issued {
    /// Writes an identity that is ready for use to `ca.pem`, `cert.pem` and `key.pem` (mode 0600) of a directory
    /// that exists.
    ///
    /// # Errors
    /// When any of them exists, or cannot be written.
    pub fn save(
        &self,
        authority_pem: &str,
        directory: &Path,
    ) -> Result<IdentityFiles, AuthorityError> {
        let files = IdentityFiles::from_directory(directory);
        let all = [&files.ca, &files.certificate, &files.key];
        if let Some(path) = all.into_iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(AuthorityError::IdentityExists { path: path.clone() });
        }
        put(&files.key, &self.key_pem, keep::PRIVATE)?;
        put(&files.ca, authority_pem, keep::PUBLIC)?;
        put(&files.certificate, &self.certificate_pem, keep::PUBLIC)?;
        Ok(files)
    }

    /// Puts key and certificate in place of those in `files`, one after the other, each whole. An agent that looks between
    /// the two finds that they do not belong together, keeps what it has, and looks again.
    ///
    /// # Errors
    /// When one cannot be written; the other may have been.
    pub fn replace(&self, files: &IdentityFiles) -> Result<(), AuthorityError> {
        let replace = |path: &Path, text: &str, mode| {
            keep::replace(path, text, mode).map_err(|source| AuthorityError::File {
                path: path.to_owned(),
                source,
            })
        };
        replace(&files.key, &self.key_pem, keep::PRIVATE)?;
        replace(&files.certificate, &self.certificate_pem, keep::PUBLIC)
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// An authority with its key: whoever holds one can be anyone in the fleet.
pub struct Authority {
    fleet: FleetName,
    certificate_pem: String,
    key: KeyPair,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("fleet", &self.fleet)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority for `fleet`, valid for [`AUTHORITY_VALIDITY`]. It is nowhere but in memory until
    /// [`Authority::save`].
    ///
    /// # Errors
    /// When the cryptography fails.
    pub fn create(fleet: FleetName) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{NAME_PREFIX}{fleet}"));
        // One issuer may stand between it and a node (`crate::issuer`).
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, SystemTime::now(), AUTHORITY_VALIDITY);
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self {
            fleet,
            certificate_pem,
            key,
        })
    }

    /// The fleet it vouches for.
    pub fn fleet(&self) -> &FleetName {
        &self.fleet
    }

    /// Its certificate, which every node and person needs.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Writes it to `ca.pem` and `ca-key.pem` (mode 0600) of a directory that exists.
    ///
    /// # Errors
    /// When either file exists, or cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), AuthorityError> {
        let certificate = directory.join(AUTHORITY_FILE);
        let key = directory.join(AUTHORITY_KEY_FILE);
        if let Some(path) = [&certificate, &key]
            .into_iter()
            .find(|path| path.symlink_metadata().is_ok())
        {
            return Err(AuthorityError::Exists { path: path.clone() });
        }
        // The key first: an interruption between the two leaves no certificate that nobody can sign for.
        put(&key, &self.key.serialize_pem(), keep::PRIVATE)?;
        put(&certificate, &self.certificate_pem, keep::PUBLIC)
    }

    /// Reads what [`Authority::save`] wrote.
    ///
    /// # Errors
    /// When a file is missing, is not what it should be, or the two do not belong together.
    pub fn load(directory: &Path) -> Result<Self, AuthorityError> {
        let path = directory.join(AUTHORITY_FILE);
        let key_path = directory.join(AUTHORITY_KEY_FILE);
        let certificate_pem = match read(&path) {
            Err(AuthorityError::File { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                return Err(AuthorityError::NoAuthority {
                    path: directory.to_owned(),
                });
            }
            read => read?,
        };
        let key = KeyPair::from_pem(&read(&key_path)?)?;
        let facts = certificate::describe(&certificate_pem).map_err(|source| {
            AuthorityError::Certificate {
                path: path.clone(),
                source,
            }
        })?;
        let fleet = facts
            .subject
            .strip_prefix("CN=")
            .and_then(|name| name.strip_prefix(NAME_PREFIX));
        let fleet = fleet
            .and_then(|name| FleetName::new(name).ok())
            .filter(|_| facts.is_authority);
        let fleet = fleet.ok_or_else(|| AuthorityError::NotAnAuthority { path: path.clone() })?;
        if !is_signed_by_key(&certificate_pem, &key) {
            return Err(AuthorityError::WrongKey { path: key_path });
        }
        Ok(Self {
            fleet,
            certificate_pem,
            key,
        })
    }

    pub(crate) fn signer(&self) -> Result<Issuer<'_, &KeyPair>, AuthorityError> {
        Ok(Issuer::from_ca_cert_pem(&self.certificate_pem, &self.key)?)
    }

    /// Reads a list of revoked certificates that this authority has signed.
    ///
    /// # Errors
    /// When it has not, or the list cannot be read.
    pub fn examine(&self, list: &[u8]) -> Result<RevocationList, RevocationError> {
        let own = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes())
            .map_err(|_| RevocationError::NotSigned)?;
        RevocationList::verified(list, &[own])
    }

    /// Signs a list of revoked certificates: those of `before`, its own earlier list, and those with `serials`. Its number is
    /// above that of `before`. As PEM.
    ///
    /// # Errors
    /// When the cryptography fails.
    pub fn revoke(
        &self,
        before: Option<&RevocationList>,
        serials: &[Serial],
        now: SystemTime,
    ) -> Result<String, AuthorityError> {
        let mut revoked: BTreeMap<Serial, Duration> = BTreeMap::new();
        for entry in before.iter().flat_map(|list| list.revoked()) {
            let at = u64::try_from(entry.at.as_second()).unwrap_or_default();
            revoked.insert(entry.serial.clone(), Duration::from_secs(at));
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        for serial in serials {
            revoked.entry(serial.clone()).or_insert(now);
        }
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let entry = |(serial, at): (Serial, Duration)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial.as_bytes()),
            revocation_time: epoch + at,
            reason_code: None,
            invalidity_date: None,
        };
        let number = before.map_or(0, RevocationList::number).saturating_add(1);
        let list = CertificateRevocationListParams {
            this_update: epoch + now,
            next_update: epoch + now + AUTHORITY_VALIDITY,
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.into_iter().map(entry).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.signer()?)?.pem()?)
    }

    /// Issues a certificate that is valid from now.
    ///
    /// # Errors
    /// When a host name is not one, or the cryptography fails.
    pub fn issue(&self, request: &IssueRequest) -> Result<Issued, AuthorityError> {
        self.issue_at(request, SystemTime::now())
    }

    /// Issues a certificate as of `now`.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_at(
        &self,
        request: &IssueRequest,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = params_of(&self.fleet, request, now)?;
        let certificate = params.signed_by(&key, &self.signer()?)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// What a certificate of `fleet` says that `request` asks for.
pub(crate) fn params_of(
    fleet: &FleetName,
    request: &IssueRequest,
    now: SystemTime,
) -> Result<CertificateParams, AuthorityError> {
    let identity = Identity {
        fleet: fleet.clone(),
        principal: request.principal.clone(),
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, identity.principal.to_string());
    params.subject_alt_names = alternative_names(&identity, request)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match request.principal {
        Principal::Node(_) => vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
        Principal::Person { .. } => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(random_serial()?);
    set_validity(&mut params, now, request.valid_for);
    Ok(params)
}

/// 20 bytes at most, positive and not zero (RFC 5280 section 4.1.2.2). Random, so that no two certificates of a fleet
/// share one, whoever issued them and for which key.
pub(crate) fn random_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 20];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuthorityError::NoRandomness)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn alternative_names(
    identity: &Identity,
    request: &IssueRequest,
) -> Result<Vec<SanType>, AuthorityError> {
    let mut names = vec![SanType::URI(Ia5String::try_from(identity.to_uri())?)];
    let own = identity.node_id().map(|id| id.as_str().to_owned());
    let further = request.host_names.iter().cloned();
    let further = further.filter(|host| own.as_ref() != Some(host));
    for host in own.iter().cloned().chain(further) {
        names.push(SanType::DnsName(Ia5String::try_from(host)?));
    }
    names.extend(
        request
            .addresses
            .iter()
            .map(|address| SanType::IpAddress(*address)),
    );
    Ok(names)
}

pub(crate) fn set_validity(params: &mut CertificateParams, now: SystemTime, valid_for: Duration) {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + since_epoch + valid_for;
}

/// Whether `key` belongs to the certificate: its public half is what the certificate certifies.
pub(crate) fn is_signed_by_key(certificate_pem: &str, key: &KeyPair) -> bool {
    use x509_parser::prelude::FromDer as _;
    let Ok(der) = CertificateDer::from_pem_slice(certificate_pem.as_bytes()) else {
        return false;
    };
    let parsed = x509_parser::certificate::X509Certificate::from_der(der.as_ref());
    parsed.is_ok_and(|(_, certificate)| {
        certificate.public_key().subject_public_key.as_ref() == key.public_key_raw()
    })
}

pub(crate) fn put(path: &Path, text: &str, mode: u32) -> Result<(), AuthorityError> {
    keep::write_new(path, text, mode).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => AuthorityError::Exists {
            path: path.to_owned(),
        },
        _ => AuthorityError::File {
            path: path.to_owned(),
            source,
        },
    })
}

pub(crate) fn read(path: &Path) -> Result<String, AuthorityError> {
    std::fs::read_to_string(path).map_err(|source| AuthorityError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
