//! One zone: read, decide, write, and what is remembered in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hafleet_model::spec::PublishedName;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use tokio::time::Instant;

use super::checks::KeptChecks;
use super::decide::{Act, Decisions, Facts};
use super::memory::NameMemory;
use super::pause::Pause;
use super::progress::Progress;
use super::scene::Scene;
use super::write::Writing;
use crate::lease::Lease;
use crate::plan;
use crate::provider::{Provider, ProviderError};
use crate::record::RecordSet;

/// How old the known state of a zone may become: drift is found within a minute.
const READ_EVERY: Duration = Duration::from_secs(55);

/// How soon a zone is looked at again after another writer was met.
const SOON: Duration = Duration::from_millis(500);

/// Keeps one zone.
pub(super) struct ZoneKeeper {
    pub(super) provider: Arc<dyn Provider>,
    /// The zone's record sets, as last read, with the own writes since. None while that is not known.
    pub(super) records: Option<Vec<RecordSet>>,
    read_at: Option<Instant>,
    pub(super) names: BTreeMap<String, NameMemory>,
    pub(super) given_up: BTreeSet<String>,
    pub(super) pause: Pause,
    pub(super) progress: Progress,
    pub(super) decisions: Decisions,
    /// Somebody else wrote in between.
    pub(super) was_beaten: bool,
    pub(super) checks: Option<KeptChecks>,
    pub(super) checks_error: Option<String>,
    rng: StdRng,
}

impl ZoneKeeper {
    pub(super) fn new(provider: Arc<dyn Provider>, rng: StdRng) -> Self {
        Self {
            provider,
            records: None,
            read_at: None,
            names: BTreeMap::new(),
            given_up: BTreeSet::new(),
            pause: Pause::default(),
            progress: Progress::default(),
            decisions: Decisions::default(),
            was_beaten: false,
            checks: None,
            checks_error: None,
            rng,
        }
    }

    /// One round. What goes wrong is in the pause that follows.
    pub(super) async fn round(
        &mut self,
        scene: &Scene,
        goals: &[PublishedName],
        are_goals_whole: bool,
    ) {
        if self.pause.lasts(Instant::now()) {
            return;
        }
        match self.work(scene, goals, are_goals_whole).await {
            Ok(()) => {
                self.pause.end();
                self.progress.ask(&*self.provider, &mut self.names).await;
            }
            Err(error) => {
                tracing::warn!(zone = self.provider.zone(), %error, "publication pauses");
                self.pause(&error);
            }
        }
    }

    pub(super) fn pause(&mut self, error: &ProviderError) {
        let chance = self.rng.random_range(0.0..1.0);
        self.pause.begin(error, chance);
    }

    /// Drawn for one try of one write.
    pub(super) fn nonce(&mut self) -> u64 {
        self.rng.next_u64()
    }

    async fn work(
        &mut self,
        scene: &Scene,
        goals: &[PublishedName],
        are_goals_whole: bool,
    ) -> Result<(), ProviderError> {
        self.was_beaten = false;
        let is_fresh = self.is_read_due(scene);
        if is_fresh {
            self.read().await?;
        }
        self.decide(scene, goals, are_goals_whole);
        if !is_fresh && self.rests_on_others() {
            self.read().await?;
            self.decide(scene, goals, are_goals_whole);
        }
        if self.keep_checks(scene).await {
            self.decide(scene, goals, are_goals_whole);
        }
        let writings = self.writings();
        if !writings.is_empty() {
            self.write(scene, writings).await?;
            // Statuses speak of what is there now.
            self.decide(scene, goals, are_goals_whole);
        }
        self.drop_checks(scene).await;
        Ok(())
    }

    /// Reads the zone anew, and what became of writes whose answers were lost.
    pub(super) async fn read(&mut self) -> Result<(), ProviderError> {
        self.records = None;
        let begun = Instant::now();
        let records = self.provider.records().await?;
        self.read_at = Some(begun);
        for (name, memory) in &mut self.names {
            let present = plan::present(name, &records);
            if memory.saw(present.ownership.as_ref(), begun) {
                memory.changed(None);
            }
        }
        self.records = Some(records);
        Ok(())
    }

