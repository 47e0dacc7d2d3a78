//! The written form of what is sealed: JSON with a version, the fleet key for each node, and the encrypted text.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hafleet_model::{FleetName, NodeId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{FleetKey, KeyId, NodeKey, Recipient, SealedKey, SealingError};

/// Whom a text is sealed to.
pub type Addressees = BTreeMap<NodeId, Recipient>;

/// A text that only the nodes of a fleet can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedText {
    key: KeyId,
    nodes: BTreeMap<String, KeyOf>,
    nonce: String,
    text: String,
}

/// The fleet key for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeyOf {
    recipient: String,
    #[serde(flatten)]
    sealed: SealedKey,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    sealed: Sealed,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    key: KeyId,
    nodes: BTreeMap<String, KeyOf>,
    nonce: String,
    text: String,
}

/// The version alone, which is read before the rest.
#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl SealedText {
    /// The version of the form. Those before it are of texts that are not sealed.
    pub const VERSION: u32 = 2;

    /// Whether `text` is of this form: in all else it is for others to read.
    pub fn is_sealed(text: &str) -> bool {
        let version = serde_json::from_str::<VersionOnly>(text);
        version.is_ok_and(|found| found.version == Self::VERSION)
    }

    /// Encrypts `text` under `key`, and seals the key to each of `addressees`.
    ///
    /// # Errors
    /// When one of them is no key, or there are no random numbers.
    pub fn seal(
        text: &str,
        key: &FleetKey,
        addressees: &Addressees,
        fleet: &FleetName,
    ) -> Result<Self, SealingError> {
        let id = key.id();
        let (nonce, encrypted) = key.encrypt(text.as_bytes(), &context(fleet, &id))?;
        let mut nodes = BTreeMap::new();
        for (node, recipient) in addressees {
            let sealed = key.seal_to(recipient, fleet)?;
            let recipient = recipient.to_string();
            nodes.insert(node.to_string(), KeyOf { recipient, sealed });
        }
        Ok(Self {
            key: id,
            nodes,
            nonce: STANDARD.encode(nonce),
            text: STANDARD.encode(encrypted),
        })
    }

    /// Reads the written form.
    ///
    /// # Errors
    /// When it is of another form.
    pub fn parse(text: &str) -> Result<Self, SealingError> {
        let written: Written = serde_json::from_str(text).map_err(|_| SealingError::Malformed {
            what: "a sealed text",
            reason: "it is not the JSON of one",
        })?;
        if written.version != Self::VERSION {
            return Err(SealingError::Malformed {
                what: "a sealed text",
                reason: "it is of a version that is not known here",
            });
        }
        let Sealed {
            key,
            nodes,
            nonce,
            text,
        } = written.sealed;
        Ok(Self {
            key,
            nodes,
            nonce,
            text,
        })
    }

    /// The written form.
    pub fn body(&self) -> String {
        let written = Written {
            version: Self::VERSION,
            sealed: Sealed {
                key: self.key.clone(),
                nodes: self.nodes.clone(),
                nonce: self.nonce.clone(),
                text: self.text.clone(),
            },
        };
        // Texts and numbers under text keys: there is nothing in it that JSON could not hold.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// The fleet key that it is encrypted under.
    pub fn key(&self) -> &KeyId {
        &self.key
    }

    /// The nodes that it is sealed to.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The fleet key, if it is sealed to `own`.
    ///
    /// # Errors
    /// When what is sealed to it cannot be opened.
    pub fn key_for(
        &self,
        own: &NodeKey,
        fleet: &FleetName,
    ) -> Result<Option<FleetKey>, SealingError> {
        let recipient = own.recipient().to_string();
        let mut found = self.nodes.values();
        let Some(found) = found.find(|of| of.recipient == recipient) else {
            return Ok(None);
        };
        let key = found.sealed.open(own, fleet)?;
        match key.id() == self.key {
            true => Ok(Some(key)),
            false => Err(SealingError::Refused {
                what: "the fleet key",
            }),
        }
    }

    /// The text itself. It is cleared from memory when it is dropped.
    ///
    /// # Errors
    /// When `key` is not the one, or the text was changed.
    pub fn open(
        &self,
        key: &FleetKey,
        fleet: &FleetName,
    ) -> Result<Zeroizing<String>, SealingError> {
        let malformed = |reason| SealingError::Malformed {
            what: "a sealed text",
            reason,
        };
        let decoded = |text| STANDARD.decode(text);
        let nonce = decoded(&self.nonce).map_err(|_| malformed("its nonce is no base64"))?;
        let nonce = nonce.try_into();
        let nonce = nonce.map_err(|_| malformed("its nonce has not 12 bytes"))?;
        let text = decoded(&self.text).map_err(|_| malformed("its text is no base64"))?;
        let opened = key.decrypt(nonce, text, &context(fleet, &self.key))?;
        let opened = std::str::from_utf8(&opened).map_err(|_| malformed("it is no UTF-8"))?;
        Ok(Zeroizing::new(opened.to_owned()))
    }
}

/// What belongs to a text beside the text: it opens in no other fleet, and as nothing else.
fn context(fleet: &FleetName, key: &KeyId) -> Vec<u8> {
    format!("hafleet sealed text 2\0{fleet}\0{key}").into_bytes()
}
