//! What an agent knows of the store that it has opened, and by which it recognises it after an error of the disk.
//!
//! A disk that failed is unmounted and mounted again while the agent runs. Meanwhile there is nothing at the store's path,
//! or what was there before the disk was; and what comes back may be a copy from before. A node that went on with either
//! would have forgotten terms, and what it promised to leaders.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hafleet_model::{NodeId, Term};
use redb::{Database, ReadableDatabase as _, TableError};

use super::{Failure, GENERATION, META, META_TEXT, NODE, StoreError, TERM};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    run: Option<(NodeId, u64)>,
    /// The highest that was read or written.
    term: Option<Term>,
    /// The highest that may be durable: it was to be written, and that may have failed.
    tried: Term,
}

/// What a file says that is taken for the store.
#[derive(Debug, Default)]
struct Found {
    node: Option<String>,
    generation: u64,
    term: Term,
}

impl Known {
    /// A run of `node` has begun.
    pub(super) fn begin(&self, node: &NodeId, generation: u64) {
        self.facts().run = Some((node.clone(), generation));
    }

    /// The highest term, unless that has to be read.
    pub(super) fn term(&self) -> Option<Term> {
        let facts = self.facts();
        facts.term.filter(|term| *term >= facts.tried)
    }

    /// `term` was read or written.
    pub(super) fn has_term(&self, term: Term) {
        let mut facts = self.facts();
        facts.term = facts.term.max(Some(term));
    }

    /// `term` is about to be written.
    pub(super) fn may_have_term(&self, term: Term) {
        let mut facts = self.facts();
        facts.tried = facts.tried.max(term);
    }

    /// Refuses what is at `path` if it is not the store that was opened there.
    pub(super) fn recognise(&self, database: &Database, path: &Path) -> Result<(), StoreError> {
        let found = Found::read(database).map_err(|failure| failure.at(path))?;
        self.facts().difference(&found).map_or(Ok(()), |reason| {
            Err(StoreError::Replaced {
                path: path.to_owned(),
                reason,
            })
        })
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    fn difference(&self, found: &Found) -> Option<String> {
        let (node, generation) = self.run.as_ref()?;
        if found.node.as_deref() != Some(node.as_str()) {
            let owner = found.node.as_deref().unwrap_or("nobody");
            return Some(format!("it belongs to {owner}"));
        }
        if found.generation < *generation {
            return Some("it is from before the agent was started".to_owned());
        }
        let known = self.term.filter(|known| found.term < *known)?;
        Some(format!(
            "its term is {}, and that was {known} already",
            found.term
        ))
    }
}

impl Found {
    fn read(database: &Database) -> Result<Self, Failure> {
        let transaction = database.begin_read()?;
        let numbers = match transaction.open_table(META) {
            // An empty file was just made a store.
            Err(TableError::TableDoesNotExist(_)) => return Ok(Self::default()),
            numbers => numbers?,
        };
        let number = |key| -> Result<u64, Failure> {
            Ok(numbers.get(key)?.map_or(0, |number| number.value()))
        };
        let texts = transaction.open_table(META_TEXT)?;
        Ok(Self {
            node: texts.get(NODE)?.map(|node| node.value().to_owned()),
            generation: number(GENERATION)?,
            term: Term(number(TERM)?),
        })
    }
}
