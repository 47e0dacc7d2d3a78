//! What discovery found, as this node has it: the newest endpoints document that can be read, and those before it.
//!
//! A document that cannot be read takes nothing away: the one before it is used, and the reason is told.

use std::sync::{Arc, Mutex, PoisonError};

use hafleet_cluster::Cluster;
use hafleet_model::{Document, DocumentKind, Endpoints, Revision, Stamp};

/// Reads the endpoints document, each revision once. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct EndpointsKeeper {
    cluster: Cluster,
    last: Arc<Mutex<Newest>>,
}

/// The endpoints of one revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Which revision; none when there is none yet, and nothing is found.
    pub(crate) stamp: Option<Stamp>,
    /// What it says.
    pub(crate) endpoints: Arc<Endpoints>,
}

impl Found {
    /// Its revision.
    pub(crate) fn revision(&self) -> Option<Revision> {
        self.stamp.map(|stamp| stamp.revision)
    }
}

/// The newest endpoints.
#[derive(Debug, Clone, Default)]
pub(crate) struct Newest {
    /// The newest that can be read.
    pub(crate) found: Found,
    /// The newest that there are, whether or not they can be read.
    pub(crate) head: Option<Stamp>,
    /// Why they are not the newest that there are.
    pub(crate) problem: Option<String>,
}

/// What was there before a revision.
#[derive(Debug)]
pub(crate) enum Earlier {
    /// This.
    Found(Found),
    /// Nothing: it was the first.
    Nothing,
    /// What was there is not kept any more, or cannot be read.
    Unknown,
}

impl EndpointsKeeper {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            last: Arc::default(),
        }
    }

    /// The newest endpoints.
    pub(crate) fn newest(&self) -> Newest {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let document = self.cluster.document(DocumentKind::Endpoints);
        let document = document.borrow().clone();
        if let Some(document) = document.filter(|document| last.head != Some(document.stamp())) {
            last.head = Some(document.stamp());
            match read(&document) {
                Ok(found) => {
                    last.found = found;
                    last.problem = None;
                }
                Err(problem) => {
                    let revision = document.revision();
                    tracing::error!(%revision, problem, "the endpoints document is not used");
                    last.problem = Some(format!("{revision}: {problem}"));
                    if last.found.stamp.is_none()
                        && let Earlier::Found(found) = self.before(document.stamp())
                    {
                        last.found = found;
                    }
                }
            }
        }
        last.clone()
    }

    /// The endpoints that were there before the revision `stamp`.
    pub(crate) fn before(&self, stamp: Stamp) -> Earlier {
        let kind = DocumentKind::Endpoints;
        let Ok(history) = self.cluster.history(kind) else {
            return Earlier::Unknown;
        };
        let mut last = stamp;
        for header in history {
            if header.stamp.revision >= stamp.revision {
                continue;
            }
            last = header.stamp;
            let document = self.cluster.stamped(kind, header.stamp).ok().flatten();
            if let Some(found) = document.and_then(|document| read(&document).ok()) {
                return Earlier::Found(found);
            }
        }
        match last.revision.sequence {
            1 => Earlier::Nothing,
            _ => Earlier::Unknown,
        }
    }
}

fn read(document: &Document) -> Result<Found, String> {
    let endpoints = Endpoints::parse(document.body()).map_err(|error| error.to_string())?;
    Ok(Found {
        stamp: Some(document.stamp()),
        endpoints: Arc::new(endpoints),
    })
}
