//! What a certificate of the traffic says, for people.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use super::BundleError;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficCertificate {
    /// Whom it is for, as text: `CN=www.example.com`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The names that it is good for, written `www.example.com`, `192.0.2.1`, or as the parser writes other kinds.
    pub names: Vec<String>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// Its SHA-256 in hexadecimal: by this people compare it with what a client was shown.
    pub sha256: String,
    /// Its SHA-1 in hexadecimal: by this HAProxy says which one it serves (`show ssl cert`). It protects nothing.
    pub sha1: String,
    /// The kind of its key, such as `RSA 2048` or `ECDSA 256`.
    pub key: String,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// Whether it says that it signed itself.
    pub is_self_issued: bool,
}

/// What putting certificates in order needs to know of one.
pub(super) struct Links {
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) key_id: Option<Vec<u8>>,
    pub(super) issuer_key_id: Option<Vec<u8>>,
    pub(super) public_key: Vec<u8>,
}

/// Takes a certificate apart.
pub(super) fn facts(der: &CertificateDer<'_>) -> Result<TrafficCertificate, BundleError> {
    let certificate = parse(der)?;
    let validity = certificate.validity();
    let time = |seconds: i64| {
        Timestamp::from_second(seconds).map_err(|error| BundleError::NotX509 {
            reason: error.to_string(),
        })
    };
    Ok(TrafficCertificate {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        names: names(&certificate),
        not_before: time(validity.not_before.timestamp())?,
        not_after: time(validity.not_after.timestamp())?,
        serial: hex(certificate.raw_serial()),
        sha256: hashed(&SHA256, der),
        sha1: hashed(&SHA1_FOR_LEGACY_USE_ONLY, der),
        key: kind_of_key(&certificate),
        is_authority: certificate.is_ca(),
        is_self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
    })
}

/// How a certificate is tied to others.
pub(super) fn links(der: &CertificateDer<'_>) -> Result<Links, BundleError> {
    let certificate = parse(der)?;
    let mut links = Links {
        subject: certificate.subject().as_raw().to_vec(),
        issuer: certificate.issuer().as_raw().to_vec(),
        key_id: None,
        issuer_key_id: None,
        public_key: certificate.public_key().raw.to_vec(),
    };
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => links.key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                links.issuer_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            _ => {}
        }
    }
    Ok(links)
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, BundleError> {
    let not_x509 = |reason: String| BundleError::NotX509 { reason };
    let (rest, certificate) =
        X509Certificate::from_der(der.as_ref()).map_err(|error| not_x509(error.to_string()))?;
    if rest.is_empty() {
        Ok(certificate)
    } else {
        Err(not_x509(format!("{} bytes follow it", rest.len())))
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let written = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(host) => (*host).to_owned(),
        GeneralName::URI(uri) => (*uri).to_owned(),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or(v6)
                .map_or_else(|_| hex(bytes), |address| address.to_string())
        }
        other => other.to_string(),
    };
    extension.value.general_names.iter().map(written).collect()
}

fn kind_of_key(certificate: &X509Certificate<'_>) -> String {
    let key = certificate.public_key();
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => format!("RSA {}", rsa.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA {}", point.key_size()),
        _ => match key.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            "1.3.101.113" => "Ed448".to_owned(),
            other => other.to_owned(),
        },
    }
}

fn hashed(algorithm: &'static Algorithm, der: &CertificateDer<'_>) -> String {
    hex(digest(algorithm, der.as_ref()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
