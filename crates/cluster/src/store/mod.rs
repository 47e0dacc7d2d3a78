//! What a node must not forget: its term and generation, the documents with their history and conflicts, and who
//! belongs to the fleet. One redb file; each change is one transaction, synced before it is relied on, so that
//! `kill -9` at any moment leaves the state before or after it.
//!
//! Calls block for the time of a sync. Which revisions go where is decided by [`crate::line`]; this module only
//! writes it down.

mod documents;
mod format;
mod known;
mod members;
mod rewrite;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use hafleet_model::{NodeId, Term};
use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase as _, ReadableTable,
    StorageBackend, TableDefinition, WriteTransaction,
};

pub use documents::{Change, Conflict, ConflictReason, LineRecord};
pub use members::KnownMember;

use crate::storage::Promises;
use known::Known;

/// Numbers: `format`, `generation`, `term`, `promised_term`, `established` (1 once it is).
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Texts: `node`, whose store this is; `promised_to`, the leader to whom `promised_term` was promised.
const META_TEXT: TableDefinition<'_, &str, &str> = TableDefinition::new("meta_text");

const GENERATION: &str = "generation";
const TERM: &str = "term";
const PROMISED_TERM: &str = "promised_term";
const PROMISED_TO: &str = "promised_to";
const ESTABLISHED: &str = "established";
const NODE: &str = "node";

/// What stops a store from being used. Each names the file, and the remedy where there is one.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "{path} is in use by another agent: stop that one, or give this one a data directory of its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Written by a later version.
    #[error(
        "{path} has format {found}, and this version of hafleet reads up to {known}: install the later version again, or start with an empty data directory and let the fleet fill it"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest that is understood.
        known: u64,
    },
    /// Not a store, or a damaged one.
    #[error(
        "{path} is damaged or not hafleet's ({reason}): move it away (mv {path} {path}.damaged) and start the agent again; the fleet's documents come back from the other nodes, and HAProxy serves on meanwhile"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Of another node.
    #[error(
        "{path} belongs to node {found}, but this is {expected}: each node needs a data directory of its own"
    )]
    OtherNode {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asked.
        expected: NodeId,
    },
    /// What is there is not what this agent opened.
    #[error(
        "{path} is not the store that this agent opened ({reason}): mount its disk or put it back, and the agent takes it up again; or start the agent again to go on with what is there"
    )]
    Replaced {
        /// The file.
        path: PathBuf,
        /// How that is seen.
        reason: String,
    },
    /// The file or its directory cannot be used.
    #[error("{path}: {source}{}", remedy(source))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A transaction failed: the disk is full, or fails.
    #[error("{path} could not be read or written: {reason}")]
    Transaction {
        /// The file.
        path: PathBuf,
        /// What redb said.
        reason: String,
    },
}

/// The durable state of one node, in a file of redb's.
pub struct Store {
    path: PathBuf,
    /// Opens what is at `path`; not always a file.
    open: Box<Opening>,
    /// Absent while it cannot be opened anew after an error of the disk.
    database: RwLock<Option<Database>>,
    /// What it has to have when it is opened anew.
    known: Known,
}

type Opening = dyn Fn(Occasion) -> Result<Database, StoreError> + Send + Sync;

