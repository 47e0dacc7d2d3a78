//! Documents in the store: the line of each kind, the conflicts, and the bodies of both.

use hafleet_model::{Digest, Document, DocumentKind, Header, Revision, Stamp, Term};
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Failure, Store, StoreError};

/// (kind, term, sequence).
type LineKey = (u8, u64, u64);
/// (kind, term, sequence, digest in hexadecimal).
type StampKey = (u8, u64, u64, &'static str);

/// Revision → JSON of [`LineRecord`].
pub(super) const LINE: TableDefinition<'_, LineKey, &str> = TableDefinition::new("line");
/// Revision and digest → body, for the line and the conflicts alike.
pub(super) const BODIES: TableDefinition<'_, StampKey, &str> = TableDefinition::new("bodies");
/// Revision and digest → JSON of [`Conflict`].
pub(super) const CONFLICTS: TableDefinition<'_, StampKey, &str> = TableDefinition::new("conflicts");

/// A revision in a document's line. Without a header it is known by its ancestry only, and yet to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRecord {
    /// Which revision.
    pub stamp: Stamp,
    /// All of it but the body, when it is held.
    pub header: Option<Header>,
}

/// A revision that was stored and is not in the line: a write that another overtook without knowing of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// All of it but the body.
    pub header: Header,
    /// Why it is not in the line.
    pub reason: ConflictReason,
    /// When it was found, in milliseconds since 1970 by this node's clock.
    pub found_at_ms: i64,
}

/// Why a revision is in conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictReason {
    /// A later revision was written without knowledge of it.
    Fork,
    /// Another body has the same revision, and is in the line.
    Divergent,
}

impl ConflictReason {
    /// The word for it in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Divergent => "divergent",
        }
    }
}

/// All that changes in the store when a line changes; applied in one transaction.
#[derive(Debug, Default)]
pub struct Change {
    /// The document that becomes the newest, or fills a gap.
    pub put: Option<Document>,
    /// A document that goes straight to the conflicts.
    pub conflict: Option<(Document, ConflictReason)>,
    /// Revisions of the line that are known by their stamp only.
    pub between: Vec<Stamp>,
    /// Revisions that leave the line for the conflicts, and why.
    pub lost: Vec<(Stamp, ConflictReason)>,
    /// Revisions that leave the line for good.
    pub trimmed: Vec<Stamp>,
    /// How many conflicts may be kept; of more the lowest revisions go.
    pub conflict_limit: Option<usize>,
    /// When it is made, in milliseconds since 1970.
    pub now_ms: i64,
}

fn number(kind: DocumentKind) -> u8 {
    match kind {
        DocumentKind::Spec => 1,
        DocumentKind::Endpoints => 2,
        DocumentKind::Overrides => 3,
        DocumentKind::Secrets => 4,
    }
}

fn line_key(kind: DocumentKind, revision: Revision) -> LineKey {
    (number(kind), revision.term.0, revision.sequence)
}

impl Store {
    /// The line of `kind`, oldest first.
    pub(crate) fn line(&self, kind: DocumentKind) -> Result<Vec<LineRecord>, StoreError> {
        let first = line_key(kind, Revision::new(Term(0), 0));
        let last = line_key(kind, Revision::new(Term(u64::MAX), u64::MAX));
        self.read(|transaction| {
            let table = transaction.open_table(LINE)?;
            let mut records = Vec::new();
            for entry in table.range(first..=last)? {
                records.push(serde_json::from_str(entry?.1.value())?);
            }
            Ok(records)
        })
    }

    /// The body of a revision, be it in the line or in conflict.
    pub(crate) fn body(
        &self,
        kind: DocumentKind,
        stamp: Stamp,
    ) -> Result<Option<String>, StoreError> {
        let digest = stamp.digest.to_string();
        let (kind, term, sequence) = line_key(kind, stamp.revision);
        self.read(|transaction| {
            let table = transaction.open_table(BODIES)?;
            let body = table.get((kind, term, sequence, digest.as_str()))?;
            Ok(body.map(|body| body.value().to_owned()))
        })
    }

