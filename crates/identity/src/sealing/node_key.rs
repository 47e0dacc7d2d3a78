//! The key pair of a node, to which others seal.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::agreement::{PrivateKey, X25519};
use aws_lc_rs::encoding::{AsBigEndian as _, Curve25519SeedBin};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::SealingError;
use crate::keep;

/// What stands before the key in its file, so that nobody takes it for anything else.
const HEADING: &str = "hafleet-node-key-1 ";
/// The length of either half of an X25519 key pair, in bytes (RFC 7748).
const LEN: usize = 32;

/// The public half of a [`NodeKey`]: to whom something is sealed. As text it is base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recipient([u8; LEN]);

impl Recipient {
    /// The key as RFC 7748 has it.
    pub fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0))
    }
}

impl FromStr for Recipient {
    type Err = SealingError;

    fn from_str(text: &str) -> Result<Self, SealingError> {
        let malformed = |reason| SealingError::Malformed {
            what: "a node's public key",
            reason,
        };
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| malformed("it is no base64"))?;
        let bytes = bytes.try_into();
        Ok(Self(bytes.map_err(|_| malformed("it has not 32 bytes"))?))
    }
}

/// The key pair of a node. It never leaves the machine; its file is readable by the agent's user alone.
pub struct NodeKey {
    secret: Zeroizing<[u8; LEN]>,
    recipient: Recipient,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey")
            .field("recipient", &self.recipient)
            .finish_non_exhaustive()
    }
}

impl NodeKey {
    /// Makes a new one.
    ///
    /// # Errors
    /// For want of random numbers.
    pub fn generate() -> Result<Self, SealingError> {
        let failed = |_| SealingError::Failed("no key pair could be made");
        let key = PrivateKey::generate(&X25519).map_err(failed)?;
        let seed: Curve25519SeedBin<'_> = key.as_be_bytes().map_err(failed)?;
        let mut secret = Zeroizing::new([0; LEN]);
        secret.copy_from_slice(seed.as_ref());
        Self::of(secret).ok_or(SealingError::Failed("no key pair could be made"))
    }

    /// Reads the key in the file `path`, or makes one there if there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read or made, others may read it, or it holds no key.
    pub fn load_or_create(path: &Path) -> Result<Self, SealingError> {
        let failed = |source| SealingError::File {
            path: path.to_owned(),
            source,
        };
        match fs::read_to_string(path) {
            Ok(text) => Self::read(path, &Zeroizing::new(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate()?;
                let text = format!("{HEADING}{}\n", STANDARD.encode(key.secret.as_slice()));
                keep::write_new(path, &Zeroizing::new(text), keep::PRIVATE).map_err(failed)?;
                Ok(key)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn read(path: &Path, text: &str) -> Result<Self, SealingError> {
        let path = || path.to_owned();
        let metadata = fs::metadata(path()).map_err(|source| SealingError::File {
            path: path(),
            source,
        })?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SealingError::Exposed { path: path(), mode });
        }
        let no_key = |reason| SealingError::NoKey {
            path: path(),
            reason,
        };
        let written = text
            .trim_end()
            .strip_prefix(HEADING)
            .ok_or_else(|| no_key("it does not begin as one does"))?;
        let bytes = STANDARD.decode(written).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| no_key("it is no base64"))?;
        let mut secret = Zeroizing::new([0; LEN]);
        if bytes.len() != LEN {
            return Err(no_key("it has not 32 bytes"));
        }
        secret.copy_from_slice(&bytes);
        Self::of(secret).ok_or_else(|| no_key("it is no X25519 key"))
    }

    fn of(secret: Zeroizing<[u8; LEN]>) -> Option<Self> {
        let private = PrivateKey::from_private_key(&X25519, secret.as_slice()).ok()?;
        let public = private.compute_public_key().ok()?;
        let recipient = Recipient(public.as_ref().try_into().ok()?);
        Some(Self { secret, recipient })
    }

    /// The public half.
    pub fn recipient(&self) -> Recipient {
        self.recipient
    }

    pub(super) fn secret(&self) -> &[u8] {
        self.secret.as_slice()
    }
}
