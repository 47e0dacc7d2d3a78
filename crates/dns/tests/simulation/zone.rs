//! A zone in memory: atomic and exact, as Route53 documents its batches, with a witness of all that is applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use hafleet_dns::checks::{CheckKey, WantedCheck};
use hafleet_dns::provider::{Change, ChangeId, ChangeStatus};
use hafleet_dns::record::RecordKey;
use hafleet_dns::{Ownership, Provider, ProviderError, RecordData, RecordSet, RecordType, Zones};
use hafleet_model::spec::DnsProvider;
use hafleet_model::{FleetName, Term};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

/// A value that the provider does not take.
pub(crate) const BAD: &str = "203.0.113.66";

/// A zone that all leaders reach.
#[derive(Default)]
pub(crate) struct Zone {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: BTreeMap<RecordKey, RecordSet>,
    busy_until: Option<Instant>,
    owners: BTreeSet<String>,
    terms: BTreeMap<String, Term>,
    writes: Vec<String>,
    wrongs: Vec<String>,
    is_lax: bool,
}

impl Zone {
    /// One that deletes and creates without comparing, as a fence must not have it.
    pub(crate) fn lax() -> Self {
        let state = State {
            is_lax: true,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// What is there.
    pub(crate) fn records(&self) -> Vec<RecordSet> {
        self.state().records.values().cloned().collect()
    }

    /// The values of all sets at `name`, sorted.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        let state = self.state();
        let sets = state.records.values().filter(|set| set.key.name == name);
        let values = sets.filter_map(|set| match &set.data {
            RecordData::Values { values, .. } => Some(values.clone()),
            RecordData::Alias { .. } => None,
        });
        values.flatten().collect()
    }

    /// Who has `name`.
    pub(crate) fn owner(&self, name: &str) -> Option<Ownership> {
        let key = RecordKey::new(&Ownership::record_name(name), RecordType::Txt);
        let state = self.state();
        Ownership::read(state.records.get(&key)?).ok()
    }

    /// Somebody else changes a set.
    pub(crate) fn put(&self, set: RecordSet) {
        self.state().records.insert(set.key.clone(), set);
    }

    /// What was applied that never should be.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.state().wrongs.clone()
    }

    /// How many batches were applied.
    pub(crate) fn writes(&self) -> usize {
        self.state().writes.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn take(&mut self, batch: &[Change], busy: Duration) -> Result<(), ProviderError> {
        let now = Instant::now();
        if self.busy_until.is_some_and(|until| now < until) {
            return Err(throttled("PriorRequestNotComplete"));
        }
        self.apply(batch).map_err(|why| ProviderError::Rejected {
            what: "zone".into(),
            why,
        })?;
        self.busy_until = Some(now + busy);
        Ok(())
    }

    fn apply(&mut self, batch: &[Change]) -> Result<(), String> {
        let mut work = self.records.clone();
        for change in batch {
            let set = change.record();
            if matches!(&set.data, RecordData::Values { values, .. } if values.contains(BAD)) {
                return Err(format!("{} is not a value", set.key));
            }
            match change {
                Change::Delete(set) if !self.is_lax && work.get(&set.key) != Some(set) => {
                    return Err(format!("{} is not as given", set.key));
                }
                Change::Create(set) if !self.is_lax && work.contains_key(&set.key) => {
                    return Err(format!("{} is there", set.key));
                }
                Change::Delete(set) => {
                    work.remove(&set.key);
                }
                Change::Create(set) | Change::Upsert(set) => {
                    work.insert(set.key.clone(), set.clone());
                }
            }
        }
        let before = std::mem::replace(&mut self.records, work);
        self.witness(&before, batch);
        Ok(())
    }

    fn witness(&mut self, before: &BTreeMap<RecordKey, RecordSet>, batch: &[Change]) {
        for change in batch {
            let set = change.record();
            let Ok(ownership) = Ownership::read(set) else {
                continue;
            };
            let name = set.key.name.trim_start_matches("_hafleet.").to_owned();
            if matches!(change, Change::Delete(_)) {
                continue;
            }
            if !self.owners.insert(ownership.to_string()) {
                self.wrongs.push(format!("{name}: twice {ownership}"));
            }
            let highest = self.terms.entry(name.clone()).or_default();
            if ownership.term < *highest {
                self.wrongs
                    .push(format!("{name}: {ownership} after term {}", highest.0));
            }
            *highest = ownership.term.max(*highest);
            let has = |records: &BTreeMap<RecordKey, RecordSet>| {
                let mut keys = records.keys();
                keys.any(|key| key.name == name)
            };
            if has(before) && !has(&self.records) {
                self.wrongs.push(format!("{name}: emptied by {ownership}"));
            }
            self.writes.push(format!("{name} {ownership}"));
        }
    }
}

/// What befalls the calls of one leader, in parts of 100.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Nothing is reached.
    pub(crate) is_down: bool,
    /// The answer to a change is lost, after it was applied or without.
    pub(crate) lost: u8,
    /// A change without an answer is applied later.
    pub(crate) late: u8,
    /// The provider wants to be asked later.
    pub(crate) throttled: u8,
    /// The leader sleeps for up to a minute and a half between reading and writing.
    pub(crate) stalls: u8,
    /// The longest way there and back.
    pub(crate) delay: Duration,
    /// Health checks are neither made nor listed.
    pub(crate) are_checks_refused: bool,
    /// How long the zone takes no other change after one.
    pub(crate) busy: Duration,
}

