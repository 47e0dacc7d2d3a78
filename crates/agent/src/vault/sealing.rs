//! The loop that keeps the fleet's secrets sealed, and this node able to read them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hafleet_cluster::{Cluster, Expect, View, WriteError, WriteRequest};
use hafleet_identity::sealing::{KeyId, SealedText};
use hafleet_model::{Document, DocumentKind, NodeId, Term, with_causes};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{KeyChoice, Vault, VaultError, can_all_read};
use crate::certificates::CertificateKeeper;
use crate::reconcile::{Activation, Outcome, Pace, Reconcile};

/// A key that lacks is asked for again and again: without it this node serves no TLS.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(30),
    first_pause: Duration::from_millis(200),
    longest_pause: Duration::from_secs(5),
};

/// How long earlier revisions have to come before it is looked at them again.
const FETCHING: Duration = Duration::from_secs(2);

/// What every sealed body begins with, as this program writes it. Looked for where there are many.
const SEALED_BEGINNING: &str = r#"{"version":2,"#;

/// Sealing, as everyone's work: the leader seals what is not sealed, every node asks for the keys that it lacks, and
/// erases what was stored before it was sealed.
pub(crate) struct SealingLoop {
    node: NodeId,
    cluster: Cluster,
    vault: Vault,
    keeper: CertificateKeeper,
    view: watch::Receiver<Arc<View>>,
    secrets: watch::Receiver<Option<Arc<Document>>>,
    /// What the last round saw of the fleet.
    seen: Seen,
    /// How many conflicts there were when the store was last seen to have nothing that is not sealed.
    clean: Option<usize>,
}

/// What of the fleet makes a difference here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    /// The term that this node leads. A write that was overtaken is tried again in the next.
    led: Option<Term>,
    can_all_read: bool,
    live: usize,
}

impl Seen {
    fn of(view: &View) -> Self {
        Self {
            led: view.leadership.is_leader().then_some(view.leadership.term),
            can_all_read: can_all_read(view),
            live: view.live_count(),
        }
    }
}

impl SealingLoop {
    pub(crate) fn new(
        node: NodeId,
        cluster: Cluster,
        vault: Vault,
        keeper: CertificateKeeper,
    ) -> Self {
        Self {
            node,
            view: cluster.view(),
            secrets: cluster.document(DocumentKind::Secrets),
            cluster,
            vault,
            keeper,
            seen: Seen::default(),
            clean: None,
        }
    }

    /// Has the fleet's secrets sealed, if this node leads and all could read them then.
    async fn seal(&mut self) -> Outcome {
        // What is open now was not erased.
        self.clean = None;
        let view = Arc::clone(&self.view.borrow());
        if !view.leadership.is_leader() {
            return Outcome::Inert("the leader seals what is not sealed");
        }
        if !can_all_read(&view) {
            return Outcome::Inert("a live node is of a version that cannot read sealed secrets");
        }
        let _turn = self.keeper.turn().await;
        let Some(current) = self.keeper.newest() else {
            return Outcome::Done;
        };
        match self.write_sealed(&current, &view).await {
            Ok(()) => Outcome::Done,
            Err(Unsealed::Write(WriteError::NotLeader { .. } | WriteError::Overtaken)) => {
                Outcome::Inert("another node has begun to lead")
            }
            Err(error) => Outcome::Failed(with_causes(&error)),
        }
    }

    async fn write_sealed(&self, current: &Document, view: &View) -> Result<(), Unsealed> {
        let secrets = self.vault.read(Some(current))?;
        let sealed = self
            .vault
            .body(&secrets, Some(current), KeyChoice::Same, view)?;
        let written = self.cluster.write(WriteRequest {
            kind: DocumentKind::Secrets,
            body: sealed.text.as_str().into(),
            expect: Expect::Revision(current.revision()),
            author: format!("{} (sealing)", self.node),
            comment: "sealed: only nodes of the fleet can read it from now on".to_owned(),
            force: false,
        });
        let written = written.await?;
        let revision = written.header.stamp.revision;
        tracing::info!(%revision, key = ?sealed.key, "the fleet's secrets are sealed");
        Ok(())
    }

    /// Asks for the key if it is not here; whether it is now.
    async fn have_key(&self, document: &Document) -> Result<bool, VaultError> {
        let id = match self.vault.read(Some(document)) {
            Ok(_) => return Ok(true),
            Err(error) if error.lacks_key() => SealedText::parse(document.body())?.key().clone(),
            Err(error) => return Err(error),
        };
        let (name, recipient) = (id.to_string(), self.vault.recipient().to_string());
        let accept = |sealed: &str| self.vault.take(&id, sealed);
        Ok(self.cluster.ask_for_key(&name, &recipient, accept).await)
    }

    /// Erases what was stored before it was sealed.
    async fn erase(&mut self) -> Outcome {
        let conflicts = self.cluster.conflicts(DocumentKind::Secrets).len();
        if self.clean == Some(conflicts) {
            return Outcome::Done;
        }
        let is_open = |body: &str| !body.starts_with(SEALED_BEGINNING);
        match self
            .cluster
            .erase_bodies(DocumentKind::Secrets, is_open)
            .await
        {
            Ok(erased) => {
                if erased.bodies > 0 {
                    tracing::info!(
                        revisions = erased.bodies,
                        "what was stored before it was sealed is erased"
                    );
                }
                if erased.more_may_come {
                    return Outcome::Deferred {
                        until: Instant::now() + FETCHING,
                        reason: "earlier revisions are on their way, and may not be sealed",
                    };
                }
                self.clean = Some(conflicts);
                Outcome::Done
            }
            Err(error) => Outcome::Failed(with_causes(&error)),
        }
    }
}

/// Why secrets were not sealed.
#[derive(Debug, thiserror::Error)]
enum Unsealed {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

#[async_trait]
impl Reconcile for SealingLoop {
    const NAME: &'static str = "sealing";

    async fn changed(&mut self) {
        let (view, seen) = (&mut self.view, self.seen);
        let differs = async {
            while view.changed().await.is_ok() {
                if Seen::of(&view.borrow_and_update()) != seen {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = differs => {}
            Ok(()) = self.secrets.changed() => {}
            else => std::future::pending().await,
        }
    }

    async fn reconcile(&mut self, _: Activation) -> Outcome {
        self.seen = Seen::of(&self.view.borrow_and_update());
        let document = self.secrets.borrow_and_update().clone();
        let Some(document) = document else {
            return Outcome::Inert("the fleet has no certificates");
        };
        if !SealedText::is_sealed(document.body()) {
            return self.seal().await;
        }
        match self.have_key(&document).await {
            Ok(true) => self.erase().await,
            Ok(false) => Outcome::Failed(lacking(&document)),
            Err(error) => Outcome::Failed(with_causes(&error)),
        }
    }
}

fn lacking(document: &Document) -> String {
    let key = SealedText::parse(document.body()).map(|sealed| sealed.key().clone());
    let key = key
        .as_ref()
        .map_or_else(|_| String::new(), KeyId::to_string);
    format!(
        "the fleet's secrets are sealed under key {key}, which this node does not have, and no live node gives it"
    )
}
