//! This node's own configuration: a spec that this node alone has, in place of the fleet's, until somebody has it follow
//! the fleet again.
//!
//! It is no document: it is on this node's disk, nobody replicates it, and what the fleet agrees on stays as it is. That
//! the node has one is in its report, for everybody's status.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hafleet_model::report::OwnConfiguration;
use hafleet_model::{Digest, Document, DocumentKind, Header, Revision, Stamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::trust::revocations::keep;

/// How long HAProxy may take to be brought to it: two reloads with the pause between them.
const APPLYING: Duration = Duration::from_secs(25);
/// The form of the file.
const VERSION: u32 = 1;

/// A spec of this node's own, and who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Own {
    version: u32,
    author: String,
    comment: String,
    since_ms: i64,
    spec: String,
}

impl Own {
    /// `spec`, given by `author` just now.
    pub(crate) fn new(spec: String, author: String, comment: String) -> Self {
        Self {
            version: VERSION,
            author,
            comment,
            since_ms: jiff::Timestamp::now().as_millisecond(),
            spec,
        }
    }

    fn digest(&self) -> Digest {
        Digest::of(self.spec.as_bytes())
    }

    /// The same in the form of a document, which none is: its revision is [`Revision::OWN`].
    pub(crate) fn document(&self) -> Option<Document> {
        let header = Header {
            kind: DocumentKind::Spec,
            stamp: Stamp {
                revision: Revision::OWN,
                digest: self.digest(),
            },
            parent: None,
            author: self.author.clone(),
            comment: self.comment.clone(),
            written_at_ms: self.since_ms,
        };
        Document::new(header, self.spec.as_str()).ok()
    }

    /// What others are told of it, and why HAProxy does not run it.
    pub(crate) fn report(&self, error: Option<String>) -> OwnConfiguration {
        OwnConfiguration {
            author: self.author.clone(),
            comment: self.comment.clone(),
            since_ms: self.since_ms,
            error,
        }
    }

    /// That the node has it, for people.
    pub(crate) fn words(&self) -> String {
        let since = jiff::Timestamp::from_millisecond(self.since_ms).unwrap_or_default();
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
        format!(
            "it runs a configuration of its own, given by {} at {since}",
            self.author
        )
    }
}

/// Why a node does not have a configuration that it was given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnError {
    /// It cannot be kept.
    #[error("{path}: {source}")]
    Keep {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// HAProxy could not be brought to it. What was before is there again.
    #[error("HAProxy could not be brought to it, and runs what it ran before: {0}")]
    Refused(String),
    /// It is kept, and nobody knows yet whether HAProxy can run it.
    #[error(
        "it is kept, but HAProxy was not brought to it within {APPLYING:?}; `hafleet node show` tells how it goes"
    )]
    Slow,
}

/// Keeps it. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct OwnKeeper {
    path: Arc<Path>,
    turn: Arc<Mutex<()>>,
    newest: watch::Sender<Option<Arc<Own>>>,
    /// How it went with what was last brought to HAProxy.
    outcome: watch::Sender<Option<(Digest, Result<(), String>)>>,
}

impl OwnKeeper {
    /// That in the file `path`; none if there is no file.
    ///
    /// # Errors
    /// When the file cannot be read: to follow the fleet instead would change what clients get.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let own = match std::fs::read(&path) {
            Ok(bytes) => Some(serde_json::from_slice::<Own>(&bytes).map_err(io::Error::other)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(own) = own.as_ref().filter(|own| own.version != VERSION) {
            let words = format!("it is of version {}, and {VERSION} is known", own.version);
            return Err(io::Error::other(words));
        }
        Ok(Self {
            path: path.into(),
            turn: Arc::default(),
            newest: watch::Sender::new(own.map(Arc::new)),
            outcome: watch::Sender::default(),
        })
    }

