//! Which nodes the fleet has removed, as the newest overrides say.

use std::collections::BTreeSet;
use std::sync::Arc;

use hafleet_model::{DocumentKind, NodeId, Stamp};

use crate::config::ReadRemoved;
use crate::documents::Documents;

/// Reads each revision once. One that cannot be read changes nothing: a node that is taken for removed by mistake would
/// make the majority smaller.
#[derive(Debug)]
pub(crate) struct Removed {
    documents: Arc<Documents>,
    read: ReadRemoved,
    seen: Option<Stamp>,
    nodes: BTreeSet<NodeId>,
}

impl Removed {
    pub(crate) fn new(documents: Arc<Documents>, read: ReadRemoved) -> Self {
        Self {
            documents,
            read,
            seen: None,
            nodes: BTreeSet::new(),
        }
    }

    /// Looks whether there is another revision.
    pub(crate) fn look(&mut self) {
        let Some(document) = self.documents.newest(DocumentKind::Overrides) else {
            return;
        };
        if self.seen == Some(document.stamp()) {
            return;
        }
        self.seen = Some(document.stamp());
        if let Some(nodes) = (self.read)(&document) {
            self.nodes = nodes;
        }
    }

    pub(crate) fn nodes(&self) -> &BTreeSet<NodeId> {
        &self.nodes
    }
}
