//! A machine on which a node runs: its disk and its clock outlast the runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hafleet_cluster::machines::{Clock, Storage};
use hafleet_cluster::{Store, StoreError};

use crate::disk::{Blocks, MemoryStorage, Opened, Trouble};
use crate::flaw::Lie;
use crate::node::Run;
use crate::plan::Millis;
use crate::rng::Rng;

/// What a disk is made of.
#[derive(Debug)]
enum Disk {
    Memory(Arc<MemoryStorage>),
    Blocks(Arc<Blocks>),
}

impl Disk {
    fn memory(lie: Option<Lie>) -> Self {
        let storage: Arc<MemoryStorage> = Arc::default();
        if let Some(lie) = lie {
            storage.set_lie(lie);
        }
        Self::Memory(storage)
    }
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Machine {
    disk: Disk,
    wall_offset_ms: Arc<AtomicI64>,
    pub(crate) run: Option<Run>,
    /// Until when it does nothing.
    pub(crate) stalled_until: Millis,
    pub(crate) reaches_route53: bool,
    /// Whether its disk is full, which a loss of power does not change.
    pub(crate) is_full: bool,
}

/// The wall clock when a simulation begins: some day in 2026.
const BEGINS_MS: i64 = 1_790_000_000_000;

impl Machine {
    pub(crate) fn new(has_real_store: bool, lie: Option<Lie>) -> Self {
        Self {
            disk: match has_real_store {
                true => Disk::Blocks(Arc::default()),
                false => Disk::memory(lie),
            },
            wall_offset_ms: Arc::new(AtomicI64::new(BEGINS_MS)),
            run: None,
            stalled_until: 0,
            reaches_route53: true,
            is_full: false,
        }
    }

    /// Opens what is on the disk.
    pub(crate) fn open(&self) -> Result<Arc<dyn Storage>, StoreError> {
        match &self.disk {
            Disk::Memory(storage) => Ok(Arc::clone(storage) as _),
            Disk::Blocks(blocks) => {
                let blocks = Arc::clone(blocks);
                let store =
                    Store::open_on(PathBuf::from("blocks"), move || Opened(Arc::clone(&blocks)));
                Ok(store?)
            }
        }
    }

    pub(crate) fn set_trouble(&self, trouble: Trouble) {
        let trouble = Trouble {
            is_full: self.is_full,
            ..trouble
        };
        match &self.disk {
            Disk::Memory(storage) => storage.set_trouble(trouble),
            Disk::Blocks(blocks) => blocks.set_trouble(trouble),
        }
    }

    /// Whether the power has failed in a write.
    pub(crate) fn is_dead(&self) -> bool {
        match &self.disk {
            Disk::Memory(storage) => storage.is_dead(),
            Disk::Blocks(blocks) => blocks.is_dead(),
        }
    }

    /// The run is over at once. A disk that did not fail in a write is as it was.
    pub(crate) fn lose_power(&mut self) {
        self.run = None;
        self.stalled_until = 0;
        self.set_trouble(Trouble::default());
        if let Disk::Memory(storage) = &self.disk {
            storage.lose_power();
        }
    }

    /// The power is back.
    pub(crate) fn revive(&self, rng: &mut Rng) {
        match &self.disk {
            Disk::Memory(storage) => storage.revive(),
            Disk::Blocks(blocks) => blocks.revive(rng),
        }
        self.set_trouble(Trouble::default());
    }

    pub(crate) fn set_clock(&self, by_ms: i64) {
        self.wall_offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// The clocks of the machine, where `now` is the simulation's time.
    pub(crate) fn clock(&self, begun: Instant, now: &Arc<AtomicU64>) -> Clock {
        let (monotonic, wall, offset) = (
            Arc::clone(now),
            Arc::clone(now),
            Arc::clone(&self.wall_offset_ms),
        );
        Clock::new(
            move || begun + Duration::from_millis(monotonic.load(Ordering::Relaxed)),
            move || {
                let now = i64::try_from(wall.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
                offset.load(Ordering::Relaxed).saturating_add(now)
            },
        )
    }
}
