//! One kind of document in memory, as the store has it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use hafleet_model::{Digest, Document, DocumentKind, Header};
use tokio::sync::watch;

use crate::line::Line;
use crate::storage::Storage;
use crate::store::{Conflict, LineRecord, StoreError};

/// All that is held of one kind.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) kind: DocumentKind,
    pub(super) line: Mutex<Line>,
    pub(super) newest: watch::Sender<Option<Arc<Document>>>,
    pub(super) lost: watch::Sender<Lost>,
    /// Whether a change failed since it was read, so that the disk may have another line.
    pub(super) is_doubtful: AtomicBool,
}

impl Shelf {
    /// Reads what the store has.
    pub(super) fn load(store: &dyn Storage, kind: DocumentKind) -> Result<Self, StoreError> {
        let records = store.line(kind)?;
        let newest = records.last().and_then(|record| record.header.clone());
        let newest = newest.map_or(Ok(None), |header| read_document(store, header))?;
        let stamps = records
            .iter()
            .map(|LineRecord { stamp, .. }| *stamp)
            .collect();
        Ok(Self {
            kind,
            line: Mutex::new(Line::new(stamps)),
            newest: watch::Sender::new(newest.map(Arc::new)),
            lost: watch::Sender::new(Lost::of(store.conflicts(kind)?)),
            is_doubtful: AtomicBool::new(false),
        })
    }
}

/// The revisions that lost, lowest first, and a digest over which they are.
#[derive(Debug, Clone)]
pub(super) struct Lost {
    pub(super) conflicts: Arc<[Conflict]>,
    pub(super) digest: Option<Digest>,
}

impl Lost {
    pub(super) fn of(conflicts: Vec<Conflict>) -> Self {
        let stamps: Vec<_> = conflicts
            .iter()
            .map(|conflict| conflict.header.stamp.to_string())
            .collect();
        let digest = (!stamps.is_empty()).then(|| Digest::of(stamps.join("\n").as_bytes()));
        Self {
            conflicts: conflicts.into(),
            digest,
        }
    }
}

/// The whole of a revision, where its body is held.
pub(super) fn read_document(
    store: &dyn Storage,
    header: Header,
) -> Result<Option<Document>, StoreError> {
    let Some(body) = store.body(header.kind, header.stamp)? else {
        return Ok(None);
    };
    let document = Document::new(header, body);
    document.map(Some).map_err(|error| StoreError::Damaged {
        path: store.name().into(),
        reason: error.to_string(),
    })
}
