//! Sealing: what only the nodes of a fleet can read, wherever it lies.
//!
//! A text is encrypted under a [`FleetKey`] (AES-256-GCM). The fleet key travels with the text, sealed to the [`NodeKey`]
//! of each node (HPKE, RFC 9180, with X25519, HKDF-SHA256 and AES-256-GCM), so that whoever has the text and is meant by
//! it needs nothing else. A node that was not there when a text was sealed is given the fleet key by one that was, sealed
//! to it.
//!
//! - [`node_key`]: [`NodeKey`] and [`Recipient`], its public half.
//! - [`fleet_key`]: [`FleetKey`], [`KeyId`], and [`SealedKey`], a fleet key for one node.
//! - [`sealed_text`]: [`SealedText`], the written form.
//! - [`keyring`]: [`Keyring`], the fleet keys that a node has, kept in a file that only the node's key opens.

pub mod fleet_key;
pub mod keyring;
pub mod node_key;
pub mod sealed_text;

pub use fleet_key::{FleetKey, KeyId, SealedKey};
pub use keyring::Keyring;
pub use node_key::{NodeKey, Recipient};
pub use sealed_text::{Addressees, SealedText};

use std::io;
use std::path::PathBuf;

/// What stops a text or a key from being sealed or opened. No error has a part of a key or of a text in it.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// A file cannot be used.
    #[error("{path}: {source}; let the agent's user read and write there")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds no key.
    #[error(
        "{path} holds no key of a node ({reason}): put back the file that was there, or move it away and the agent makes a new one, to which the other nodes seal the fleet's key"
    )]
    NoKey {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// Others than its owner can read the file.
    #[error("{path} can be read by others (mode {mode:03o}): chmod 600 it")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A text that is of another form.
    #[error("{what} cannot be read: {reason}")]
    Malformed {
        /// Of what.
        what: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// It was sealed to another key, or changed since.
    #[error("{what} is not sealed to this key, or was changed since")]
    Refused {
        /// What was to be opened.
        what: &'static str,
    },
    /// The key is not here.
    #[error("it is sealed under fleet key {id}, which this node does not have yet")]
    UnknownKey {
        /// Which key.
        id: KeyId,
    },
    /// The cryptography failed, which it does for want of memory or random numbers only.
    #[error("the cryptography failed: {0}")]
    Failed(&'static str),
}

#[cfg(test)]
#[path = "sealing_tests.rs"]
mod tests;
