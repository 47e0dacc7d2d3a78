//! Changing the overrides document: read, changed and written against the revision that was read.

use hafleet_cluster::{Expect, WriteError, WriteRequest, Written};
use hafleet_model::overrides::{MAX_OVERRIDES, OverridesError};
use hafleet_model::{Document, DocumentKind, Overrides};

use super::OverridesKeeper;

/// How often a change is tried anew when another leader changed the document in between.
const ATTEMPTS: u32 = 10;

/// What becomes of the overrides, and why.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// All of them.
    pub(crate) overrides: Overrides,
    /// For the history.
    pub(crate) comment: String,
}

/// Why the overrides are what they were.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    /// The document is of a later version, or there would be too much in it.
    #[error(transparent)]
    Document(#[from] OverridesError),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Somebody else is always faster.
    #[error("others change overrides at the same time; nothing was written, try again")]
    Busy,
}

impl OverridesKeeper {
    /// Has `change` say what becomes of the overrides that are stored, expired ones too, and writes that, while this
    /// node leads. None when `change` has nothing to change.
    ///
    /// # Errors
    /// That of `change`; or why it is not written.
    pub(crate) async fn rewrite<E: From<RewriteError>>(
        &self,
        author: &str,
        force: bool,
        change: impl Fn(&Overrides) -> Result<Option<Rewrite>, E>,
    ) -> Result<Option<Written>, E> {
        let _turn = self.turn.lock().await;
        for _ in 0..ATTEMPTS {
            let current = self.document();
            let stored = current.as_deref().map(Document::body);
            let stored = stored.map(Overrides::parse).transpose();
            let stored = stored.map_err(RewriteError::from)?.unwrap_or_default();
            let Some(Rewrite { overrides, comment }) = change(&stored)? else {
                return Ok(None);
            };
            let found = overrides.count();
            if found > MAX_OVERRIDES {
                return Err(RewriteError::from(OverridesError::TooMany { found }).into());
            }
            let request = WriteRequest {
                kind: DocumentKind::Overrides,
                body: overrides.body().into(),
                expect: current.map_or(Expect::Absent, |current| {
                    Expect::Revision(current.revision())
                }),
                author: author.to_owned(),
                comment,
                force,
            };
            match self.cluster.write(request).await {
                Ok(written) => return Ok(Some(written)),
                Err(WriteError::Unexpected { .. }) => {}
                Err(error) => return Err(RewriteError::from(error).into()),
            }
        }
        Err(RewriteError::Busy.into())
    }
}