/// A leader's way to a zone.
pub(crate) struct Access {
    zone: Arc<Zone>,
    faults: Mutex<Faults>,
    rng: Mutex<StdRng>,
    calls: Mutex<Vec<&'static str>>,
}

impl Access {
    pub(crate) fn new(zone: &Arc<Zone>, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            zone: zone.clone(),
            faults: Mutex::default(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            calls: Mutex::default(),
        })
    }

    pub(crate) fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }

    /// The calls since the last question.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    fn faults(&self) -> Faults {
        *self.faults.lock().unwrap()
    }

    fn happens(&self, percent: u8) -> bool {
        self.rng.lock().unwrap().random_range(0..100) < percent
    }

    fn up_to(&self, longest: Duration) -> Duration {
        longest.mul_f64(self.rng.lock().unwrap().random_range(0.0..1.0))
    }

    async fn way(&self) -> Result<(), ProviderError> {
        let longest = self.faults().delay;
        if !longest.is_zero() {
            sleep(self.up_to(longest)).await;
        }
        match self.faults().is_down {
            true => Err(unknown("it is down")),
            false => Ok(()),
        }
    }
}

fn unknown(why: &str) -> ProviderError {
    ProviderError::Unknown {
        what: "zone".into(),
        why: why.into(),
    }
}

fn throttled(why: &str) -> ProviderError {
    ProviderError::Throttled {
        what: "zone".into(),
        why: why.into(),
    }
}

#[async_trait]
impl Provider for Access {
    fn zone(&self) -> &str {
        "Z1"
    }

    async fn records(&self) -> Result<Vec<RecordSet>, ProviderError> {
        self.calls.lock().unwrap().push("records");
        self.way().await?;
        if self.happens(self.faults().throttled) {
            return Err(throttled("rate exceeded"));
        }
        let records = self.zone.records();
        self.way().await?;
        Ok(records)
    }

    async fn change(&self, batch: &[Change]) -> Result<ChangeId, ProviderError> {
        self.calls.lock().unwrap().push("change");
        let faults = self.faults();
        if self.happens(faults.stalls) {
            sleep(self.up_to(Duration::from_secs(90))).await;
        }
        self.way().await?;
        if self.happens(faults.throttled) {
            return Err(throttled("rate exceeded"));
        }
        if self.happens(faults.late) {
            let (zone, batch) = (self.zone.clone(), batch.to_vec());
            let late = self.up_to(Duration::from_secs(40));
            tokio::spawn(async move {
                sleep(late).await;
                let _ = zone.state().apply(&batch);
            });
            return Err(unknown("no answer, and it comes late"));
        }
        self.zone.state().take(batch, faults.busy)?;
        if self.happens(faults.lost) {
            return Err(unknown("no answer"));
        }
        self.way().await?;
        Ok(ChangeId(format!("C{}", self.zone.writes())))
    }

    async fn status(&self, _: &ChangeId) -> Result<ChangeStatus, ProviderError> {
        self.calls.lock().unwrap().push("status");
        self.way().await?;
        Ok(ChangeStatus::InSync)
    }

    async fn keep_checks(
        &self,
        _: &FleetName,
        wanted: &[WantedCheck],
    ) -> Result<BTreeMap<CheckKey, String>, ProviderError> {
        self.calls.lock().unwrap().push("keep_checks");
        if self.faults().are_checks_refused {
            return Err(ProviderError::Refused {
                what: "checks".into(),
                why: "AccessDenied".into(),
            });
        }
        let id = |check: &WantedCheck| (check.key.clone(), format!("id of {}", check.key));
        Ok(wanted.iter().map(id).collect())
    }

    async fn drop_checks(&self, _: &FleetName, _: &BTreeSet<String>) -> Result<(), ProviderError> {
        self.calls.lock().unwrap().push("drop_checks");
        Ok(())
    }

    fn max_changes(&self) -> usize {
        1000
    }

    fn max_characters(&self) -> usize {
        32_000
    }
}

/// The one zone, however it is called.
pub(crate) struct OneZone(pub(crate) Arc<Access>);

#[async_trait]
impl Zones for OneZone {
    async fn open(&self, _: &DnsProvider, _: &str) -> Result<Arc<dyn Provider>, ProviderError> {
        Ok(self.0.clone())
    }
}