    /// The node's own configuration, if it has one, and its successors.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Arc<Own>>> {
        self.newest.subscribe()
    }

    /// The node's own configuration, if it has one.
    pub(crate) fn newest(&self) -> Option<Arc<Own>> {
        self.newest.borrow().clone()
    }

    /// Gives the node `own`, and returns when HAProxy runs it.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) async fn give(&self, own: Own) -> Result<(), OwnError> {
        let _turn = self.turn.lock().await;
        let (before, digest) = (self.newest(), own.digest());
        self.outcome.send_replace(None);
        self.keep(Some(Arc::new(own)))?;
        let mut outcome = self.outcome.subscribe();
        let told = outcome.wait_for(|told| told.as_ref().is_some_and(|(of, _)| *of == digest));
        let told = timeout(APPLYING, told).await.map_err(|_| OwnError::Slow)?;
        // The sender is ours.
        let told = told.ok().and_then(|told| told.clone());
        match told {
            Some((_, Err(reason))) => {
                self.keep(before)?;
                Err(OwnError::Refused(reason))
            }
            _ => Ok(()),
        }
    }

    /// Has the node follow the fleet; what it had.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(crate) async fn give_up(&self) -> Result<Option<Arc<Own>>, OwnError> {
        let _turn = self.turn.lock().await;
        let before = self.newest();
        if before.is_some() {
            self.keep(None)?;
        }
        Ok(before)
    }

    /// HAProxy was brought to the document with this digest, or could not be.
    pub(crate) fn tell(&self, digest: Digest, outcome: Result<(), String>) {
        self.outcome.send_replace(Some((digest, outcome)));
    }

    fn keep(&self, own: Option<Arc<Own>>) -> Result<(), OwnError> {
        let kept = match &own {
            Some(own) => serde_json::to_vec(own)
                .map_err(io::Error::other)
                .and_then(|bytes| keep(&self.path, &bytes)),
            None => match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        kept.map_err(|source| OwnError::Keep {
            path: self.path.display().to_string(),
            source,
        })?;
        self.newest.send_replace(own);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(text: &str) -> Own {
        Own::new(text.into(), "ada (admin)".into(), "by hand".into())
    }

    /// What brings HAProxy to it, and finds `outcome`.
    fn bring(keeper: &OwnKeeper, outcome: Result<(), String>) -> tokio::task::JoinHandle<()> {
        let (keeper, mut newest) = (keeper.clone(), keeper.watch());
        tokio::spawn(async move {
            newest.changed().await.unwrap();
            let digest = newest.borrow().as_ref().map(|own| own.digest()).unwrap();
            keeper.tell(digest, outcome);
        })
    }

    #[tokio::test]
    async fn what_was_given_is_there_after_a_restart_until_it_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.json");
        let keeper = OwnKeeper::open(path.clone()).unwrap();
        assert!(keeper.newest().is_none());
        let bringing = bring(&keeper, Ok(()));
        keeper.give(own("version: 1")).await.unwrap();
        bringing.await.unwrap();

        let again = OwnKeeper::open(path.clone()).unwrap();
        assert_eq!(again.newest(), keeper.newest());
        let document = again.newest().unwrap().document().unwrap();
        assert_eq!(
            (document.revision(), document.body()),
            (Revision::OWN, "version: 1")
        );
        assert!(again.give_up().await.unwrap().is_some());
        assert!(again.give_up().await.unwrap().is_none());
        assert!(OwnKeeper::open(path).unwrap().newest().is_none());
    }

    #[tokio::test]
    async fn what_haproxy_does_not_take_leaves_what_was_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.json");
        let keeper = OwnKeeper::open(path.clone()).unwrap();
        let bringing = bring(&keeper, Ok(()));
        keeper.give(own("version: 1")).await.unwrap();
        bringing.await.unwrap();
        let bringing = bring(&keeper, Err("a port is taken".into()));
        let error = keeper.give(own("version: 1 # b")).await.unwrap_err();
        bringing.await.unwrap();
        assert!(error.to_string().contains("a port is taken"), "{error}");
        for keeper in [keeper, OwnKeeper::open(path).unwrap()] {
            assert_eq!(keeper.newest().unwrap().spec, "version: 1");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_reason_to_follow_the_fleet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.json");
        for text in [
            "",
            "{}",
            "{\"version\":2,\"author\":\"\",\"comment\":\"\",\"since_ms\":0,\"spec\":\"\"}",
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(OwnKeeper::open(path.clone()).is_err(), "{text}");
        }
    }
}
