//! The fleet's secrets, sealed and opened: what stands in the secrets document is for the fleet's nodes alone.
//!
//! Documents are sealed before they get to the cluster, so that neither a disk nor a wire ever has their text. Those of
//! earlier versions, which were not sealed, are read all the same; [`SealingLoop`] seals them and erases what they left.

mod sealing;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hafleet_cluster::{KeyShares, View};
use hafleet_identity::sealing::{
    Addressees, FleetKey, KeyId, Keyring, NodeKey, Recipient, SealedText, SealingError,
};
use hafleet_model::secrets::SecretsError;
use hafleet_model::{Document, FleetName, NodeId, Secrets};
use tokio::sync::watch;
use zeroize::Zeroizing;

pub(crate) use sealing::{PACE, SealingLoop};

/// Why secrets cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// They cannot be sealed or opened.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// What was sealed is no secrets document.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

impl VaultError {
    /// Whether all that lacks is a key, which other nodes have.
    pub(crate) fn lacks_key(&self) -> bool {
        matches!(self, Self::Sealing(SealingError::UnknownKey { .. }))
    }
}

/// Under which key secrets are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyChoice {
    /// The one that they are sealed under now.
    Same,
    /// A new one.
    New,
}

/// A body for the secrets document, and what there is to say of it.
pub(crate) struct SealedBody {
    /// The body.
    pub(crate) text: Zeroizing<String>,
    /// The key that it is sealed under; none while there are nodes that could not read it then.
    pub(crate) key: Option<KeyId>,
    /// Whom the key is sealed to.
    pub(crate) nodes: Vec<NodeId>,
}

/// Opens and seals. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Vault {
    shared: Arc<Shared>,
}

struct Shared {
    me: NodeId,
    fleet: FleetName,
    keyring: Mutex<Keyring>,
    learned: watch::Sender<u64>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    /// Reads this node's key from `key_file`, or makes one there, and the fleet keys in `keyring_file`.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(crate) fn open(
        me: NodeId,
        fleet: FleetName,
        key_file: &std::path::Path,
        keyring_file: PathBuf,
    ) -> Result<Self, SealingError> {
        let own = NodeKey::load_or_create(key_file)?;
        let keyring = Keyring::open(own, fleet.clone(), keyring_file)?;
        let shared = Shared {
            me,
            fleet,
            keyring: Mutex::new(keyring),
            learned: watch::Sender::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// To whom others seal what is for this node.
    pub(crate) fn recipient(&self) -> Recipient {
        self.keyring().recipient()
    }

    /// Changes whenever another node has given a key.
    pub(crate) fn learned(&self) -> watch::Receiver<u64> {
        self.shared.learned.subscribe()
    }

    /// What stands in `document`; nothing when there is none.
    ///
    /// # Errors
    /// When the key is not here, or it is no secrets document.
    pub(crate) fn read(&self, document: Option<&Document>) -> Result<Secrets, VaultError> {
        let Some(document) = document else {
            return Ok(Secrets::default());
        };
        if !SealedText::is_sealed(document.body()) {
            return Ok(Secrets::parse(document.body())?);
        }
        let sealed = SealedText::parse(document.body())?;
        let text = self.keyring().read(&sealed)?;
        Ok(Secrets::parse(&text)?)
    }

    /// The body that has `secrets` take the place of `current`, for the nodes of `view`.
    ///
    /// Of what is not sealed yet it is left open as long as a live node could not read it: one of an earlier version.
    ///
    /// # Errors
    /// When the key of `current` is not here, or nothing can be sealed.
    pub(crate) fn body(
        &self,
        secrets: &Secrets,
        current: Option<&Document>,
        choice: KeyChoice,
        view: &View,
    ) -> Result<SealedBody, VaultError> {
        let current = current.map(Document::body);
        let sealed = current.filter(|body| SealedText::is_sealed(body));
        let sealed = sealed.map(SealedText::parse).transpose()?;
        let key = match (&sealed, choice) {
            (None, _) if !can_all_read(view) => {
                return Ok(SealedBody {
                    text: secrets.body(),
                    key: None,
                    nodes: Vec::new(),
                });
            }
            (Some(sealed), KeyChoice::Same) => self.keyring().key_of(sealed)?,
            (None, _) | (Some(_), KeyChoice::New) => FleetKey::generate()?,
        };
        let addressees = self.addressees(view);
        let fleet = &self.shared.fleet;
        let body = SealedText::seal(&secrets.body(), &key, &addressees, fleet)?;
        Ok(SealedBody {
            text: Zeroizing::new(body.body()),
            key: Some(key.id()),
            nodes: addressees.into_keys().collect(),
        })
    }

    /// Everyone who has said to whom to seal, the dead too, since they may come back; this node in any case.
    fn addressees(&self, view: &View) -> Addressees {
        let members = view.members.iter().filter_map(|member| {
            let key = member.report.sealing_key.as_ref()?;
            match key.parse() {
                Ok(recipient) => Some((member.report.id.clone(), recipient)),
                Err(error) => {
                    tracing::warn!(node = %member.report.id, %error, "nothing can be sealed to this node");
                    None
                }
            }
        });
        let mut addressees: Addressees = members.collect();
        addressees.insert(self.shared.me.clone(), self.recipient());
        addressees
    }

    /// Takes what another node has sealed to this one, if it is the key `id`; whether it was.
    fn take(&self, id: &KeyId, sealed: &str) -> bool {
        let learned = sealed
            .parse()
            .and_then(|sealed| self.keyring().learn_sealed(&sealed, id));
        match learned {
            Ok(true) => {
                self.shared.learned.send_modify(|count| *count += 1);
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::warn!(key = %id, %error, "a fleet key cannot be taken");
                false
            }
        }
    }

    fn keyring(&self) -> MutexGuard<'_, Keyring> {
        let keyring = self.shared.keyring.lock();
        keyring.unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyShares for Vault {
    fn share(&self, id: &str, recipient: &str) -> Option<String> {
        let (id, recipient) = (id.parse().ok()?, recipient.parse().ok()?);
        let shared = self.keyring().share(&id, &recipient);
        Some(shared.ok()?.to_string())
    }
}

/// Whether all live nodes of `view` know of sealed secrets.
fn can_all_read(view: &View) -> bool {
    let mut live = view
        .members
        .iter()
        .filter(|member| !member.is_self && member.liveness.is_live());
    live.all(|member| member.report.sealing_key.is_some())
}

#[cfg(test)]
#[path = "vault_tests.rs"]
mod tests;
