//! From what a zone has and what is wanted to batches of changes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hafleet_model::FleetName;

use crate::fence::Ownership;
use crate::provider::Change;
use crate::record::{Policy, RecordData, RecordSet, RecordType, normal};
use crate::wanted::identifier_prefix;

/// What a zone has of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    /// The record at the name of its ownership record.
    pub ownership_record: Option<RecordSet>,
    /// What that says; none if there is none, or if it is not of hafleet.
    pub ownership: Option<Ownership>,
    /// Its addresses and names, whoever made them.
    pub sets: Vec<RecordSet>,
}

/// Why a name is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody made records there who left no ownership record.
    #[error(
        "{name} has records that are not hafleet's ({found}): take them over with `hafleet dns adopt {name}`, or remove them"
    )]
    Unowned {
        /// The name.
        name: String,
        /// The first of them.
        found: String,
    },
    /// The ownership record is something else.
    #[error("{name} has a TXT record that hafleet does not understand ({found}): remove it")]
    Unreadable {
        /// The ownership record's name.
        name: String,
        /// What it holds.
        found: String,
    },
    /// Sets of others are beside ours.
    #[error(
        "{name} has sets with identifiers that are not hafleet's ({found}), and they are not touched: remove them, or use another name"
    )]
    Mixed {
        /// The name.
        name: String,
        /// The first of them.
        found: String,
    },
    /// More changes than a batch may have.
    #[error(
        "{name} needs more changes than one batch may have: publish fewer nodes there, or give it to several names"
    )]
    TooMany {
        /// The name.
        name: String,
    },
}

/// The changes of one name, which have to be made together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameChanges {
    /// The name.
    pub name: String,
    /// In the order in which they are to be made.
    pub changes: Vec<Change>,
}

/// What `records` has of `name`.
pub fn present(name: &str, records: &[RecordSet]) -> Present {
    let name = normal(name);
    let ownership_name = Ownership::record_name(&name);
    let is_ownership =
        |set: &&RecordSet| set.key.name == ownership_name && set.key.record_type == RecordType::Txt;
    let ownership_record = records.iter().find(is_ownership).cloned();
    let is_ours_to_see = |set: &&RecordSet| {
        let types = [RecordType::A, RecordType::Aaaa, RecordType::Cname];
        set.key.name == name && types.contains(&set.key.record_type)
    };
    Present {
        ownership: ownership_record
            .as_ref()
            .and_then(|record| Ownership::read(record).ok()),
        ownership_record,
        sets: records.iter().filter(is_ours_to_see).cloned().collect(),
    }
}

/// The names of a zone whose ownership `is_own`.
pub fn owned(is_own: impl Fn(&Ownership) -> bool, records: &[RecordSet]) -> BTreeSet<String> {
    let is_txt = |set: &&RecordSet| set.key.record_type == RecordType::Txt;
    let name = |set: &RecordSet| {
        let name = set.key.name.strip_prefix("_hafleet.")?;
        let is_ours = Ownership::read(set).is_ok_and(|ownership| is_own(&ownership));
        let wildcard = name
            .strip_prefix("wildcard.")
            .map(|rest| format!("*.{rest}"));
        is_ours.then(|| wildcard.unwrap_or_else(|| name.to_owned()))
    };
    records.iter().filter(is_txt).filter_map(name).collect()
}

/// The ownership record with the highest term of those that `is_own`, of whichever name.
pub fn highest(is_own: impl Fn(&Ownership) -> bool, records: &[RecordSet]) -> Option<Ownership> {
    let texts = records
        .iter()
        .filter(|set| set.key.record_type == RecordType::Txt);
    texts
        .filter_map(|set| Ownership::read(set).ok())
        .filter(|ownership| is_own(ownership))
        .max_by_key(|ownership| ownership.term)
}

