//! The key that a fleet's nodes share, and its form for one of them.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hafleet_model::FleetName;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey, HpkePublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{NodeKey, Recipient, SealingError};

/// The length of a fleet key, in bytes.
const LEN: usize = 32;
/// The length of a key's id, in hexadecimal digits.
const ID_LEN: usize = 16;

/// By which a fleet key is known: the beginning of a digest, from which nothing of the key can be had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

impl TryFrom<String> for KeyId {
    type Error = SealingError;

    fn try_from(text: String) -> Result<Self, SealingError> {
        let is_hexadecimal = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        if text.len() != ID_LEN || !text.chars().all(is_hexadecimal) {
            return Err(SealingError::Malformed {
                what: "the id of a fleet key",
                reason: "it is not 16 hexadecimal digits",
            });
        }
        Ok(Self(text))
    }
}

impl FromStr for KeyId {
    type Err = SealingError;

    fn from_str(text: &str) -> Result<Self, SealingError> {
        text.to_owned().try_into()
    }
}

/// A key that the nodes of a fleet share. It is cleared from memory when it is dropped.
#[derive(Clone)]
pub struct FleetKey(Zeroizing<[u8; LEN]>);

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FleetKey").field(&self.id()).finish()
    }
}

impl FleetKey {
    /// Makes a new one.
    ///
    /// # Errors
    /// For want of random numbers.
    pub fn generate() -> Result<Self, SealingError> {
        let mut key = Zeroizing::new([0; LEN]);
        rand::fill(key.as_mut_slice())
            .map_err(|_| SealingError::Failed("there are no random numbers"))?;
        Ok(Self(key))
    }

    /// By which it is known.
    pub fn id(&self) -> KeyId {
        let text = [b"hafleet fleet key\0".as_slice(), self.0.as_slice()].concat();
        let hashed = digest(&SHA256, &Zeroizing::new(text));
        let digits = hashed.as_ref().iter().take(ID_LEN / 2);
        KeyId(digits.map(|byte| format!("{byte:02x}")).collect())
    }

    /// The key for `recipient` alone.
    ///
    /// # Errors
    /// When `recipient` is no key that anything can be sealed to.
    pub fn seal_to(
        &self,
        recipient: &Recipient,
        fleet: &FleetName,
    ) -> Result<SealedKey, SealingError> {
        let public = HpkePublicKey(recipient.as_bytes().to_vec());
        let sealed = SUITE.seal(&info(fleet), b"", self.0.as_slice(), &public);
        let (share, key) = sealed.map_err(|_| SealingError::Malformed {
            what: "a node's public key",
            reason: "nothing can be sealed to it",
        })?;
        Ok(SealedKey {
            share: STANDARD.encode(share.0),
            key: STANDARD.encode(key),
        })
    }

    /// Encrypts `text`: the nonce, and what it became. `context` is what the reader has to know of it as well.
    pub(super) fn encrypt(
        &self,
        text: &[u8],
        context: &[u8],
    ) -> Result<([u8; NONCE_LEN], Vec<u8>), SealingError> {
        let failed = |_| SealingError::Failed("a text could not be encrypted");
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(failed)?;
        // What it becomes takes the place of the text in memory.
        let mut bytes = Vec::with_capacity(text.len() + AES_256_GCM.tag_len());
        bytes.extend_from_slice(text);
        let unique = Nonce::assume_unique_for_key(nonce);
        self.cipher()?
            .seal_in_place_append_tag(unique, Aad::from(context), &mut bytes)
            .map_err(failed)?;
        Ok((nonce, bytes))
    }

    pub(super) fn decrypt(
        &self,
        nonce: [u8; NONCE_LEN],
        bytes: Vec<u8>,
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let refused = |_| SealingError::Refused { what: "the text" };
        let mut bytes = Zeroizing::new(bytes);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let len = self
            .cipher()?
            .open_in_place(nonce, Aad::from(context), bytes.as_mut_slice())
            .map_err(refused)?
            .len();
        bytes.truncate(len);
        Ok(bytes)
    }

    fn cipher(&self) -> Result<LessSafeKey, SealingError> {
        let key = UnboundKey::new(&AES_256_GCM, self.0.as_slice());
        let key = key.map_err(|_| SealingError::Failed("a key could not be used"))?;
        Ok(LessSafeKey::new(key))
    }
}

/// A [`FleetKey`] for one node alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey {
    /// The sender's share of the secret, in base64.
    share: String,
    /// The encrypted key, in base64.
    key: String,
}

impl fmt::Display for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.share, self.key)
    }
}

impl FromStr for SealedKey {
    type Err = SealingError;

    fn from_str(text: &str) -> Result<Self, SealingError> {
        let (share, key) = text.split_once(' ').ok_or(SealingError::Malformed {
            what: "a sealed key",
            reason: "it has not two parts",
        })?;
        let (share, key) = (share.to_owned(), key.to_owned());
        Ok(Self { share, key })
    }
}

impl SealedKey {
    /// Opens it with the key of the node that it is for.
    ///
    /// # Errors
    /// When it is for another node or another fleet, or was changed.
    pub fn open(&self, own: &NodeKey, fleet: &FleetName) -> Result<FleetKey, SealingError> {
        let malformed = |_| SealingError::Malformed {
            what: "a sealed key",
            reason: "it is no base64",
        };
        let refused = SealingError::Refused {
            what: "the fleet key",
        };
        let share = EncapsulatedSecret(STANDARD.decode(&self.share).map_err(malformed)?);
        let sealed = STANDARD.decode(&self.key).map_err(malformed)?;
        let private = HpkePrivateKey::from(own.secret().to_vec());
        let opened = SUITE.open(&share, &info(fleet), b"", &sealed, &private);
        let Ok(opened) = opened.map(Zeroizing::new) else {
            return Err(refused);
        };
        if opened.len() != LEN {
            return Err(refused);
        }
        let mut key = Zeroizing::new([0; LEN]);
        key.copy_from_slice(&opened);
        Ok(FleetKey(key))
    }
}

/// What a sealed key is for: it opens in no other fleet, and as nothing else.
fn info(fleet: &FleetName) -> Vec<u8> {
    format!("hafleet fleet key 1\0{fleet}").into_bytes()
}
