//! How far an answer is believed. Pure: the time comes in, a ruling comes out.
//!
//! What appears is believed at once. What disappears is believed at once too, unless so much goes in so short a time that a
//! fault is likelier than the truth, or the thing has come and gone before. Then it is kept until the same has been said
//! again and again, or a person confirms it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// How often something may come back within [`Limits::memory`] and still be believed at once when it goes again.
const RETURNS: usize = 2;

/// What is believed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest share that may go within one interval, in percent.
    pub max_shrink: u8,
    /// How many polls in a row have to say the same of a larger one.
    pub confirm: u32,
    /// Time between two polls.
    pub interval: Duration,
}

impl Limits {
    /// For how long it is remembered that something came back.
    fn memory(&self) -> Duration {
        self.interval.saturating_mul(30)
    }

    /// Polls closer together than this count as one: a watched source may answer many times in a moment.
    fn apart(&self) -> Duration {
        self.interval.mul_f32(0.8)
    }
}

/// Which of the things that are gone stay for now, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruling<K: Ord> {
    /// Gone, and kept.
    pub kept: BTreeSet<K>,
    /// Why they are kept; none when nothing is.
    pub held: Option<Held<K>>,
}

/// A change that is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<K: Ord> {
    /// Why.
    pub reason: Reason,
    /// What would go.
    pub going: BTreeSet<K>,
    /// How many polls in a row have said so.
    pub seen: u32,
    /// How many have to.
    pub needed: u32,
}

/// Why a change is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Everything would go.
    Empty,
    /// More would go at once than `max_shrink` allows.
    Shrink {
        /// How many would go.
        going: usize,
        /// Of how many.
        of: usize,
    },
    /// What would go has come and gone before.
    Flapping,
}

/// The memory of one set, such as the servers of a backend.
#[derive(Debug, Clone)]
pub struct Guard<K: Ord> {
    limits: Limits,
    /// What was there when the present interval began, and what came since: what goes within it goes at once.
    baseline: Option<(Instant, BTreeSet<K>)>,
    /// How many polls in a row lack it, for each thing that is kept.
    absent: BTreeMap<K, u32>,
    last_poll: Option<Instant>,
    /// When things came back that had gone.
    returns: BTreeMap<K, VecDeque<Instant>>,
    /// What has gone, and when.
    gone: BTreeMap<K, Instant>,
    is_confirmed: bool,
}

impl<K: Ord + Clone> Guard<K> {
    /// A guard that has seen nothing.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            baseline: None,
            absent: BTreeMap::new(),
            last_poll: None,
            returns: BTreeMap::new(),
            gone: BTreeMap::new(),
            is_confirmed: false,
        }
    }

    /// Other limits from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A person lets through what is held back at the next ruling.
    pub fn confirm(&mut self) {
        self.is_confirmed = true;
    }

    /// Nothing that was said in a row counts any more: a source has failed in between.
    pub fn interrupt(&mut self) {
        self.absent.values_mut().for_each(|polls| *polls = 0);
    }

    /// Whether `wanted` may replace `present`. `is_poll` says that all who are asked have answered anew since the last poll.
    pub fn rule(
        &mut self,
        present: &BTreeSet<K>,
        wanted: &BTreeSet<K>,
        is_poll: bool,
        now: Instant,
    ) -> Ruling<K> {
        self.remember(present, wanted, now);
        let going: BTreeSet<K> = present.difference(wanted).cloned().collect();
        self.count(&going, is_poll, now);
        if going.is_empty() || std::mem::take(&mut self.is_confirmed) {
            self.let_go(&going, wanted, now);
            return Ruling {
                kept: BTreeSet::new(),
                held: None,
            };
        }
        let too_many = self.too_many(wanted);
        let is_held = |key: &K| {
            let is_suspect = too_many.is_some() || self.is_flapping(key);
            is_suspect && self.absent.get(key).copied().unwrap_or(0) < self.limits.confirm
        };
        let kept: BTreeSet<K> = going.iter().filter(|key| is_held(key)).cloned().collect();
        let let_go = going.difference(&kept).cloned().collect();
        let held = (!kept.is_empty()).then(|| Held {
            reason: too_many.unwrap_or(Reason::Flapping),
            seen: kept
                .iter()
                .filter_map(|key| self.absent.get(key))
                .min()
                .copied()
                .unwrap_or(0),
            needed: self.limits.confirm,
            going: kept.clone(),
        });
        self.let_go(&let_go, wanted, now);
        Ruling { kept, held }
    }

    /// Notes what came back, and begins a new interval when the present one is over.
    fn remember(&mut self, present: &BTreeSet<K>, wanted: &BTreeSet<K>, now: Instant) {
        let memory = self.limits.memory();
        self.gone.retain(|_, at| now.duration_since(*at) < memory);
        for times in self.returns.values_mut() {
            times.retain(|at| now.duration_since(*at) < memory);
        }
        self.returns.retain(|_, times| !times.is_empty());
        for key in wanted {
            let was_missing = self.absent.contains_key(key);
            if self.gone.remove(key).is_some() || was_missing {
                self.returns.entry(key.clone()).or_default().push_back(now);
            }
        }
        match &mut self.baseline {
            Some((since, there)) if now.duration_since(*since) < self.limits.interval => {
                there.extend(present.iter().cloned());
            }
            _ => self.baseline = Some((now, present.clone())),
        }
    }

    /// Counts one more poll without them for all that are going, and forgets the count of all others.
    fn count(&mut self, going: &BTreeSet<K>, is_poll: bool, now: Instant) {
        let is_apart = self
            .last_poll
            .is_none_or(|last| now.duration_since(last) >= self.limits.apart());
        let counts = is_poll && is_apart;
        if counts {
            self.last_poll = Some(now);
        }
        self.absent.retain(|key, _| going.contains(key));
        for key in going {
            match self.absent.get_mut(key) {
                Some(polls) => *polls += u32::from(counts),
                // The first that is said of it is a poll in any case.
                None => {
                    self.absent.insert(key.clone(), 1);
                    self.last_poll = Some(now);
                }
            }
        }
    }

    fn too_many(&self, wanted: &BTreeSet<K>) -> Option<Reason> {
        let (_, baseline) = self.baseline.as_ref()?;
        let going = baseline.difference(wanted).count();
        let of = baseline.len();
        if wanted.is_empty() {
            return Some(Reason::Empty);
        }
        let is_too_many = going * 100 > of * usize::from(self.limits.max_shrink);
        is_too_many.then_some(Reason::Shrink { going, of })
    }

    fn is_flapping(&self, key: &K) -> bool {
        self.returns
            .get(key)
            .is_some_and(|times| times.len() > RETURNS)
    }

    fn let_go(&mut self, going: &BTreeSet<K>, wanted: &BTreeSet<K>, now: Instant) {
        for key in going {
            self.absent.remove(key);
            self.gone.insert(key.clone(), now);
        }
        if self.absent.is_empty() && self.too_many(wanted).is_some() {
            // A large change that is believed now is what the next one is measured by.
            self.baseline = Some((now, wanted.clone()));
        }
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
