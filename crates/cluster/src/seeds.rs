//! Where to look for the fleet at first: names that are resolved again and again, since addresses move.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often a name that has an address is resolved again.
const SETTLED: Duration = Duration::from_secs(60);
/// How often one that has none is.
const UNSETTLED: Duration = Duration::from_secs(2);

/// The seeds and what they resolve to.
#[derive(Debug)]
pub(crate) struct Seeds {
    names: Vec<String>,
    addresses: Mutex<HashMap<String, Vec<SocketAddr>>>,
}

/// What the seeds resolve to at one moment: each name, and its addresses if there are any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedSeeds {
    seeds: BTreeMap<String, Vec<SocketAddr>>,
}

impl ResolvedSeeds {
    /// These names and their addresses.
    pub fn new(seeds: impl IntoIterator<Item = (String, Vec<SocketAddr>)>) -> Self {
        Self {
            seeds: seeds.into_iter().collect(),
        }
    }

    /// How many there are, by name.
    pub(crate) fn len(&self) -> usize {
        self.seeds.len()
    }

    /// All addresses that are known.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.seeds.values().flatten().copied()
    }

    /// Whether `test` holds of at least one address of every seed.
    pub(crate) fn each_has(&self, test: impl Fn(SocketAddr) -> bool) -> bool {
        let mut seeds = self.seeds.values();
        seeds.all(|found| found.iter().any(|one| test(*one)))
    }

    /// The seeds of which `test` holds of no address, those without an address included.
    pub(crate) fn none_of(&self, test: impl Fn(SocketAddr) -> bool) -> Vec<String> {
        let is_without = |found: &[SocketAddr]| !found.iter().any(|one| test(*one));
        let without = self.seeds.iter().filter(|(_, found)| is_without(found));
        without.map(|(name, _)| name.clone()).collect()
    }
}

impl Seeds {
    /// Begins to resolve `names` (`host:port`), telling `changed` of each answer.
    pub(crate) fn start(
        names: Vec<String>,
        changed: Arc<Notify>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let seeds = Arc::new(Self {
            names,
            addresses: Mutex::default(),
        });
        if !seeds.names.is_empty() {
            tokio::spawn(Arc::clone(&seeds).resolve_for_ever(changed, stop));
        }
        seeds
    }

    /// What the seeds resolve to at this moment.
    pub(crate) fn resolved(&self) -> ResolvedSeeds {
        let addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let of = |name: &String| addresses.get(name).cloned().unwrap_or_default();
        ResolvedSeeds {
            seeds: self
                .names
                .iter()
                .map(|name| (name.clone(), of(name)))
                .collect(),
        }
    }

    async fn resolve_for_ever(self: Arc<Self>, changed: Arc<Notify>, stop: CancellationToken) {
        loop {
            for name in &self.names {
                self.resolve(name).await;
            }
            changed.notify_one();
            let pause = if self.resolved().each_has(|_| true) {
                SETTLED
            } else {
                UNSETTLED
            };
            // Being stopped is the other way out of the pause.
            if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// A failure leaves what was known: an address that was right is a better guess than none.
    async fn resolve(&self, name: &str) {
        match tokio::net::lookup_host(name).await {
            Ok(found) => {
                let found: Vec<_> = found.collect();
                let mut addresses = self
                    .addresses
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                addresses.insert(name.to_owned(), found);
            }
            Err(error) => tracing::warn!(seed = name, %error, "a seed cannot be resolved"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_without_an_address_is_none_that_was_met() {
        let known: SocketAddr = "10.0.0.1:1".parse().unwrap();
        let other: SocketAddr = "10.0.0.2:1".parse().unwrap();
        let seeds = Seeds {
            names: ["met", "unresolved", "unmet", "unmet"]
                .map(String::from)
                .into(),
            addresses: Mutex::new(HashMap::from([
                ("met".to_owned(), vec![other, known]),
                ("unmet".to_owned(), vec![other]),
            ])),
        };
        assert_eq!(
            seeds.resolved().none_of(|address| address == known),
            ["unmet", "unresolved"]
        );
    }
}