/// When a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// At the start; one that is not there is made.
    Start,
    /// After an error of the disk. What is not there may be on a disk that is not mounted, and an empty one in its place
    /// would have forgotten what this node has promised.
    Again,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store at `path`, and makes it (readable by its owner only: it holds secrets) when there is none.
    ///
    /// # Errors
    /// When it is in use, damaged, of a later format, or the file system refuses.
    pub fn open(path: impl Into<PathBuf>) -> Result<Arc<Self>, StoreError> {
        let path = path.into();
        let file = path.clone();
        Self::opened_by(path, Box::new(move |when| open_database(&file, when)))
    }

    /// Opens the store on another backend than a file. `backend` is asked for one now, and again whenever the one
    /// before has failed; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on<B: StorageBackend>(
        name: impl Into<PathBuf>,
        backend: impl Fn() -> B + Send + Sync + 'static,
    ) -> Result<Arc<Self>, StoreError> {
        let path = name.into();
        let shown = path.clone();
        let open = move |_| {
            let database = Builder::new().create_with_backend(backend());
            database.map_err(|error| refused(error, &shown))
        };
        Self::opened_by(path, Box::new(open))
    }

    fn opened_by(path: PathBuf, open: Box<Opening>) -> Result<Arc<Self>, StoreError> {
        let database = open(Occasion::Start)?;
        let store = Self {
            path,
            open,
            database: RwLock::new(Some(database)),
            known: Known::default(),
        };
        store.write(format::migrate)?;
        Ok(Arc::new(store))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Binds the store to `node`, and returns the generation of this start: `now_ms`, the milliseconds since
    /// 1970, so that it is higher than any before even when the store was lost; and always higher than the last that
    /// is stored, whatever the clock says.
    ///
    /// # Errors
    /// When it is another node's, or cannot be written.
    pub(crate) fn begin_generation(&self, node: &NodeId, now_ms: i64) -> Result<u64, StoreError> {
        let generation = self.write(|transaction, path| {
            let mut texts = transaction.open_table(META_TEXT)?;
            let owner = texts.get(NODE)?.map(|owner| owner.value().to_owned());
            match owner {
                Some(owner) if owner != node.as_str() => {
                    return Err(Failure::Refused(StoreError::OtherNode {
                        path: path.to_owned(),
                        found: owner,
                        expected: node.clone(),
                    }));
                }
                Some(_) => {}
                None => drop(texts.insert(NODE, node.as_str())?),
            }
            let mut numbers = transaction.open_table(META)?;
            let generation = numbers
                .get(GENERATION)?
                .map_or(0, |number| number.value())
                .saturating_add(1)
                .max(u64::try_from(now_ms).unwrap_or_default());
            numbers.insert(GENERATION, generation)?;
            Ok(generation)
        })?;
        self.known.begin(node, generation);
        Ok(generation)
    }

    /// Makes sure that the next start's generation is above `generation`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn raise_generation(&self, generation: u64) -> Result<(), StoreError> {
        self.write(|transaction, _| {
            let mut numbers = transaction.open_table(META)?;
            let stored = numbers.get(GENERATION)?.map_or(0, |number| number.value());
            numbers.insert(GENERATION, stored.max(generation))?;
            Ok(())
        })
    }

    /// Whether this node has ever been part of a majority.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn is_established(&self) -> Result<bool, StoreError> {
        self.read(|transaction| {
            let numbers = transaction.open_table(META)?;
            Ok(numbers.get(ESTABLISHED)?.is_some())
        })
    }

    /// Remembers that this node has been part of a majority.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn establish(&self) -> Result<(), StoreError> {
        self.write(|transaction, _| {
            transaction.open_table(META)?.insert(ESTABLISHED, 1)?;
            Ok(())
        })
    }

    /// The highest term ever seen.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn highest_term(&self) -> Result<Term, StoreError> {
        // Asked for all the time, also while the disk does not answer.
        if let Some(term) = self.known.term() {
            return Ok(term);
        }
        let term = self.read(|transaction| {
            let numbers = transaction.open_table(META)?;
            Ok(Term(numbers.get(TERM)?.map_or(0, |term| term.value())))
        })?;
        self.known.has_term(term);
        Ok(term)
    }

    /// Makes `term` the highest ever seen, unless a higher one is; returns the highest.
    ///
    /// # Errors
    /// When it cannot be made durable. Then it must not be acted upon.
    pub(crate) fn raise_term(&self, term: Term) -> Result<Term, StoreError> {
        let known = self.highest_term()?;
        if known >= term {
            return Ok(known);
        }
        self.known.may_have_term(term);
        let highest = self.write(|transaction, _| {
            let mut numbers = transaction.open_table(META)?;
            let known = Term(numbers.get(TERM)?.map_or(0, |term| term.value()));
            let highest = known.max(term);
            numbers.insert(TERM, highest.0)?;
            Ok(highest)
        })?;
        self.known.has_term(highest);
        Ok(highest)
    }

    /// See [`Storage::promise`](crate::storage::Storage::promise).
    ///
    /// # Errors
    /// When it cannot be made durable. Then it must not be acted upon.
    pub(crate) fn promise(&self, term: Term, leader: &NodeId) -> Result<Term, StoreError> {
        let known = self.read(|transaction| {
            promises(
                &transaction.open_table(META)?,
                &transaction.open_table(META_TEXT)?,
            )
        })?;
        if let Some(answer) = known.answer(term, leader) {
            return Ok(answer);
        }
        self.known.may_have_term(term);
        let answer = self.write(|transaction, _| {
            let mut numbers = transaction.open_table(META)?;
            let mut texts = transaction.open_table(META_TEXT)?;
            // Somebody else may have promised since.
            if let Some(answer) = promises(&numbers, &texts)?.answer(term, leader) {
                return Ok(answer);
            }
            numbers.insert(TERM, term.0)?;
            numbers.insert(PROMISED_TERM, term.0)?;
            texts.insert(PROMISED_TO, leader.as_str())?;
            Ok(term)
        })?;
        if answer == term {
            self.known.has_term(term);
        }
        Ok(answer)
    }

    fn read<T>(
        &self,
        body: impl Fn(&ReadTransaction) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.attempt(|database| body(&database.begin_read()?))
    }

    fn write<T>(
        &self,
        body: impl Fn(&WriteTransaction, &Path) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.attempt(|database| {
            let transaction = database.begin_write()?;
            let result = body(&transaction, &self.path)?;
            transaction.commit()?;
            Ok(result)
        })
    }

    /// Runs `body`. After an error of the disk redb refuses everything until the file is opened anew, so that is
    /// done, once, before giving up. What is not the store of before is not taken for it.
    fn attempt<T>(&self, body: impl Fn(&Database) -> Result<T, Failure>) -> Result<T, StoreError> {
        let first = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            database.as_ref().map_or(Err(Failure::Poisoned), &body)
        };
        match first {
            Err(Failure::Poisoned) => {
                let mut database = self
                    .database
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                drop(database.take());
                let reopened = (self.open)(Occasion::Again)?;
                self.known.recognise(&reopened, &self.path)?;
                body(database.insert(reopened)).map_err(|failure| failure.at(&self.path))
            }
            result => result.map_err(|failure| failure.at(&self.path)),
        }
    }
}

