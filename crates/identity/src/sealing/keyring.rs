//! The fleet keys that a node has.
//!
//! They are kept in a file of JSON, `{"version":1,"keys":[{…}]}`, each sealed to the node's own key, so that a node
//! that starts alone reads what it read before.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use hafleet_model::FleetName;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{FleetKey, KeyId, NodeKey, Recipient, SealedKey, SealedText, SealingError};
use crate::keep;

/// How many keys are kept; of more the ones that were learned first go.
const MAX_KEYS: usize = 64;

/// The fleet keys that a node has, and its own key. Changes are synced to the file before they count.
#[derive(Debug)]
pub struct Keyring {
    own: NodeKey,
    fleet: FleetName,
    path: PathBuf,
    /// In the order in which they were learned.
    keys: Vec<FleetKey>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    keys: Vec<SealedKey>,
}

impl Keyring {
    /// The version of the file's form.
    const VERSION: u32 = 1;

    /// Reads the file `path`, whose keys are sealed to `own`; without a file there are none. Those that cannot be opened
    /// are left out: they were sealed to a key that this node had before, and others have them.
    ///
    /// # Errors
    /// When the file cannot be read, or is of another form.
    pub fn open(own: NodeKey, fleet: FleetName, path: PathBuf) -> Result<Self, SealingError> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(SealingError::File { path, source }),
        };
        let mut keyring = Self {
            own,
            fleet,
            path,
            keys: Vec::new(),
        };
        for sealed in text.as_deref().map(read).transpose()?.unwrap_or_default() {
            match sealed.open(&keyring.own, &keyring.fleet) {
                Ok(key) => keyring.keys.push(key),
                Err(error) => {
                    tracing::warn!(path = %keyring.path.display(), %error, "a fleet key cannot be opened and is asked for anew");
                }
            }
        }
        Ok(keyring)
    }

    /// To whom others seal what is for this node.
    pub fn recipient(&self) -> Recipient {
        self.own.recipient()
    }

    /// The key `id`, if this node has it.
    pub fn get(&self, id: &KeyId) -> Option<&FleetKey> {
        self.keys.iter().find(|key| key.id() == *id)
    }

    /// Keeps `key`; whether it was new.
    ///
    /// # Errors
    /// When the file cannot be written; the key is not kept then.
    pub fn learn(&mut self, key: FleetKey) -> Result<bool, SealingError> {
        if self.get(&key.id()).is_some() {
            return Ok(false);
        }
        let mut keys = self.keys.clone();
        keys.push(key);
        let excess = keys.len().saturating_sub(MAX_KEYS);
        keys.drain(..excess);
        self.write(&keys)?;
        self.keys = keys;
        Ok(true)
    }

    /// Opens what another node has sealed to this one, and keeps it if it is the key `expected`; whether it was.
    ///
    /// # Errors
    /// When it cannot be opened or kept.
    pub fn learn_sealed(
        &mut self,
        sealed: &SealedKey,
        expected: &KeyId,
    ) -> Result<bool, SealingError> {
        let key = sealed.open(&self.own, &self.fleet)?;
        if key.id() != *expected {
            return Ok(false);
        }
        self.learn(key)?;
        Ok(true)
    }

    /// The key `id` for another node.
    ///
    /// # Errors
    /// When this node does not have it, or `recipient` is no key.
    pub fn share(&self, id: &KeyId, recipient: &Recipient) -> Result<SealedKey, SealingError> {
        let unknown = || SealingError::UnknownKey { id: id.clone() };
        let key = self.get(id).ok_or_else(unknown)?;
        key.seal_to(recipient, &self.fleet)
    }

    /// The key of `sealed`: one that this node has, or the one that comes with it. That one is kept for when another
    /// text under it does not name this node; that it cannot be is a remark, since it will come again.
    ///
    /// # Errors
    /// [`SealingError::UnknownKey`] when it is not here and not sealed to this node, or why it cannot be opened.
    pub fn key_of(&mut self, sealed: &SealedText) -> Result<FleetKey, SealingError> {
        if let Some(key) = self.get(sealed.key()) {
            return Ok(key.clone());
        }
        let id = sealed.key().clone();
        let key = sealed.key_for(&self.own, &self.fleet)?;
        let key = key.ok_or(SealingError::UnknownKey { id })?;
        if let Err(error) = self.learn(key.clone()) {
            tracing::warn!(key = %key.id(), %error, "a fleet key cannot be kept");
        }
        Ok(key)
    }

    /// The text of `sealed`. It is cleared from memory when it is dropped.
    ///
    /// # Errors
    /// As [`Self::key_of`], or when it was changed.
    pub fn read(&mut self, sealed: &SealedText) -> Result<Zeroizing<String>, SealingError> {
        let key = self.key_of(sealed)?;
        sealed.open(&key, &self.fleet)
    }

    fn write(&self, keys: &[FleetKey]) -> Result<(), SealingError> {
        let mut sealed = Vec::new();
        for key in keys {
            sealed.push(key.seal_to(&self.own.recipient(), &self.fleet)?);
        }
        let written = Written {
            version: Self::VERSION,
            keys: sealed,
        };
        let text = serde_json::to_string(&written).unwrap_or_default();
        keep::replace(&self.path, &text, keep::PRIVATE).map_err(|source| SealingError::File {
            path: self.path.clone(),
            source,
        })
    }
}

fn read(text: &str) -> Result<Vec<SealedKey>, SealingError> {
    let malformed = |reason| SealingError::Malformed {
        what: "the file of fleet keys",
        reason,
    };
    let by_version: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| malformed("it is no JSON object"))?;
    let version = by_version
        .get("version")
        .and_then(serde_json::Value::as_u64);
    if version != Some(u64::from(Keyring::VERSION)) {
        return Err(malformed(
            "it is of another version: install the version of hafleet that wrote it, or move it away and the other nodes give the keys anew",
        ));
    }
    let written: Written =
        serde_json::from_str(text).map_err(|_| malformed("a key has another form"))?;
    Ok(written.keys)
}
