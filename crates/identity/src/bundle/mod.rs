//! A certificate of the traffic: what clients of the load balancers are shown, with its chain and its key.
//!
//! People give it as files in any number and order. [`Bundle::read`] finds out which certificate is whose, and puts them
//! in the order that HAProxy wants: the certificate, each signer after what it signed, the key. It refuses what HAProxy
//! would refuse later, or what clients would: parts that do not belong together. It has nothing to do with who is in the
//! fleet; for that see [`crate::certificate`].

mod chain;
mod facts;
mod sections;

use std::sync::Arc;

use hafleet_model::secrets::Confidential;
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::sign::SigningKey;

use chain::Ordered;
use sections::Key;

pub use facts::TrafficCertificate;

/// Why files are not a certificate with its key. No error has a part of a key in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A section that has no end, or an end that has no beginning.
    #[error("a PEM section is cut short: copy the files again, whole")]
    CutShort,
    /// A section that is not what its label says.
    #[error("the PEM section {label} cannot be decoded: copy the file again, whole")]
    Malformed {
        /// Its label.
        label: String,
    },
    /// A section that is of no use here.
    #[error(
        "the PEM section {label} is of no use here: give the certificate, its chain and its key"
    )]
    UnknownSection {
        /// Its label.
        label: String,
    },
    /// A key that only somebody with its password can read.
    #[error(
        "the key is encrypted, and HAProxy has nobody to ask for the password: give it decrypted, as `openssl pkey -in KEY -out PLAIN` writes it"
    )]
    EncryptedKey,
    /// No certificate.
    #[error("there is no certificate: a PEM section CERTIFICATE is expected")]
    NoCertificate,
    /// No key.
    #[error(
        "there is no private key: a PEM section PRIVATE KEY is expected, from the certificate's own key file"
    )]
    NoKey,
    /// More keys than one.
    #[error("there are {count} private keys: give the one that belongs to the certificate")]
    ManyKeys {
        /// How many.
        count: usize,
    },
    /// A key of a kind that nothing here can use.
    #[error(
        "the private key cannot be used: RSA from 2048 bits, ECDSA on P-256, P-384 or P-521, and Ed25519 can"
    )]
    UnusableKey,
    /// No certificate has this key.
    #[error(
        "the key belongs to none of the certificates ({subjects}): give the key that was made for the certificate"
    )]
    WrongKey {
        /// Whom they are for.
        subjects: String,
    },
    /// Several certificates have this key.
    #[error("the key belongs to {count} of the certificates: give one of them, the newest perhaps")]
    ManyLeaves {
        /// How many.
        count: usize,
    },
    /// Certificates that have nothing to do with the others.
    #[error(
        "these are not of the certificate's chain: {subjects}. Leave them out, or give what stands between"
    )]
    Strangers {
        /// Whom they are for.
        subjects: String,
    },
    /// Not X.509.
    #[error("not an X.509 certificate: {reason}")]
    NotX509 {
        /// What the parser said.
        reason: String,
    },
    /// Too old.
    #[error("{subject} expired at {not_after}: get a new one")]
    Expired {
        /// Whom it is for.
        subject: String,
        /// Since when.
        not_after: Timestamp,
    },
    /// Too young.
    #[error("{subject} is not valid before {not_before}: compare the clocks, or wait")]
    NotYetValid {
        /// Whom it is for.
        subject: String,
        /// From when.
        not_before: Timestamp,
    },
}

/// A certificate, its chain and its key, which belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    leaf: TrafficCertificate,
    chain: Vec<TrafficCertificate>,
    pem: Confidential,
}

impl Bundle {
    /// Finds a certificate, its chain and its key in PEM texts, in whatever order they are.
    ///
    /// # Errors
    /// What is missing, too much, or does not belong to the rest. Whether they are valid now is left to
    /// [`Self::check_time`].
    pub fn read<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, BundleError> {
        let sections = sections::read(texts.into_iter())?;
        if sections.certificates.is_empty() {
            return Err(BundleError::NoCertificate);
        }
        let key = match sections.keys.as_slice() {
            [] => return Err(BundleError::NoKey),
            [key] => key,
            keys => return Err(BundleError::ManyKeys { count: keys.len() }),
        };
        let public_key = public_key(key)?;
        let Ordered { leaf, chain } = chain::order(&sections.certificates, &public_key)?;
        let mut pem = leaf.pem.clone();
        chain.iter().for_each(|signer| pem.push_str(&signer.pem));
        pem.push_str(&key.pem);
        let signers = chain.iter().map(|signer| facts::facts(&signer.der));
        Ok(Self {
            leaf: facts::facts(&leaf.der)?,
            chain: signers.collect::<Result<_, _>>()?,
            pem: Confidential::new(pem),
        })
    }

    /// Whether all of it is valid at `now`.
    ///
    /// # Errors
    /// The first that has expired or is not valid yet.
    pub fn check_time(&self, now: Timestamp) -> Result<(), BundleError> {
        for certificate in std::iter::once(&self.leaf).chain(&self.chain) {
            let subject = certificate.subject.clone();
            if certificate.not_after <= now {
                let not_after = certificate.not_after;
                return Err(BundleError::Expired { subject, not_after });
            }
            if now < certificate.not_before {
                let not_before = certificate.not_before;
                return Err(BundleError::NotYetValid {
                    subject,
                    not_before,
                });
            }
        }
        Ok(())
    }

    /// What people should know of it, though it can be used.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.chain.is_empty() && !self.leaf.is_self_issued {
            warnings.push(format!(
                "it has no chain: clients that do not know {} will refuse it",
                self.leaf.issuer
            ));
        }
        if self.leaf.names.is_empty() {
            warnings.push("it has no alternative names: browsers will refuse it".to_owned());
        }
        warnings
    }

    /// The certificate that clients are shown.
    pub fn leaf(&self) -> &TrafficCertificate {
        &self.leaf
    }

    /// Its signers, each after what it signed.
    pub fn chain(&self) -> &[TrafficCertificate] {
        &self.chain
    }

    /// All of it, as HAProxy loads it.
    pub fn pem(&self) -> &Confidential {
        &self.pem
    }
}

/// The public half of a private key, as certificates have it (SubjectPublicKeyInfo).
fn public_key(key: &Key) -> Result<Vec<u8>, BundleError> {
    let provider = aws_lc_rs::default_provider();
    let signer: Arc<dyn SigningKey> = provider
        .key_provider
        .load_private_key(key.der.clone_key())
        .map_err(|_| BundleError::UnusableKey)?;
    let public_key = signer.public_key().ok_or(BundleError::UnusableKey)?;
    Ok(public_key.as_ref().to_vec())
}

#[cfg(test)]
mod bundle_tests;
