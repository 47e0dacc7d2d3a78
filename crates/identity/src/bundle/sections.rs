//! The sections of PEM texts (RFC 7468), told apart by their labels.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::BundleError;

/// Characters in a line of PEM.
const LINE: usize = 64;

/// What PEM texts hold, in their order.
pub(super) struct Sections {
    pub(super) certificates: Vec<Certificate>,
    pub(super) keys: Vec<Key>,
}

/// A certificate, as it was written and as it is used.
pub(super) struct Certificate {
    pub(super) pem: String,
    pub(super) der: CertificateDer<'static>,
}

/// A private key, as it was written and as it is used.
pub(super) struct Key {
    pub(super) pem: String,
    pub(super) der: PrivateKeyDer<'static>,
}

/// One section, from BEGIN to END.
struct Section {
    label: String,
    lines: Vec<String>,
}

impl Section {
    /// The section under `label` as RFC 7468 (section 2) wants it written: 64 characters a line. OpenSSL does not read
    /// much longer ones, and an empty line would end a PEM on HAProxy's runtime socket.
    fn pem(&self, label: &str) -> String {
        let body: Vec<_> = self.lines.concat().chars().collect();
        let mut pem = format!("-----BEGIN {label}-----\n");
        for line in body.chunks(LINE) {
            pem.extend(line);
            pem.push('\n');
        }
        pem.push_str(&format!("-----END {label}-----\n"));
        pem
    }

    /// Whether it is encrypted in the way that came before PKCS #8 (RFC 1421, `Proc-Type`).
    fn is_encrypted(&self) -> bool {
        self.label == "ENCRYPTED PRIVATE KEY"
            || self.lines.iter().any(|line| line.starts_with("Proc-Type:"))
    }
}

/// Takes `texts` apart. Words between sections are people's remarks and are left out.
pub(super) fn read<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Sections, BundleError> {
    let mut found = Sections {
        certificates: Vec::new(),
        keys: Vec::new(),
    };
    for section in split(texts)? {
        take(&mut found, &section)?;
    }
    Ok(found)
}

fn take(found: &mut Sections, section: &Section) -> Result<(), BundleError> {
    if section.is_encrypted() {
        return Err(BundleError::EncryptedKey);
    }
    let malformed = || BundleError::Malformed {
        label: section.label.clone(),
    };
    match section.label.as_str() {
        "CERTIFICATE" | "X509 CERTIFICATE" => {
            let pem = section.pem("CERTIFICATE");
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| malformed())?;
            if found.certificates.iter().all(|other| other.der != der) {
                found.certificates.push(Certificate { pem, der });
            }
        }
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
            let pem = section.pem(&section.label);
            let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| malformed())?;
            let is_new = found
                .keys
                .iter()
                .all(|key| key.der.secret_der() != der.secret_der());
            if is_new {
                found.keys.push(Key { pem, der });
            }
        }
        // Which curve it is stands in the key as well (RFC 5915, section 3).
        "EC PARAMETERS" => {}
        _ => {
            return Err(BundleError::UnknownSection {
                label: section.label.clone(),
            });
        }
    }
    Ok(())
}

fn split<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Vec<Section>, BundleError> {
    let mut sections = Vec::new();
    for text in texts {
        let mut open: Option<Section> = None;
        for line in text.lines().map(str::trim) {
            let begun = label(line, "-----BEGIN ");
            let ended = label(line, "-----END ");
            match (&mut open, begun, ended) {
                (None, Some(label), _) => {
                    open = Some(Section {
                        label: label.to_owned(),
                        lines: Vec::new(),
                    });
                }
                (Some(section), None, Some(label)) if section.label == label => {
                    sections.extend(open.take());
                }
                (Some(section), None, None) if !line.is_empty() => {
                    section.lines.push(line.to_owned());
                }
                (Some(_), None, None) | (None, None, None) => {}
                _ => return Err(BundleError::CutShort),
            }
        }
        if open.is_some() {
            return Err(BundleError::CutShort);
        }
    }
    Ok(sections)
}

fn label<'l>(line: &'l str, before: &str) -> Option<&'l str> {
    line.strip_prefix(before)?.strip_suffix("-----")
}
