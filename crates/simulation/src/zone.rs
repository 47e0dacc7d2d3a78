//! Route53 as it documents itself: a zone whose batches are applied wholly or not at all, and whose deletes are exact.
//! It watches what is applied (invariants I8 and I9).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hafleet_dns::provider::Change;
use hafleet_dns::record::RecordKey;
use hafleet_dns::{Ownership, RecordSet};
use hafleet_model::{NodeId, Term};

use crate::packet::Batch;
use crate::plan::Millis;
use crate::publication::LEASE;

/// A zone and the witness of its writes.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    records: BTreeMap<RecordKey, RecordSet>,
    owners: BTreeSet<String>,
    highest: Term,
    /// Who wrote last, in which term, and when.
    last: Option<(NodeId, Term, Millis)>,
    was_published: bool,
    wrong: Option<String>,
}

impl Zone {
    /// All that is there.
    pub(crate) fn records(&self) -> Vec<RecordSet> {
        self.records.values().cloned().collect()
    }

    /// What was applied that never should be.
    pub(crate) fn take_wrong(&mut self) -> Option<String> {
        self.wrong.take()
    }

    /// Makes the changes, all or none; false when it refused.
    pub(crate) fn apply(&mut self, name: &str, batch: &Batch, now: Millis) -> bool {
        let mut records = self.records.clone();
        for change in &batch.changes {
            let set = change.record();
            match change {
                Change::Delete(set) if records.get(&set.key) != Some(set) => return false,
                Change::Create(set) if records.contains_key(&set.key) => return false,
                Change::Delete(_) => drop(records.remove(&set.key)),
                Change::Create(_) | Change::Upsert(_) => {
                    drop(records.insert(set.key.clone(), set.clone()));
                }
            }
        }
        self.records = records;
        self.watch(name, batch, now);
        true
    }

    fn watch(&mut self, name: &str, batch: &Batch, now: Millis) {
        let is_published = self.records.keys().any(|key| key.name == name);
        if self.was_published && !is_published {
            self.wrong = Some(format!("I8: {name} was left without any address"));
        }
        self.was_published |= is_published;
        let mut writes = batch
            .changes
            .iter()
            .filter(|change| !matches!(change, Change::Delete(_)));
        let owner = writes.find_map(|change| Ownership::read(change.record()).ok());
        let Some(owner) = owner else {
            self.wrong = Some(format!("I9: {name} was changed without its fence"));
            return;
        };
        if owner.term < self.highest {
            let highest = self.highest;
            self.wrong = Some(format!("I9: {owner} was written after term {highest}"));
        }
        self.highest = self.highest.max(owner.term);
        self.watch_lease(&owner, batch.has_majority, now);
        if !self.owners.insert(owner.to_string()) {
            self.wrong = Some(format!("I9: {owner} was written twice"));
        }
    }

    /// Without a majority a name is taken over only when it was left alone for the length of a lease.
    fn watch_lease(&mut self, owner: &Ownership, has_majority: bool, now: Millis) {
        let written = (owner.leader.clone(), owner.term, now);
        if let Some((leader, term, at)) = self.last.replace(written) {
            let is_other = leader != owner.leader || term != owner.term;
            let since = now.saturating_sub(at);
            if is_other && !has_majority && Duration::from_millis(since) < LEASE {
                self.wrong = Some(format!(
                    "I9: {owner} was written without a majority, {since} ms after {leader} of term {term}"
                ));
            }
        }
    }
}