/// What has to change at a name for it to have `wanted`, without the fence. Only sets that the fleet's ownership covers are
/// changed or deleted.
///
/// # Errors
/// When there are records of others, whichever they are.
pub fn difference(
    name: &str,
    present: &Present,
    wanted: &[RecordSet],
    fleet: &FleetName,
) -> Result<Vec<Change>, Refusal> {
    if let (Some(record), None) = (&present.ownership_record, &present.ownership) {
        return Err(Refusal::Unreadable {
            name: record.key.name.clone(),
            found: format!("{:?}", record.data),
        });
    }
    if let (None, Some(set)) = (&present.ownership, present.sets.first()) {
        return Err(Refusal::Unowned {
            name: normal(name),
            found: set.key.to_string(),
        });
    }
    let prefix = identifier_prefix(fleet);
    let is_ours = |set: &RecordSet| {
        let has_our_identifier = set
            .key
            .identifier
            .as_ref()
            .is_none_or(|identifier| identifier.starts_with(&prefix));
        has_our_identifier && set.policy != Policy::Other
    };
    if let Some(set) = present.sets.iter().find(|set| !is_ours(set)) {
        return Err(Refusal::Mixed {
            name: normal(name),
            found: set.key.to_string(),
        });
    }
    let there: BTreeMap<_, _> = present.sets.iter().map(|set| (&set.key, set)).collect();
    let keys: BTreeSet<_> = wanted.iter().map(|set| &set.key).collect();
    let gone = present.sets.iter().filter(|set| !keys.contains(&set.key));
    let mut changes: Vec<_> = gone.cloned().map(Change::Delete).collect();
    for set in wanted {
        match there.get(&set.key) {
            Some(found) if *found == set => {}
            Some(_) => changes.push(Change::Upsert(set.clone())),
            None => changes.push(Change::Create(set.clone())),
        }
    }
    Ok(changes)
}

/// `changes` behind the fence: they are made only if the ownership record is still as it was read, and it becomes `next`.
pub fn fenced(
    name: &str,
    present: &Present,
    changes: Vec<Change>,
    next: &Ownership,
) -> NameChanges {
    let before = present.ownership_record.clone().map(Change::Delete);
    let after = Change::Create(next.record(name));
    NameChanges {
        name: normal(name),
        changes: before.into_iter().chain([after]).chain(changes).collect(),
    }
}

/// The end of a name: its sets go, and the ownership record with them.
pub fn released(name: &str, present: &Present, fleet: &FleetName) -> Result<NameChanges, Refusal> {
    let changes = difference(name, present, &[], fleet)?;
    let before = present.ownership_record.clone().map(Change::Delete);
    Ok(NameChanges {
        name: normal(name),
        changes: before.into_iter().chain(changes).collect(),
    })
}

/// Packs names into as few batches as the limits allow. The changes of a name stay together. A name that is too large for
/// any batch is refused alone.
pub fn batches(
    names: Vec<NameChanges>,
    max_changes: usize,
    max_characters: usize,
) -> (Vec<Vec<NameChanges>>, Vec<Refusal>) {
    let (mut batches, mut refused): (Vec<Vec<NameChanges>>, Vec<Refusal>) = Default::default();
    let (mut changes, mut characters) = (usize::MAX, usize::MAX);
    for name in names {
        let (more_changes, more_characters) = cost(&name.changes);
        if more_changes > max_changes || more_characters > max_characters {
            refused.push(Refusal::TooMany { name: name.name });
            continue;
        }
        let fits = changes.saturating_add(more_changes) <= max_changes
            && characters.saturating_add(more_characters) <= max_characters;
        match batches.last_mut().filter(|_| fits) {
            Some(batch) => {
                batch.push(name);
                changes += more_changes;
                characters += more_characters;
            }
            None => {
                batches.push(vec![name]);
                (changes, characters) = (more_changes, more_characters);
            }
        }
    }
    (batches, refused)
}

/// What changes count against a batch's limits: records, and characters of values. Those of [`Change::Upsert`] count double
/// (Amazon Route 53 Developer Guide, "Quotas").
fn cost(changes: &[Change]) -> (usize, usize) {
    let of = |change: &Change| {
        let characters = match &change.record().data {
            RecordData::Values { values, .. } => values.iter().map(String::len).sum(),
            RecordData::Alias { .. } => 0,
        };
        let records = match &change.record().data {
            RecordData::Values { values, .. } => values.len().max(1),
            RecordData::Alias { .. } => 1,
        };
        let times = if matches!(change, Change::Upsert(_)) {
            2
        } else {
            1
        };
        (records * times, characters * times)
    };
    let sum = |sum: (usize, usize), one: (usize, usize)| (sum.0 + one.0, sum.1 + one.1);
    changes.iter().map(of).fold((0, 0), sum)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
