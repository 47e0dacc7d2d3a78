//! The join tokens of this node's issuer.
//!
//! A token is good at the one issuer that made it, so that it can be used once without the fleet having to agree on it.
//! Of the secret only a digest is kept.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hafleet_model::{Digest, NodeId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::revocations::keep;

/// How long a token that is no longer good is remembered, so that its holder is told why.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// How many tokens may be good at once.
const MAX_GOOD: usize = 1_000;

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptToken {
    pub(crate) id: String,
    pub(crate) secret: Digest,
    pub(crate) node: Option<NodeId>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) expires_at_ms: i64,
    pub(crate) author: String,
    pub(crate) used_by: Option<NodeId>,
}

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenRefusal {
    /// Never made here, or long forgotten, or its secret is another.
    #[error(
        "this issuer does not know the token: it was made by another one, or taken back, or is long over; `hafleet pki token create` makes one"
    )]
    Unknown,
    #[error(
        "the token was used before, by node {0}, and is good once: make another one with `hafleet pki token create`; if you have not used it, somebody else has"
    )]
    Used(NodeId),
    #[error("the token expired at {0}: make another one with `hafleet pki token create`")]
    Expired(Timestamp),
    #[error("the token is for node {0}")]
    OtherNode(NodeId),
}

/// All tokens of an issuer, in a file.
pub(crate) struct Tokens {
    path: PathBuf,
    kept: Mutex<Vec<KeptToken>>,
}

impl Tokens {
    /// Those in the file at `path`; none if there is no file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn open(path: PathBuf) -> std::io::Result<Self> {
        let kept = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(std::io::Error::other)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path,
            kept: Mutex::new(kept),
        })
    }

    /// Keeps a new token.
    ///
    /// # Errors
    /// When there are too many, or the file cannot be written.
    pub(crate) fn add(&self, token: KeptToken, now: Timestamp) -> std::io::Result<()> {
        let mut kept = self.kept();
        let mut after = remembered(&kept, now);
        let good = after.iter().filter(|token| is_good(token, now)).count();
        if good >= MAX_GOOD {
            return Err(std::io::Error::other(format!(
                "{MAX_GOOD} tokens are good already: take some back with `hafleet pki token remove`"
            )));
        }
        after.push(token);
        self.write(&mut kept, after)
    }

    /// The token `id`, if it is good for `node`.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn check(
        &self,
        id: &str,
        secret: &str,
        node: Option<&NodeId>,
        now: Timestamp,
    ) -> Result<KeptToken, TokenRefusal> {
        find(&self.kept(), id, secret, node, now).cloned()
    }

    /// Spends the token `id` for `node`: of all that try, one succeeds. It is written down before this returns.
    ///
    /// # Errors
    /// Why it is not good, or that it cannot be written down; it is not spent then.
    pub(crate) fn spend(
        &self,
        id: &str,
        secret: &str,
        node: &NodeId,
        now: Timestamp,
    ) -> Result<Result<(), TokenRefusal>, std::io::Error> {
        let mut kept = self.kept();
        if let Err(refusal) = find(&kept, id, secret, Some(node), now) {
            return Ok(Err(refusal));
        }
        let mut after = remembered(&kept, now);
        for token in after.iter_mut().filter(|token| token.id == id) {
            token.used_by = Some(node.clone());
        }
        self.write(&mut kept, after).map(Ok)
    }

    /// Takes the token `id` back. Whether it was there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn remove(&self, id: &str, now: Timestamp) -> std::io::Result<bool> {
        let mut kept = self.kept();
        let is_there = kept
            .iter()
            .any(|token| token.id == id && is_good(token, now));
        if is_there {
            let mut after = remembered(&kept, now);
            after.retain(|token| token.id != id);
            self.write(&mut kept, after)?;
        }
        Ok(is_there)
    }

    /// Those that are good, and those that were used or have expired within the last day.
    pub(crate) fn list(&self, now: Timestamp) -> Vec<KeptToken> {
        remembered(&self.kept(), now)
    }

    /// Whether a token without a name was used for `node`.
    pub(crate) fn has_named(&self, node: &NodeId) -> bool {
        self.kept()
            .iter()
            .any(|token| token.used_by.as_ref() == Some(node))
    }

    fn kept(&self) -> MutexGuard<'_, Vec<KeptToken>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, kept: &mut Vec<KeptToken>, after: Vec<KeptToken>) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(&after).map_err(std::io::Error::other)?;
        keep(&self.path, &bytes)?;
        *kept = after;
        Ok(())
    }
}

fn is_good(token: &KeptToken, now: Timestamp) -> bool {
    token.used_by.is_none() && now.as_millisecond() < token.expires_at_ms
}

fn remembered(kept: &[KeptToken], now: Timestamp) -> Vec<KeptToken> {
    let oldest = now.as_millisecond() - i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX);
    let recent = kept.iter().filter(|token| token.expires_at_ms > oldest);
    recent.cloned().collect()
}

fn find<'a>(
    kept: &'a [KeptToken],
    id: &str,
    secret: &str,
    node: Option<&NodeId>,
    now: Timestamp,
) -> Result<&'a KeptToken, TokenRefusal> {
    // Digests are compared, so that how long it takes says nothing about the secret.
    let secret = Digest::of(secret.as_bytes());
    let mut tokens = kept.iter();
    let token = tokens.find(|token| token.id == id && token.secret == secret);
    let token = token.ok_or(TokenRefusal::Unknown)?;
    if let Some(by) = &token.used_by {
        return Err(TokenRefusal::Used(by.clone()));
    }
    if now.as_millisecond() >= token.expires_at_ms {
        let at = Timestamp::from_millisecond(token.expires_at_ms).unwrap_or_default();
        return Err(TokenRefusal::Expired(at));
    }
    match (&token.node, node) {
        (Some(meant), Some(node)) if meant != node => Err(TokenRefusal::OtherNode(meant.clone())),
        _ => Ok(token),
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