    /// The conflicts of `kind`, lowest revision first.
    pub(crate) fn conflicts(&self, kind: DocumentKind) -> Result<Vec<Conflict>, StoreError> {
        let kind = number(kind);
        self.read(|transaction| conflicts_of(kind, &transaction.open_table(CONFLICTS)?))
    }

    /// Erases the bodies of all revisions but `newest` for which `is_to_go` holds; how many went. Their pages in the file
    /// are free, and not overwritten: see [`Store::rewrite`].
    pub(crate) fn erase_bodies(
        &self,
        kind: DocumentKind,
        newest: Stamp,
        is_to_go: fn(&str) -> bool,
    ) -> Result<usize, StoreError> {
        let (first, last) = (number(kind), number(kind) + 1);
        let (_, term, sequence) = line_key(kind, newest.revision);
        let digest = digest_text(newest.digest);
        let kept = (first, term, sequence, digest.as_str());
        let found = self.read(|transaction| {
            let table = transaction.open_table(BODIES)?;
            let mut found = Vec::new();
            for entry in table.range((first, 0, 0, "")..(last, 0, 0, ""))? {
                let (key, body) = entry?;
                if key.value() != kept && is_to_go(body.value()) {
                    let (kind, term, sequence, digest) = key.value();
                    found.push((kind, term, sequence, digest.to_owned()));
                }
            }
            Ok(found)
        })?;
        if !found.is_empty() {
            self.write(|transaction, _| {
                let mut table = transaction.open_table(BODIES)?;
                for (kind, term, sequence, digest) in &found {
                    table.remove((*kind, *term, *sequence, digest.as_str()))?;
                }
                Ok(())
            })?;
        }
        Ok(found.len())
    }

    /// Applies `change` to `kind`, wholly or not at all, and syncs it.
    pub(crate) fn change(&self, kind: DocumentKind, change: &Change) -> Result<(), StoreError> {
        self.write(|transaction, _| {
            let mut tables = Tables::open(transaction, kind)?;
            for (stamp, reason) in &change.lost {
                tables.lose(*stamp, *reason, change.now_ms)?;
            }
            for stamp in &change.between {
                tables.put_between(*stamp)?;
            }
            if let Some(document) = &change.put {
                tables.put(document)?;
            }
            if let Some((document, reason)) = &change.conflict {
                tables.put_conflict(document.header(), *reason, change.now_ms)?;
                tables.put_body(document)?;
            }
            for stamp in &change.trimmed {
                tables.forget(*stamp)?;
            }
            if let Some(limit) = change.conflict_limit {
                tables.trim_conflicts(limit)?;
            }
            Ok(())
        })
    }
}

fn conflicts_of(
    kind: u8,
    table: &impl ReadableTable<StampKey, &'static str>,
) -> Result<Vec<Conflict>, Failure> {
    let mut conflicts = Vec::new();
    for entry in table.range((kind, 0, 0, "")..(kind + 1, 0, 0, ""))? {
        conflicts.push(serde_json::from_str(entry?.1.value())?);
    }
    Ok(conflicts)
}

