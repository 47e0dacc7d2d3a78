//! The contract of those who keep zones. Route53 is the first of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use hafleet_model::FleetName;
use hafleet_model::spec::DnsProvider;

use crate::checks::{CheckKey, WantedCheck};
use crate::record::RecordSet;

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The set has to be there exactly so, and goes.
    Delete(RecordSet),
    /// There may be no set of that key, and this one comes.
    Create(RecordSet),
    /// The set of that key becomes this one, whether there was one or not.
    Upsert(RecordSet),
}

impl Change {
    /// The set that it is about.
    pub fn record(&self) -> &RecordSet {
        match self {
            Self::Delete(record) | Self::Create(record) | Self::Upsert(record) => record,
        }
    }
}

/// A change that was accepted, for asking how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeId(pub String);

/// How far a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeStatus {
    /// Some name servers may still answer as before.
    Pending,
    /// All name servers have it (Route53: `INSYNC`).
    InSync,
}

/// What a provider can refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The batch does not fit what is there, or a record of it is wrong. Nothing of it was done.
    #[error("{what} takes none of the changes: {why}")]
    Rejected {
        /// Which zone.
        what: String,
        /// All that the provider said.
        why: String,
    },
    /// It has too much to do, or the change before is not done yet. Nothing was done.
    #[error("{what} wants to be asked later: {why}")]
    Throttled {
        /// Which zone.
        what: String,
        /// What it said.
        why: String,
    },
    /// No answer came. Whether the change was made has to be read.
    #[error("{what} does not answer: {why}")]
    Unknown {
        /// Which zone.
        what: String,
        /// What was seen.
        why: String,
    },
    /// Credentials are missing or do not allow it.
    #[error("{what} refuses: {why}")]
    Refused {
        /// Which zone.
        what: String,
        /// What it said.
        why: String,
    },
    /// There is no such zone, or several.
    #[error("zone {what}: {why}")]
    Zone {
        /// Which zone.
        what: String,
        /// What was found, and what to write instead.
        why: String,
    },
}

/// Keeps one zone.
///
/// A batch is applied wholly or not at all, and [`Change::Delete`] applies only to a set that is exactly as given: the fence
/// rests on both.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// What the provider itself calls the zone: the same for each way in which a spec may name it. Alias records name their
    /// target's zone so.
    fn zone(&self) -> &str;

    /// All record sets of the zone.
    ///
    /// # Errors
    /// When they cannot be had whole.
    async fn records(&self) -> Result<Vec<RecordSet>, ProviderError>;

    /// Makes the changes, all or none.
    ///
    /// # Errors
    /// [`ProviderError::Unknown`] leaves open whether they were made; all others say that they were not.
    async fn change(&self, batch: &[Change]) -> Result<ChangeId, ProviderError>;

    /// How far a change is.
    ///
    /// # Errors
    /// When it cannot be asked.
    async fn status(&self, change: &ChangeId) -> Result<ChangeStatus, ProviderError>;

    /// How many changes a batch may have. [`Change::Upsert`] counts double.
    fn max_changes(&self) -> usize;

    /// How many characters the values of a batch may have. Those of [`Change::Upsert`] count double.
    fn max_characters(&self) -> usize;

    /// Makes the fleet's health checks of the zone's names be as wanted, and gives their ids. Others of the fleet stay.
    ///
    /// # Errors
    /// When one of them cannot be had; some may have been made.
    async fn keep_checks(
        &self,
        _fleet: &FleetName,
        _wanted: &[WantedCheck],
    ) -> Result<BTreeMap<CheckKey, String>, ProviderError> {
        Ok(BTreeMap::new())
    }

    /// Removes all health checks that the fleet has for names of the zone, but those of these ids.
    ///
    /// # Errors
    /// When some could not be removed.
    async fn drop_checks(
        &self,
        _fleet: &FleetName,
        _keep: &BTreeSet<String>,
    ) -> Result<(), ProviderError> {
        Ok(())
    }
}

/// Finds who keeps a zone.
#[async_trait]
pub trait Zones: Send + Sync + 'static {
    /// The provider of `zone`, as a spec names it.
    ///
    /// # Errors
    /// When there is no such zone or several, or when nobody can be asked.
    async fn open(
        &self,
        provider: &DnsProvider,
        zone: &str,
    ) -> Result<Arc<dyn Provider>, ProviderError>;
}