/// What to do about an error of the disk, to be said after it; empty where the error says enough.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "; the disk is mounted read-only, by the kernel if it failed (dmesg says so): mend it or mount it writable, and the agent takes it up again"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room, and the agent takes it up again"
        }
        io::ErrorKind::NotFound => {
            "; mount its disk or put it back, and the agent takes it up again"
        }
        io::ErrorKind::PermissionDenied => "; let the agent's user read and write it",
        _ => "",
    }
}

/// Why a transaction did not happen, before the file's name is added.
enum Failure {
    /// An earlier error of the disk; the file has to be opened anew.
    Poisoned,
    Refused(StoreError),
    Damaged(String),
    Disk(String),
}

impl Failure {
    fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Damaged(reason) => StoreError::Damaged {
                path: path.to_owned(),
                reason,
            },
            Self::Disk(reason) => StoreError::Transaction {
                path: path.to_owned(),
                reason,
            },
            Self::Poisoned => StoreError::Transaction {
                path: path.to_owned(),
                reason: "the disk failed before, and opening it anew did not help".to_owned(),
            },
        }
    }

    fn of(error: redb::Error) -> Self {
        match error {
            redb::Error::PreviousIo => Self::Poisoned,
            redb::Error::Corrupted(reason) => Self::Damaged(reason),
            redb::Error::Io(source) => Self::Disk(format!("{source}{}", remedy(&source))),
            other => Self::Disk(other.to_string()),
        }
    }
}

macro_rules! failure_from {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of(error.into())
            }
        })*
    };
}

failure_from!(
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(format!("a record cannot be read: {error}"))
    }
}

/// Opens the file, and reads all of it: each page has a checksum, which redb by itself looks at only after a crash. What
/// is damaged is refused here rather than believed later.
fn open_database(path: &Path, when: Occasion) -> Result<Database, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(when == Occasion::Start)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let file = file.map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })?;
    // redb reads lengths and offsets before it compares checksums, and panics at some that make no sense.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let mut database = Builder::new().create_file(file)?;
        let is_whole = database.check_integrity()?;
        Ok((database, is_whole))
    }));
    match opened {
        Ok(Ok((database, is_whole))) => {
            if !is_whole {
                tracing::warn!(path = %path.display(), "some of the store was damaged; it is as it was before that was written");
            }
            Ok(database)
        }
        Ok(Err(error)) => Err(refused(error, path)),
        Err(_) => Err(StoreError::Damaged {
            path: path.to_owned(),
            reason: "its structure makes no sense".to_owned(),
        }),
    }
}

fn refused(error: DatabaseError, path: &Path) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse {
            path: path.to_owned(),
        },
        DatabaseError::Storage(redb::StorageError::Io(source)) if !is_of_content(&source) => {
            StoreError::File {
                path: path.to_owned(),
                source,
            }
        }
        other => StoreError::Damaged {
            path: path.to_owned(),
            reason: other.to_string(),
        },
    }
}

/// Whether an error says that the file is not what was written, and not that it cannot be read.
fn is_of_content(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput
    )
}

fn promises(
    numbers: &impl ReadableTable<&'static str, u64>,
    texts: &impl ReadableTable<&'static str, &'static str>,
) -> Result<Promises, Failure> {
    let number = |key| -> Result<Option<u64>, Failure> {
        Ok(numbers.get(key)?.map(|number| number.value()))
    };
    let last = match (number(PROMISED_TERM)?, texts.get(PROMISED_TO)?) {
        (Some(term), Some(leader)) => {
            let leader = NodeId::new(leader.value().to_owned()).ok();
            leader.map(|leader| (Term(term), leader))
        }
        _ => None,
    };
    Ok(Promises {
        highest: Term(number(TERM)?.unwrap_or_default()),
        last,
    })
}

#[cfg(test)]
mod tests;