struct Tables<'t> {
    kind: DocumentKind,
    line: Table<'t, LineKey, &'static str>,
    bodies: Table<'t, StampKey, &'static str>,
    conflicts: Table<'t, StampKey, &'static str>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction, kind: DocumentKind) -> Result<Self, Failure> {
        Ok(Self {
            kind,
            line: transaction.open_table(LINE)?,
            bodies: transaction.open_table(BODIES)?,
            conflicts: transaction.open_table(CONFLICTS)?,
        })
    }

    fn put(&mut self, document: &Document) -> Result<(), Failure> {
        let stamp = document.stamp();
        self.put_line(&LineRecord {
            stamp,
            header: Some(document.header().clone()),
        })?;
        self.put_body(document)?;
        let (kind, term, sequence) = line_key(self.kind, stamp.revision);
        self.conflicts
            .remove((kind, term, sequence, digest_text(stamp.digest).as_str()))?;
        Ok(())
    }

    /// A revision enters the line by its stamp. If it was a conflict, the rest of it is here and is one no longer; and so
    /// if it is in the line already, put there by a change that failed as far as was known, and came down all the same.
    fn put_between(&mut self, stamp: Stamp) -> Result<(), Failure> {
        let (kind, term, sequence) = line_key(self.kind, stamp.revision);
        let digest = digest_text(stamp.digest);
        let removed = self
            .conflicts
            .remove((kind, term, sequence, digest.as_str()))?;
        let conflict = removed
            .map(|conflict| serde_json::from_str::<Conflict>(conflict.value()))
            .transpose()?;
        let there = self.line.get((kind, term, sequence))?;
        let there = there
            .map(|record| serde_json::from_str::<LineRecord>(record.value()))
            .transpose()?;
        let there = there.filter(|record| record.stamp == stamp);
        let header = conflict.map(|conflict| conflict.header);
        self.put_line(&LineRecord {
            stamp,
            header: header.or_else(|| there.and_then(|record| record.header)),
        })
    }

    fn put_line(&mut self, record: &LineRecord) -> Result<(), Failure> {
        let json = serde_json::to_string(record)?;
        self.line
            .insert(line_key(self.kind, record.stamp.revision), json.as_str())?;
        Ok(())
    }

    fn put_body(&mut self, document: &Document) -> Result<(), Failure> {
        let stamp = document.stamp();
        let (kind, term, sequence) = line_key(self.kind, stamp.revision);
        self.bodies.insert(
            (kind, term, sequence, digest_text(stamp.digest).as_str()),
            document.body(),
        )?;
        Ok(())
    }

    fn put_conflict(
        &mut self,
        header: &Header,
        reason: ConflictReason,
        now_ms: i64,
    ) -> Result<(), Failure> {
        let conflict = Conflict {
            header: header.clone(),
            reason,
            found_at_ms: now_ms,
        };
        let (kind, term, sequence) = line_key(self.kind, header.stamp.revision);
        let digest = digest_text(header.stamp.digest);
        self.conflicts.insert(
            (kind, term, sequence, digest.as_str()),
            serde_json::to_string(&conflict)?.as_str(),
        )?;
        Ok(())
    }

    /// Moves a revision from the line to the conflicts. One that is known by its stamp only was never held here, and
    /// nothing is left of it.
    fn lose(&mut self, stamp: Stamp, reason: ConflictReason, now_ms: i64) -> Result<(), Failure> {
        let there = self.line.get(line_key(self.kind, stamp.revision))?;
        let there = there
            .map(|record| serde_json::from_str::<LineRecord>(record.value()))
            .transpose()?;
        // Another one may have its place already, by a change that failed as far as was known, and came down all the same.
        let Some(record) = there.filter(|record| record.stamp == stamp) else {
            return Ok(());
        };
        self.line.remove(line_key(self.kind, stamp.revision))?;
        match record.header {
            Some(header) => self.put_conflict(&header, reason, now_ms),
            None => Ok(()),
        }
    }

    fn trim_conflicts(&mut self, limit: usize) -> Result<(), Failure> {
        let conflicts = conflicts_of(number(self.kind), &self.conflicts)?;
        let excess = conflicts.len().saturating_sub(limit);
        for conflict in conflicts.into_iter().take(excess) {
            let stamp = conflict.header.stamp;
            let (kind, term, sequence) = line_key(self.kind, stamp.revision);
            let digest = digest_text(stamp.digest);
            let key = (kind, term, sequence, digest.as_str());
            self.conflicts.remove(key)?;
            self.bodies.remove(key)?;
        }
        Ok(())
    }

    fn forget(&mut self, stamp: Stamp) -> Result<(), Failure> {
        self.line.remove(line_key(self.kind, stamp.revision))?;
        let (kind, term, sequence) = line_key(self.kind, stamp.revision);
        self.bodies
            .remove((kind, term, sequence, digest_text(stamp.digest).as_str()))?;
        Ok(())
    }
}

fn digest_text(digest: Digest) -> String {
    digest.to_string()
}
