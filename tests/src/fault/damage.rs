//! Damage to a store's file while its agent is down.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Fault;
use crate::deadline::wait_for;
use crate::fleet::PATIENCE;
use crate::trial::Trial;

/// What happens to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Only so much of it is left, in percent.
    Truncated(u8),
    /// So many bits are others than were written, anywhere; which, the seed decides.
    Flipped(u32, u64),
    /// All of it is something else.
    Overwritten,
}

/// A node's store is damaged. Its agent refuses to start and says what to do, or it finds nothing that matters damaged;
/// it ends by doing what was said.
#[derive(Debug)]
pub struct DamagedStore {
    node: usize,
    damage: Damage,
}

impl DamagedStore {
    /// That of the node `node`.
    pub fn of(node: usize, damage: Damage) -> Self {
        Self { node, damage }
    }
}

impl fmt::Display for DamagedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the store of node {} is damaged: {:?}",
            self.node, self.damage
        )
    }
}

impl Fault for DamagedStore {
    fn begin(&mut self, trial: &Trial) {
        let (fleet, node) = (trial.fleet(), trial.fleet().node(self.node));
        fleet.kill_agent(self.node);
        let log = node.log_tail(usize::MAX).len();
        let store = store(trial, self.node);
        do_damage(&store, self.damage);
        node.start_agent();
        let refused = wait_for("an agent starts or refuses", PATIENCE, || {
            if fleet.status_of(self.node).is_ok() {
                return Ok(false);
            }
            if node.has_agent() {
                return Err("it does neither".to_owned());
            }
            Ok(true)
        });
        if refused {
            let said = node.log_tail(usize::MAX).split_off(log);
            let aside = format!("mv {0} {0}.damaged", store.display());
            assert!(
                said.contains(&aside) && !said.contains("panicked"),
                "an agent that finds its store damaged says what to do:\n{said}"
            );
            fs::rename(&store, store.with_extension("redb.damaged")).expect("a damaged store");
            node.start_agent();
        }
    }

    fn end(&mut self, _: &Trial) {}
}

fn store(trial: &Trial, node: usize) -> PathBuf {
    trial
        .fleet()
        .node(node)
        .settings()
        .data()
        .join("state.redb")
}

fn do_damage(store: &Path, damage: Damage) {
    match damage {
        Damage::Truncated(percent) => {
            let file = OpenOptions::new().write(true).open(store);
            let file = file.expect("a store's file");
            let length = file.metadata().expect("a store's length").len();
            file.set_len(length * u64::from(percent) / 100)
                .expect("a store can be truncated");
        }
        Damage::Flipped(bits, seed) => {
            let mut bytes = fs::read(store).expect("a store's file");
            let mut random = StdRng::seed_from_u64(seed);
            for _ in 0..bits {
                let place = random.random_range(0..bytes.len());
                bytes[place] ^= 1 << random.random_range(0..8_u32);
            }
            fs::write(store, bytes).expect("a store's file");
        }
        Damage::Overwritten => {
            let length = fs::metadata(store).expect("a store's length").len();
            let length = usize::try_from(length).expect("a small store");
            fs::write(store, vec![b'?'; length]).expect("a store's file");
        }
    }
}
