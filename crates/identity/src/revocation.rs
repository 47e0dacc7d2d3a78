//! Lists of certificates that an authority has taken back (RFC 5280 section 5).
//!
//! A list is believed because an authority of ours has signed it, wherever it comes from, and replaces another one of the
//! same authority only if its number is higher. Its `nextUpdate` is not looked at: a list that nobody has renewed is still
//! right about those whom it names, and the fleet must not stop because a person forgot it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::certificate::Serial;

/// The longest list, in bytes: room for some hundred thousand certificates.
pub const MAX_LIST_LEN: usize = 8 * 1024 * 1024;

/// Which authority: the beginning of its public key's SHA-256, in hexadecimal. Authorities of one fleet share their name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityId(String);

impl AuthorityId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        let digest =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.public_key().raw);
        let bytes = digest.as_ref().iter().take(8);
        Self(bytes.map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a list does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// Not a list.
    #[error(
        "this is no list of revoked certificates (PEM section X509 CRL): `hafleet pki revoke` makes one"
    )]
    NotAList,
    /// Nobody whom we trust has signed it.
    #[error("the list of revoked certificates is not signed by an authority of this fleet")]
    NotSigned,
    /// It has no number to order it by.
    #[error(
        "the list of revoked certificates has no number that can be read: make it with `hafleet pki revoke`"
    )]
    NoNumber,
    /// Too long.
    #[error("the list of revoked certificates has {found} bytes, and {MAX_LIST_LEN} are allowed")]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
}

/// A certificate that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number.
    pub serial: Serial,
    /// Since when.
    pub at: Timestamp,
}

/// A list whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    authority: AuthorityId,
    number: u64,
    revoked: Vec<Revoked>,
    der: Vec<u8>,
}

impl RevocationList {
    /// Reads a list, PEM or DER, that one of `authorities` has signed.
    ///
    /// # Errors
    /// When it cannot be read or none of them has.
    pub fn verified(
        list: &[u8],
        authorities: &[CertificateDer<'_>],
    ) -> Result<Self, RevocationError> {
        if list.len() > MAX_LIST_LEN {
            return Err(RevocationError::TooLong { found: list.len() });
        }
        let der = match CertificateRevocationListDer::from_pem_slice(list) {
            Ok(der) => der.as_ref().to_vec(),
            Err(_) => list.to_vec(),
        };
        let (rest, parsed) =
            CertificateRevocationList::from_der(&der).map_err(|_| RevocationError::NotAList)?;
        if !rest.is_empty() {
            return Err(RevocationError::NotAList);
        }
        let signed_by = |authority: &CertificateDer<'_>| {
            let (_, authority) = X509Certificate::from_der(authority.as_ref()).ok()?;
            let signed = parsed.verify_signature(authority.public_key());
            signed.ok().map(|()| AuthorityId::of(&authority))
        };
        let authority = authorities.iter().find_map(signed_by);
        let authority = authority.ok_or(RevocationError::NotSigned)?;
        let number = parsed
            .crl_number()
            .and_then(|number| u64::try_from(number).ok());
        let revoked = parsed.iter_revoked_certificates().map(|entry| Revoked {
            serial: Serial::new(entry.raw_serial()),
            at: Timestamp::from_second(entry.revocation_date.timestamp()).unwrap_or_default(),
        });
        Ok(Self {
            authority,
            number: number.ok_or(RevocationError::NoNumber)?,
            revoked: revoked.collect(),
            der: der.clone(),
        })
    }

    /// Who has signed it.
    pub fn authority(&self) -> &AuthorityId {
        &self.authority
    }

    /// Of two lists of one authority, the one with the higher number counts.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The certificates that it takes back.
    pub fn revoked(&self) -> &[Revoked] {
        &self.revoked
    }

    /// As it was signed.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

/// The newest list of each authority.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    lists: BTreeMap<AuthorityId, Arc<RevocationList>>,
    serials: BTreeSet<Serial>,
}

impl Revocations {
    /// Whether the certificate with this serial number was taken back. Serial numbers are random and long: no two
    /// authorities of a fleet give the same.
    pub fn is_revoked(&self, serial: &Serial) -> bool {
        self.serials.contains(serial)
    }

    /// The lists, by authority.
    pub fn lists(&self) -> impl Iterator<Item = &Arc<RevocationList>> {
        self.lists.values()
    }

    /// The list of `authority`.
    pub fn of(&self, authority: &str) -> Option<&Arc<RevocationList>> {
        self.lists()
            .find(|list| list.authority.as_str() == authority)
    }

    /// The number of each authority's list.
    pub fn numbers(&self) -> BTreeMap<String, u64> {
        let numbers = self.lists.iter();
        numbers
            .map(|(authority, list)| (authority.to_string(), list.number))
            .collect()
    }

    /// With `list`, if that is newer than what is here.
    pub(crate) fn with(&self, list: RevocationList) -> Option<Self> {
        let known = self.lists.get(&list.authority);
        if known.is_some_and(|known| known.number >= list.number) {
            return None;
        }
        let mut lists = self.lists.clone();
        lists.insert(list.authority.clone(), Arc::new(list));
        Some(Self::from(lists))
    }

    /// The lists that one of `authorities` has signed.
    pub(crate) fn signed_by(&self, authorities: &[CertificateDer<'_>]) -> Self {
        let ids: Vec<_> = authorities
            .iter()
            .filter_map(|der| X509Certificate::from_der(der.as_ref()).ok())
            .map(|(_, certificate)| AuthorityId::of(&certificate))
            .collect();
        let mut lists = self.lists.clone();
        lists.retain(|authority, _| ids.contains(authority));
        Self::from(lists)
    }
}

impl From<BTreeMap<AuthorityId, Arc<RevocationList>>> for Revocations {
    fn from(lists: BTreeMap<AuthorityId, Arc<RevocationList>>) -> Self {
        let revoked = lists.values().flat_map(|list| list.revoked.iter());
        let serials = revoked.map(|revoked| revoked.serial.clone()).collect();
        Self { lists, serials }
    }
}
