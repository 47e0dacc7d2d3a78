//! What the rules need of durable storage. [`Store`] is the one that agents use.
//!
//! Whatever stands behind it keeps one contract: a call that returns without an error is durable, one that fails or never
//! returns has happened wholly or not at all, and terms and generations only grow. The simulation has another
//! implementation, in memory, that forgets at a crash what was not durable; both pass the same tests there.

use std::fmt::Debug;

use hafleet_model::{DocumentKind, NodeId, Stamp, Term};

use crate::store::{Change, Conflict, KnownMember, LineRecord, Store, StoreError};

/// The durable state of one node: its term and generation, its documents, and who belongs to the fleet.
///
/// All methods may block for the time of a sync. Each fails when the storage cannot be read or written.
pub trait Storage: Debug + Send + Sync + 'static {
    /// What errors call it.
    fn name(&self) -> String;

    /// Binds the storage to `node`, and returns the generation of this start: `now_ms` or one more than the last,
    /// whichever is more. Fails too when it is another node's.
    fn begin_generation(&self, node: &NodeId, now_ms: i64) -> Result<u64, StoreError>;

    /// Makes sure that the next start's generation is above `generation`.
    fn raise_generation(&self, generation: u64) -> Result<(), StoreError>;

    /// Whether this node has ever been part of a majority.
    fn is_established(&self) -> Result<bool, StoreError>;

    /// Remembers that this node has been part of a majority.
    fn establish(&self) -> Result<(), StoreError>;

    /// The highest term ever seen.
    fn highest_term(&self) -> Result<Term, StoreError>;

    /// Makes `term` the highest ever seen, unless a higher one is; returns the highest.
    fn raise_term(&self, term: Term) -> Result<Term, StoreError>;

    /// Promises `leader` to store for no other leader of `term`, and for none of an earlier one. Returns `term`; or, when
    /// another promise stands against that, the term above which `leader` has to claim.
    fn promise(&self, term: Term, leader: &NodeId) -> Result<Term, StoreError>;

    /// The line of `kind`, oldest first.
    fn line(&self, kind: DocumentKind) -> Result<Vec<LineRecord>, StoreError>;

    /// The body of a revision, be it in the line or in conflict.
    fn body(&self, kind: DocumentKind, stamp: Stamp) -> Result<Option<String>, StoreError>;

    /// The conflicts of `kind`, lowest revision first.
    fn conflicts(&self, kind: DocumentKind) -> Result<Vec<Conflict>, StoreError>;

    /// Applies `change` to `kind`, wholly or not at all.
    fn change(&self, kind: DocumentKind, change: &Change) -> Result<(), StoreError>;

    /// Erases the bodies of all revisions of `kind` but `newest` for which `is_to_go` holds, and leaves nothing of them
    /// on a disk; how many went. What keeps nothing on a disk has nothing to erase.
    fn erase_bodies(
        &self,
        _kind: DocumentKind,
        _newest: Stamp,
        _is_to_go: fn(&str) -> bool,
    ) -> Result<usize, StoreError> {
        Ok(0)
    }

    /// Who belongs to the fleet.
    fn members(&self) -> Result<Vec<KnownMember>, StoreError>;

    /// Writes down `seen` and forgets `gone`.
    fn remember_members(&self, seen: &[KnownMember], gone: &[String]) -> Result<(), StoreError>;
}

/// What a node has promised to leaders: the highest term that it has seen, and to whom it promised to store in which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promises {
    /// The highest term ever seen.
    pub highest: Term,
    /// The last promise.
    pub last: Option<(Term, NodeId)>,
}

impl Promises {
    /// What [`Storage::promise`] answers without writing anything; none when the promise is new.
    pub fn answer(&self, term: Term, leader: &NodeId) -> Option<Term> {
        if self.highest > term {
            return Some(self.highest);
        }
        match &self.last {
            Some((promised, holder)) if *promised == term && holder == leader => Some(term),
            // Two nodes may claim one term at the same time. Only one of them gets a majority, then.
            Some((promised, _)) if *promised >= term => Some(promised.next()),
            _ => None,
        }
    }
}

impl Storage for Store {
    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn begin_generation(&self, node: &NodeId, now_ms: i64) -> Result<u64, StoreError> {
        Self::begin_generation(self, node, now_ms)
    }

    fn raise_generation(&self, generation: u64) -> Result<(), StoreError> {
        Self::raise_generation(self, generation)
    }

    fn is_established(&self) -> Result<bool, StoreError> {
        Self::is_established(self)
    }

    fn establish(&self) -> Result<(), StoreError> {
        Self::establish(self)
    }

    fn highest_term(&self) -> Result<Term, StoreError> {
        Self::highest_term(self)
    }

    fn raise_term(&self, term: Term) -> Result<Term, StoreError> {
        Self::raise_term(self, term)
    }

    fn promise(&self, term: Term, leader: &NodeId) -> Result<Term, StoreError> {
        Self::promise(self, term, leader)
    }

    fn line(&self, kind: DocumentKind) -> Result<Vec<LineRecord>, StoreError> {
        Self::line(self, kind)
    }

    fn body(&self, kind: DocumentKind, stamp: Stamp) -> Result<Option<String>, StoreError> {
        Self::body(self, kind, stamp)
    }

    fn conflicts(&self, kind: DocumentKind) -> Result<Vec<Conflict>, StoreError> {
        Self::conflicts(self, kind)
    }

    fn change(&self, kind: DocumentKind, change: &Change) -> Result<(), StoreError> {
        Self::change(self, kind, change)
    }

    fn erase_bodies(
        &self,
        kind: DocumentKind,
        newest: Stamp,
        is_to_go: fn(&str) -> bool,
    ) -> Result<usize, StoreError> {
        let erased = Self::erase_bodies(self, kind, newest, is_to_go)?;
        if erased > 0 {
            self.rewrite()?;
        }
        Ok(erased)
    }

    fn members(&self) -> Result<Vec<KnownMember>, StoreError> {
        Self::members(self)
    }

    fn remember_members(&self, seen: &[KnownMember], gone: &[String]) -> Result<(), StoreError> {
        Self::remember_members(self, seen, gone)
    }
}