    pub(super) fn decide(&mut self, scene: &Scene, goals: &[PublishedName], are_goals_whole: bool) {
        let Some(records) = &self.records else {
            return;
        };
        let highest = plan::highest(|found| scene.claimant.owns(found), records);
        let ids = self.checks.as_ref().map(|checks| &checks.ids);
        let mut decisions = Facts {
            scene,
            goals,
            are_goals_whole,
            zone: self.provider.zone(),
            records,
            highest: highest.as_ref(),
            names: &self.names,
            given_up: &self.given_up,
            checks: ids,
            now: Instant::now(),
        }
        .decide();
        let read_at = self.read_at.unwrap_or_else(Instant::now);
        let known: BTreeSet<_> = decisions
            .names
            .iter()
            .map(|decision| decision.name.clone())
            .collect();
        self.names.retain(|name, _| known.contains(name));
        for decision in &mut decisions.names {
            let is_new = !self.names.contains_key(&decision.name);
            let memory = self.names.entry(decision.name.clone()).or_default();
            if is_new {
                memory.saw(decision.present.ownership.as_ref(), read_at);
            }
            decision.held_back.extend(self.checks_error.clone());
        }
        self.decisions = decisions;
    }

    /// Whether the known state is too old, or a lease may have run out.
    fn is_read_due(&self, scene: &Scene) -> bool {
        self.records.is_none() || self.read_due(scene).is_none_or(|at| Instant::now() >= at)
    }

    fn read_due(&self, scene: &Scene) -> Option<Instant> {
        let lease_ttl = scene.publication.lease_ttl.duration();
        let waiting = self
            .decisions
            .names
            .iter()
            .filter(|decision| matches!(decision.lease, Lease::Wait(_)));
        let expiries = waiting.filter_map(|decision| {
            let memory = self.names.get(&decision.name)?;
            memory.expires(lease_ttl)
        });
        let read_at = self.read_at?;
        let mut expiries = expiries.peekable();
        // Whoever waits has to see early when the other one wrote last.
        let every = match expiries.peek() {
            Some(_) => READ_EVERY.min(lease_ttl / 4),
            None => READ_EVERY,
        };
        // An expiry that a read did not confirm was not the end of the lease.
        let expiries = expiries.filter(|at| *at > read_at);
        expiries.chain([read_at + every]).min()
    }

    /// Whether a write would replace an ownership record that is not known to be the own last one.
    fn rests_on_others(&self) -> bool {
        self.decisions.names.iter().any(|decision| {
            let memory = self.names.get(&decision.name);
            let is_ours =
                memory.is_some_and(|memory| memory.is_ours(decision.present.ownership.as_ref()));
            decision.act != Act::Rest && !is_ours
        })
    }

    fn writings(&self) -> Vec<Writing> {
        let names = self.decisions.names.iter();
        names.filter_map(Writing::of).collect()
    }

    /// When the next round is due for this zone.
    pub(super) fn due(&self, scene: &Scene) -> Instant {
        let now = Instant::now();
        if let Some((at, _)) = self.pause.until().filter(|(at, _)| *at > now) {
            return at;
        }
        if self.was_beaten {
            return now + SOON;
        }
        let renewal = super::decide::renewal(scene.publication.lease_ttl.duration());
        let held = self
            .decisions
            .names
            .iter()
            .filter(|decision| decision.lease == Lease::Held)
            .filter_map(|decision| self.names.get(&decision.name));
        let written = held
            .filter(|memory| !memory.is_barred(now))
            .filter_map(NameMemory::written);
        let renewals = written.map(|written| written + renewal);
        let all = renewals
            .chain(self.read_due(scene))
            .chain(self.progress.due());
        all.min().map_or(now + SOON, |at| at.max(now + SOON))
    }
}
