//! The impure half: one [`Publisher`] keeps all zones of a spec, a round at a time.
//!
//! A round reads where it has to, decides (pure, in `decide`), writes behind the fence, and remembers. Rounds are driven from
//! outside, whenever what is known of the nodes changes and at the latest after [`Round::next`]. A round may be dropped at any
//! point: what it had under way counts as unknown, and is read by the next one.

mod before;
mod checks;
mod decide;
mod keeper;
mod memory;
mod operate;
mod pause;
mod progress;
mod report;
mod scene;
mod status;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use hafleet_model::spec::PublishedName;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use crate::budget::Budget;
use crate::provider::{ProviderError, Zones};
use keeper::ZoneKeeper;
use pause::Pause;
use scene::Place;

pub use operate::OperateError;
pub use scene::Scene;
pub use status::{LastChange, NamePlan, NameStatus, Rival, Round};

/// Keeps the names of a spec in DNS equal to the nodes in service, while the node that it runs on leads.
///
/// One is made when a node begins to lead, and dropped when it leads no more: what it remembers is of one term.
pub struct Publisher {
    zones: Arc<dyn Zones>,
    budget: Budget,
    places: Vec<Known>,
    keepers: BTreeMap<String, ZoneKeeper>,
    rng: StdRng,
}

/// A zone as a spec names it, and what became of finding it.
struct Known {
    place: Place,
    /// What the provider calls it; none while it is not found.
    zone: Option<String>,
    pause: Pause,
}

impl Publisher {
    /// One that has looked at nothing yet. `budget` is the one that the providers of `zones` spend; rounds set it to what the
    /// spec says.
    pub fn new(zones: Arc<dyn Zones>, budget: Budget) -> Self {
        Self::seeded(zones, budget, rand::random())
    }

    /// The same with all that is drawn following from `seed`. No two writers may have the same one: what tells their writes
    /// apart is drawn. For simulations.
    pub fn seeded(zones: Arc<dyn Zones>, budget: Budget, seed: u64) -> Self {
        Self {
            zones,
            budget,
            places: Vec::new(),
            keepers: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Looks at all zones, and changes what has to be changed. Never fails as a whole: what goes wrong is said of the names that
    /// it holds back.
    pub async fn round(&mut self, scene: &Scene) -> Round {
        let goals = self.prepare(scene).await;
        let is_whole = self.is_whole();
        let nothing = Vec::new();
        let rounds = self.keepers.iter_mut().map(|(zone, keeper)| {
            let goals = goals.get(zone).unwrap_or(&nothing);
            keeper.round(scene, goals, is_whole)
        });
        join_all(rounds).await;
        self.report(scene, &goals)
    }

    /// Finds the zones of the spec that are not known yet, and sorts its names by them.
    async fn prepare(&mut self, scene: &Scene) -> BTreeMap<String, Vec<PublishedName>> {
        let records = &scene.publication.records;
        self.budget.set(scene.publication.requests_per_second);
        self.places.retain(|known| {
            records
                .iter()
                .any(|record| Place::of(record) == known.place)
        });
        for record in records {
            let place = Place::of(record);
            if !self.places.iter().any(|known| known.place == place) {
                self.places.push(Known {
                    place,
                    zone: None,
                    pause: Pause::default(),
                });
            }
        }
        for index in 0..self.places.len() {
            self.open(index).await;
        }
        let mut goals: BTreeMap<String, Vec<PublishedName>> = BTreeMap::new();
        for record in records {
            let place = Place::of(record);
            let known = self.places.iter().find(|known| known.place == place);
            if let Some(zone) = known.and_then(|known| known.zone.clone()) {
                goals.entry(zone).or_default().push(record.clone());
            }
        }
        goals
    }

    async fn open(&mut self, index: usize) {
        let Some(known) = self.places.get_mut(index) else {
            return;
        };
        if known.zone.is_some() || known.pause.lasts(Instant::now()) {
            return;
        }
        let opened = self.zones.open(&known.place.provider, &known.place.zone);
        match opened.await {
            Ok(provider) => {
                let zone = provider.zone().to_owned();
                known.zone = Some(zone.clone());
                known.pause.end();
                let seed = self.rng.next_u64();
                let keeper = || ZoneKeeper::new(provider, StdRng::seed_from_u64(seed));
                self.keepers.entry(zone).or_insert_with(keeper);
            }
            Err(error) => self.not_opened(index, &error),
        }
    }

    fn not_opened(&mut self, index: usize, error: &ProviderError) {
        let chance = f64::from(self.rng.next_u32()) / f64::from(u32::MAX);
        if let Some(known) = self.places.get_mut(index) {
            tracing::warn!(zone = known.place.zone, %error, "a zone is not found");
            known.pause.begin(error, chance);
        }
    }

    fn is_whole(&self) -> bool {
        self.places.iter().all(|known| known.zone.is_some())
    }
}
