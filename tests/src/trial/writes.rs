//! The writes of a trial, and which of them were acknowledged.

use std::collections::HashSet;
use std::ops::Sub;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hafleet_api::v1;

use crate::client::Finished;
use crate::fleet::Fleet;

/// So many acknowledged writes are looked for in histories: fewer than agents keep.
const LOOKED_FOR: usize = 500;

/// An acknowledged write.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) revision: String,
    /// What answers are marked with that it serves.
    pub(super) marker: String,
}

/// How many writes there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Those that were acknowledged: the command succeeded.
    pub acknowledged: usize,
    /// Those that were not.
    pub refused: usize,
}

impl Sub for Counted {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            acknowledged: self.acknowledged - earlier.acknowledged,
            refused: self.refused - earlier.refused,
        }
    }
}

/// All writes of a trial.
#[derive(Debug, Default)]
pub(super) struct Writes {
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    begun: usize,
    acknowledged: Vec<Write>,
    refused: usize,
}

impl Writes {
    pub(super) fn counted(&self) -> Counted {
        let record = self.record();
        Counted {
            acknowledged: record.acknowledged.len(),
            refused: record.refused,
        }
    }

    /// Applies one spec more through the first of the nodes `numbers` that answers; each time another is asked first.
    pub(super) fn attempt(
        &self,
        fleet: &Fleet,
        numbers: &[usize],
        arguments: &[&str],
    ) -> Result<Write, Box<Finished>> {
        let number = {
            let mut record = self.record();
            record.begun += 1;
            record.begun
        };
        let mut turned = numbers.to_vec();
        turned.rotate_left(number % numbers.len());
        let marker = format!("w{number}");
        let client = fleet.client_as("ada", &turned);
        let arguments = [&["--timeout", "10s"], arguments].concat();
        let finished = client.apply(&fleet.spec(&marker), &arguments);
        let mut record = self.record();
        if finished.code != Some(0) {
            record.refused += 1;
            return Err(Box::new(finished));
        }
        let response: v1::WriteSpecResponse = finished.json();
        let info = response.revision.expect("a write has a revision");
        let revision = info.revision;
        let write = Write { revision, marker };
        record.acknowledged.push(write.clone());
        Ok(write)
    }

    /// The acknowledged writes that node `number` has neither in its history nor among its conflicts.
    pub(super) fn missing_at(&self, fleet: &Fleet, number: usize) -> Vec<String> {
        let client = fleet.client_of(number);
        let finished = client.run(&["spec", "history", "--limit", "1000", "--output", "json"]);
        if finished.code != Some(0) {
            return vec![finished.to_string()];
        }
        let history: v1::ListSpecHistoryResponse = finished.json();
        let known: HashSet<_> = history
            .revisions
            .iter()
            .chain(&history.conflicts)
            .map(|info| info.revision.as_str())
            .collect();
        let record = self.record();
        let looked_for = record.acknowledged.iter().rev().take(LOOKED_FOR);
        let missing = looked_for.filter(|write| !known.contains(write.revision.as_str()));
        missing
            .map(|write| format!("node {number} has no {}", write.revision))
            .collect()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
