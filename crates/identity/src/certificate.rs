//! What a certificate says. The one place where DER is taken apart.

use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::principal::{Identity, IdentityError};

/// A certificate's serial number, without leading zeros; zero is one byte. Displayed in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// From its bytes, most significant first.
    pub fn new(bytes: &[u8]) -> Self {
        let first = bytes.iter().position(|byte| *byte != 0);
        let significant = first.and_then(|first| bytes.get(first..));
        Self(significant.unwrap_or(&[0]).to_vec())
    }

    /// Its bytes, most significant first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Serial {
    type Err = CertificateError;

    /// Reads hexadecimal digits, with or without colons between them.
    fn from_str(text: &str) -> Result<Self, CertificateError> {
        let bad = || CertificateError::BadSerial {
            found: text.chars().take(80).collect(),
        };
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        if digits.is_empty() || digits.len() > 40 || !digits.len().is_multiple_of(2) {
            return Err(bad());
        }
        let pair = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).ok()?;
            let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| u8::from_str_radix(text, 16).ok())?
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
        bytes.map(|bytes| Self::new(&bytes)).ok_or_else(bad)
    }
}

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
    /// Its serial number.
    pub serial: Serial,
    /// Who signed it, as text.
    pub issuer: String,
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
    /// Not a serial number.
    #[error("{found:?} is no serial number: up to 40 hexadecimal digits are expected")]
    BadSerial {
        /// What was there, shortened.
        found: String,
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
        serial: Serial::new(certificate.raw_serial()),
        issuer: certificate.issuer().to_string(),
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

/// The serial numbers of certificates; one that cannot be read has none.
pub(crate) fn serials(chain: &[CertificateDer<'_>]) -> Vec<Serial> {
    let parsed = chain.iter().filter_map(|der| parse(der).ok());
    parsed
        .map(|certificate| Serial::new(certificate.raw_serial()))
        .collect()
}

/// Whether one of `authorities` has signed the first certificate of a PEM text.
pub(crate) fn is_signed_by_any(pem: &str, authorities: &[CertificateDer<'_>]) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else {
        return false;
    };
    let Ok(certificate) = parse(&der) else {
        return false;
    };
    let mut authorities = authorities.iter().filter_map(|der| parse(der).ok());
    authorities.any(|authority| {
        certificate
            .verify_signature(Some(authority.public_key()))
            .is_ok()
    })
}

/// A certificate as PEM (RFC 7468).
pub(crate) fn to_pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// Whether a certificate says that one of `authorities` issued it.
pub(crate) fn is_issued_by(leaf: &CertificateDer<'_>, authorities: &[CertificateDer<'_>]) -> bool {
    let Ok(leaf) = parse(leaf) else {
        return false;
    };
    let mut authorities = authorities.iter().filter_map(|der| parse(der).ok());
    authorities.any(|authority| authority.subject().as_raw() == leaf.issuer().as_raw())
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
