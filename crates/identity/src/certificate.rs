//! What a certificate says. The one place where DER is taken apart.

use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::principal::{Identity, IdentityError};

/// What people want to know about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whom it names; none for an authority, which names a fleet only by its common name.
    pub identity: Option<Identity>,
    /// The subject, as text: `CN=hafleet shop`.
    pub subject: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Its alternative names, written `DNS:lb1`, `IP:10.0.0.1`, `URI:spiffe://…`.
    pub sans: Vec<String>,
    /// The addresses among them.
    pub addresses: Vec<IpAddr>,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// Its serial number in hexadecimal.
    pub serial: String,
}

/// A certificate that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No PEM section `CERTIFICATE`.
    #[error(
        "there is no PEM certificate: a section between BEGIN CERTIFICATE and END CERTIFICATE is expected"
    )]
    NotPem,
    /// Not X.509.
    #[error("not an X.509 certificate: {reason}")]
    NotX509 {
        /// What the parser said.
        reason: String,
    },
    /// The names contradict themselves or are of no known kind.
    #[error("the subject alternative names cannot be read: {reason}")]
    BadNames {
        /// What is wrong.
        reason: String,
    },
    /// No SPIFFE id.
    #[error("the certificate names nobody: it has no spiffe:// name")]
    NoIdentity,
    /// More than one SPIFFE id (the X509-SVID standard, section 2, allows exactly one).
    #[error("the certificate has more than one URI name, so whom it names is undecided")]
    ManyIdentities,
    /// A SPIFFE id that is not one of ours.
    #[error("the certificate's name is not understood: {0}")]
    BadIdentity(#[from] IdentityError),
}

/// Takes the first certificate of a PEM text apart.
///
/// # Errors
/// When there is none or it cannot be parsed. A certificate without an identity is described, not refused.
pub fn describe(pem: &str) -> Result<CertificateFacts, CertificateError> {
    let der =
        CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertificateError::NotPem)?;
    facts(&der)
}

/// Takes a certificate apart.
///
/// # Errors
/// When it cannot be parsed.
pub fn facts(der: &CertificateDer<'_>) -> Result<CertificateFacts, CertificateError> {
    let certificate = parse(der)?;
    let names = Names::of(&certificate)?;
    let identity = match names.identity() {
        Ok(identity) => Some(identity),
        Err(CertificateError::NoIdentity) => None,
        Err(error) => return Err(error),
    };
    let time = |seconds: i64| {
        Timestamp::from_second(seconds).map_err(|error| CertificateError::NotX509 {
            reason: error.to_string(),
        })
    };
    Ok(CertificateFacts {
        identity,
        subject: certificate.subject().to_string(),
        not_before: time(certificate.validity().not_before.timestamp())?,
        not_after: time(certificate.validity().not_after.timestamp())?,
        addresses: names.addresses.clone(),
        sans: names.written(),
        is_authority: certificate.is_ca(),
        serial: certificate
            .raw_serial()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    })
}

/// Whom a certificate names, and the addresses that it grants them.
pub(crate) fn holder(
    der: &CertificateDer<'_>,
) -> Result<(Identity, Vec<IpAddr>), CertificateError> {
    let certificate = parse(der)?;
    let names = Names::of(&certificate)?;
    Ok((names.identity()?, names.addresses))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertificateError> {
    let (rest, certificate) =
        X509Certificate::from_der(der.as_ref()).map_err(|error| CertificateError::NotX509 {
            reason: error.to_string(),
        })?;
    if !rest.is_empty() {
        return Err(CertificateError::NotX509 {
            reason: format!("{} bytes follow it", rest.len()),
        });
    }
    Ok(certificate)
}

#[derive(Default)]
struct Names {
    uris: Vec<String>,
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Result<Self, CertificateError> {
        let extension =
            certificate
                .subject_alternative_name()
                .map_err(|error| CertificateError::BadNames {
                    reason: error.to_string(),
                })?;
        let mut names = Self::default();
        for name in extension
            .iter()
            .flat_map(|extension| &extension.value.general_names)
        {
            match name {
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::DNSName(host) => names.hosts.push((*host).to_owned()),
                GeneralName::IPAddress(bytes) => names.addresses.push(address(bytes)?),
                GeneralName::Invalid(..) => {
                    return Err(CertificateError::BadNames {
                        reason: "a name is malformed".to_owned(),
                    });
                }
                _ => {}
            }
        }
        Ok(names)
    }

    fn identity(&self) -> Result<Identity, CertificateError> {
        match self.uris.as_slice() {
            [] => Err(CertificateError::NoIdentity),
            [uri] => Ok(Identity::from_uri(uri)?),
            _ => Err(CertificateError::ManyIdentities),
        }
    }

    fn written(&self) -> Vec<String> {
        let uris = self.uris.iter().map(|uri| format!("URI:{uri}"));
        let hosts = self.hosts.iter().map(|host| format!("DNS:{host}"));
        let addresses = self.addresses.iter().map(|address| format!("IP:{address}"));
        uris.chain(hosts).chain(addresses).collect()
    }
}

fn address(bytes: &[u8]) -> Result<IpAddr, CertificateError> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).map_err(|_| CertificateError::BadNames {
        reason: format!("an address has {} bytes", bytes.len()),
    })
}
