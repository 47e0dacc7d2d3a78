//! Lists of revoked certificates: taken from whoever publishes one, kept across restarts, and fetched from any node that
//! has a newer one.
//!
//! There is no leader in this. A list proves itself by its authority's signature, and the higher number counts, so every
//! node takes it from every other, whoever is cut off from whom.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hafleet_cluster::{Cluster, View};
use hafleet_identity::revocation::RevocationList;
use hafleet_identity::{Credentials, RevocationError};
use hafleet_model::NodeId;
use tokio::sync::watch;

use crate::forward::Forward;
use crate::reconcile::{Activation, Outcome, Pace, Reconcile};

/// Changes of the view come by themselves.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(30),
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(30),
};

/// The end of a list's file name, after the authority's.
const SUFFIX: &str = ".crl";

/// Why a list was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// It does not count.
    #[error(transparent)]
    Bad(#[from] RevocationError),
    /// It could not be kept, and so is not in use either.
    #[error("{path}: {source}")]
    Unkept {
        /// Where it was to be kept.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// The lists of this node. Clones are the same.
#[derive(Clone)]
pub(crate) struct RevocationKeeper {
    credentials: Arc<Credentials>,
    directory: PathBuf,
    turn: Arc<Mutex<()>>,
}

impl RevocationKeeper {
    /// With the lists that were kept in `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub(crate) fn open(credentials: Arc<Credentials>, directory: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "crl") {
                continue;
            }
            let taken = std::fs::read(&path).map(|list| credentials.revoke(&list));
            match taken {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "{}: this list does not count", path.display());
                }
                Err(error) => {
                    tracing::error!(%error, "{}: this list of revoked certificates cannot be read", path.display());
                }
            }
        }
        Ok(Self {
            credentials,
            directory,
            turn: Arc::default(),
        })
    }

    /// Keeps and uses `list` if it is newer than the one of its authority that is in use. The list, and whether it was.
    ///
    /// # Errors
    /// When it does not count or cannot be kept.
    pub(crate) fn take(&self, list: &[u8]) -> Result<(RevocationList, bool), TakeError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let list = self.credentials.examine(list)?;
        let known = self.credentials.revocations();
        let known = known.of(list.authority().as_str());
        if known.is_some_and(|known| known.number() >= list.number()) {
            return Ok((list, false));
        }
        let path = self.directory.join(format!("{}{SUFFIX}", list.authority()));
        keep(&path, list.der()).map_err(|source| TakeError::Unkept {
            path: path.clone(),
            source,
        })?;
        let is_newer = self.credentials.revoke(list.der())?;
        tracing::info!(
            authority = %list.authority(),
            number = list.number(),
            revoked = list.revoked().len(),
            "a newer list of revoked certificates counts from now on"
        );
        Ok((list, is_newer))
    }

    /// The number of each authority's list.
    pub(crate) fn numbers(&self) -> std::collections::BTreeMap<String, u64> {
        self.credentials.revocations().numbers()
    }

    /// The newest list of `authority`, in DER.
    pub(crate) fn list(&self, authority: &str) -> Option<Vec<u8>> {
        let lists = self.credentials.revocations();
        lists.of(authority).map(|list| list.der().to_vec())
    }
}

/// Writes a file whole or not at all, synced.
pub(crate) fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(directory)?.sync_all()
}

/// Fetches newer lists from others, and tells others which this node has.
pub(crate) struct RevocationLoop {
    keeper: RevocationKeeper,
    cluster: Cluster,
    view: watch::Receiver<Arc<View>>,
}

impl RevocationLoop {
    pub(crate) fn new(keeper: RevocationKeeper, cluster: Cluster) -> Self {
        Self {
            keeper,
            view: cluster.view(),
            cluster,
        }
    }

    /// The nodes that have a newer list than this one, with its authority. Those that say so and cannot be asked are no
    /// harm: the others are asked too.
    fn newer(&mut self) -> Vec<(NodeId, String)> {
        let known = self.keeper.credentials.revocations().numbers();
        let view = self.view.borrow_and_update();
        let live = view
            .members
            .iter()
            .filter(|member| member.liveness.is_live() && !member.is_self);
        let newer = live.flat_map(|member| {
            let lists = member.report.revocations.iter();
            let newer = lists.filter(|(authority, number)| {
                known.get(*authority).is_none_or(|known| known < number)
            });
            newer.map(|(authority, _)| (member.report.id.clone(), authority.clone()))
        });
        newer.collect()
    }
}

#[async_trait]
impl Reconcile for RevocationLoop {
    const NAME: &'static str = "revocations";

    async fn changed(&mut self) {
        if self.view.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn reconcile(&mut self, _: Activation) -> Outcome {
        let mut failure = None;
        for (node, authority) in self.newer() {
            let fetched = match Forward::to(&self.cluster, &node) {
                Ok(forward) => forward.revocations(&authority).await,
                Err(error) => Err(error.to_string()),
            };
            let taken =
                fetched.and_then(|list| self.keeper.take(&list).map_err(|error| error.to_string()));
            if let Err(error) = taken {
                failure = Some(format!("the list of {node}: {error}"));
            }
        }
        let numbers = self.keeper.credentials.revocations().numbers();
        self.cluster.report(|report| {
            if report.revocations != numbers {
                report.revocations.clone_from(&numbers);
            }
        });
        match failure {
            None => Outcome::Done,
            Some(failure) => Outcome::Failed(failure),
        }
    }
}

#[cfg(test)]
#[path = "revocations_tests.rs"]
mod tests;
